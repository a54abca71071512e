//! A lease: the right to handle a request, and whether it is still held.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    claim::Claim,
    outcome::Subject,
    store::{LeaseOutcome, LeaseStore, NonceStore, StepOutcome},
};
use crate::{
    error::StoreError,
    future::{self, StoreFuture, within},
    lock::lock,
};

/// The right to handle a request, for as long as it is renewed. Its steps wait for the store, on a
/// Tokio runtime with its timer.
///
/// It counts as one of the handlers that [may run](crate::request::VerifierBuilder::max_running)
/// until it is dropped. Dropping it does nothing else: the outcome is then unknown, the lease ends
/// by itself, and the request may run again.
#[must_use = "complete or release it, or nobody may handle a duplicate until it ends"]
pub struct Lease(Box<Leased>);

/// Boxed, because a lease is handed on, and what hands it on has room for it also where none is taken.
struct Leased {
    store: Arc<dyn NonceStore>,
    claim: Claim,
    duration: Duration,
    timeout: Duration,
    status: LeaseStatus,
    /// Counts the handler among those that run.
    running: Option<OwnedSemaphorePermit>,
    /// Told once the completion is recorded.
    subject: Subject,
    /// Dropped with it, once the store was told how it ended.
    until_settled: Option<UntilSettled>,
    /// On what is used together with the request: each step is that of all.
    beside: Vec<Lease>,
    is_completed: AtomicBool,
}

impl Lease {
    /// Makes a lease that is not held yet.
    pub(super) fn new(
        store: Arc<dyn NonceStore>,
        claim: Claim,
        duration: Duration,
        store_timeout: Duration,
        subject: Subject,
    ) -> Self {
        Self(Box::new(Leased {
            store,
            claim,
            duration,
            // So that a slow answer still leaves a lease to renew.
            timeout: store_timeout.min(duration / 3),
            status: LeaseStatus(Arc::default()),
            until_settled: None,
            running: None,
            subject,
            beside: Vec::new(),
            is_completed: AtomicBool::new(false),
        }))
    }

    /// Another lease in the same store, on the same terms; not yet held.
    pub(super) fn beside(&self, claim: Claim) -> Self {
        let (store, duration) = (Arc::clone(&self.0.store), self.0.duration);
        Self::new(store, claim, duration, self.0.timeout, Subject::default())
    }

    /// From now on, these are renewed, completed and released with this one.
    pub(super) fn keep_beside(&mut self, beside: Vec<Self>) {
        self.0.beside = beside;
    }

    /// Counts the handler among those that run, until the lease is dropped or the permit is taken.
    pub(crate) fn count_running(&mut self, permit: OwnedSemaphorePermit) {
        self.0.running = Some(permit);
    }

    /// Holds this until the lease has ended.
    pub(crate) fn hold(&mut self, held: Option<UntilSettled>) {
        self.0.until_settled = held;
    }

    /// To be dropped when the handler has ended, which may be before the lease has.
    pub(crate) fn take_running(&mut self) -> Option<OwnedSemaphorePermit> {
        self.0.running.take()
    }

    pub(super) async fn take(&self) -> Result<LeaseOutcome, StoreError> {
        let asked = Instant::now();
        let leased = self.ask(|store| store.lease(&self.0.claim, self.0.duration));
        let leased = leased.await?;
        if leased == LeaseOutcome::Held {
            self.0
                .status
                .set(Standing::HeldUntil(asked + self.0.duration));
        }
        Ok(leased)
    }

    pub(super) fn claim(&self) -> &Claim {
        &self.0.claim
    }

    /// Returns how long each renewal holds.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.0.duration
    }

    /// Returns the status that a handler can ask, from any thread, whether the lease is still held.
    #[must_use]
    pub fn status(&self) -> LeaseStatus {
        self.0.status.clone()
    }

    /// Holds the lease for its full duration from now.
    ///
    /// # Errors
    /// Returns an error if the store gives no answer.
    pub async fn renew(&self) -> Result<StepOutcome, StoreError> {
        let asked = Instant::now();
        let own = self.ask(|store| store.renew(&self.0.claim, self.0.duration));
        // At once, so that the last one does not end while the others are renewed.
        let (own, beside) = future::both(own, renew_all(&self.0.beside)).await;
        let held = both(own?, beside?);
        self.0.status.set(match held {
            StepOutcome::Done => Standing::HeldUntil(asked + self.0.duration),
            StepOutcome::Lost => Standing::NotHeld,
        });
        Ok(held)
    }

    /// Records that the request was handled: duplicates are refused, or acknowledged, from now on.
    ///
    /// If the response is streamed, call this when its body has come to its end.
    ///
    /// # Errors
    /// Returns an error if the store gives no answer; it is then unknown whether this was recorded,
    /// and worth trying again.
    pub async fn complete(&self) -> Result<StepOutcome, StoreError> {
        let mut held = StepOutcome::Done;
        for lease in &self.0.beside {
            // Boxed, because it is the same step.
            held = both(held, Box::pin(lease.complete()).await?);
        }
        // A lease that is completed can be completed no more: the next try is about the others.
        if !self.0.is_completed.load(Ordering::Acquire) {
            let own = self.ask(|store| store.complete(&self.0.claim)).await?;
            self.0
                .is_completed
                .store(own == StepOutcome::Done, Ordering::Release);
            held = both(held, own);
        }
        self.0.status.set(Standing::Ended);
        if held == StepOutcome::Done {
            self.0.subject.used();
        }
        Ok(held)
    }

    /// Gives the request back, because it was not handled: the next duplicate may be.
    ///
    /// # Errors
    /// Returns an error if the store gives no answer; the lease then ends by itself.
    pub async fn release(&self) -> Result<StepOutcome, StoreError> {
        // Another attempt may hold it as soon as the store was asked, answered or not.
        self.0.status.set(Standing::Ended);
        let mut beside = Ok(StepOutcome::Done);
        for lease in self.0.beside.iter().rev() {
            beside = Box::pin(lease.release()).await.and(beside);
        }
        let released = self.ask(|store| store.release(&self.0.claim)).await?;
        beside.map(|_| released)
    }

    fn ask<'a, T: Send + 'a>(
        &'a self,
        step: impl FnOnce(&'a dyn LeaseStore) -> StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        within(self.0.timeout, || match self.0.store.leases() {
            Some(leases) => step(leases),
            None => StoreFuture::ready(Err(StoreError::unavailable("the store has no leases"))),
        })
    }
}

