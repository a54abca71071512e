//! What was verified and cannot be read until its nonce is recorded in a database transaction of the
//! caller's own, and what became of it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    claim::Claim,
    outcome::Subject,
    store::{Claimed, ConsumeIn, TransactIn, claimed_outcome},
    turns::Turn,
};
use crate::{
    error::{Rejection, RejectionKind, StoreError},
    future::within,
    metrics::Stopwatch,
};

/// What is read once it is consumed.
pub(crate) trait Unread {
    type Content;

    /// Whether it still may be used.
    fn check_freshness(&self) -> Result<(), Rejection>;

    /// What a copy is told.
    fn used_before(&self, claim: &Claim) -> Rejection;

    fn read(self) -> Self::Content;
}

/// Something unread, the claim on it, and its fate.
pub(crate) struct Unconsumed<U> {
    unread: U,
    claim: Claim,
    /// How long each step waits for the database.
    timeout: Duration,
    fate: FateCell,
}

impl<U: Unread> Unconsumed<U> {
    pub(crate) fn new(unread: U, claim: Claim, timeout: Duration) -> Self {
        Self {
            unread,
            claim,
            timeout,
            fate: FateCell::default(),
        }
    }

    /// Tells what becomes of the claim.
    pub(crate) fn telling(mut self, subject: Subject) -> Self {
        self.fate.subject = subject;
        self
    }

    /// Holds the turn for as long as anybody looks at what becomes of this.
    pub(crate) fn in_turn(mut self, turn: Option<Turn>) -> Self {
        self.fate.turn = turn.map(Arc::new);
        self
    }

    pub(crate) fn unread(&self) -> &U {
        &self.unread
    }

    pub(crate) fn into_parts(self) -> (U, Claim) {
        (self.unread, self.claim)
    }

    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }

    pub(crate) fn fate(&self) -> FateCell {
        self.fate.clone()
    }

    /// Begins a transaction, consumes, works, and commits.
    pub(crate) async fn transact<D, T, E>(
        self,
        database: &D,
        work: impl AsyncFnOnce(&mut D::Connection, U::Content) -> Result<T, E>,
    ) -> Result<T, E>
    where
        D: TransactIn + ?Sized,
        E: From<Rejection>,
    {
        let end = Ending {
            database,
            claim: self.claim.clone(),
            timeout: self.timeout,
            fate: self.fate.clone(),
        };
        let mut transaction = within(end.timeout, database.begin())
            .await
            .map_err(|error| end.fate.fail(error.into()))?;
        let content = match self.consume(&mut transaction).await {
            Ok(content) => content,
            Err(rejection) => {
                end.refused(transaction, &rejection).await;
                return Err(rejection.into());
            }
        };
        // Whatever comes before COMMIT, dropping this future too, rolls back.
        end.fate.set(Fate::RolledBack);
        match work(D::connection(&mut transaction), content).await {
            Ok(answer) => {
                let committed = end.commit(transaction).await;
                committed.map_err(|rejection| end.fate.fail(rejection))?;
                Ok(answer)
            }
            Err(error) => {
                end.roll_back(transaction).await;
                Err(error)
            }
        }
    }

    /// Records the nonce in the caller's transaction.
    pub(crate) async fn consume<T: ConsumeIn + ?Sized>(
        self,
        transaction: &mut T,
    ) -> Result<U::Content, Rejection> {
        let recorded = async {
            self.unread.check_freshness()?;
            let asked = Stopwatch::start();
            let claimed = within(
                self.timeout,
                transaction.consume(&self.claim, lock_wait(self.timeout)),
            )
            .await;
            asked.claimed(claimed_outcome(&claimed));
            if claimed? != Claimed::New {
                return Err(self.unread.used_before(&self.claim));
            }
            self.unread.check_freshness()
        };
        match recorded.await {
            Ok(()) => {
                self.fate.set(Fate::Consumed(self.claim));
                Ok(self.unread.read())
            }
            Err(rejection) => Err(self.fate.fail(rejection)),
        }
    }
}

/// How a transaction ends that [`Unconsumed::transact`] has begun.
struct Ending<'d, D: ?Sized> {
    database: &'d D,
    claim: Claim,
    timeout: Duration,
    fate: FateCell,
}

