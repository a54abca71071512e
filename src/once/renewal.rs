//! Keeps a hold in a task of its own: renews it while its handler runs, whatever the handler does
//! to its thread, and then ends it. A lease on a request is such a hold, and so is the key of an
//! intention.

use std::{
    convert::Infallible,
    future::{self, pending, poll_fn},
    panic::catch_unwind,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::StatusCode;
use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tracing::Instrument as _;

use super::{lease::Lease, store::StepOutcome};
use crate::error::{Fault, FaultKind, StoreError, StoreErrorKind, in_full};

/// The answer of a store to one step of a hold.
pub(crate) type Step = Result<StepOutcome, StoreError>;

/// A hold of a store for a handler, until it is ended or was not renewed in time.
pub(crate) trait Hold: Send + Sync + 'static {
    /// How it is ended.
    type End: Send + Sync + 'static;

    /// Its name in the log.
    const NAME: &'static str;

    /// Returns how long each renewal holds.
    fn duration(&self) -> Duration;

    fn renew(&self) -> impl Future<Output = Step> + Send;

    /// Tries to end it.
    fn end(&self, end: &Self::End) -> impl Future<Output = Step> + Send;

    /// Returns whether a retry depends on this end: the store is told again for a while if it
    /// fails.
    fn is_told_again(end: &Self::End) -> bool;

    /// Returns how it is ended if nobody says so: `None` leaves it to end by itself.
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
pub(crate) struct Kept<E> {
    held: Arc<dyn Ends<E>>,
    keeper: oneshot::Sender<Settlement<E>>,
    /// The runtime of the keeper.
    runtime: runtime::Id,
}

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

enum Settlement<E> {
    /// It is ended.
    Done,
    /// It is to be ended so.
    Ending {
        ending: Ending<E>,
        /// Dropped once the store was asked.
        asked: oneshot::Sender<Infallible>,
    },
}

/// A hold, and whose turn it is: it is never renewed and ended at once, so that no renewal finds it
/// ended and takes it for lost.
pub(super) struct Held<H> {
    hold: H,
    /// Whether it is being renewed, or is ended in place.
    is_taken: AtomicBool,
}

impl<H: Hold> Held<H> {
    pub(super) fn new(hold: H) -> Self {
        Self {
            hold,
            is_taken: AtomicBool::new(false),
        }
    }

    /// Renews it, if nobody has begun to end it; then it waits forever.
    async fn renew(&self) -> Step {
        if !self.take_turn() {
            return pending().await;
        }
        let renewed = self.hold.renew().await;
        self.leave_turn();
        renewed
    }

    pub(super) fn leave_turn(&self) {
        self.is_taken.store(false, Ordering::Release);
    }
}

/// Any hold that is ended in this way.
pub(super) trait Ends<E>: Send + Sync {
    /// Returns whether the turn was free, and now is the caller's.
    fn take_turn(&self) -> bool;

    fn begin(self: Arc<Self>, end: E) -> Ending<E>;
}

/// Tries to end a hold, and says how.
pub(super) type Ending<E> = Pin<Box<dyn Future<Output = (Step, E)> + Send>>;

impl<H: Hold> Ends<H::End> for Held<H> {
    fn take_turn(&self) -> bool {
        !self.is_taken.swap(true, Ordering::AcqRel)
    }

    fn begin(self: Arc<Self>, end: H::End) -> Ending<H::End> {
        Box::pin(async move {
            let step = self.hold.end(&end).await;
            (step, end)
        })
    }
}

/// Resolves once the store was asked to record an outcome, and has answered or failed.
pub(crate) struct Settled(Option<oneshot::Receiver<Infallible>>);

impl Future for Settled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            None => Poll::Ready(()),
            // It ends without a value.
            Some(answered) => Pin::new(answered).poll(cx).map(|_| ()),
        }
    }
}

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
        let held = Arc::new(Held::new(hold));
        let (keeper, settled) = oneshot::channel();
        tokio::spawn(keep(Arc::clone(&held), settled).in_current_span());
        let here = Handle::current();
        // The runtime may leave the task that was spawned last to this thread alone, which the
        // handler may block: the keeper is not the last, where another thread can take it.
        if here.metrics().num_workers() > 1 {
            tokio::spawn(async {});
        }
        Self {
            held,
            keeper,
            runtime: here.id(),
        }
    }

    /// Ends the hold, also if nobody waits for it.
    ///
    /// A store that has its answer at hand is not waited for, so that the request is not put to
    /// sleep and woken again. The keeper asks the store while it renews the hold, and where its
    /// runtime is not at hand, as when a body is taken elsewhere.
    pub(crate) fn settle(self, end: E) -> Settled {
        let is_here = Handle::try_current().is_ok_and(|here| here.id() == self.runtime);
        if !is_here || !self.held.take_turn() {
            return self.settle_later(end);
        }
        let Self { held, keeper, .. } = self;
        let mut ending = held.begin(end);
        let mut cx = Context::from_waker(Waker::noop());
        match ending.as_mut().poll(&mut cx) {
            Poll::Ready((Ok(StepOutcome::Done), _)) => {
                // It may have ended with its runtime.
                let _ = keeper.send(Settlement::Done);
                return Settled(None);
            }
            Poll::Ready(failed) => ending = Box::pin(future::ready(failed)),
            // The keeper polls it on.
            Poll::Pending => {}
        }
        settle_later(keeper, ending)
    }

    /// The same, by the keeper in any case.
    pub(crate) fn settle_later(self, end: E) -> Settled {
        settle_later(self.keeper, self.held.begin(end))
    }
}

fn settle_later<E>(keeper: oneshot::Sender<Settlement<E>>, ending: Ending<E>) -> Settled {
    let (asked, answered) = oneshot::channel();
    if keeper.send(Settlement::Ending { ending, asked }).is_err() {
        tracing::error!(
            "nobody was left to record an outcome, because the runtime has ended or the task \
             has panicked: the hold ends by itself, and a retry may run again"
        );
    }
    Settled(Some(answered))
}

async fn keep<H: Hold>(held: Arc<Held<H>>, settled: oneshot::Receiver<Settlement<H::End>>) {
    let (ending, asked) = match while_renewing(settled, &held, outlived::<H>).await {
        Ok(Settlement::Done) => return,
        Ok(Settlement::Ending { ending, asked }) => (ending, Some(asked)),
        Err(_) => match H::cut_off() {
            Some(end) => (Arc::clone(&held).begin(end), None),
            None => return,
        },
    };
    // From here on, this task alone asks.
    held.leave_turn();
    let name = H::NAME;
    let (step, end) = ending.await;
    match step {
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
            // Boxed, so that what few holds need makes the task no larger for all.
            Box::pin(while_renewing(tell_again(&held.hold, &end), &held, || {})).await;
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
    held: &Held<impl Hold>,
    when_lost: impl Fn(),
) -> F::Output {
    let mut awaited = pin!(awaited);
    // A future that is ready at once needs no timer, and no room for it.
    let mut renewing = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = awaited.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        let renewing = renewing.get_or_insert_with(|| Box::pin(renew_for_ever(held, &when_lost)));
        renewing.as_mut().poll(cx).map(|never| match never {})
    })
    .await
}

pub(super) async fn renew_for_ever<H: Hold>(held: &Held<H>, when_lost: impl Fn()) -> Infallible {
    let name = H::NAME;
    let mut due = interval(held.hold.duration() / 3);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    due.tick().await;
    loop {
        due.tick().await;
        match held.renew().await {
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
