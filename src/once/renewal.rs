//! Keeps a hold in a task of its own: renews it while its handler runs, whatever the handler does
//! to its thread, and then ends it. A lease on a request is such a hold, and so is the key of an
//! intention.

use std::{
    convert::Infallible, future::poll_fn, panic::catch_unwind, pin::pin, task::Poll, time::Duration,
};

use http::StatusCode;
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tracing::Instrument as _;

use super::{lease::Lease, store::StepOutcome};
use crate::error::{Fault, FaultKind, StoreError, StoreErrorKind, in_full};

/// The answer of a store to one step of a hold.
pub(crate) type Step = Result<StepOutcome, StoreError>;

/// What a store holds for a handler, until it is ended or was not renewed in time.
pub(crate) trait Hold: Send + Sync + 'static {
    /// How it is ended.
    type End: Send + Sync + 'static;

    /// Its name in the log.
    const NAME: &'static str;

    /// How long each renewal holds.
    fn duration(&self) -> Duration;

    fn renew(&self) -> impl Future<Output = Step> + Send;

    /// Tries to end it.
    fn end(&self, end: &Self::End) -> impl Future<Output = Step> + Send;

    /// Whether a retry depends on this end: the store is told again for a while if it fails.
    fn is_told_again(end: &Self::End) -> bool;

    /// How it is ended if nobody says so: `None` leaves it to end by itself.
    fn cut_off() -> Option<Self::End>;
}

impl Hold for Lease {
    type End = Handled;

    const NAME: &'static str = "lease";

    fn duration(&self) -> Duration {
        self.duration()
    }

    async fn renew(&self) -> Step {
        self.renew().await
    }

    async fn end(&self, end: &Handled) -> Step {
        match end {
            Handled::Completed => self.complete().await,
            Handled::Released => self.release().await,
        }
    }

    /// A lease that is not released ends by itself, and the request may run again.
    fn is_told_again(end: &Handled) -> bool {
        *end == Handled::Completed
    }

    /// The outcome is unknown.
    fn cut_off() -> Option<Handled> {
        None
    }
}

/// A hold that is being kept. If it is dropped, its handler was cut off.
pub(crate) struct Kept<E>(oneshot::Sender<Settlement<E>>);

pub(crate) type KeptLease = Kept<Handled>;

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

struct Settlement<E> {
    end: E,
    /// Dropped once the store was asked.
    asked: oneshot::Sender<Infallible>,
}

/// Resolves once the store was asked to record an outcome, and has answered or failed.
pub(crate) type Settled = oneshot::Receiver<Infallible>;

/// Checks that a hold can be kept here: to be asked before anything is claimed.
///
/// # Errors
/// Returns an error outside of a Tokio runtime, and in one without its timer.
pub(crate) fn can_be_kept() -> Result<(), Fault> {
    let detail = match Handle::try_current() {
        Err(_) => "the request came outside of a Tokio runtime, in which it would be held",
        // Nothing but this panic tells whether a runtime has a timer.
        Ok(_) if catch_unwind(|| drop(sleep(Duration::ZERO))).is_err() => {
            "the request came in a Tokio runtime without a timer, and could not be held: build the \
             runtime with `enable_time`"
        }
        Ok(_) => return Ok(()),
    };
    let kind = FaultKind::Store(StoreErrorKind::Misconfigured);
    Err(Fault::new(kind, detail))
}

impl<E: Send + Sync + 'static> Kept<E> {
    /// One task for each hold: none waits for another's store, or fails with it.
    pub(crate) fn new<H: Hold<End = E>>(hold: H) -> Self {
        let (settle, settled) = oneshot::channel();
        tokio::spawn(keep(hold, settled).in_current_span());
        // The runtime may leave the task that was spawned last to this thread alone, which the
        // handler may block: the keeper is not the last.
        tokio::spawn(async {});
        Self(settle)
    }

    /// Ends the hold, also if nobody waits for it.
    pub(crate) fn settle(self, end: E) -> Settled {
        let (asked, answered) = oneshot::channel();
        if self.0.send(Settlement { end, asked }).is_err() {
            tracing::error!(
                "nobody was left to record an outcome, because the runtime has ended or the task \
                 has panicked: the hold ends by itself, and a retry may run again"
            );
        }
        answered
    }
}

