//! The duties of a store of claims, and its answers.

use std::{fmt, ptr, sync::Arc, time::Duration};

use sha2::{Digest as _, Sha256};

use super::claim::Claim;
use crate::{clock::Timestamp, future::StoreFuture};

/// The answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimOutcome {
    /// The nonce was not recorded before, and now is.
    New,
    /// The nonce was recorded before, or is leased.
    Replayed,
}

/// The answer to a request for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseOutcome {
    /// The lease is held under the claim's attempt.
    Held,
    /// Another attempt holds the lease, for at most this long unless it is renewed.
    #[non_exhaustive]
    InFlight {
        /// The time that is left to the other attempt.
        remaining: Duration,
    },
    /// An attempt has been completed.
    Completed,
}

impl LeaseOutcome {
    /// Returns the outcome of a claim while another attempt holds the lease for `remaining` time.
    #[must_use]
    pub fn in_flight(remaining: Duration) -> Self {
        Self::InFlight { remaining }
    }
}

/// The answer to a step of the holder of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepOutcome {
    /// The step was done.
    Done,
    /// The lease had ended, and the nonce is another's or nobody's; nothing was changed.
    Lost,
}

/// Remembers which nonces were used.
///
/// An implementation keeps these promises:
/// - however many claims on one identity arrive, at once or one after another, at most one is
///   answered [`ClaimOutcome::New`] until its deadline has passed by the store's own clock;
/// - a claim whose deadline is not above everything that the store has dropped for its age is
///   refused ([`StoreErrorKind::SignAgain`]), so that a clock which steps back reopens nothing;
/// - a claim with a signed time that may have been accepted before the store lost its memory is
///   refused likewise;
/// - a namespace remembers for as long as its first claim needed ([`Claim::retention`]). A claim
///   that needs longer is refused ([`StoreErrorKind::Misconfigured`]); a claim that needs less is
///   remembered for as long as the namespace's others;
/// - a claim that would give its message more records than [`Claim::most_records`] is refused
///   ([`StoreErrorKind::TooManyPlaces`]);
/// - a store that is full, down, slow or unsure answers with an error. Live records are never
///   evicted.
///
/// [`StoreErrorKind::SignAgain`]: crate::error::StoreErrorKind::SignAgain
/// [`StoreErrorKind::Misconfigured`]: crate::error::StoreErrorKind::Misconfigured
/// [`StoreErrorKind::TooManyPlaces`]: crate::error::StoreErrorKind::TooManyPlaces
pub trait NonceStore: Send + Sync + 'static {
    /// Records the nonce if, and only if, it is not recorded: one atomic step. A duplicate of an
    /// event id extends the record in the same step.
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome>;

    /// Returns the leases of the same store. With `None`, the store cannot serve
    /// [`Processing::Retryable`](crate::Processing::Retryable).
    fn leases(&self) -> Option<&dyn LeaseStore>;

    /// Returns whether what was recorded is still there after this process has ended. If it is not,
    /// and the scheme covers no time, a warning is logged when the layer is built.
    fn survives_restart(&self) -> bool;

    /// Tells which store this is, and whether others may claim in it: [`Sharing::within_process`]
    /// with the store itself, or [`Sharing::of_database`]. A store around another store returns the
    /// sharing of the inner store.
    ///
    /// [`build`](crate::request::VerifierBuilder::build) uses it to refuse two layers of this
    /// process that would use up each other's requests.
    ///
    /// It is called under a lock of the process: it must not build a layer, which is refused, and
    /// must not wait for a thread that builds one.
    fn sharing(&self) -> Sharing;

    /// Returns how many nonces are on record, for a gauge, or `None` if the store would need to ask
    /// a server. Nothing is decided by it. Default: `None`.
    fn live(&self) -> Option<usize> {
        None
    }

    /// Returns the latest signed time that the store refuses because it may have forgotten requests
    /// of that time. It asks no server, and tells what it knows. Default: `None`.
    ///
    /// Nothing is refused by it. [`OneTimeToken::issue`](crate::OneTimeToken::issue) dates tokens
    /// later than this.
    fn refuses_until(&self, max_skew: Duration) -> Option<Timestamp> {
        let _ = max_skew;
        None
    }

    /// Returns until when any layer of any server can record a claim that was signed at `signed_at`
    /// in this namespace, as far as the store knows without asking a server. `needed` is the
    /// retention of the layer that asks. Default: `None`.
    ///
    /// A store that remembers a namespace for as long as its first claim needed refuses every claim
    /// that needs longer, so it answers with `signed_at` and that retention. A store that answers
    /// must keep its word: it may not give the namespace a longer retention later, unless it then
    /// refuses what was signed before.
    ///
    /// A signed response says [`Never`](crate::response::Outcome::Never) of a request that is older.
    /// Without an answer, the response says so only of a request that is older than any `max_age`
    /// that the [verifier](crate::request::VerifierBuilder::longest_max_age) knows of.
    fn taken_until(
        &self,
        namespace: &str,
        needed: Duration,
        signed_at: Timestamp,
    ) -> Option<Timestamp> {
        let _ = (namespace, needed, signed_at);
        None
    }
}

