//! Keeps a lease in a task of its own: renews it while its handler runs, whatever the handler does
//! to its thread, and then completes or releases it.

use std::{
    convert::Infallible,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
    time::Duration,
};

use http::StatusCode;
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tracing::Instrument as _;

use super::{lease::Lease, store::StepOutcome};
use crate::error::{StoreError, in_full};

/// A lease that is being kept. If it is dropped, the outcome is unknown: the lease is left to end
/// by itself.
pub(crate) struct KeptLease(oneshot::Sender<Settlement>);

/// How the handling of a request came out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handled {
    Completed,
    Released,
}

impl Handled {
    /// By the status of the answer; a success counts once its body has come to its end. A switch of
    /// protocols has its effect: the connection goes on.
    pub(crate) fn by(status: StatusCode) -> Self {
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            Self::Completed
        } else {
            Self::Released
        }
    }
}

pub(super) struct Settlement {
    outcome: Handled,
    /// Dropped once the store was asked.
    asked: oneshot::Sender<Infallible>,
}

/// Resolves once the store was asked to record an outcome, and has answered or failed.
pub(crate) type Settled = oneshot::Receiver<Infallible>;

impl KeptLease {
    /// One task for each lease: none waits for another's store, or fails with it.
    pub(crate) fn new(lease: Lease) -> Self {
        let (settle, settled) = oneshot::channel();
        tokio::spawn(keep(lease, settled).in_current_span());
        Self(settle)
    }

    /// Completes or releases the lease, also if nobody waits for it.
    pub(crate) fn settle(self, outcome: Handled) -> Settled {
        let (asked, answered) = oneshot::channel();
        // The keeper is gone only with its runtime: then the lease ends by itself.
        let _ = self.0.send(Settlement { outcome, asked });
        answered
    }
}

async fn keep(lease: Lease, settled: oneshot::Receiver<Settlement>) {
    let Ok(Settlement { outcome, asked }) = while_renewing(settled, &lease).await else {
        return;
    };
    match outcome {
        Handled::Released => {
            if let Err(error) = unless_it_panics(lease.release()).await {
                let error = in_full(&error);
                tracing::warn!(error, "a lease was not released; it ends by itself");
            }
        }
        Handled::Completed => {
            if !is_recorded(&lease).await {
                // The answer leaves all the same, for what was done is done.
                drop(asked);
                while_renewing(complete_in_the_end(&lease), &lease).await;
            }
        }
    }
}

async fn while_renewing<F: Future>(awaited: F, lease: &Lease) -> F::Output {
    let mut awaited = pin!(awaited);
    let mut renewing = pin!(renew_for_ever(lease));
    poll_fn(|cx| {
        if let Poll::Ready(output) = awaited.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        renewing.as_mut().poll(cx).map(|never| match never {})
    })
    .await
}

async fn renew_for_ever(lease: &Lease) -> Infallible {
    let mut due = interval(lease.duration() / 3);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    due.tick().await;
    loop {
        due.tick().await;
        match unless_it_panics(lease.renew()).await {
            Ok(StepOutcome::Done) => {}
            Ok(StepOutcome::Lost) => tracing::error!(
                "a handler outlived its lease, and a copy of its request may be running: is the \
                 lease too short for the store's pauses?"
            ),
            Err(error) => {
                let error = in_full(&error);
                tracing::warn!(error, "a lease was not renewed; trying again");
            }
        }
    }
}

async fn complete_in_the_end(lease: &Lease) {
    let end = Instant::now() + Duration::from_secs(20);
    let mut wait = Duration::from_millis(100);
    while Instant::now() < end {
        sleep(wait).await;
        if is_recorded(lease).await {
            return;
        }
        // As often as a renewal: a store that comes back must not find the lease ended.
        wait = (wait * 2).min(lease.duration() / 3);
    }
    tracing::error!("a completion was never recorded: a copy of the request would run again");
}

async fn is_recorded(lease: &Lease) -> bool {
    match unless_it_panics(lease.complete()).await {
        Ok(StepOutcome::Done) => true,
        Ok(StepOutcome::Lost) => {
            tracing::error!("a handler outlived its lease; its completion was not recorded");
            true
        }
        Err(error) => {
            let error = in_full(&error);
            tracing::warn!(error, "a completion was not recorded; trying again");
            false
        }
    }
}

/// A store that panics once must not end the renewals.
async fn unless_it_panics(
    step: impl Future<Output = Result<StepOutcome, StoreError>>,
) -> Result<StepOutcome, StoreError> {
    let mut step = pin!(step);
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| step.as_mut().poll(cx)))
            .unwrap_or_else(|_| Poll::Ready(Err(StoreError::unavailable("the store panicked"))))
    })
    .await
}
