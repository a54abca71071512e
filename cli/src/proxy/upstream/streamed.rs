//! The body of an answer, passed on as it comes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use super::{super::answer::BoxError, checkout::Held};

/// The body of an answer. Its connection goes back when the body has come to its end, and is closed
/// if the body breaks off, or nobody reads it to its end.
pub(super) struct Streamed {
    body: Incoming,
    held: Option<Held>,
    limit: Duration,
    /// Since the next piece is waited for.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Streamed {
    pub(super) fn new(body: Incoming, held: Held) -> Self {
        let mut streamed = Self {
            body,
            limit: held.stall_timeout(),
            held: Some(held),
            stalled: None,
        };
        streamed.end_if_ended();
        streamed
    }

    /// Waits for the next piece until it is late: the connection is then closed.
    fn poll_stalled(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(context));
        self.held = None;
        let cause = format!("the upstream sent nothing of its answer for {limit:?}");
        Poll::Ready(Some(Err(cause.into())))
    }

    fn end_if_ended(&mut self) {
        if self.body.is_end_stream()
            && let Some(held) = self.held.take()
        {
            held.give_back();
        }
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            self.stalled = None;
        }
        match &polled {
            Poll::Pending => return self.as_mut().poll_stalled(context),
            Poll::Ready(Some(Err(_))) => self.held = None,
            Poll::Ready(Some(Ok(_))) => self.end_if_ended(),
            Poll::Ready(None) => {
                if let Some(held) = self.held.take() {
                    held.give_back();
                }
            }
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