/// Tells which store this is, and whether others may claim in it: see [`NonceStore::sharing`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sharing {
    store: Identity,
    is_shared: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Identity {
    /// The address of the store, which stays the same for as long as a layer has it.
    Object(usize),
    /// SHA-256 of what identifies its database.
    Database([u8; 32]),
}

impl Sharing {
    /// Describes a store that no other process can open.
    #[must_use]
    pub fn within_process<S: ?Sized>(store: &S) -> Self {
        Self {
            store: Identity::Object(ptr::from_ref(store).addr()),
            is_shared: false,
        }
    }

    /// Describes a store that other processes can open, and of which it is not known where its
    /// records are: another object on the same database counts as another store. Prefer
    /// [`of_database`](Self::of_database).
    #[must_use]
    pub fn between_processes<S: ?Sized>(store: &S) -> Self {
        Self {
            is_shared: true,
            ..Self::within_process(store)
        }
    }

    /// Describes a store that other processes can open, by what identifies its database: a random
    /// value that the store recorded there, or a URL. All stores of a process with the same
    /// identity are one store.
    ///
    /// ```
    /// use countersign::store::Sharing;
    ///
    /// let here = Sharing::of_database("db.internal/orders");
    /// assert!(here.is_shared() && here == Sharing::of_database("db.internal/orders"));
    /// ```
    #[must_use]
    pub fn of_database(identity: impl AsRef<[u8]>) -> Self {
        Self {
            store: Identity::Database(Sha256::digest(identity).into()),
            is_shared: true,
        }
    }

    /// Returns whether another layer, or another process, can have the same store.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Returns whether both have the same records.
    pub(crate) fn is_one_store(self, other: Self) -> bool {
        self.store == other.store
    }

    /// Returns whether it is known to be a database, in which handlers may record as well.
    pub(crate) fn is_of_database(self) -> bool {
        matches!(self.store, Identity::Database(_))
    }

    /// The same store, where `Arc`s beside the one that was given point to it.
    pub(crate) fn with_owners(mut self, owners: usize) -> Self {
        self.is_shared |= owners > 1;
        self
    }
}

impl fmt::Debug for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sharing({})", self.is_shared)
    }
}

/// Records that are held while a handler runs, and kept or given back by what it answers.
///
/// Each step is fenced by the claim's attempt: once a lease has ended and another attempt holds
/// the nonce, the earlier holder changes nothing. A lease that ends without a step is given to the
/// next attempt that asks.
pub trait LeaseStore: Send + Sync {
    /// Takes the lease for `duration` if the nonce is neither completed nor held. A duplicate of a
    /// completed event id extends the record in the same step.
    fn lease<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, LeaseOutcome>;

    /// Makes the lease end `duration` from now. A lease that has ended, but that no other attempt
    /// has taken, may be renewed.
    fn renew<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, StepOutcome>;

    /// Makes the record final, until the claim's deadline.
    fn complete<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome>;

    /// Gives the nonce back: the next attempt takes it.
    fn release<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome>;
}