/// Renews all at once.
async fn renew_all(leases: &[Lease]) -> Result<StepOutcome, StoreError> {
    let Some((first, others)) = leases.split_first() else {
        return Ok(StepOutcome::Done);
    };
    let renewing = future::both(Box::pin(first.renew()), Box::pin(renew_all(others)));
    let (first, others) = renewing.await;
    Ok(both(first?, others?))
}

/// Returns what became of a lease after two steps: a loss stays a loss.
fn both(one: StepOutcome, other: StepOutcome) -> StepOutcome {
    match one {
        StepOutcome::Done => other,
        lost => lost,
    }
}

/// Something that is held until what became of a request is on record, as an extension of the request.
///
/// With [`Processing::Retryable`](crate::Processing::Retryable), a store may be told how a request ended
/// after its response has left, or after its client has gone. A server that waits at its end until all
/// of these are dropped loses no outcome. With another processing, nothing is held.
///
/// ```
/// use countersign::request::UntilSettled;
/// use tokio::sync::RwLock;
/// # use std::sync::Arc;
///
/// # async fn f(mut request: http::Request<()>) {
/// let running = Arc::new(RwLock::new(()));
/// let handled = Arc::clone(&running).read_owned().await;
/// request.extensions_mut().insert(UntilSettled::new(handled));
/// // At the end of the process, after the server has taken its last request:
/// drop(running.write().await);
/// # }
/// ```
#[derive(Clone)]
pub struct UntilSettled(#[expect(dead_code, reason = "it is held")] Arc<dyn Any + Send + Sync>);

impl UntilSettled {
    /// Holds this.
    #[must_use]
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self(Arc::new(held))
    }
}

impl fmt::Debug for UntilSettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UntilSettled")
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Lease({:?}, {:?})",
            self.0.claim.attempt(),
            self.0.duration
        )
    }
}

/// Tells a handler whether the lease on its request is still held.
///
/// With [`Processing::Retryable`](crate::Processing::Retryable) the layer puts it into the
/// request's extensions, and Axum's handlers extract it. The layer renews the lease in a task
/// outside the handler. No task can do so while every thread of the runtime is blocked, or while
/// the store is down for as long as the lease lasts. A handler that may meet either asks right
/// before its effect, and gives up when the lease is lost:
///
/// ```
/// use countersign::{layer::LeaseStatus, VerifiedPayload};
/// use http::StatusCode;
/// # fn render(_: &[u8]) -> Vec<u8> { Vec::new() }
/// # async fn send(_: Vec<u8>) {}
///
/// async fn print(lease: LeaseStatus, payload: VerifiedPayload) -> StatusCode {
///     // Work that blocks belongs on a thread of its own:
///     let page = tokio::task::spawn_blocking(move || render(payload.bytes()));
///     let Ok(page) = page.await else {
///         return StatusCode::INTERNAL_SERVER_ERROR;
///     };
///     if !lease.is_held() {
///         // A duplicate may be at work. The sender retries.
///         return StatusCode::SERVICE_UNAVAILABLE;
///     }
///     send(page).await;
///     StatusCode::OK
/// }
/// ```
#[derive(Clone)]
pub struct LeaseStatus(Arc<Mutex<Standing>>);

#[derive(Clone, Copy, Default)]
enum Standing {
    /// The lease is not taken yet, or is lost.
    #[default]
    NotHeld,
    HeldUntil(Instant),
    /// Completed or released. It remains so: the answer to a renewal may be late.
    Ended,
}

impl LeaseStatus {
    /// Returns whether the lease is still held, without asking the store.
    ///
    /// It is held for its duration from the moment at which the store was last asked to take or
    /// renew it, and did so. It is not held once the store has said that it was lost, nor after the
    /// request was completed or released. The time is that of this process's monotonic clock, which
    /// stops on some systems while the machine is suspended.
    #[must_use]
    pub fn is_held(&self) -> bool {
        match *lock(&self.0) {
            Standing::HeldUntil(until) => Instant::now() < until,
            Standing::NotHeld | Standing::Ended => false,
        }
    }

    fn set(&self, standing: Standing) {
        let mut known = lock(&self.0);
        if !matches!(*known, Standing::Ended) {
            *known = standing;
        }
    }
}

impl fmt::Debug for LeaseStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_held() {
            "LeaseStatus(held)"
        } else {
            "LeaseStatus(lost)"
        })
    }
}
