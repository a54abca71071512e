//! Reading a body whole: within a limit of size, and a deadline for all of it.

use std::{
    error::Error as StdError,
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::LengthLimitError;
use tokio::time::{Sleep, sleep};

use crate::error::{ConfigError, Fault, FaultKind};

/// Why a body broke off, or an inner service failed: an error of any type.
pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// Frames without a byte, trailers among them, that are passed over; what goes beyond is refused.
/// A body that always has one at hand is never waited for, and would pass every other limit.
const MAX_EMPTY_FRAMES: usize = 1000;

/// How large a body may be, and how long all of it may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    pub(crate) max_bytes: usize,
    pub(crate) deadline: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            max_bytes: 1024 * 1024,
            deadline: Duration::from_secs(10),
        }
    }
}

impl BodyLimits {
    pub(crate) fn check_ranges(&self) -> Result<(), ConfigError> {
        ConfigError::unless_timeout(self.deadline, "body_deadline")
    }
}

/// Watches a body while it arrives, and may refuse it.
pub(crate) trait Arriving {
    /// The refusal, be it for a fault of the body or for a reason of the watcher's own.
    type Refusal: From<Fault>;

    /// Sees a frame with bytes before it is kept, and the number of bytes about to be allocated for
    /// it; may refuse the body.
    fn arrived(&mut self, data: &[u8], more: usize) -> Result<(), Self::Refusal>;

    /// Called whenever the next frame must be waited for; ready where the wait is at an end.
    fn poll_refused(&mut self, _: &mut Context<'_>) -> Poll<Self::Refusal> {
        Poll::Pending
    }
}

impl<F: FnMut(&[u8], usize) -> Result<(), Fault>> Arriving for F {
    type Refusal = Fault;

    fn arrived(&mut self, data: &[u8], more: usize) -> Result<(), Fault> {
        self(data, more)
    }
}

/// Reads a whole body, as far as `arriving` lets it. Trailers are dropped.
///
/// A body of one frame is kept as it came. The frames of a longer body are copied into one buffer.
/// The buffer grows with what has arrived, because anybody can declare a large length.
pub(crate) async fn read<B, A>(
    body: B,
    limits: &BodyLimits,
    mut arriving: A,
) -> Result<Bytes, A::Refusal>
where
    A: Arriving,
    B: Body<Data: Into<Bytes>, Error: Into<BoxError>>,
{
    let too_large = || {
        Fault::new(
            FaultKind::BodyTooLarge,
            format!("the body has more than {} bytes", limits.max_bytes),
        )
    };
    let (least, most) = (body.size_hint().lower(), body.size_hint().upper());
    if least > limits.max_bytes as u64 {
        return Err(too_large().into());
    }
    let most = most.and_then(|most| usize::try_from(most).ok());

    let mut body = pin!(body);
    let mut deadline = None;
    // The only frame so far, or all frames joined; the other variable is empty.
    let mut first = Bytes::new();
    let mut joined = Vec::new();
    let mut held = 0;
    let mut empty_frames = 0;
    while let Some(data) = next_data(body.as_mut(), limits, &mut deadline, &mut arriving).await? {
        if data.is_empty() {
            empty_frames += 1;
            if empty_frames > MAX_EMPTY_FRAMES {
                return Err(Fault::new(
                    FaultKind::BodyUnreadable,
                    format!("the body has more than {MAX_EMPTY_FRAMES} frames without a byte"),
                )
                .into());
            }
            continue;
        }
        let so_far = first.len() + joined.len();
        if data.len() > limits.max_bytes - so_far {
            return Err(too_large().into());
        }
        let len = so_far + data.len();
        let needed = if so_far == 0 {
            len
        } else if len <= held {
            held
        } else {
            room_for(len, most, limits.max_bytes)
        };
        arriving.arrived(&data, needed - held)?;
        held = needed;
        if so_far == 0 {
            first = data;
        } else {
            // Allocates nothing while there is room.
            joined.reserve_exact(held - joined.len());
            joined.extend_from_slice(&mem::take(&mut first));
            joined.extend_from_slice(&data);
        }
    }
    Ok(if joined.is_empty() {
        first
    } else {
        joined.into()
    })
}

/// Returns the capacity for a body of which `len` bytes have arrived. It is twice `len`, so that
/// the buffer seldom grows, but at most what can still arrive. A declared length below `len` is
/// ignored.
fn room_for(len: usize, most: Option<usize>, max_bytes: usize) -> usize {
    let most = most.filter(|most| *most >= len).unwrap_or(max_bytes);
    len.saturating_mul(2).min(most).min(max_bytes)
}

