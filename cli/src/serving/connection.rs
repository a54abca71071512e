//! One connection of a client, over HTTP/1.1 or HTTP/2.

use std::{convert::Infallible, error::Error, io, pin::pin, sync::Arc, time::Duration};

use http::{Request, Response, Version};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{oneshot, watch},
};

use super::{
    first_bytes::FirstBytes,
    idle::Activity,
    progress::Progress,
    taken::{Passed, Taken},
};

/// How often a client of HTTP/2 is asked whether it is there, and how soon it answers.
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);

/// The limits of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    /// For the first bytes of a connection, and for each head of HTTP/1.1. A connection without a
    /// request is closed after it.
    pub(crate) head_deadline: Duration,
    /// For a client that takes nothing of an answer, each of HTTP/2 by itself, and for a connection of HTTP/2 without a request,
    /// which is closed after at most twice as long.
    pub(crate) idle_deadline: Duration,
    /// The longest head, in bytes.
    pub(crate) head_bytes: u32,
    /// Requests of HTTP/2 at one time.
    pub(crate) streams: u32,
}

/// From when on a connection takes no more requests, and ends once none is in progress.
pub(crate) enum End {
    /// When the server is asked to end: the sender is dropped.
    Asked(watch::Receiver<()>),
    /// Once its client has said something: the server was asked to end before the connection was
    /// established.
    AfterFirst,
}

impl End {
    /// Waits until then.
    async fn come(self, said: oneshot::Receiver<()>) {
        match self {
            Self::Asked(mut stop) => drop(stop.changed().await),
            // The sender is dropped when the version of HTTP is known.
            Self::AfterFirst => drop(said.await),
        }
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            head_deadline: Duration::from_secs(10),
            idle_deadline: Duration::from_secs(60),
            head_bytes: 400 * 1024,
            streams: 200,
        }
    }
}

impl ConnectionLimits {
    /// Answers the requests of a connection until the client closes it, or the server shuts down.
    /// All bytes that are read are shown to `on_read` too.
    pub(crate) async fn serve<S, F, H, A, B>(
        self,
        stream: S,
        on_read: F,
        answer: H,
        end: End,
    ) -> Result<(), Box<dyn Error + Send + Sync>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: FnMut(&[u8]) + Unpin + Send + 'static,
        H: Fn(Request<Incoming>) -> A,
        A: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin + Send + 'static,
    {
        let activity = Arc::<Activity>::default();
        let service = service_fn(|request: Request<Incoming>| {
            let in_progress = activity.begin();
            let shares_connection = request.version() == Version::HTTP_2;
            let answering = answer(request);
            async move {
                let answer = answering.await.map(|body| {
                    let other: fn(B::Error) -> io::Error = io::Error::other;
                    let body = in_progress.until_the_end_of(body).map_err(other);
                    match shares_connection {
                        true => Taken::Within(Passed::within(self.idle_deadline, body)),
                        // `Progress` sees that its client takes nothing.
                        false => Taken::Alone(body),
                    }
                });
                Ok::<_, Infallible>(answer)
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_deadline)
            .max_buf_size(usize::try_from(self.head_bytes).unwrap_or(usize::MAX));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(self.head_bytes)
            .max_concurrent_streams(self.streams)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG);
        let stream = Progress::within(self.idle_deadline, stream);
        let (stream, said) = FirstBytes::within(self.head_deadline, stream, on_read);
        let serving = builder.serve_connection(TokioIo::new(stream), service);
        let serving = async {
            let mut serving = pin!(serving);
            tokio::select! {
                // A request that has come is taken in.
                biased;
                served = &mut serving => return served,
                () = end.come(said) => {}
            }
            serving.as_mut().graceful_shutdown();
            serving.await
        };
        tokio::select! {
            served = serving => served,
            () = activity.idle(self.idle_deadline) => Ok(()),
        }
    }
}
