//! Reading a body whole: within a limit of size, and a deadline for all of it.

use std::{
    error::Error as StdError,
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use http_body_util::LengthLimitError;
use tokio::time::{Sleep, sleep};

use crate::{
    error::ConfigError,
    rejection::{Rejection, RejectionKind},
};

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
        const MILLISECOND: Duration = Duration::from_millis(1);
        const HOUR: Duration = Duration::from_secs(60 * 60);
        ConfigError::unless(
            (MILLISECOND..=HOUR).contains(&self.deadline),
            "`body_deadline` is between 1 millisecond and 1 hour",
        )
    }
}

/// Reads a body whole; `arrived` sees each frame that has bytes, and may refuse it. Trailers are
/// dropped.
///
/// A body of one frame is kept as it came; frames of a longer one are copied once, into one buffer.
#[expect(
    clippy::manual_async_fn,
    reason = "an `async fn` would keep room for its arguments twice"
)]
pub(crate) fn read<B>(
    body: B,
    limits: &BodyLimits,
    mut arrived: impl FnMut(&[u8]) -> Result<(), Rejection>,
) -> impl Future<Output = Result<Bytes, Rejection>>
where
    B: Body<Data: Into<Bytes>, Error: Into<Box<dyn StdError + Send + Sync>>>,
{
    async move {
        let too_large = || {
            Rejection::new(
                RejectionKind::BodyTooLarge,
                format!("the body has more than {} bytes", limits.max_bytes),
            )
        };
        let (least, expected) = (body.size_hint().lower(), body.size_hint().exact());
        if least > limits.max_bytes as u64 {
            return Err(too_large());
        }
        let expected = usize::try_from(expected.unwrap_or(0)).unwrap_or(0);

        let mut body = pin!(body);
        let mut deadline = None;
        let mut first = Bytes::new();
        let mut rest: Option<BytesMut> = None;
        let mut empty_frames = 0;
        while let Some(data) = next_data(body.as_mut(), limits, &mut deadline).await? {
            if data.is_empty() {
                empty_frames += 1;
                if empty_frames > MAX_EMPTY_FRAMES {
                    return Err(Rejection::new(
                        RejectionKind::BodyUnreadable,
                        format!("the body has more than {MAX_EMPTY_FRAMES} frames without a byte"),
                    ));
                }
                continue;
            }
            let so_far = rest.as_ref().map_or(first.len(), BytesMut::len);
            if data.len() > limits.max_bytes - so_far {
                return Err(too_large());
            }
            arrived(&data)?;
            match &mut rest {
                Some(rest) => rest.extend_from_slice(&data),
                None if first.is_empty() => first = data,
                None => {
                    let capacity = expected.max(first.len() + data.len());
                    let mut buffer = BytesMut::with_capacity(capacity);
                    buffer.extend_from_slice(&first);
                    buffer.extend_from_slice(&data);
                    rest = Some(buffer);
                }
            }
        }
        Ok(rest.map_or(first, BytesMut::freeze))
    }
}

/// The next data frame, `None` at the end. Trailers are covered by nothing: they become a frame
/// without a byte. The deadline is set when there is first something to wait for, and is one for
/// the whole body.
async fn next_data<B>(
    mut body: Pin<&mut B>,
    limits: &BodyLimits,
    deadline: &mut Option<Pin<Box<Sleep>>>,
) -> Result<Option<Bytes>, Rejection>
where
    B: Body<Data: Into<Bytes>, Error: Into<Box<dyn StdError + Send + Sync>>>,
{
    let frame = poll_fn(|cx| match body.as_mut().poll_frame(cx) {
        Poll::Ready(frame) => Poll::Ready(Ok(frame)),
        Poll::Pending => {
            let deadline = deadline.get_or_insert_with(|| Box::pin(sleep(limits.deadline)));
            deadline.as_mut().poll(cx).map(|()| {
                Err(Rejection::new(
                    RejectionKind::BodyTimeout,
                    format!("the body was not there after {:?}", limits.deadline),
                ))
            })
        }
    })
    .await?;
    match frame.map(|frame| frame.map(Frame::into_data)) {
        None => Ok(None),
        Some(Ok(data)) => Ok(Some(data.map_or_else(|_| Bytes::new(), Into::into))),
        Some(Err(error)) => Err(unreadable(error.into())),
    }
}

fn unreadable(error: Box<dyn StdError + Send + Sync>) -> Rejection {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&*error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            let detail = "the body is over a limit that was set outside of this layer";
            return Rejection::new(RejectionKind::BodyTooLarge, detail);
        }
        cause = error.source();
    }
    let detail = format!("the body broke off: {error}");
    Rejection::with_source(RejectionKind::BodyUnreadable, detail, error)
}
