//! Reading answers of HTTP/1.1 with hyper, although the request has been sent by hand.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    client::conn::http1,
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::answer::Answer;
use crate::{http_client::causes, probe::site::Io};

/// Reads the answer to a request of this method, until the deadline; and when it was there.
pub(super) async fn answer(
    io: Io,
    method: &Method,
    deadline: Duration,
    max: usize,
) -> (Result<Answer, String>, Instant) {
    let reading = async {
        let io = AfterSent {
            io: TokioIo::new(io),
            is_sent: false,
            waiting: None,
        };
        let (mut sender, connection) = http1::handshake::<_, Empty<Bytes>>(io)
            .await
            .map_err(|error| causes(&error))?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri("/")
            .body(Empty::new());
        let request = request.map_err(|error| error.to_string())?;
        let answered = async {
            let response = sender.send_request(request).await;
            let (head, body) = response.map_err(|error| causes(&error))?.into_parts();
            let at = Instant::now();
            let body = Limited::new(body, max).collect().await;
            let body = body.map_err(|error| {
                format!(
                    "its answer broke off or is longer than {max} bytes: {}",
                    causes(&*error)
                )
            })?;
            Ok((
                Answer {
                    status: head.status,
                    headers: head.headers,
                    body: body.to_bytes(),
                },
                at,
            ))
        };
        let answered = answered.await;
        connection.abort();
        answered
    };
    match timeout(deadline, reading).await {
        Ok(Ok((answer, at))) => (Ok(answer), at),
        Ok(Err(why)) => (Err(why), Instant::now()),
        Err(_) => (
            Err(format!("no whole answer within {} s", deadline.as_secs())),
            Instant::now(),
        ),
    }
}

/// A connection on which the request has been sent: what is written goes nowhere. Nothing is read
/// before hyper has written, because it takes an answer without a request for a fault.
struct AfterSent {
    io: TokioIo<Io>,
    is_sent: bool,
    waiting: Option<Waker>,
}

impl Read for AfterSent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_sent {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for AfterSent {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_sent = true;
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
