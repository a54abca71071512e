//! `Processing::InTransaction`: a payload that cannot be read until its nonce is recorded in the
//! handler's own database transaction, and what became of it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    VerifiedPayload, Verifier,
    claim::{claimed_outcome, replayed},
    within,
};
use crate::{
    error::StoreError,
    measure::Stopwatch,
    nonce::{Claim, Claimed, ConsumeIn, TransactIn},
    rejection::{Rejection, RejectionKind},
};

/// A verified payload that cannot be read until its nonce is recorded, in the database transaction
/// in which its effects happen.
///
/// [`transact`](Self::transact) begins and commits that transaction; [`consume`](Self::consume)
/// takes part in one of the caller's. Either takes the payload out, once.
///
/// In Axum it is an extractor; elsewhere it is taken from the [`PendingSlot`] in the extensions.
///
/// The layer watches what becomes of it: an answer of 2xx is let out only if the nonce was
/// recorded, and becomes 500 otherwise; a duplicate is answered as
/// [`on_duplicate`](crate::VerifyLayer::on_duplicate) says, whatever the handler said.
#[must_use = "a payload that is not consumed makes every success an error"]
pub struct PendingPayload {
    verifier: Verifier,
    payload: VerifiedPayload,
    claim: Claim,
    fate: FateCell,
}

impl PendingPayload {
    pub(super) fn new(verifier: Verifier, payload: VerifiedPayload, claim: Claim) -> Self {
        Self {
            verifier,
            payload,
            claim,
            fate: FateCell::default(),
        }
    }

    /// What is going to be recorded: under which identity, until when, and by which attempt. Kept by
    /// a caller of [`consume`](Self::consume), it tells with
    /// [`ConsumeIn::is_recorded`], in a later transaction, how a COMMIT ended that was never answered.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Begins a transaction, records the nonce in it, calls `work` with the connection and the
    /// payload, and commits.
    ///
    /// `work` is called only if the request is new and still fresh. Where it answers with an error,
    /// all is rolled back, the nonce with it, and the same request may come again. It leaves COMMIT
    /// and ROLLBACK alone; savepoints are its own affair, for the nonce was recorded before them.
    ///
    /// Beginning, recording and committing wait for the database no longer than the
    /// [`store_timeout`](crate::VerifierBuilder::store_timeout) each. A copy of a request that is in
    /// another transaction waits for that one to end. A future that is dropped, by a client that
    /// hangs up, rolls back.
    ///
    /// If COMMIT is not answered, the database is asked, in a new transaction, how it ended.
    ///
    /// ```
    /// # #[cfg(feature = "postgres")] mod example {
    /// use countersign::{PendingPayload, Rejection};
    /// use sqlx::PgPool;
    ///
    /// # enum Error { Refused(Rejection), Database(sqlx::Error), Json(serde_json::Error) }
    /// # impl From<Rejection> for Error { fn from(e: Rejection) -> Self { Self::Refused(e) } }
    /// # impl From<sqlx::Error> for Error { fn from(e: sqlx::Error) -> Self { Self::Database(e) } }
    /// # impl From<serde_json::Error> for Error { fn from(e: serde_json::Error) -> Self { Self::Json(e) } }
    /// #[derive(serde::Deserialize)]
    /// struct Deposit { account: i64, amount: i64 }
    ///
    /// async fn deposit(pool: &PgPool, pending: PendingPayload) -> Result<String, Error> {
    ///     pending
    ///         .transact(pool, async |tx, payload| {
    ///             let order: Deposit = payload.json()?;
    ///             sqlx::query("UPDATE accounts SET balance = balance + $2 WHERE id = $1")
    ///                 .bind(order.account)
    ///                 .bind(order.amount)
    ///                 .execute(tx)
    ///                 .await?;
    ///             Ok("deposited".to_owned())
    ///         })
    ///         .await
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `work` answers with; else a [`Rejection`]: the request was seen before, is no longer
    /// fresh, or the database failed or gave no answer. After `store_unavailable` from a COMMIT the
    /// text of the rejection says whether the outcome is known.
    ///
    /// # Panics
    /// Outside of a Tokio runtime with its timer.
    pub async fn transact<D, T, E>(
        self,
        database: &D,
        work: impl AsyncFnOnce(&mut D::Connection, VerifiedPayload) -> Result<T, E>,
    ) -> Result<T, E>
    where
        D: TransactIn + ?Sized,
        E: From<Rejection>,
    {
        let end = Ending {
            database,
            verifier: self.verifier.clone(),
            claim: self.claim.clone(),
            fate: self.fate.clone(),
        };
        let settings = &*end.verifier.settings;
        let mut transaction = within(settings.store_timeout, database.begin())
            .await
            .map_err(|error| end.fate.fail(error.into()))?;
        let payload = match self.consume(&mut transaction).await {
            Ok(payload) => payload,
            Err(rejection) => {
                end.refused(transaction, &rejection).await;
                return Err(rejection.into());
            }
        };
        // Whatever comes before COMMIT, dropping this future too, rolls back.
        end.fate.set(Fate::RolledBack);
        match work(D::connection(&mut transaction), payload).await {
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

    /// Records the nonce in the caller's transaction, and hands out the payload.
    ///
    /// The caller commits, before it answers with success. The layer cannot see whether it did: with
    /// [`confirm_in`](crate::VerifyLayer::confirm_in) it looks the attempt up before a success leaves.
    ///
    /// To be called at the top of the transaction, outside of savepoints: a savepoint that is rolled
    /// back takes the nonce with it, and leaves what was done outside of it. PostgreSQL tells, and
    /// then this is refused; SQLite does not.
    ///
    /// Waits for the database no longer than the
    /// [`store_timeout`](crate::VerifierBuilder::store_timeout); a copy of a request that is in
    /// another transaction waits for that one to end.
    ///
    /// # Errors
    /// When the request was seen before or is no longer fresh, or when the database refuses or gives
    /// no answer. The transaction is then to be rolled back. (A duplicate of an event id has extended
    /// the record: that holds if the transaction is committed.)
    ///
    /// # Panics
    /// Outside of a Tokio runtime with its timer.
    pub async fn consume<T: ConsumeIn + ?Sized>(
        self,
        transaction: &mut T,
    ) -> Result<VerifiedPayload, Rejection> {
        let settings = &*self.verifier.settings;
        let recorded = async {
            settings.check_freshness(&self.payload)?;
            let asked = Stopwatch::start();
            let claimed = within(settings.store_timeout, transaction.consume(&self.claim)).await;
            asked.claimed(claimed_outcome(&claimed));
            if claimed? != Claimed::New {
                return Err(replayed(&self.claim));
            }
            settings.check_freshness(&self.payload)
        };
        match recorded.await {
            Ok(()) => {
                self.fate.set(Fate::Consumed(self.claim));
                Ok(self.payload)
            }
            Err(rejection) => Err(self.fate.fail(rejection)),
        }
    }

    /// What the layer goes by when the handler has answered.
    pub(crate) fn fate(&self) -> FateCell {
        self.fate.clone()
    }

    /// For the layer, which rewrites the head of the inner request.
    pub(crate) fn unread(&self) -> &VerifiedPayload {
        &self.payload
    }
}

impl fmt::Debug for PendingPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingPayload")
            .field("claim", &self.claim)
            .finish_non_exhaustive()
    }
}

