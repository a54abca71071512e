//! The body of an answer, taken in up to a limit.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

/// What was taken in.
pub(super) enum Collected<R: Body> {
    Whole(Bytes),
    /// It is longer than the limit, slower than the deadline, or has trailers.
    Begun(BegunBody<R>),
    /// It broke off.
    Failed(BegunBody<R>),
}

/// A body of which some was taken, to be passed on as it came.
pub(in crate::request::layer) struct BegunBody<R: Body> {
    taken: VecDeque<Result<Frame<Bytes>, R::Error>>,
    rest: Pin<Box<R>>,
}

/// How the taking ended.
enum End {
    Whole,
    Begun,
    Failed,
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
    let mut begun = BegunBody {
        taken: VecDeque::new(),
        rest: Box::pin(body),
    };
    let is_longer = begun.rest.size_hint().lower() > limit as u64;
    let end = if is_longer {
        End::Begun
    } else {
        let mut taking = pin!(begun.take_up_to(limit));
        // A body that is at hand needs no timer.
        match poll_fn(|context| Poll::Ready(taking.as_mut().poll(context))).await {
            Poll::Ready(end) => end,
            Poll::Pending => timeout(deadline, taking).await.unwrap_or(End::Begun),
        }
    };
    match end {
        End::Whole => Collected::Whole(begun.joined()),
        End::Begun => Collected::Begun(begun),
        End::Failed => Collected::Failed(begun),
    }
}

impl<R: Body<Data = Bytes>> BegunBody<R> {
    async fn take_up_to(&mut self, limit: usize) -> End {
        let mut len = 0;
        while let Some(frame) = self.rest.frame().await {
            let data = frame
                .as_ref()
                .ok()
                .map(|frame| frame.data_ref().map(Bytes::len));
            self.taken.push_back(frame);
            match data {
                None => return End::Failed,
                Some(None) => return End::Begun,
                Some(Some(more)) => len += more,
            }
            if len > limit {
                return End::Begun;
            }
            if self.rest.is_end_stream() {
                break;
            }
        }
        End::Whole
    }

    /// The data of all frames that were taken. That of a single frame is not copied.
    fn joined(self) -> Bytes {
        let mut frames = self.taken.into_iter().flatten();
        let mut data = frames.by_ref().filter_map(|frame| frame.into_data().ok());
        let first = data.next().unwrap_or_default();
        let Some(second) = data.next() else {
            return first;
        };
        let mut joined = BytesMut::from(&first[..]);
        joined.extend_from_slice(&second);
        data.for_each(|data| joined.extend_from_slice(&data));
        joined.freeze()
    }
}

impl<R: Body<Data = Bytes>> Body for BegunBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let this = self.get_mut();
        match this.taken.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => this.rest.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.taken.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let taken = self.taken.iter().flatten().filter_map(Frame::data_ref);
        let taken = taken.map(|data| data.len() as u64).sum::<u64>();
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(taken));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(taken));
        }
        hint
    }
}

/// Its rest is boxed.
impl<R: Body> Unpin for BegunBody<R> {}

impl<R: Body> fmt::Debug for BegunBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BegunBody")
            .field("taken", &self.taken.len())
            .finish_non_exhaustive()
    }
}
