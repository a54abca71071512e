//! Connections on which nobody asks for anything.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use tokio::time::sleep;

/// Counts the requests of a connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// A request, until its answer has come to its end.
#[derive(Debug)]
pub(super) struct InProgress(Arc<Activity>);

impl Activity {
    pub(super) fn begin(self: &Arc<Self>) -> InProgress {
        self.begun.fetch_add(1, Ordering::Relaxed);
        InProgress(Arc::clone(self))
    }

    /// Waits until no request was in progress for as long as this, or for at most twice as long.
    /// Neither an answer to a ping nor a head that does not come to its end is a request.
    pub(super) async fn idle(&self, limit: Duration) {
        let mut known = None;
        loop {
            let ended = self.ended.load(Ordering::Relaxed);
            let is_idle = ended == self.begun.load(Ordering::Relaxed);
            if is_idle && known == Some(ended) {
                return;
            }
            known = is_idle.then_some(ended);
            sleep(limit).await;
        }
    }
}

/// The body of an answer, with its request.
pub(super) struct Answering<B> {
    body: B,
    _request: InProgress,
}

impl InProgress {
    pub(super) fn until_the_end_of<B>(self, body: B) -> Answering<B> {
        Answering {
            body,
            _request: self,
        }
    }
}

impl<B: Body + Unpin> Body for Answering<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}
