//! A body of which frames were taken, and which is passed on as it came.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

/// The frames that were taken and kept, and then the rest of the body. It is not polled again after
/// its end, or after the error with which it broke off.
pub(crate) struct TakenBody<B: Body> {
    taken: VecDeque<Result<Frame<Bytes>, B::Error>>,
    /// `None` after its end.
    rest: Option<Pin<Box<B>>>,
    /// The size that the rest gave before it came to an error or to trailers. A server that reads
    /// from the size where the data ends passes on neither, and calls a broken answer whole.
    before_no_data: Option<SizeHint>,
}

/// How much of a body was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Whole,
    /// It is longer than the limit, or has trailers.
    Begun,
    /// It broke off.
    Failed,
}

impl<B: Body> TakenBody<B> {
    /// Nothing is taken yet.
    pub(crate) fn new(body: B) -> Self {
        Self {
            taken: VecDeque::new(),
            rest: Some(Box::pin(body)),
            before_no_data: None,
        }
    }

    /// Keeps a frame, which is passed on before the rest.
    pub(crate) fn keep(&mut self, frame: Result<Frame<Bytes>, B::Error>) {
        self.taken.push_back(frame);
    }

    /// All that was kept, and the rest; leaves nothing.
    pub(crate) fn take_all(&mut self) -> Self {
        Self {
            taken: std::mem::take(&mut self.taken),
            rest: self.rest.take(),
            before_no_data: self.before_no_data.take(),
        }
    }

    /// The number of frames that were kept.
    pub(crate) fn frames(&self) -> usize {
        self.taken.len()
    }

    pub(crate) fn is_rest_at_end(&self) -> bool {
        let rest = self.rest.as_ref();
        rest.is_none_or(|rest| rest.is_end_stream())
    }

    pub(crate) fn size_of_rest(&self) -> SizeHint {
        let rest = self.rest.as_ref();
        rest.map_or_else(|| SizeHint::with_exact(0), |rest| rest.size_hint())
    }
}

impl<B: Body<Data: Into<Bytes>>> TakenBody<B> {
    /// Takes the next frame of the rest, and does not keep it.
    pub(crate) fn poll_rest(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let before = rest.size_hint();
        let polled = rest.as_mut().poll_frame(context);
        if matches!(&polled, Poll::Ready(Some(frame)) if !is_data(frame)) {
            self.before_no_data.get_or_insert(before);
        }
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.rest = None;
        }
        polled.map(|frame| frame.map(|frame| frame.map(|frame| frame.map_data(Into::into))))
    }

    /// Takes and keeps frames of a body, up to `limit` bytes in `most_frames` frames, and at most
    /// one frame beyond the limit. A frame without a byte counts as one byte, for the room that it
    /// takes. Frames that were taken are kept, even if this future is dropped before it is done.
    pub(crate) async fn take_up_to(&mut self, limit: usize, most_frames: usize) -> Taken {
        let (mut left, mut has_trailers) = (limit, false);
        loop {
            if self.frames() == most_frames || self.size_of_rest().lower() > left as u64 {
                return Taken::Begun;
            }
            let Some(frame) = poll_fn(|context| self.poll_rest(context)).await else {
                break;
            };
            let data = frame.as_ref().map(|frame| frame.data_ref().map(Bytes::len));
            let data = data.ok();
            self.keep(frame);
            let Some(data) = data else {
                return Taken::Failed;
            };
            has_trailers |= data.is_none();
            let more = data.unwrap_or_default().max(1);
            if more > left {
                return Taken::Begun;
            }
            left -= more;
            if self.is_rest_at_end() {
                break;
            }
        }
        match has_trailers {
            true => Taken::Begun,
            false => Taken::Whole,
        }
    }

    /// The data of all frames that were kept. A single frame is not copied.
    pub(crate) fn joined(&self) -> Bytes {
        let mut data = self.data();
        let first = data.next().cloned().unwrap_or_default();
        let Some(second) = data.next() else {
            return first;
        };
        let mut joined = BytesMut::from(&first[..]);
        joined.extend_from_slice(second);
        data.for_each(|data| joined.extend_from_slice(data));
        joined.freeze()
    }

    fn data(&self) -> impl Iterator<Item = &Bytes> {
        self.taken.iter().flatten().filter_map(Frame::data_ref)
    }
}

impl<B: Body<Data: Into<Bytes>>> Body for TakenBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.taken.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => self.poll_rest(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.taken.is_empty() && self.is_rest_at_end()
    }

    fn size_hint(&self) -> SizeHint {
        let kept = self.data().map(|data| data.len() as u64).sum::<u64>();
        let keeps_data_alone = self.taken.iter().all(is_data);
        let before = self.before_no_data.filter(|_| !keeps_data_alone);
        let mut hint = before.unwrap_or_else(|| self.size_of_rest());
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint.set_lower(hint.lower().saturating_add(kept));
        hint
    }
}

fn is_data<D, E>(frame: &Result<Frame<D>, E>) -> bool {
    frame.as_ref().is_ok_and(Frame::is_data)
}

/// Its rest is boxed.
impl<B: Body> Unpin for TakenBody<B> {}

impl<B: Body> fmt::Debug for TakenBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakenBody")
            .field("taken", &self.taken.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http_body_util::BodyExt as _;

    use super::*;

    /// Gives these frames, `None` for an error, and panics if it is polled after its end.
    struct Frames(VecDeque<Option<Frame<Bytes>>>, bool);

    impl Body for Frames {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            assert!(!self.1, "polled after its end");
            let frame = self.0.pop_front().map(|frame| frame.ok_or("broken off"));
            self.1 = !matches!(frame, Some(Ok(_)));
            Poll::Ready(frame)
        }
    }

    fn data(text: &'static str) -> Option<Frame<Bytes>> {
        Some(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    async fn taken(frames: Vec<Option<Frame<Bytes>>>) -> (Taken, TakenBody<Frames>) {
        let mut body = TakenBody::new(Frames(frames.into(), false));
        (body.take_up_to(6, 4).await, body)
    }

    #[tokio::test]
    async fn a_body_is_taken_whole_up_to_the_limit_and_passed_on_as_it_came() {
        let trailers = || Some(Frame::trailers(HeaderMap::new()));
        for (frames, expected, text) in [
            (vec![], Taken::Whole, ""),
            (vec![data("ab")], Taken::Whole, "ab"),
            (vec![data("ab"), data(""), data("c")], Taken::Whole, "abc"),
            (
                vec![data("ab"), data("cdefg"), data("h")],
                Taken::Begun,
                "abcdefgh",
            ),
            ((0..5).map(|_| data("a")).collect(), Taken::Begun, "aaaaa"),
            (vec![data("ab"), trailers()], Taken::Begun, "ab"),
        ] {
            let (taken, body) = taken(frames).await;
            assert_eq!(taken, expected, "{text}");
            if taken == Taken::Whole {
                assert_eq!(body.joined(), text);
            }
            assert_eq!(body.collect().await.unwrap().to_bytes(), text);
        }
    }

    /// A body may panic if it is polled after it has failed.
    #[tokio::test]
    async fn a_body_that_broke_off_is_not_polled_again() {
        let (taken, mut body) = taken(vec![data("ab"), None]).await;
        assert_eq!(taken, Taken::Failed);
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "ab"
        );
        assert!(!body.is_end_stream() && body.size_hint().exact().is_none());
        assert_eq!(body.frame().await.unwrap().unwrap_err(), "broken off");
        assert!(body.is_end_stream() && body.size_hint().exact() == Some(0));
        assert!(body.frame().await.is_none());
    }
}
