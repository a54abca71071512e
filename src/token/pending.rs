//! A token that was verified, and the two places that remember which tokens were redeemed.

use std::{fmt, sync::Arc};

use super::{fault::of_token, settings::Settings};
use crate::{
    clock::Timestamp,
    error::{Fault, Rejection},
    once::{Claim, ConsumeIn, Guarded, NonceStore, Subject, Ticket, TransactIn},
};

/// A store remembers which tokens were redeemed, as
/// [`OneTimeTokenBuilder::store`](crate::token::OneTimeTokenBuilder::store) says.
#[derive(Clone)]
pub struct InStore(pub(super) Arc<dyn NonceStore>);

/// The caller's database remembers which tokens were redeemed, as
/// [`OneTimeTokenBuilder::in_transaction`](crate::token::OneTimeTokenBuilder::in_transaction) says.
#[derive(Clone, Debug)]
pub struct InTransaction(pub(super) ());

impl fmt::Debug for InStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InStore")
    }
}

/// A token that was verified, and whose payload cannot be read before it is redeemed.
///
/// Dropping it redeems nothing.
#[must_use = "a token is not redeemed by being verified"]
pub struct PendingToken<T, M = InStore> {
    ticket: Box<Ticket<UnreadToken<T>>>,
    memory: M,
}

struct UnreadToken<T> {
    settings: Arc<Settings>,
    expires_at: Timestamp,
    payload: T,
}

impl<T, M> PendingToken<T, M> {
    /// A token that was proven, with the claim that redeems it.
    pub(super) fn new(
        settings: Arc<Settings>,
        memory: M,
        claim: Claim,
        expires_at: Timestamp,
        payload: T,
    ) -> Self {
        let timeout = settings.memory.timeout();
        let unread = UnreadToken {
            settings,
            expires_at,
            payload,
        };
        Self {
            ticket: Ticket::new(unread, claim, timeout, Subject::default()),
            memory,
        }
    }
}

impl<T> Guarded for UnreadToken<T> {
    type Content = T;
    type Refusal = Rejection;

    fn check_freshness(&self) -> Result<(), Fault> {
        let settings = &*self.settings;
        let now = settings.clock.now();
        settings.freshness.check(now, None, Some(self.expires_at))
    }

    fn refuse(fault: Fault) -> Rejection {
        of_token(fault)
    }

    fn hand_out(self) -> T {
        self.payload
    }
}

impl<T> PendingToken<T> {
    /// Claims the token in the store, and hands out its payload.
    ///
    /// # Errors
    /// Returns an error if it was redeemed before, has expired, or the store gives no answer.
    ///
    /// # Panics
    /// Panics if there is something to wait for, outside of a Tokio runtime with its timer.
    pub async fn redeem(self) -> Result<T, Rejection> {
        self.ticket.claim(&*self.memory.0).await
    }
}

impl<T> PendingToken<T, InTransaction> {
    /// Begins a transaction, records the token in it, calls `work` with the connection and the
    /// payload, and commits. If `work` answers with an error, all is rolled back, and the token
    /// may be redeemed again. It is the counterpart of
    /// [`PendingPayload::transact`](crate::PendingPayload::transact), which says more.
    ///
    /// # Errors
    /// Returns the error of `work`; otherwise a [`Rejection`].
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn transact<D, R, E>(
        mut self,
        database: &D,
        work: impl AsyncFnOnce(&mut D::Connection, T) -> Result<R, E>,
    ) -> Result<R, E>
    where
        D: TransactIn + ?Sized,
        E: From<Rejection>,
    {
        let settings = Arc::clone(&self.ticket.guarded().settings);
        let turns = settings.memory.turns();
        self.ticket.wait_for_turn(turns).await?;
        self.ticket.transact(database, work).await
    }

    /// Records the token in the caller's transaction, and hands out its payload. The token is used
    /// up once the caller commits. To be called outside of savepoints, as
    /// [`PendingPayload::consume`](crate::PendingPayload::consume) is.
    ///
    /// If another transaction has recorded the token and has not ended, the database is waited for.
    /// In each process one duplicate of the token waits so, and holds its connection for that time.
    /// Others are refused at once (409, `request_in_flight`).
    ///
    /// # Errors
    /// Returns an error if it was redeemed before, has expired, another duplicate waits for the
    /// database, or the database refuses or gives no answer. The transaction is then to be rolled
    /// back.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn redeem_in<C: ConsumeIn + ?Sized>(
        mut self,
        transaction: &mut C,
    ) -> Result<T, Rejection> {
        let settings = Arc::clone(&self.ticket.guarded().settings);
        let turns = settings.memory.turns();
        self.ticket.take_turn_at_once(turns)?;
        self.ticket.consume(transaction).await
    }
}

/// Without the payload.
impl<T, M> fmt::Debug for PendingToken<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingToken")
            .field("claim", self.ticket.to_record())
            .finish_non_exhaustive()
    }
}
