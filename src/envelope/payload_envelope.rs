//! An envelope that was opened, and whose payload cannot be read before its use is recorded.

use std::{fmt, sync::Arc};

use super::settings::Settings;
use crate::{
    clock::Timestamp,
    error::{Fault, FaultKind, Rejection, RejectionKind},
    once::{Claim, ConsumeIn, Guarded, NonceStore, Ticket, TransactIn},
    proof::Proven,
};

/// A verified payload that came in an envelope. It cannot be read before its use is recorded.
///
/// [`transact`](Self::transact) records it in the database transaction of its effects,
/// [`consume`](Self::consume) in one of the caller's, [`claim_in`](Self::claim_in) in a store.
/// However often the envelope is delivered, and however often its request was sealed for this
/// purpose, one use is recorded. The record is kept until the latest deadline that any envelope of
/// the request can have for this purpose, and a margin for clocks that differ: a later delivery is
/// expired.
///
/// Dropping it uses up nothing.
#[must_use = "an envelope is not used by being opened"]
pub struct PayloadEnvelope(pub(super) Box<Ticket<Sealed>>);

pub(super) struct Sealed {
    pub(super) settings: Arc<Settings>,
    pub(super) deadline: Timestamp,
    pub(super) proven: Proven,
}

impl Guarded for Sealed {
    type Content = Proven;
    type Refusal = Rejection;

    fn check_freshness(&self) -> Result<(), Fault> {
        let now = self.settings.clock.now();
        let checked = self.settings.check_deadline(self.deadline, now);
        checked.map_err(|expired| Fault::new(FaultKind::Expired, expired.reason().to_owned()))
    }

    fn refuse(fault: Fault) -> Rejection {
        let kind = match fault.kind() {
            FaultKind::Used => RejectionKind::EnvelopeUsed,
            FaultKind::Expired => RejectionKind::EnvelopeExpired,
            _ => return fault.into(),
        };
        Rejection::of_fault(kind, fault)
    }

    fn hand_out(self) -> Proven {
        self.proven
    }
}

impl PayloadEnvelope {
    /// Returns until when the envelope may be used.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        self.0.guarded().deadline
    }

    /// Returns what is going to be recorded: under which identity, until when, and by which
    /// attempt.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        self.0.to_record()
    }

    /// Begins a transaction, records the use in it, calls `work` with the connection and the
    /// payload, and commits. It is the counterpart of
    /// [`PendingPayload::transact`](crate::PendingPayload::transact), which says more.
    ///
    /// If `work` answers with an error, or the worker is killed, all is rolled back, and the next
    /// delivery of the envelope runs.
    ///
    /// # Errors
    /// Returns the error of `work`; or else a [`Rejection`]: the payload was used before
    /// (`envelope_used`), the deadline has passed, or the database failed or gave no answer.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn transact<D, T, E>(
        mut self,
        database: &D,
        work: impl AsyncFnOnce(&mut D::Connection, Proven) -> Result<T, E>,
    ) -> Result<T, E>
    where
        D: TransactIn + ?Sized,
        E: From<Rejection>,
    {
        let settings = Arc::clone(&self.0.guarded().settings);
        self.0.wait_for_turn(settings.memory.turns()).await?;
        self.0.transact(database, work).await
    }

    /// Records the use in the caller's transaction, and hands out the payload. The envelope is used
    /// once the caller commits. Call it outside of savepoints.
    ///
    /// # Errors
    /// Returns an error if the payload was used before, the deadline has passed, a duplicate in
    /// this process waits for the database (409, `request_in_flight`), or the database refuses or
    /// gives no answer. Roll the transaction back then.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn consume<T: ConsumeIn + ?Sized>(
        mut self,
        transaction: &mut T,
    ) -> Result<Proven, Rejection> {
        let settings = Arc::clone(&self.0.guarded().settings);
        self.0.take_turn_at_once(settings.memory.turns())?;
        self.0.consume(transaction).await
    }

    /// Records the use in a store, for good, and hands out the payload: for effects that are in no
    /// database. A worker that is killed after this and before the effect loses the effect.
    ///
    /// # Errors
    /// Returns an error if the payload was used before, the deadline has passed, or the store
    /// refuses or gives no answer.
    ///
    /// # Panics
    /// Panics if there is something to wait for, outside of a Tokio runtime with its timer.
    pub async fn claim_in(self, store: &impl NonceStore) -> Result<Proven, Rejection> {
        self.0.claim(store).await
    }
}

/// Without the payload.
impl fmt::Debug for PayloadEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadEnvelope")
            .field("claim", self.claim())
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}
