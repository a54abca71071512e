//! `PeekedBody`: a body of which a part may have been read already, and is given out first.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::body::{Taken, TakenBody};

/// How much of a body is looked at, in bytes and in frames.
const MAX_BYTES: usize = 4096;
const MAX_FRAMES: usize = 64;

/// The body of an answer as the client gave it, whether [`SignAgain`](crate::client::SignAgain) has
/// looked at it or not.
pub struct PeekedBody<R: Body>(TakenBody<R>);

impl<R: Body<Data = Bytes>> PeekedBody<R> {
    pub(super) fn new(body: R) -> Self {
        Self(TakenBody::new(body))
    }

    /// The whole body, if it is short, has no trailers and is not broken off. The bytes that were read are
    /// kept, also when this is dropped before it is done.
    pub(super) async fn peek(&mut self) -> Option<Bytes> {
        let taken = self.0.take_up_to(MAX_BYTES, MAX_FRAMES).await;
        (taken == Taken::Whole).then(|| self.0.joined())
    }
}

impl<R: Body<Data = Bytes>> Body for PeekedBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl<R: Body> fmt::Debug for PeekedBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeekedBody({} frames read)", self.0.frames())
    }
}