/// The next data frame, `None` at the end. Trailers are covered by nothing: they become a frame
/// without a byte. The deadline is set when there is first something to wait for, and is one for
/// the whole body.
async fn next_data<B, A>(
    mut body: Pin<&mut B>,
    limits: &BodyLimits,
    deadline: &mut Option<Pin<Box<Sleep>>>,
    arriving: &mut A,
) -> Result<Option<Bytes>, A::Refusal>
where
    A: Arriving,
    B: Body<Data: Into<Bytes>, Error: Into<BoxError>>,
{
    let frame = poll_fn(|cx| match body.as_mut().poll_frame(cx) {
        Poll::Ready(frame) => Poll::Ready(Ok(frame)),
        Poll::Pending => {
            if let Poll::Ready(refused) = arriving.poll_refused(cx) {
                return Poll::Ready(Err(refused));
            }
            let deadline = deadline.get_or_insert_with(|| Box::pin(sleep(limits.deadline)));
            deadline.as_mut().poll(cx).map(|()| {
                Err(Fault::new(
                    FaultKind::BodyTimeout,
                    format!("the body was not there after {:?}", limits.deadline),
                )
                .into())
            })
        }
    })
    .await?;
    match frame.map(|frame| frame.map(Frame::into_data)) {
        None => Ok(None),
        Some(Ok(data)) => Ok(Some(data.map_or_else(|_| Bytes::new(), Into::into))),
        Some(Err(error)) => Err(unreadable(error.into()).into()),
    }
}

fn unreadable(error: BoxError) -> Fault {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&*error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            let detail = "the body is over a limit that was set outside of this layer";
            return Fault::new(FaultKind::BodyTooLarge, detail);
        }
        cause = error.source();
    }
    let detail = format!("the body broke off: {error}");
    Fault::new(FaultKind::BodyUnreadable, detail).with_source(error)
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use http_body::SizeHint;
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1024 * 1024;

    struct Frames {
        frames: VecDeque<usize>,
        hint: SizeHint,
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let len = self.frames.pop_front();
            Poll::Ready(len.map(|len| Ok(Frame::data(vec![b'x'; len].into()))))
        }

        fn size_hint(&self) -> SizeHint {
            self.hint
        }
    }

    /// Returns the bytes announced for each frame, and the capacity of the finished body.
    fn held(
        frames: impl IntoIterator<Item = usize>,
        declared: Option<usize>,
    ) -> (Vec<usize>, usize) {
        let body = Frames {
            frames: frames.into_iter().collect(),
            hint: declared.map_or_else(SizeHint::new, |len| SizeHint::with_exact(len as u64)),
        };
        let mut announced = Vec::new();
        let limits = BodyLimits {
            max_bytes: MAX,
            ..BodyLimits::default()
        };
        let reading = read(body, &limits, |_: &[u8], more| {
            announced.push(more);
            Ok(())
        });
        let body = at_once(reading).unwrap();
        (announced, body.try_into_mut().unwrap().capacity())
    }

    /// The output of a future that never waits.
    fn at_once<T>(future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn a_declared_length_reserves_nothing_that_has_not_arrived() {
        let (announced, capacity) = held([1, 1], Some(MAX));
        assert_eq!((announced, capacity), (vec![1, 3], 4));
    }

    #[test]
    fn a_body_in_many_frames_seldom_grows() {
        for declared in [None, Some(MAX)] {
            let (announced, capacity) = held([16 * 1024; 64], declared);
            let grown = announced.iter().filter(|more| **more > 0).count();
            assert_eq!((grown, capacity), (6, MAX), "{declared:?}");
        }
    }

    #[test]
    fn a_body_longer_than_declared_seldom_grows() {
        let (announced, _) = held([1; 1000], Some(2));
        assert!(announced.iter().filter(|more| **more > 0).count() < 13);
    }

    proptest! {
        #[test]
        fn what_is_reserved_follows_what_arrived_and_was_announced(
            frames in prop::collection::vec(1..10_000usize, 1..60),
            beyond in prop::option::of(0..100_000usize),
        ) {
            let len: usize = frames.iter().sum();
            let declared = beyond.map(|beyond| len + beyond);
            let (announced, capacity) = held(frames.iter().copied(), declared);
            let mut arrived = 0;
            let mut sum = 0;
            for (frame, more) in frames.iter().zip(&announced) {
                arrived += frame;
                sum += more;
                prop_assert!((arrived..=2 * arrived).contains(&sum));
            }
            prop_assert_eq!(capacity, sum);
            prop_assert!(capacity <= declared.unwrap_or(MAX));
        }
    }
}
