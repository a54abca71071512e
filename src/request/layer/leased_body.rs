//! The body of a success under a lease: completed at its end, released if it fails.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::once::{Handled, KeptLease, Settled};

pin_project! {
    /// Decides how the request came out, as its frames are taken:
    /// - At the end, it is completed before the last frame is passed on.
    /// - If the body fails, it is released before the error is passed on.
    /// - If the body is dropped before, the client went away: it is completed, because the handler
    ///   has succeeded.
    /// - If the body panics, the outcome is unknown, as with a handler that panics.
    pub(super) struct LeasedBody<R: Body> {
        #[pin]
        body: R,
        // Until the outcome is decided.
        kept: Option<KeptLease>,
        settling: Option<Settled>,
        // Taken from the body, and not yet passed on.
        taken: Option<Taken<R>>,
    }

    impl<R: Body> PinnedDrop for LeasedBody<R> {
        fn drop(this: Pin<&mut Self>) {
            if let Some(kept) = this.project().kept.take() {
                drop(kept.settle_later(Handled::Completed));
            }
        }
    }
}

type Taken<R> = Option<Result<Frame<<R as Body>::Data>, <R as Body>::Error>>;

impl<R: Body> LeasedBody<R> {
    /// Takes the first frame, if it is at hand. An ordinary body is this frame and no more: its
    /// request is completed before the head leaves.
    pub(super) async fn begin(body: R, kept: KeptLease) -> Pin<Box<Self>> {
        let mut leased = Box::pin(Self {
            body,
            kept: Some(kept),
            settling: None,
            taken: None,
        });
        poll_fn(|cx| match leased.as_mut().poll_taken(cx) {
            Poll::Pending if leased.settling.is_some() => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
        leased
    }

    /// Ready when a frame was taken that may be passed on.
    fn poll_taken(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if this.taken.is_none() {
            // The lease is taken out while the body is polled: if the body panics, the lease is
            // dropped with an unknown outcome.
            let kept = this.kept.take();
            let Poll::Ready(taken) = this.body.as_mut().poll_frame(cx) else {
                *this.kept = kept;
                return Poll::Pending;
            };
            let outcome = match &taken {
                None => Some(Handled::Completed),
                Some(Err(_)) => Some(Handled::Released),
                Some(Ok(frame)) if frame.is_trailers() || this.body.is_end_stream() => {
                    Some(Handled::Completed)
                }
                Some(Ok(_)) => None,
            };
            match (kept, outcome) {
                (Some(kept), Some(outcome)) => *this.settling = Some(kept.settle(outcome)),
                (kept, _) => *this.kept = kept,
            }
            *this.taken = Some(taken);
        }
        if let Some(settling) = this.settling {
            ready!(Pin::new(settling).poll(cx));
            *this.settling = None;
        }
        Poll::Ready(())
    }
}

impl<R: Body> Body for LeasedBody<R> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, R::Error>>> {
        ready!(self.as_mut().poll_taken(cx));
        Poll::Ready(self.project().taken.take().flatten())
    }

    fn is_end_stream(&self) -> bool {
        let is_settled = self.kept.is_none() && self.settling.is_none();
        is_settled && self.taken.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        if let Some(Some(Ok(frame))) = &self.taken
            && let Some(data) = frame.data_ref()
        {
            let taken = data.remaining() as u64;
            if let Some(upper) = hint.upper() {
                hint.set_upper(upper.saturating_add(taken));
            }
            hint.set_lower(hint.lower().saturating_add(taken));
        }
        hint
    }
}

impl<R: Body> fmt::Debug for LeasedBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeasedBody")
            .field("is_settled", &self.kept.is_none())
            .finish_non_exhaustive()
    }
}