/// An open database transaction in which a nonce can be consumed: recorded together with the
/// effects of a handler, or rolled back together with them.
///
/// Implemented for `sqlx::Transaction` of PostgreSQL and of SQLite (features `postgres` and
/// `sqlite`). An executor that commits each statement by itself, such as a pool or a bare
/// connection, must not implement it.
///
/// An implementation keeps these promises:
/// - however many transactions consume one identity, at most one is answered
///   [`ClaimOutcome::New`] and commits, until the deadline has passed by the database's own clock.
///   A transaction that consumes while another has not ended waits for it, or fails. The database
///   itself gives up after `wait`, so that the transaction can be rolled back in time;
/// - the record stays if, and only if, the rest of the transaction does;
/// - a deadline that the database's clock has reached, or that is not above everything the
///   database has dropped for its age, is refused ([`StoreErrorKind::SignAgain`]);
/// - a claim that needs a longer memory than its namespace has is refused
///   ([`StoreErrorKind::Misconfigured`]);
/// - a database that is unsure answers with an error. Live records are never evicted.
///
/// [`StoreErrorKind::SignAgain`]: crate::error::StoreErrorKind::SignAgain
/// [`StoreErrorKind::Misconfigured`]: crate::error::StoreErrorKind::Misconfigured
#[diagnostic::on_unimplemented(
    message = "a nonce is consumed in an open database transaction, and `{Self}` is not one",
    label = "this is not an open transaction",
    note = "begin one, `let mut tx = pool.begin().await?`, and pass `&mut tx`; or leave BEGIN and COMMIT to `transact`",
    note = "a pool or a bare connection commits each statement by itself, and would keep the nonce of a request whose effect was lost"
)]
pub trait ConsumeIn: Send {
    /// Records the nonce under the claim's attempt if, and only if, it is not recorded. A duplicate
    /// of an event id extends the record in the same step. The database waits for a lock no longer
    /// than `wait`.
    fn consume<'a>(&'a mut self, claim: &'a Claim, wait: Duration)
    -> StoreFuture<'a, ClaimOutcome>;

    /// Returns whether the nonce is recorded under this very attempt, as far as this transaction
    /// sees.
    ///
    /// In the transaction that consumed it, this is asked last before COMMIT: a transaction that
    /// the database will not commit answers `false` or fails. In a later one it tells how an
    /// attempt ended whose COMMIT was never answered.
    fn is_recorded<'a>(&'a mut self, claim: &'a Claim) -> StoreFuture<'a, bool>;
}

/// A database that begins transactions in which nonces can be consumed: a pool.
///
/// Implemented for `sqlx::Pool` of PostgreSQL and of SQLite (features `postgres` and `sqlite`).
#[diagnostic::on_unimplemented(
    message = "`{Self}` begins no transactions in which a nonce can be consumed",
    label = "a pool is wanted here",
    note = "pass a reference to a pool of a database whose feature is on (`postgres`, `sqlite`); in a transaction of your own, call `consume(&mut tx)`"
)]
pub trait TransactIn: Send + Sync {
    /// An open transaction. A transaction that is dropped is rolled back.
    type Transaction: ConsumeIn + Unpin + 'static;

    /// The connection that statements run on while the transaction is open: a type without
    /// lifetimes, or rustc takes no async closure on it where a future must be `Send`.
    type Connection: Send + ?Sized;

    /// Begins a transaction that may write.
    fn begin(&self) -> StoreFuture<'_, Self::Transaction>;

    /// The connection in the transaction.
    fn connection(transaction: &mut Self::Transaction) -> &mut Self::Connection;

    /// Commits. After an error it is unknown whether the transaction was committed.
    fn commit(transaction: Self::Transaction) -> StoreFuture<'static, ()>;

    /// Rolls back.
    fn rollback(transaction: Self::Transaction) -> StoreFuture<'static, ()>;
}

impl<S: NonceStore + ?Sized> NonceStore for Arc<S> {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        (**self).claim(claim)
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        (**self).leases()
    }

    fn survives_restart(&self) -> bool {
        (**self).survives_restart()
    }

    fn sharing(&self) -> Sharing {
        (**self).sharing().with_owners(Arc::strong_count(self))
    }

    fn live(&self) -> Option<usize> {
        (**self).live()
    }

    fn refuses_until(&self, max_skew: Duration) -> Option<Timestamp> {
        (**self).refuses_until(max_skew)
    }

    fn taken_until(
        &self,
        namespace: &str,
        needed: Duration,
        signed_at: Timestamp,
    ) -> Option<Timestamp> {
        (**self).taken_until(namespace, needed, signed_at)
    }
}
