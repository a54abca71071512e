//! The body of an answer, taken in up to a limit.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use bytes::Bytes;
use http_body::Body;
use tokio::time::timeout;

use crate::body::{Taken, TakenBody};

/// The bytes that were taken in.
pub(super) enum Collected<R: Body> {
    Whole(Bytes),
    /// It is longer than the limit, slower than the deadline, or has trailers.
    Begun(TakenBody<R>),
    /// It broke off.
    Failed(TakenBody<R>),
}

/// Takes in a body of at most `limit` bytes, and no more than one frame beyond that.
pub(super) async fn collect<R: Body<Data = Bytes>>(
    body: R,
    limit: usize,
    deadline: Duration,
) -> Collected<R> {
    if body.is_end_stream() {
        return Collected::Whole(Bytes::new());
    }
    let mut body = TakenBody::new(body);
    let taken = {
        let mut taking = pin!(body.take_up_to(limit, usize::MAX));
        // A body that is at hand needs no timer.
        match poll_fn(|context| Poll::Ready(taking.as_mut().poll(context))).await {
            Poll::Ready(taken) => taken,
            Poll::Pending => timeout(deadline, taking).await.unwrap_or(Taken::Begun),
        }
    };
    match taken {
        Taken::Whole => Collected::Whole(body.joined()),
        Taken::Begun => Collected::Begun(body),
        Taken::Failed => Collected::Failed(body),
    }
}
