//! The body of a request, which stays in memory until its server has read it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::super::answer::{AnswerBody, BoxError};

/// A body, and what is held for as long as it or one of its pieces is in memory. A connection keeps a piece
/// until it is written.
pub(super) struct Unread<T> {
    pub(super) body: AnswerBody,
    pub(super) held: Arc<T>,
}

struct Piece<T> {
    bytes: Bytes,
    _held: Arc<T>,
}

impl<T> AsRef<[u8]> for Piece<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<T: Send + Sync + 'static> Body for Unread<T> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        let piece = |bytes| {
            let _held = Arc::clone(&self.held);
            Bytes::from_owner(Piece { bytes, _held })
        };
        frame.map_ok(|frame| frame.map_data(piece))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