impl<D: TransactIn + ?Sized> Ending<'_, D> {
    async fn refused(&self, transaction: D::Transaction, rejection: &Rejection) {
        // Nothing was done but to extend the record of an event, or to fence a database that has
        // forgotten, and that has to last.
        let extended = self.claim.extends() && rejection.kind() == RejectionKind::RequestReplayed;
        if extended || rejection.kind() == RejectionKind::SignAgain {
            if let Err(error) = within(self.timeout, D::commit(transaction)).await {
                tracing::warn!(%error, "the record of an event was not extended, or no fence kept");
            }
        } else {
            self.roll_back(transaction).await;
        }
    }

    async fn roll_back(&self, transaction: D::Transaction) {
        // Dropped or not, what is not committed is rolled back; this only waits for it.
        if let Err(error) = within(self.timeout, D::rollback(transaction)).await {
            tracing::warn!(%error, "a rollback was not answered");
        }
    }

    async fn commit(&self, mut transaction: D::Transaction) -> Result<(), Rejection> {
        // A database takes COMMIT without complaint, and rolls back, after a statement has failed.
        match within(self.timeout, transaction.is_recorded(&self.claim)).await {
            Ok(true) => {}
            Ok(false) => {
                self.roll_back(transaction).await;
                return Err(Rejection::new(
                    RejectionKind::NonceNotRecorded,
                    "the nonce is gone from its transaction: something in it has rolled back",
                ));
            }
            Err(error) => {
                self.roll_back(transaction).await;
                return Err(unavailable(
                    "rolled back: the transaction could not be committed; a statement in it may \
                     have failed unnoticed",
                    error,
                ));
            }
        }
        self.fate.set(Fate::Unknown);
        let Err(error) = within(self.timeout, D::commit(transaction)).await else {
            self.fate.set(Fate::Committed);
            return Ok(());
        };
        match self.was_committed().await {
            Ok(true) => {
                tracing::warn!(%error, "COMMIT was not answered, and has been done");
                self.fate.set(Fate::Committed);
                Ok(())
            }
            Ok(false) => Err(unavailable("rolled back: COMMIT failed", error)),
            Err(unanswered) => {
                tracing::error!(error = %unanswered, "it cannot be told how a COMMIT ended");
                Err(unavailable(
                    "the outcome is unknown: COMMIT was not answered",
                    error,
                ))
            }
        }
    }

    /// Whether this attempt was committed. Consuming once more waits for a transaction that has not
    /// ended.
    async fn was_committed(&self) -> Result<bool, StoreError> {
        let mut transaction = within(self.timeout, self.database.begin()).await?;
        let wait = lock_wait(self.timeout);
        let consumed = within(self.timeout, transaction.consume(&self.claim, wait));
        let committed = match consumed.await? {
            Claimed::New => false,
            Claimed::Replayed => within(self.timeout, transaction.is_recorded(&self.claim)).await?,
        };
        self.roll_back(transaction).await;
        Ok(committed)
    }
}

/// How long the database waits for a duplicate, so that it can say so within the timeout.
fn lock_wait(timeout: Duration) -> Duration {
    timeout * 3 / 4
}

fn unavailable(detail: &'static str, error: StoreError) -> Rejection {
    Rejection::with_source(RejectionKind::StoreUnavailable, detail, error)
}

/// What became of it, as far as its holder has come.
#[derive(Clone, Debug, Default)]
pub(crate) enum Fate {
    /// Nothing was recorded.
    #[default]
    Pending,
    /// Nothing was recorded, or nothing is known to be, for this reason.
    Failed(Rejection),
    /// Recorded in the caller's transaction; whether that was committed is not known here.
    Consumed(Claim),
    /// Recorded, and rolled back.
    RolledBack,
    /// COMMIT was begun, and not answered.
    Unknown,
    /// Recorded and committed.
    Committed,
}

/// A [`Fate`] that the layer and the holder share.
#[derive(Clone, Default)]
pub(crate) struct FateCell {
    fate: Arc<Mutex<Fate>>,
    subject: Subject,
    turn: Option<Arc<Turn>>,
}

impl FateCell {
    pub(crate) fn get(&self) -> Fate {
        lock(&self.fate).clone()
    }

    pub(crate) fn set(&self, fate: Fate) {
        match &fate {
            Fate::Committed => {
                self.subject.used();
                if let Some(turn) = &self.turn {
                    turn.mark_used();
                }
            }
            Fate::Failed(rejection) => self.subject.refused(rejection),
            _ => {}
        }
        *lock(&self.fate) = fate;
    }

    fn fail(&self, rejection: Rejection) -> Rejection {
        self.set(Fate::Failed(rejection.clone()));
        rejection
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
