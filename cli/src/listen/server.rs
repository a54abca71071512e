//! Accepting connections.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot},
    time::sleep,
};

use super::{exchange::Exchanges, first_bytes::FirstBytes, spelling::Heads};
use crate::{exit::Failure, http_client::causes};

/// Connections that are open at once; more have to wait.
const MAX_CONNECTIONS: usize = 1024;

/// For the first bytes of a connection, and for each head of HTTP/1.1.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// How often a client of HTTP/2 is asked whether it is there, and how soon it answers.
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);

/// A port on which the command listens.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let failed = |error: &io::Error| {
            let advice = match error.kind() {
                ErrorKind::AddrInUse => {
                    "end the other program, choose another port with --addr, or take any free one \
                     with --addr 127.0.0.1:0"
                }
                ErrorKind::PermissionDenied => "choose a port from 1024 on with --addr",
                _ => "--addr takes an address of this machine, such as 127.0.0.1:8080",
            };
            Failure::unable(
                format!("cannot listen on {address}"),
                error.to_string(),
                advice,
            )
        };
        let listener = TcpListener::bind(address).await.map_err(|e| failed(&e))?;
        let address = listener.local_addr().map_err(|e| failed(&e))?;
        Ok(Self { listener, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers connections, over HTTP/1.1 and HTTP/2, until it is told to stop. Answers that are on
    /// their way then are sent to their end.
    pub(crate) async fn serve(self, exchanges: Arc<Exchanges>, mut stop: oneshot::Receiver<()>) {
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let graceful = GracefulShutdown::new();
        loop {
            let accepting = async {
                // The semaphore is never closed.
                let permit = Arc::clone(&connections).acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                accepted = accepting => accepted,
                _ = &mut stop => break,
            };
            let Ok((stream, client)) = accepted else {
                // There are no more file descriptors, or the client is gone.
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            let exchanges = Arc::clone(&exchanges);
            let watcher = graceful.watcher();
            tokio::spawn(async move {
                let _permit = permit;
                let heads = Heads::default();
                let service = service_fn(|mut request: Request<Incoming>| {
                    if let Some(spelling) = heads.next() {
                        request.extensions_mut().insert(spelling);
                    }
                    let answering = Arc::clone(&exchanges).answer(request);
                    async move { Ok::<_, std::convert::Infallible>(answering.await) }
                });
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder
                    .http1()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_DEADLINE);
                builder
                    .http2()
                    .timer(TokioTimer::new())
                    .keep_alive_interval(PING)
                    .keep_alive_timeout(PONG);
                let stream = FirstBytes::within(HEAD_DEADLINE, stream, heads.clone());
                let serving = builder.serve_connection(TokioIo::new(stream), service);
                // A client that breaks off is no failure of ours.
                if let Err(error) = watcher.watch(serving).await
                    && let Some(error) = error.downcast_ref::<hyper::Error>()
                    && error.is_parse()
                {
                    exchanges.notice(format!(
                        "{client} sent something that is not HTTP: {}",
                        causes(error)
                    ));
                }
            });
        }
        drop(self.listener);
        graceful.shutdown().await;
    }
}
