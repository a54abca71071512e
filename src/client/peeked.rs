//! `PeekedBody`: a body of which a part may have been read already, and is given out first.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// How much of a body is looked at, in bytes and in frames.
const MAX_BYTES: usize = 4096;
const MAX_FRAMES: usize = 64;

pin_project! {
    /// The body of an answer, frame by frame as the client gave it, whether
    /// [`SignAgain`](crate::client::SignAgain) has looked at it or not.
    pub struct PeekedBody<R>
    where
        R: Body,
    {
        read: VecDeque<Result<Frame<R::Data>, R::Error>>,
        // None at its end.
        rest: Option<Pin<Box<R>>>,
    }
}

impl<R: Body<Data = Bytes>> PeekedBody<R> {
    pub(super) fn new(body: R) -> Self {
        Self {
            read: VecDeque::new(),
            rest: Some(Box::pin(body)),
        }
    }

    /// The whole body, if it is short and not broken off. Whatever was read is kept, also when this
    /// is dropped before it is done.
    pub(super) async fn peek(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        while self.read.len() < MAX_FRAMES {
            let rest = self.rest.as_mut()?;
            if rest.size_hint().lower() > (MAX_BYTES - bytes.len()) as u64 {
                return None;
            }
            let Some(frame) = poll_fn(|cx| rest.as_mut().poll_frame(cx)).await else {
                self.rest = None;
                return Some(bytes);
            };
            let broken_off = frame.is_err();
            let data = frame.as_ref().ok().and_then(Frame::data_ref).cloned();
            self.read.push_back(frame);
            let data = data.unwrap_or_default();
            if broken_off || data.len() > MAX_BYTES - bytes.len() {
                return None;
            }
            bytes.extend_from_slice(&data);
        }
        None
    }
}

impl<R: Body<Data = Bytes>> Body for PeekedBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let this = self.project();
        match (this.read.pop_front(), this.rest) {
            (Some(frame), _) => Poll::Ready(Some(frame)),
            (None, Some(rest)) => rest.as_mut().poll_frame(cx),
            (None, None) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.as_ref().is_none_or(|rest| rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.rest {
            Some(rest) => rest.size_hint(),
            None => SizeHint::with_exact(0),
        };
        let frames = self.read.iter().flatten();
        let read: u64 = frames
            .filter_map(Frame::data_ref)
            .map(|data| data.len() as u64)
            .sum();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}

impl<R: Body> fmt::Debug for PeekedBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeekedBody({} frames read)", self.read.len())
    }
}
