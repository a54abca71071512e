//! A body that is recorded while somebody else reads it, also if they stop early.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// No webhook that is known is longer.
pub(crate) const MAX_BODY: usize = 25 * 1024 * 1024;

/// All bodies together, while their requests are answered and recorded.
pub(super) const MAX_BODIES: usize = 64 * 1024 * 1024;

/// How long a body is waited for that nobody else reads.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// The same, if its request is refused already: most of such a body is here.
pub(super) const OF_REFUSED: Duration = Duration::from_secs(1);

/// The recorded side of a body.
#[derive(Clone)]
pub(super) struct Capture(Arc<Mutex<State>>);

struct State {
    body: Incoming,
    bytes: Vec<u8>,
    budget: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    end: End,
}

/// How much of a body was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A part of the body is still missing.
    Open,
    Whole,
    /// The sender broke off, or was too slow.
    Broken,
    /// There is no room for more.
    Full,
}

impl Capture {
    pub(super) fn new(body: Incoming, budget: Arc<Semaphore>) -> Self {
        Self(Arc::new(Mutex::new(State {
            body,
            bytes: Vec::new(),
            budget,
            held: None,
            end: End::Open,
        })))
    }

    /// The side that is read.
    pub(super) fn body(&self) -> Captured {
        Captured(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what nobody else has read, within limits and for so long. The permit holds the bytes' share of what
    /// all bodies may occupy.
    pub(super) async fn finish(
        &self,
        patience: Duration,
    ) -> (Bytes, End, Option<OwnedSemaphorePermit>) {
        let mut rest = self.body();
        let reading = async {
            while self.state().end == End::Open {
                if !matches!(rest.frame().await, Some(Ok(_))) {
                    break;
                }
            }
        };
        let is_late = timeout(patience, reading).await.is_err();
        let mut state = self.state();
        let end = match state.end {
            End::Open if is_late => End::Broken,
            End::Open if state.body.is_end_stream() => End::Whole,
            end => end,
        };
        state.end = end;
        let bytes = Bytes::from(std::mem::take(&mut state.bytes));
        (bytes, end, state.held.take())
    }
}

impl State {
    fn take(&mut self, data: &[u8]) {
        if self.end != End::Open {
            return;
        }
        let fits = self.bytes.len() + data.len() <= MAX_BODY;
        let share = u32::try_from(data.len()).ok().filter(|_| fits);
        let permit =
            share.and_then(|share| Arc::clone(&self.budget).try_acquire_many_owned(share).ok());
        let Some(permit) = permit else {
            self.end = End::Full;
            return;
        };
        match &mut self.held {
            None => self.held = Some(permit),
            Some(held) => held.merge(permit),
        }
        self.bytes.extend_from_slice(data);
    }
}

/// The body as it comes; what is read of it is recorded.
pub(super) struct Captured(Capture);

impl Body for Captured {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut state = self.0.state();
        let polled = Pin::new(&mut state.body).poll_frame(context);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) if state.end == End::Open => state.end = End::Whole,
            Poll::Ready(None) => {}
            Poll::Ready(Some(Err(_))) => state.end = End::Broken,
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    state.take(data);
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.state().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.state().body.size_hint()
    }
}
