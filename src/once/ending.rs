//! How a transaction ends that a ticket has begun: it is known in the end, or said to be unknown.

use std::time::Duration;

use super::{
    claim::Claim,
    fate::{Fate, FateCell},
    store::{ClaimOutcome, ConsumeIn as _, TransactIn},
};
use crate::{
    error::{Fault, FaultKind, StoreError, StoreErrorKind, in_full},
    future::{lock_wait, within},
};

/// The means to end a transaction.
pub(super) struct Ending<'d, D: ?Sized, R> {
    pub(super) database: &'d D,
    pub(super) claim: Claim,
    /// Whether more is recorded than the claim: then a replay records what was not used yet.
    pub(super) records_several: bool,
    pub(super) timeout: Duration,
    pub(super) fate: FateCell<R>,
}

impl<D: TransactIn + ?Sized, R> Ending<'_, D, R> {
    pub(super) async fn refused(&self, transaction: D::Transaction, fault: FaultKind) {
        // Nothing was done but to extend the record of an event, or to fence a database that has
        // forgotten, and that must last.
        let recorded = self.claim.extends() || self.records_several;
        let extended = recorded && fault == FaultKind::Used;
        if extended || fault == FaultKind::Store(StoreErrorKind::SignAgain) {
            if let Err(error) = within(self.timeout, || D::commit(transaction)).await {
                let error = in_full(&error);
                self.fate.in_span(|| {
                    tracing::warn!(
                        error,
                        "the record of an event was not extended, or no fence kept"
                    );
                });
            }
        } else {
            self.roll_back(transaction).await;
        }
    }

    pub(super) async fn roll_back(&self, transaction: D::Transaction) {
        // Dropped or not, what is not committed is rolled back; this only waits for it.
        if let Err(error) = within(self.timeout, || D::rollback(transaction)).await {
            let error = in_full(&error);
            self.fate
                .in_span(|| tracing::warn!(error, "a rollback was not answered"));
        }
    }

    pub(super) async fn commit(&self, mut transaction: D::Transaction) -> Result<(), Fault> {
        // A database takes COMMIT without complaint, and rolls back, after a statement has failed.
        match within(self.timeout, || transaction.is_recorded(&self.claim)).await {
            Ok(true) => {}
            Ok(false) => {
                self.roll_back(transaction).await;
                return Err(Fault::new(
                    FaultKind::NotRecorded,
                    "the nonce is gone from its transaction: something in it has rolled back",
                ));
            }
            Err(error) => {
                self.roll_back(transaction).await;
                return Err(Fault::unanswered(
                    "rolled back: the transaction could not be committed; a statement in it may \
                     have failed unnoticed",
                    error,
                ));
            }
        }
        self.fate.set(Fate::Unknown);
        let Err(error) = within(self.timeout, || D::commit(transaction)).await else {
            self.fate.set(Fate::Committed);
            return Ok(());
        };
        match self.was_committed().await {
            Ok(true) => {
                let error = in_full(&error);
                self.fate.in_span(|| {
                    tracing::warn!(error, "COMMIT was not answered, and has been done");
                });
                self.fate.set(Fate::Committed);
                Ok(())
            }
            Ok(false) => Err(Fault::unanswered("rolled back: COMMIT failed", error)),
            Err(unanswered) => {
                let cause = in_full(&unanswered);
                self.fate.in_span(|| {
                    tracing::error!(error = cause, "it cannot be told how a COMMIT ended");
                });
                Err(Fault::unanswered(
                    "the outcome is unknown: COMMIT was not answered",
                    error,
                ))
            }
        }
    }

    /// Returns whether this attempt was committed. Consuming once more waits for a transaction that
    /// has not ended.
    async fn was_committed(&self) -> Result<bool, StoreError> {
        let mut transaction = within(self.timeout, || self.database.begin()).await?;
        let wait = lock_wait(self.timeout);
        let consumed = within(self.timeout, || transaction.consume(&self.claim, wait));
        let committed = match consumed.await? {
            ClaimOutcome::New => false,
            ClaimOutcome::Replayed => {
                within(self.timeout, || transaction.is_recorded(&self.claim)).await?
            }
        };
        self.roll_back(transaction).await;
        Ok(committed)
    }
}