async fn keep<H: Hold>(hold: H, settled: oneshot::Receiver<Settlement<H::End>>) {
    let (end, asked) = match while_renewing(settled, &hold, outlived::<H>).await {
        Ok(Settlement { end, asked }) => (end, Some(asked)),
        Err(_) => match H::cut_off() {
            Some(end) => (end, None),
            None => return,
        },
    };
    let name = H::NAME;
    match hold.end(&end).await {
        Ok(StepOutcome::Done) => {}
        Ok(StepOutcome::Lost) => {
            if H::is_told_again(&end) {
                tracing::error!("a handler outlived its {name}; its outcome was not recorded");
            }
        }
        Err(error) => {
            let error = in_full(&error);
            if !H::is_told_again(&end) {
                tracing::warn!(error, "a {name} was not released; it ends by itself");
                return;
            }
            tracing::warn!(
                error,
                "the outcome under a {name} was not recorded; trying again"
            );
            // The answer leaves all the same, because what was done is done.
            drop(asked);
            while_renewing(tell_again(&hold, &end), &hold, || {}).await;
        }
    }
}

fn outlived<H: Hold>() {
    let name = H::NAME;
    tracing::error!(
        "a handler outlived its {name}, and a duplicate of its request may be running: is the \
         lease too short for the store's pauses?"
    );
}

async fn while_renewing<F: Future>(
    awaited: F,
    hold: &impl Hold,
    when_lost: impl Fn(),
) -> F::Output {
    let mut awaited = pin!(awaited);
    // One that is ready at once needs no timer.
    let mut renewing = pin!(renew_for_ever(hold, when_lost));
    poll_fn(|cx| {
        if let Poll::Ready(output) = awaited.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        renewing.as_mut().poll(cx).map(|never| match never {})
    })
    .await
}

async fn renew_for_ever<H: Hold>(hold: &H, when_lost: impl Fn()) -> Infallible {
    let name = H::NAME;
    let mut due = interval(hold.duration() / 3);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    due.tick().await;
    loop {
        due.tick().await;
        match hold.renew().await {
            Ok(StepOutcome::Done) => {}
            Ok(StepOutcome::Lost) => when_lost(),
            Err(error) => {
                let error = in_full(&error);
                tracing::warn!(error, "a {name} was not renewed; trying again");
            }
        }
    }
}

async fn tell_again<H: Hold>(hold: &H, end: &H::End) {
    let name = H::NAME;
    let tell = || async {
        match hold.end(end).await {
            Ok(StepOutcome::Done) => true,
            Ok(StepOutcome::Lost) => {
                tracing::warn!(
                    "a {name} was lost before its outcome was recorded, and its request may have \
                     run twice; or an earlier try recorded it without an answer"
                );
                true
            }
            Err(error) => {
                let error = in_full(&error);
                tracing::warn!(
                    error,
                    "the outcome under a {name} was not recorded; trying again"
                );
                false
            }
        }
    };
    if !until(tell, Duration::from_secs(20), hold.duration() / 3).await {
        tracing::error!(
            "the outcome under a {name} was never recorded: a retry would run again, or find it \
             unknown"
        );
    }
}

/// Asks again and again until the answer is yes, or this time is up: after a tenth of a second, and
/// then after longer and longer pauses.
pub(crate) async fn until<F: Future<Output = bool>>(
    mut ask: impl FnMut() -> F,
    time: Duration,
    longest_pause: Duration,
) -> bool {
    let end = Instant::now() + time;
    let mut pause = Duration::from_millis(100);
    while Instant::now() < end {
        sleep(pause).await;
        if ask().await {
            return true;
        }
        pause = (pause * 2).min(longest_pause);
    }
    false
}
