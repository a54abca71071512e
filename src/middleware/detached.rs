//! `Processing::Retryable`: a handler that runs under a lease, detached from its connection.

use std::{
    future::poll_fn,
    panic,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use http::Response;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tracing::Instrument as _;

use crate::{
    nonce::Held,
    rejection::{Rejection, RejectionKind},
    verify::Lease,
};

/// Runs the handler in a task of its own, in the span in which the request is.
pub(super) fn spawn<F, R, E>(handling: F, lease: Lease) -> JoinHandle<F::Output>
where
    F: Future<Output = Result<Response<R>, E>> + Send + 'static,
    R: Send + 'static,
    E: Send + 'static,
{
    tokio::spawn(handle(handling, lease).in_current_span())
}

/// Runs the handler, renews its lease meanwhile, and then completes or releases it.
///
/// A handler that panics, or answers with an error instead of a response, leaves its outcome
/// unknown: the lease is left to end by itself.
async fn handle<F, R, E>(handling: F, lease: Lease) -> Result<Response<R>, E>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    let result = while_renewing(handling, &lease).await;
    if let Ok(response) = &result {
        if response.status().is_success() {
            complete(lease).await;
        } else if let Err(error) = lease.release().await {
            tracing::warn!(%error, "a lease was not released; it ends by itself");
        }
    }
    result
}

async fn while_renewing<F: Future>(handling: F, lease: &Lease) -> F::Output {
    let mut handling = pin!(handling);
    let mut renewing = pin!(renew_for_ever(lease));
    poll_fn(|cx| {
        if let Poll::Ready(output) = handling.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        renewing.as_mut().poll(cx).map(|never| match never {})
    })
    .await
}

async fn renew_for_ever(lease: &Lease) -> std::convert::Infallible {
    let mut due = interval(lease.duration() / 3);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    due.tick().await;
    loop {
        due.tick().await;
        match lease.renew().await {
            Ok(Held::Done) => {}
            Ok(Held::Lost) => tracing::error!(
                "a handler outlived its lease, and a copy of its request may be running: is the \
                 lease too short for the store's pauses?"
            ),
            Err(error) => tracing::warn!(%error, "a lease was not renewed; trying again"),
        }
    }
}

/// Records the completion before the answer leaves. If the store does not take it, the answer
/// leaves all the same, for what was done is done; the store is asked again, and the lease renewed
/// meanwhile.
async fn complete(lease: Lease) {
    if is_recorded(&lease).await {
        return;
    }
    let trying_again = async move {
        while_renewing(complete_in_the_end(&lease), &lease).await;
    };
    tokio::spawn(trying_again.in_current_span());
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
    match lease.complete().await {
        Ok(Held::Done) => true,
        Ok(Held::Lost) => {
            tracing::error!("a handler outlived its lease; its completion was not recorded");
            true
        }
        Err(error) => {
            tracing::warn!(%error, "a completion was not recorded; trying again");
            false
        }
    }
}

/// How a detached handler ended.
pub(super) enum DetachedResponse<T> {
    /// With an answer.
    Answered(T),
    /// With its runtime.
    Cancelled(Rejection),
}

/// Waits for a detached handler; its panic goes on here, as if it had not been detached.
pub(super) fn poll<T>(
    handling: &mut JoinHandle<T>,
    cx: &mut Context<'_>,
) -> Poll<DetachedResponse<T>> {
    Pin::new(handling).poll(cx).map(|joined| match joined {
        Ok(output) => DetachedResponse::Answered(output),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            Err(_) => DetachedResponse::Cancelled(Rejection::new(
                RejectionKind::StoreUnavailable,
                "the handler was cancelled with its runtime; its outcome is unknown",
            )),
        },
    })
}
