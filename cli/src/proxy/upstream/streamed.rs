//! The body of an answer, passed on as it comes.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{super::answer::BoxError, connections::Held};

/// The body of an answer. Its connection goes back when the body has come to its end, and is closed
/// if the body breaks off, or nobody reads it to its end.
pub(super) struct Streamed {
    body: Incoming,
    held: Option<Held>,
}

impl Streamed {
    pub(super) fn new(body: Incoming, held: Held) -> Self {
        let mut streamed = Self {
            body,
            held: Some(held),
        };
        streamed.end_if_ended();
        streamed
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
        match &polled {
            Poll::Pending => {}
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
