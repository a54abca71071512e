//! Seats: each upstream has a number of them, and a request takes one before it is forwarded. An
//! upstream that hangs takes no seat of another.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Whose request it is: strangers can send any number to a route that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// A verified sender.
    Known,
    /// An application of our own.
    Application,
    Anybody,
}

/// The seats of an upstream. Each kind of requests has as many of its own: strangers take none from
/// others.
#[derive(Debug)]
pub(super) struct Seats {
    known: Arc<Semaphore>,
    anybody: Arc<Semaphore>,
    application: Arc<Semaphore>,
}

/// The seat of a request: from the moment at which nothing but its upstream and the store are
/// waited for, until the last piece of its answer was read.
#[derive(Debug)]
pub(super) struct Seat(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl Seats {
    pub(super) fn new(requests: usize) -> Self {
        let seats = || Arc::new(Semaphore::new(requests));
        Self {
            known: seats(),
            anybody: seats(),
            application: seats(),
        }
    }

    /// A seat for a request, if there is one.
    pub(super) fn take(&self, of: Of) -> Option<Seat> {
        let kind = match of {
            Of::Known => &self.known,
            Of::Anybody => &self.anybody,
            Of::Application => &self.application,
        };
        Arc::clone(kind).try_acquire_owned().ok().map(Seat)
    }
}
