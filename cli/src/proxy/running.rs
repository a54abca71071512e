//! Requests that are being handled, also those whose client has gone: so many at one time.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedRwLockReadGuard, OwnedSemaphorePermit, RwLock, Semaphore};

use super::{
    answer::{AnswerBody, BoxError},
    measures::OneMore,
};

/// Counts requests that are being handled.
#[derive(Clone, Debug)]
pub(super) struct Running {
    until_the_end: Arc<RwLock<()>>,
    requests: Arc<Semaphore>,
}

/// A request that is being handled; on the request, and on its answer until the end of the body.
#[derive(Clone)]
pub(super) struct Handled(
    #[expect(dead_code, reason = "it is held")]
    Arc<(OwnedRwLockReadGuard<()>, OwnedSemaphorePermit, OneMore)>,
);

impl Running {
    pub(super) fn new(requests: usize) -> Self {
        Self {
            until_the_end: Arc::default(),
            requests: Arc::new(Semaphore::new(requests)),
        }
    }

    /// Begins to handle a request; `None` if there are as many as there may be.
    pub(super) async fn begin(&self) -> Option<Handled> {
        let turn = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        let guard = Arc::clone(&self.until_the_end).read_owned().await;
        Some(Handled(Arc::new((guard, turn, OneMore::request()))))
    }

    /// Waits until no request is being handled.
    pub(super) async fn end(&self) {
        drop(self.until_the_end.write().await);
    }
}

impl Handled {
    /// Keeps the request until its answer has come to its end.
    pub(super) fn until_the_end_of(self, answer: Response<AnswerBody>) -> Response<AnswerBody> {
        answer.map(|body| {
            let answering = Answering {
                body,
                _handled: self,
            };
            answering.boxed_unsync()
        })
    }
}

/// The body of an answer, with its request.
struct Answering {
    body: AnswerBody,
    _handled: Handled,
}

impl Body for Answering {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for Handled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handled")
    }
}
