//! The rest of a body whose request was refused: read and dropped for a while, so that the answer
//! reaches a client that writes first and reads afterwards.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf as _;
use http::{Version, header::EXPECT, request::Parts};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::yield_now,
    time::timeout,
};

use crate::request::Verifier;

/// Bodies whose rest is dropped at one time. Further bodies are cut off.
const MAX_BODIES: usize = 64;

/// The longest time for which the rest of one body is dropped.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Frames of one body that are dropped before others have their turn.
const FRAMES_AT_ONCE: usize = 16;

/// A body this short has been written before the answer is read, whatever happens to it.
const SHORT: u64 = 8 * 1024;

/// Bounds the bytes that are dropped, over all bodies.
#[derive(Debug)]
pub(super) struct LeftOver {
    bodies: Arc<Semaphore>,
    /// Permits of the bodies whose rest is being dropped.
    bytes: AtomicUsize,
    max_bytes: usize,
    time: Duration,
}

impl LeftOver {
    pub(super) fn new(verifier: &Verifier) -> Arc<Self> {
        Arc::new(Self {
            bodies: Arc::new(Semaphore::new(MAX_BODIES)),
            bytes: AtomicUsize::new(0),
            max_bytes: verifier.unverified_share(),
            time: verifier.body_deadline().min(MAX_TIME),
        })
    }

    /// Drops what arrives of a body, in the background. Without a runtime, or beyond the bounds, it
    /// is cut off.
    fn drop_rest<B>(self: Arc<Self>, body: Pin<Box<B>>)
    where
        B: Body + Send + 'static,
    {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let Ok(turn) = Arc::clone(&self.bodies).try_acquire_owned() else {
            return;
        };
        runtime.spawn(async move {
            let dropping = Dropping {
                of: self,
                bytes: 0,
                _turn: turn,
            };
            let time = dropping.of.time;
            // Late, it is cut off.
            let _ = timeout(time, dropping.run(body)).await;
        });
    }
}

/// One body whose rest is being dropped.
struct Dropping {
    of: Arc<LeftOver>,
    bytes: usize,
    _turn: OwnedSemaphorePermit,
}

impl Dropping {
    async fn run<B: Body>(mut self, mut body: Pin<Box<B>>) {
        loop {
            for _ in 0..FRAMES_AT_ONCE {
                let len = poll_fn(|cx| {
                    let frame = ready!(body.as_mut().poll_frame(cx));
                    Poll::Ready(match frame {
                        Some(Ok(frame)) => {
                            Some(frame.data_ref().map_or(0, |data| data.remaining()))
                        }
                        Some(Err(_)) | None => None,
                    })
                });
                let Some(len) = len.await else { return };
                // So that a frame without a byte counts too.
                let len = len.max(1);
                self.bytes += len;
                let others = self.of.bytes.fetch_add(len, Ordering::Relaxed);
                if others + len > self.of.max_bytes {
                    return;
                }
            }
            yield_now().await;
        }
    }
}

impl Drop for Dropping {
    fn drop(&mut self) {
        self.of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

pin_project! {
    /// A body whose rest is dropped in the background if it is not read to its end.
    #[project = WatchedProjection]
    pub(super) enum Watched<B>
    where
        B: Body,
        B: Send,
        B: 'static,
    {
        /// The rest of a request whose client reads the answer while it writes, or has written all.
        Plain { #[pin] body: B },
        Kept { body: Kept<B> },
    }
}

pub(super) struct Kept<B: Body + Send + 'static> {
    /// Until it has ended.
    body: Option<Pin<Box<B>>>,
    /// The client waits for `100 Continue`, which the first read of the body sends.
    is_awaited: bool,
    left_over: Arc<LeftOver>,
}

impl<B: Body + Send + 'static> Watched<B> {
    pub(super) fn new(body: B, head: &Parts, left_over: &Arc<LeftOver>) -> Self {
        let hint = body.size_hint();
        let is_short = hint.upper().is_some_and(|most| most <= SHORT);
        // From HTTP/2 on, a stream is ended without its connection.
        if is_short || body.is_end_stream() || head.version >= Version::HTTP_2 {
            return Self::Plain { body };
        }
        Self::Kept {
            body: Kept {
                body: Some(Box::pin(body)),
                is_awaited: head.headers.contains_key(EXPECT),
                left_over: Arc::clone(left_over),
            },
        }
    }
}

impl<B: Body + Send + 'static> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let kept = match self.project() {
            WatchedProjection::Plain { body } => return body.poll_frame(cx),
            WatchedProjection::Kept { body } => body,
        };
        kept.is_awaited = false;
        let Some(body) = &mut kept.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(body.as_mut().poll_frame(cx));
        if body.is_end_stream() || !matches!(frame, Some(Ok(_))) {
            kept.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain { body } => body.is_end_stream(),
            Self::Kept { body } => body.body.as_ref().is_none_or(|body| body.is_end_stream()),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain { body } => body.size_hint(),
            Self::Kept { body } => match &body.body {
                Some(body) => body.size_hint(),
                None => SizeHint::with_exact(0),
            },
        }
    }
}

impl<B: Body + Send + 'static> Drop for Kept<B> {
    fn drop(&mut self) {
        // A body that was never asked for does not come.
        if let Some(body) = self.body.take().filter(|_| !self.is_awaited) {
            Arc::clone(&self.left_over).drop_rest(body);
        }
    }
}

impl<B: Body + Send + 'static> fmt::Debug for Kept<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}
