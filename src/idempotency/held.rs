//! A key that is claimed and then held while its handler runs, and what becomes of it.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};
use tracing::Instrument as _;

use super::{answer::StoredAnswer, settings::Settings};
use crate::{
    error::{Rejection, StoreErrorKind, in_full},
    future::within,
    once::{AnswerClaim, AnswerOutcome, Hold, Kept, Step, StepOutcome},
};

/// A key that is asked for. If it is dropped, the claim may be made or not, and no handler runs for
/// it: the key is taken back.
#[derive(Debug)]
pub(crate) struct AskedKey {
    settings: Arc<Settings>,
    pub(super) claim: AnswerClaim,
    is_settled: bool,
}

/// For how long a claim that was given up may still be carried out: longer than a store of this
/// crate lets a statement wait.
const LANDING: Duration = Duration::from_secs(40);

impl AskedKey {
    pub(super) fn new(settings: Arc<Settings>, claim: AnswerClaim) -> Self {
        Self {
            settings,
            claim,
            is_settled: false,
        }
    }

    /// The claim was made, and its handler may run.
    pub(super) fn claimed(self) -> Held {
        let key = HeldKey {
            settings: Arc::clone(&self.settings),
            claim: self.claim.clone(),
        };
        self.leave();
        Held {
            kept: Kept::new(key.clone()),
            key,
        }
    }

    /// Leaves the record as it is: it is another's, or there is none.
    pub(super) fn leave(mut self) {
        self.is_settled = true;
    }
}

impl Drop for AskedKey {
    fn drop(&mut self) {
        if !self.is_settled {
            later(take_back(Arc::clone(&self.settings), self.claim.clone()));
        }
    }
}

/// A key that is held, and renewed until it is dropped. If it is dropped before its answer is
/// recorded or it is released, its handler was cut off: the lease is ended at once, so that nobody
/// waits for it.
pub(crate) struct Held {
    key: HeldKey,
    kept: Kept<End>,
}

impl Held {
    /// Records the answer. If the store has no room for its body, it is recorded without; if the
    /// store fails, it is offered again for a while, and nobody waits for that.
    pub(crate) async fn record(self, answer: StoredAnswer) {
        // It ends without a value.
        let _ = self.kept.settle(End::Answered(answer)).await;
    }

    /// Gives the key back, so that the next attempt runs. If the store cannot be told, the outcome
    /// is unknown once the lease has expired.
    pub(crate) async fn release(self) {
        let _ = self.kept.settle(End::Released).await;
    }

    /// Whether an answer is on record.
    pub(crate) async fn is_answered(&self) -> Result<bool, Rejection> {
        let HeldKey { settings, claim } = &self.key;
        let found = within(settings.timeout, settings.store.find(claim)).await?;
        Ok(matches!(found, Some(AnswerOutcome::Answered(_))))
    }

    /// Leaves the record as it is: it holds an answer.
    pub(crate) fn leave(self) {
        drop(self.kept.settle(End::Left));
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
        let recording = self.settings.store.record(&self.claim, &answer);
        within(self.settings.timeout, recording).await
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
        // So that a slow answer still leaves a hold to renew.
        let timeout = self.settings.timeout.min(*lease / 3);
        within(timeout, store.renew(&self.claim, *lease)).await
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
            End::Released => within(*timeout, store.release(&self.claim)).await,
            End::Left => Ok(StepOutcome::Done),
            End::CutOff => within(*timeout, store.renew(&self.claim, Duration::ZERO)).await,
        }
    }

    fn is_outcome(end: &End) -> bool {
        matches!(end, End::Answered(_))
    }

    fn cut_off() -> Option<End> {
        Some(End::CutOff)
    }
}

/// Runs this in a task of its own. Without a runtime it is left: the lease ends by itself.
fn later(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(work.in_current_span());
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
