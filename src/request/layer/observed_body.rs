//! A body that was looked at, and is passed on as it came.

use std::{
    collections::VecDeque,
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{once::lock, request::VerifiedPayload};

/// The body that the service behind an [`ObserveLayer`](crate::layer::ObserveLayer) gets: every
/// frame of the request's body, trailers and errors included, in their order.
pub struct ObservedBody<B: Body> {
    frames: VecDeque<Frame<Bytes>>,
    /// With which the body broke off while it was looked at.
    error: Option<B::Error>,
    rest: Rest<B>,
    /// Its bytes count against the budget for as long as they are here.
    _charged: Option<VerifiedPayload>,
}

type Rest<B> = Option<Pin<Box<B>>>;

impl<B: Body<Data: Into<Bytes>>> ObservedBody<B> {
    fn next_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let polled = rest.as_mut().poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.rest = None;
        }
        polled.map(|frame| frame.map(|frame| frame.map(|frame| frame.map_data(Into::into))))
    }
}

impl<B: Body<Data: Into<Bytes>>> Body for ObservedBody<B>
where
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(frame) = self.frames.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        self.next_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        let rest = self.rest.as_ref();
        let at_end = rest.is_none_or(|rest| rest.is_end_stream());
        self.frames.is_empty() && self.error.is_none() && at_end
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref();
        let mut hint = rest.map_or_else(|| SizeHint::with_exact(0), |rest| rest.size_hint());
        let kept = self.frames.iter().filter_map(Frame::data_ref);
        let kept = kept.map(|data| data.len() as u64).sum::<u64>();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint.set_lower(hint.lower().saturating_add(kept));
        hint
    }
}

impl<B: Body> fmt::Debug for ObservedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedBody")
            .field("frames", &self.frames.len())
            .finish_non_exhaustive()
    }
}

/// A body that is shared by who looks at it, and who keeps it to pass it on.
pub(super) struct Observing<B: Body>(Arc<Mutex<ObservedBody<B>>>);

impl<B: Body<Data: Into<Bytes>>> Observing<B> {
    pub(super) fn new(body: B) -> Self {
        Self(Arc::new(Mutex::new(ObservedBody {
            frames: VecDeque::new(),
            error: None,
            rest: Some(Box::pin(body)),
            _charged: None,
        })))
    }

    /// What the verifier reads.
    pub(super) fn looked_at(&self) -> LookedAt<B> {
        LookedAt(Arc::clone(&self.0))
    }

    /// All of the body, as it came, together with what it is charged to.
    pub(super) fn pass_on(&self, charged: Option<VerifiedPayload>) -> ObservedBody<B> {
        let mut kept = lock(&self.0);
        ObservedBody {
            frames: std::mem::take(&mut kept.frames),
            error: kept.error.take(),
            rest: kept.rest.take(),
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
        let polled = kept.next_frame(cx);
        polled.map(|frame| match frame? {
            Ok(frame) => Some(Ok(match frame.into_data() {
                Ok(data) => {
                    kept.frames.push_back(Frame::data(data.clone()));
                    Frame::data(data)
                }
                Err(other) => {
                    kept.frames.push_back(other);
                    // Trailers are covered by nothing.
                    Frame::data(Bytes::new())
                }
            })),
            Err(error) => {
                let text = error.to_string();
                kept.error = Some(error);
                Some(Err(text.into()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        let kept = lock(&self.0);
        kept.rest.as_ref().is_none_or(|rest| rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let kept = lock(&self.0);
        let rest = kept.rest.as_ref();
        rest.map_or_else(|| SizeHint::with_exact(0), |rest| rest.size_hint())
    }
}
