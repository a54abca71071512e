//! A body that was looked at, and is passed on as it came.

use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use crate::{body::TakenBody, lock::lock, request::VerifiedPayload};

/// Data that comes in smaller frames is put together: a frame for each byte would take many times
/// the room of its byte.
const SMALL: usize = 4096;

/// The body that the service behind an [`ObserveLayer`](crate::layer::ObserveLayer) gets: all data
/// of the request's body, trailers and errors included, in their order. Small frames may be put
/// together.
pub struct ObservedBody<B: Body> {
    taken: TakenBody<B>,
    /// Behind what was taken: data of small frames.
    small: BytesMut,
    /// Its bytes count against the budget for as long as they are here.
    _charged: Option<VerifiedPayload>,
}

impl<B: Body> ObservedBody<B> {
    fn keep(&mut self, data: &Bytes) {
        if data.len() < SMALL {
            self.small.extend_from_slice(data);
        } else {
            self.end_small();
            self.taken.keep(Ok(Frame::data(data.clone())));
        }
        if self.small.len() >= SMALL {
            self.end_small();
        }
    }

    fn end_small(&mut self) {
        if !self.small.is_empty() {
            let data = std::mem::take(&mut self.small).freeze();
            self.taken.keep(Ok(Frame::data(data)));
        }
    }
}

impl<B: Body<Data: Into<Bytes>>> Body for ObservedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.taken).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.taken.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.taken.size_hint()
    }
}

impl<B: Body> fmt::Debug for ObservedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedBody")
            .field("frames", &self.taken.frames())
            .finish_non_exhaustive()
    }
}

/// A body that is shared by who looks at it, and who keeps it to pass it on.
pub(super) struct Observing<B: Body>(Arc<Mutex<ObservedBody<B>>>);

impl<B: Body> Observing<B> {
    pub(super) fn new(body: B) -> Self {
        Self(Arc::new(Mutex::new(ObservedBody {
            taken: TakenBody::new(body),
            small: BytesMut::new(),
            _charged: None,
        })))
    }

    /// Returns what the verifier reads.
    pub(super) fn looked_at(&self) -> LookedAt<B> {
        LookedAt(Arc::clone(&self.0))
    }

    /// All of the body, as it came, together with what it is charged to.
    pub(super) fn pass_on(&self, charged: Option<VerifiedPayload>) -> ObservedBody<B> {
        let mut kept = lock(&self.0);
        kept.end_small();
        ObservedBody {
            taken: kept.taken.take_all(),
            small: BytesMut::new(),
            _charged: charged,
        }
    }
}

/// Takes frames from the body, and leaves a copy of each, which shares its bytes.
pub(super) struct LookedAt<B: Body>(Arc<Mutex<ObservedBody<B>>>);

impl<B: Body<Data: Into<Bytes>>> Body for LookedAt<B>
where
    B::Error: fmt::Display,
{
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut kept = lock(&self.0);
        let polled = kept.taken.poll_rest(cx);
        polled.map(|frame| match frame? {
            Ok(frame) => Some(Ok(match frame.into_data() {
                Ok(data) => {
                    kept.keep(&data);
                    Frame::data(data)
                }
                Err(other) => {
                    kept.end_small();
                    kept.taken.keep(Ok(other));
                    // Trailers are covered by nothing.
                    Frame::data(Bytes::new())
                }
            })),
            Err(error) => {
                let text = error.to_string();
                kept.end_small();
                kept.taken.keep(Err(error));
                Some(Err(text.into()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).taken.is_rest_at_end()
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).taken.size_of_rest()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::BodyExt as _;

    use super::*;

    /// A body of this many bytes, each in a frame of its own.
    struct OneByOne(usize);

    impl Body for OneByOne {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.checked_sub(1).map(|left| {
                self.0 = left;
                Ok(Frame::data(Bytes::from(vec![left.to_le_bytes()[0]])))
            }))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0 as u64)
        }
    }

    /// A verifier refuses a body that is declared too long before it reads any of it.
    #[test]
    fn a_body_that_is_looked_at_is_as_long_as_it_says() {
        let observing = Observing::new(OneByOne(9));
        assert_eq!(observing.looked_at().size_hint().exact(), Some(9));
    }

    /// A frame for each byte of a stranger's would take a hundred times the limit of a body.
    #[tokio::test]
    async fn a43_bytes_that_come_one_by_one_are_kept_together() {
        const SENT: usize = 3 * SMALL + 7;
        let observing = Observing::new(OneByOne(SENT));
        let looked_at = observing.looked_at().collect().await.unwrap().to_bytes();
        let passed_on = observing.pass_on(None);
        assert_eq!(passed_on.taken.frames(), 4);
        assert_eq!(passed_on.size_hint().exact(), Some(SENT as u64));
        assert_eq!(passed_on.collect().await.unwrap().to_bytes(), looked_at);
        assert_eq!(looked_at.len(), SENT);
    }
}
