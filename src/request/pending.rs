//! `Processing::InTransaction`: a payload that cannot be read until its nonce is recorded in the
//! handler's own database transaction.

use std::fmt;

use super::{payload::VerifiedPayload, usable::Unread};
use crate::{
    error::{Rejection, RejectionKind},
    once::{Claim, ConsumeIn, FateCell, Ticket, TransactIn},
    proof::Unrecorded,
};

/// A verified payload that cannot be read until its nonce is recorded, in the database transaction
/// in which its effects happen.
///
/// [`transact`](Self::transact) begins and commits that transaction. [`consume`](Self::consume)
/// records the nonce in a transaction of the caller. Both hand out the payload.
///
/// In Axum, `PendingPayload` is an extractor. Elsewhere it is taken from the
/// [`PendingSlot`](crate::request::PendingSlot) in the extensions.
///
/// The layer lets an answer of 2xx out only if the nonce was recorded; otherwise the answer becomes
/// 500. It answers a duplicate as [`on_duplicate`](crate::VerifyLayer::on_duplicate) says, whatever
/// the handler has answered.
#[must_use = "a payload that is not consumed makes every success an error"]
pub struct PendingPayload(Box<Ticket<Unread>>);

impl PendingPayload {
    /// Made in the span of the verification, which is kept for what is logged later.
    pub(super) fn new(mut ticket: Box<Ticket<Unread>>) -> Self {
        let _ = ticket.fate();
        Self(ticket)
    }

    /// Returns the claim that is going to be recorded: its identity, its deadline and its attempt.
    /// If COMMIT gets no answer after [`consume`](Self::consume), pass this claim to
    /// [`ConsumeIn::is_recorded`] in a new transaction, which tells whether it was committed.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        self.0.to_record()
    }

    /// Begins a transaction, records the nonce in it, calls `work` with the connection and the
    /// payload, and commits.
    ///
    /// `work` is called only if the request is new and still fresh. If `work` returns an error,
    /// everything is rolled back, the nonce too, and the same request may come again. `work` must
    /// send neither COMMIT nor ROLLBACK. It may use savepoints, because the nonce was recorded
    /// before them.
    ///
    /// Beginning, recording and committing each wait for the database for at most the
    /// [`store_timeout`](crate::request::VerifierBuilder::store_timeout). A duplicate of a request
    /// that is in another transaction waits for that transaction to end. If the future is dropped,
    /// because its client has hung up, the transaction is rolled back. If the database still owes
    /// an answer then, the connection is closed and does not go back to the pool.
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
    /// Returns the error of `work`; otherwise a [`Rejection`]: the request was seen before, is no
    /// longer fresh, or the database failed or gave no answer. After `store_unavailable` from a
    /// COMMIT the text of the rejection says whether the outcome is known.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn transact<D, T, E>(
        self,
        database: &D,
        work: impl AsyncFnOnce(&mut D::Connection, VerifiedPayload) -> Result<T, E>,
    ) -> Result<T, E>
    where
        D: TransactIn + ?Sized,
        E: From<Rejection>,
    {
        self.0.transact(database, work).await
    }

    /// Records the nonce in the caller's transaction, and hands out the payload.
    ///
    /// The caller must commit before it answers with success. The layer cannot see whether the
    /// caller did so: with [`confirm_in`](crate::VerifyLayer::confirm_in) it looks for the record
    /// before a success leaves.
    ///
    /// Call `consume` outside of savepoints: a savepoint that is rolled back takes the nonce with
    /// it, and leaves what was done outside of it. In a savepoint of PostgreSQL, the call is
    /// refused. SQLite does not say whether there is a savepoint.
    ///
    /// `consume` waits for the database for at most the
    /// [`store_timeout`](crate::request::VerifierBuilder::store_timeout). A duplicate of a request
    /// that is in another transaction waits for that transaction to end.
    ///
    /// # Errors
    /// Returns an error if the request was seen before or is no longer fresh, or if the database
    /// refuses or gives no answer. Roll the transaction back then. (A duplicate of an event id has
    /// extended its record. This stays if you commit.)
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn consume<T: ConsumeIn + ?Sized>(
        self,
        transaction: &mut T,
    ) -> Result<VerifiedPayload, Rejection> {
        self.0.consume(transaction).await
    }

    /// Leaves the payload to a worker, unread and with its nonce unrecorded: the worker records the
    /// nonce. Seal the value with
    /// [`seal_unrecorded`](crate::envelope::Envelopes::seal_unrecorded), and put the envelope into
    /// the queue before the handler answers.
    ///
    /// The layer then lets a success leave, although no nonce is recorded. A duplicate that arrives
    /// before the worker has recorded the nonce makes one more envelope. Only one envelope of a
    /// request is used.
    ///
    /// # Errors
    /// Returns 500, `nonce_not_recorded`, if the request is signed under several schemes, and has
    /// more than one nonce.
    pub fn leave(self) -> Result<Unrecorded, Rejection> {
        let Some((unread, claim)) = self.0.leave() else {
            return Err(Rejection::new(
                RejectionKind::NonceNotRecorded,
                "a request with several nonces cannot be left to a worker; consume it at the door",
            ));
        };
        Ok(Unrecorded {
            payload: Box::new(unread.payload),
            claim,
        })
    }

    /// Returns what the layer goes by when the handler has answered.
    pub(crate) fn fate(&mut self) -> FateCell<Rejection> {
        self.0.fate()
    }

    /// For the layer, which rewrites the head of the inner request.
    pub(crate) fn unread(&self) -> &VerifiedPayload {
        &self.0.guarded().payload
    }
}

impl fmt::Debug for PendingPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingPayload")
            .field("claim", self.0.to_record())
            .finish_non_exhaustive()
    }
}
