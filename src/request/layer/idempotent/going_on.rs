//! A handler that goes on when its client has gone.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll};

use tokio::{runtime::Handle, sync::Semaphore};
use tracing::Instrument as _;

/// A future that goes on in a task of its own if whoever waits for it goes away: a client that
/// hangs up because it waits too long is the one that retries. So many may go on at one time as
/// there are permits; one beyond them is dropped.
pub(super) struct GoingOn<F: Future<Output: Send> + Send + 'static> {
    /// Not here while it is polled, so that one that panics is not polled again.
    future: Option<Pin<Box<F>>>,
    permits: Arc<Semaphore>,
}

impl<F: Future<Output: Send> + Send + 'static> GoingOn<F> {
    pub(super) fn new(future: F, permits: Arc<Semaphore>) -> Self {
        Self {
            future: Some(Box::pin(future)),
            permits,
        }
    }

    pub(super) async fn wait(mut self) -> F::Output {
        poll_fn(|context| {
            let Some(mut future) = self.future.take() else {
                return Poll::Pending;
            };
            let polled = future.as_mut().poll(context);
            if polled.is_pending() {
                self.future = Some(future);
            }
            polled
        })
        .await
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for GoingOn<F> {
    fn drop(&mut self) {
        let Some(future) = self.future.take() else {
            return;
        };
        if let Ok(runtime) = Handle::try_current()
            && let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned()
        {
            let going_on = async move {
                drop(future.await);
                drop(permit);
            };
            runtime.spawn(going_on.in_current_span());
        }
    }
}
