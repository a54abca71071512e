//! A key that is claimed and then held while its handler runs, and what happens to it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{answer::StoredAnswer, pending::PendingAnswer, settings::Settings};
use crate::{
    error::{Rejection, StoreError, StoreErrorKind},
    future::within,
    once::{AnswerClaim, AnswerOutcome, Hold, Kept, Step, StepOutcome},
};

/// A key that is held, and renewed until it is dropped. If it is dropped before its answer is
/// recorded or it is released, its handler was cut off: the lease is ended at once, so that nobody
/// waits for it.
pub(crate) struct Held {
    key: HeldKey,
    kept: Kept<End>,
}

impl Held {
    /// Keeps a key that was claimed.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime.
    pub(super) fn new(settings: Arc<Settings>, claim: AnswerClaim) -> Self {
        let key = HeldKey { settings, claim };
        let kept = Kept::new(key.clone());
        Self { key, kept }
    }

    /// Records the answer. If the store has no room for its body, it is recorded without; if the
    /// store fails, it is offered again for a while, and nobody waits for that.
    pub(crate) async fn record(self, answer: StoredAnswer) {
        // It ends without a value.
        self.kept.settle(End::Answered(answer)).await;
    }

    /// Gives the key back, so that the next attempt runs. If the store fails, it is told again for a
    /// while, and nobody waits for that. If it cannot be told at all, the outcome is unknown once
    /// the lease has expired.
    pub(crate) async fn release(self) {
        self.kept.settle(End::Released).await;
    }

    /// Returns whether the answer on record is the one of this attempt: another may have taken the
    /// key over, and answered.
    pub(crate) async fn is_answered_by(&self, pending: &PendingAnswer) -> Result<bool, Rejection> {
        let answer = self.key.answer().await?;
        Ok(answer.is_some_and(|answer| pending.has_recorded(&answer)))
    }

    /// Leaves the record as it is: it holds an answer.
    pub(crate) fn leave(self) {
        drop(self.kept.settle_later(End::Left));
    }
}

/// How the hold on a key ends.
enum End {
    Answered(StoredAnswer),
    Released,
    Left,
    CutOff,
}

#[derive(Clone)]
struct HeldKey {
    settings: Arc<Settings>,
    claim: AnswerClaim,
}

impl HeldKey {
    async fn offer(&self, answer: &StoredAnswer) -> Step {
        let answer = answer.to_bytes();
        let Settings { store, timeout, .. } = &*self.settings;
        within(*timeout, || store.record(&self.claim, &answer)).await
    }

    async fn answer(&self) -> Result<Option<Bytes>, StoreError> {
        let Self { settings, claim } = self;
        let found = within(settings.timeout, || settings.store.find(claim)).await?;
        Ok(match found {
            Some(AnswerOutcome::Answered(answer)) => Some(answer),
            _ => None,
        })
    }
}

impl Hold for HeldKey {
    type End = End;

    const NAME: &'static str = "hold on an `Idempotency-Key`";

    fn duration(&self) -> Duration {
        self.settings.lease
    }

    async fn renew(&self) -> Step {
        let Settings { store, lease, .. } = &*self.settings;
        let limit = self.settings.renewal_timeout();
        let renewed = within(limit, || store.renew(&self.claim, *lease)).await?;
        // A handler that has committed its answer may go on for as long as it likes.
        if renewed == StepOutcome::Lost && self.answer().await?.is_some() {
            return Ok(StepOutcome::Done);
        }
        Ok(renewed)
    }

    async fn end(&self, end: &End) -> Step {
        use StoreErrorKind::{Full, KeyOverQuota};
        let Settings { store, timeout, .. } = &*self.settings;
        match end {
            End::Answered(answer) => match self.offer(answer).await {
                Err(error) if matches!(error.kind(), Full | KeyOverQuota) => {
                    self.offer(&answer.without_body()).await
                }
                recorded => recorded,
            },
            End::Released => {
                let released = within(*timeout, || store.release(&self.claim)).await;
                // A record that is not this attempt's any more stays.
                released.map(|_| StepOutcome::Done)
            }
            End::Left => Ok(StepOutcome::Done),
            End::CutOff => within(*timeout, || store.renew(&self.claim, Duration::ZERO)).await,
        }
    }

    fn is_told_again(end: &End) -> bool {
        matches!(end, End::Answered(_) | End::Released)
    }

    fn cut_off() -> Option<End> {
        Some(End::CutOff)
    }
}
