//! A key that is held while its handler runs, and what becomes of it.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tracing::Instrument as _;

use super::{answer::StoredAnswer, settings::Settings};
use crate::{
    error::{Rejection, StoreError, StoreErrorKind, in_full},
    future::within,
    once::{AnswerClaim, AnswerOutcome, StepOutcome},
};

/// A key that is asked for, or held. If it is dropped before it is recorded or released, its handler
/// was cut off: the lease is ended at once, so that nobody waits for it. If no handler has begun,
/// the key is taken back instead.
#[derive(Debug)]
pub(crate) struct Held {
    settings: Arc<Settings>,
    pub(super) claim: AnswerClaim,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The claim may be made or not, and no handler runs for it.
    Asked,
    Claimed,
    Settled,
}

/// For how long an answer is offered to a store that fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// For how long a claim that was given up may still be carried out: longer than a store of this
/// crate lets a statement wait.
const LANDING: Duration = Duration::from_secs(40);

impl Held {
    /// A key that is about to be claimed.
    pub(super) fn asked(settings: Arc<Settings>, claim: AnswerClaim) -> Self {
        Self {
            settings,
            claim,
            state: State::Asked,
        }
    }

    /// The claim was made, and its handler may run.
    pub(super) fn claimed(mut self) -> Self {
        self.state = State::Claimed;
        self
    }

    /// Renews the lease until `awaited` is ready. One that is ready at once needs no timer.
    pub(crate) async fn while_renewing<F: Future>(&self, awaited: F) -> F::Output {
        let mut awaited = pin!(awaited);
        let mut renewing = None;
        poll_fn(|context| {
            if let Poll::Ready(output) = awaited.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            let renewing = renewing.get_or_insert_with(|| Box::pin(self.renew_for_ever()));
            // It never ends.
            let _ = renewing.as_mut().poll(context);
            Poll::Pending
        })
        .await
    }

    async fn renew_for_ever(&self) {
        let lease = self.settings.lease;
        let mut due = interval(lease / 3);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        due.tick().await;
        loop {
            due.tick().await;
            let renewing = self.settings.store.renew(&self.claim, lease);
            match within(self.settings.timeout, renewing).await {
                Ok(StepOutcome::Done) => {}
                Ok(StepOutcome::Lost) => tracing::error!(
                    "a handler outlived its hold on an `Idempotency-Key`, which is another's now"
                ),
                Err(error) => {
                    let error = in_full(&error);
                    tracing::warn!(error, "a hold was not renewed; trying again");
                }
            }
        }
    }

    /// Records the answer. If the store has no room for its body, it is recorded without; if the
    /// store fails, it is offered again for a while, by a task of its own.
    pub(crate) async fn record(mut self, answer: StoredAnswer) {
        self.state = State::Settled;
        let mut recorded = self.offer(&answer).await;
        if let Err(error) = &recorded
            && matches!(
                error.kind(),
                StoreErrorKind::Full | StoreErrorKind::KeyOverQuota
            )
        {
            recorded = self.offer(&answer.without_body()).await;
        }
        match recorded {
            Ok(StepOutcome::Done) => {}
            Ok(StepOutcome::Lost) => tracing::error!(
                "a handler outlived its hold on an `Idempotency-Key`; its answer was not recorded"
            ),
            Err(error) => {
                let error = in_full(&error);
                tracing::error!(error, "an answer was not recorded; trying again");
                later(self.record_in_the_end(answer));
            }
        }
    }

    async fn record_in_the_end(self, answer: StoredAnswer) {
        let end = Instant::now() + PATIENCE;
        let mut wait = Duration::from_millis(100);
        while Instant::now() < end {
            sleep(wait).await;
            if self.offer(&answer).await.is_ok() {
                return;
            }
            wait = (wait * 2).min(PATIENCE / 10);
        }
        tracing::error!(
            "an answer was never recorded: the outcome of its `Idempotency-Key` is unknown"
        );
    }

    async fn offer(&self, answer: &StoredAnswer) -> Result<StepOutcome, StoreError> {
        let answer = answer.to_bytes();
        let recording = self.settings.store.record(&self.claim, &answer);
        within(self.settings.timeout, recording).await
    }

    /// Gives the key back, so that the next attempt runs. If the store cannot be told, the outcome
    /// is unknown once the lease has expired.
    pub(crate) async fn release(mut self) {
        self.state = State::Settled;
        let releasing = self.settings.store.release(&self.claim);
        if let Err(error) = within(self.settings.timeout, releasing).await {
            let error = in_full(&error);
            tracing::warn!(error, "an `Idempotency-Key` was not released");
        }
    }

    /// Whether an answer is on record.
    pub(crate) async fn is_answered(&self) -> Result<bool, Rejection> {
        let finding = self.settings.store.find(&self.claim);
        let found = within(self.settings.timeout, finding).await?;
        Ok(matches!(found, Some(AnswerOutcome::Answered(_))))
    }

    /// Leaves the record as it is: it holds an answer, or is another's, or there is none.
    pub(crate) fn leave(mut self) {
        self.state = State::Settled;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (settings, claim) = (Arc::clone(&self.settings), self.claim.clone());
        match self.state {
            State::Asked => later(take_back(settings, claim)),
            State::Claimed => later(give_up(settings, claim)),
            State::Settled => {}
        }
    }
}

/// Runs this in a task of its own. Without a runtime it is left: the lease ends by itself.
fn later(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(work.in_current_span());
    }
}

/// Ends the lease of a handler that was cut off.
async fn give_up(settings: Arc<Settings>, claim: AnswerClaim) {
    let ending = settings.store.renew(&claim, Duration::ZERO);
    if let Err(error) = within(settings.timeout, ending).await {
        let error = in_full(&error);
        tracing::warn!(error, "a hold was not given up; it ends by itself");
    }
}

/// Takes back a claim that nobody waited for. The store may carry it out after it was first told to
/// release it, so it is told again for a while. So many claims are taken back in this way as there
/// are permits; one beyond them is released once.
async fn take_back(settings: Arc<Settings>, claim: AnswerClaim) {
    let permit = settings.taking_back.try_acquire();
    let end = Instant::now() + LANDING;
    let mut wait = Duration::from_millis(100);
    loop {
        let releasing = settings.store.release(&claim);
        match within(settings.timeout, releasing).await {
            Ok(StepOutcome::Done) => return,
            Ok(StepOutcome::Lost) => {}
            Err(error) => {
                let error = in_full(&error);
                tracing::warn!(error, "an `Idempotency-Key` was not released");
            }
        }
        if permit.is_err() || Instant::now() >= end {
            return;
        }
        sleep(wait).await;
        wait = (wait * 2).min(LANDING / 10);
    }
}
