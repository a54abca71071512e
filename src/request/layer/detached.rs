//! A handler that goes on when its client has gone.

use std::{future::poll_fn, pin::Pin, task::Poll};

use tokio::runtime::Handle;
use tracing::{Instrument as _, Span};

use crate::idempotency::Applicant;

/// A future that goes on in a task of its own if its caller drops it, such as when a client hangs
/// up. A client that hangs up because it waited too long will retry.
pub(super) struct Detached<F: Future<Output: Send> + Send + 'static> {
    /// `None` while the future is polled, so that a future that panics is not polled again.
    future: Option<Pin<Box<F>>>,
    /// It may be dropped outside of the runtime. Without one, it ends when it is dropped.
    runtime: Option<Handle>,
    /// The span of the request, which differs from the span in which it is given up.
    span: Span,
    /// Asks for a place among those that may go on; without one, it is dropped. `None` if it was
    /// counted before.
    applicant: Option<Applicant>,
}

impl<F: Future<Output: Send> + Send + 'static> Detached<F> {
    pub(super) fn new(future: F, applicant: Option<Applicant>) -> Self {
        Self {
            future: Some(Box::pin(future)),
            runtime: Handle::try_current().ok(),
            span: Span::current(),
            applicant,
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

impl<F: Future<Output: Send> + Send + 'static> Drop for Detached<F> {
    fn drop(&mut self) {
        let (Some(future), Some(runtime)) = (self.future.take(), &self.runtime) else {
            return;
        };
        // No place is needed, or one is taken.
        let place = match self.applicant.take() {
            None => Some(None),
            Some(applicant) => applicant.take().map(Some),
        };
        if let Some(place) = place {
            let going_on = async move {
                drop(future.await);
                drop(place);
            };
            runtime.spawn(going_on.instrument(self.span.clone()));
        }
    }
}