/// How a transaction ends that [`PendingPayload::transact`] has begun.
struct Ending<'d, D: ?Sized> {
    database: &'d D,
    verifier: Verifier,
    claim: Claim,
    fate: FateCell,
}

impl<D: TransactIn + ?Sized> Ending<'_, D> {
    async fn refused(&self, transaction: D::Transaction, rejection: &Rejection) {
        // Nothing was done but to extend the record of an event, which has to last.
        if self.claim.extends() && rejection.kind() == RejectionKind::RequestReplayed {
            if let Err(error) = within(self.timeout(), D::commit(transaction)).await {
                tracing::warn!(%error, "the record of an event was not extended");
            }
        } else {
            self.roll_back(transaction).await;
        }
    }

    async fn roll_back(&self, transaction: D::Transaction) {
        // Dropped or not, what is not committed is rolled back; this only waits for it.
        if let Err(error) = within(self.timeout(), D::rollback(transaction)).await {
            tracing::warn!(%error, "a rollback was not answered");
        }
    }

    async fn commit(&self, mut transaction: D::Transaction) -> Result<(), Rejection> {
        // A database takes COMMIT without complaint, and rolls back, after a statement has failed.
        match within(self.timeout(), transaction.is_recorded(&self.claim)).await {
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
        let Err(error) = within(self.timeout(), D::commit(transaction)).await else {
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
        let mut transaction = within(self.timeout(), self.database.begin()).await?;
        let committed = match within(self.timeout(), transaction.consume(&self.claim)).await? {
            Claimed::New => false,
            Claimed::Replayed => {
                within(self.timeout(), transaction.is_recorded(&self.claim)).await?
            }
        };
        self.roll_back(transaction).await;
        Ok(committed)
    }

    fn timeout(&self) -> std::time::Duration {
        self.verifier.settings.store_timeout
    }
}

fn unavailable(detail: &'static str, error: StoreError) -> Rejection {
    Rejection::with_source(RejectionKind::StoreUnavailable, detail, error)
}

/// Where a [`PendingPayload`] waits to be taken, once: an extension of the inner request.
///
/// Clones share the slot, so that of several takers, in clones of the request too, one gets it.
#[derive(Clone)]
pub struct PendingSlot(Arc<Mutex<Option<PendingPayload>>>);

impl PendingSlot {
    pub(crate) fn holding(pending: PendingPayload) -> Self {
        Self(Arc::new(Mutex::new(Some(pending))))
    }

    /// The payload; `None` when it was taken before.
    #[must_use]
    pub fn take(&self) -> Option<PendingPayload> {
        lock(&self.0).take()
    }
}

impl fmt::Debug for PendingSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if lock(&self.0).is_some() {
            "PendingSlot(full)"
        } else {
            "PendingSlot(taken)"
        })
    }
}

/// What became of a pending payload, as far as its holder has come.
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

/// A [`Fate`] that the layer and the holder of the payload share.
#[derive(Clone, Debug, Default)]
pub(crate) struct FateCell(Arc<Mutex<Fate>>);

impl FateCell {
    pub(crate) fn get(&self) -> Fate {
        lock(&self.0).clone()
    }

    fn set(&self, fate: Fate) {
        *lock(&self.0) = fate;
    }

    fn fail(&self, rejection: Rejection) -> Rejection {
        self.set(Fate::Failed(rejection.clone()));
        rejection
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
