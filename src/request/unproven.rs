//! A request whose signed message holds values that were not sent: its MAC is compared inside of the
//! handler's own database transaction, once the handler has supplied them from a row that it locked.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::request::Parts;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    admit::Admitted,
    authenticate::Authentic,
    budget::Charge,
    payload::VerifiedPayload,
    pending::PendingPayload,
    receive::Received,
    usable::{Unread, Usable},
    verifier::Verifier,
};
use crate::{
    error::{Rejection, RejectionKind},
    future::within,
    message::{Formed, Supplied},
    once::{FateCell, Ticket, TransactIn},
};

/// A request that is fresh, names a known key, and **is not known to be genuine**: its signed
/// message holds a value that was not sent ([`Part::supplied`](crate::Part::supplied)). The handler
/// takes that value from its own locked row, inside of [`transact`](Self::transact). There the MAC
/// is compared, and the nonce is recorded after it.
///
/// Nothing of the request can be read from this type. The handler knows the row that is meant from
/// the route (Axum's `Path`), which nobody has verified at that point: use it for the lock alone,
/// and take the identifier from the payload afterwards.
///
/// In Axum it is an extractor; elsewhere it is taken from the
/// [`UnprovenSlot`](crate::request::UnprovenSlot) in the extensions.
///
/// ```
/// # #[cfg(feature = "postgres")] mod example {
/// use axum::extract::{Path, State};
/// use countersign::{axum::ExtractRejection, request::{Supplied, UnprovenPayload}};
/// # struct Failure;
/// # impl From<countersign::Rejection> for Failure { fn from(_: countersign::Rejection) -> Self { Self } }
/// # impl From<ExtractRejection> for Failure { fn from(_: ExtractRejection) -> Self { Self } }
/// # impl From<sqlx::Error> for Failure { fn from(_: sqlx::Error) -> Self { Self } }
///
/// #[derive(serde::Deserialize)]
/// struct Place { id: i64 }
///
/// async fn publish(
///     State(pool): State<sqlx::PgPool>,
///     Path(asked): Path<i64>,
///     unproven: UnprovenPayload,
/// ) -> Result<(), Failure> {
///     let lock = async |tx: &mut sqlx::PgConnection| {
///         let version = "SELECT version FROM documents WHERE id = $1 FOR UPDATE";
///         let version: Option<i64> =
///             sqlx::query_scalar(version).bind(asked).fetch_optional(tx).await?;
///         Ok(version.map(|version| Supplied::new().with("version", version)))
///     };
///     unproven.transact(&pool, lock, async |tx, payload| {
///         let Place { id } = payload.path_params("/documents/{id}")?;
///         if id != asked {
///             return Err(Failure); // the lock is on another row
///         }
///         let publish = "UPDATE documents SET public = true, version = version + 1 WHERE id = $1";
///         sqlx::query(publish).bind(id).execute(tx).await?;
///         Ok(())
///     }).await
/// }
/// # }
/// ```
///
/// # Every handler must take it
/// The inner service of every route behind the layer runs before the MAC is compared. A handler that
/// ignores this value acts on a method and path that nobody has proven; its success becomes an
/// error, and its effects stay. Put only routes whose handlers take it behind such a layer, and
/// nothing with effects between.
///
/// # Cost
/// Anybody who knows a key id, which is public, can get this far with a MAC that is made up. For
/// such a request the body is read, the inner service is called, a transaction begins, and the
/// row's lock is taken and let go. These bound it:
/// - Freshness, the key, and the form of every parameter are checked first, before the body is read.
/// - At most [`max_unproven`](crate::request::VerifierBuilder::max_unproven) such requests (default:
///   16) are between the end of their body and their MAC at any time. Others wait in front of the
///   handler, no longer than the
///   [`store_timeout`](crate::request::VerifierBuilder::store_timeout), and are then refused with
///   503, `handlers_exhausted`. Genuine requests wait in the same queue.
/// - Until the MAC has passed, a body counts among those of strangers, and beginning and supplying
///   take no longer than the `store_timeout` each.
/// - Nothing is recorded before the MAC has passed, so that nobody fills a store or uses up a nonce.
///
/// If a format need not have such a part, choose a covered `If-Match`
/// ([`SignedVersion`](crate::SignedVersion)): there, the MAC is compared before anything begins.
#[must_use = "a request that is not proven makes every success an error"]
pub struct UnprovenPayload(Box<Unproven>);

struct Unproven {
    verifier: Verifier,
    head: Parts,
    body: Bytes,
    formed: Option<Box<Formed>>,
    charge: Charge,
    fate: FateCell<Rejection>,
    /// Until the MAC has passed or failed.
    permit: Option<OwnedSemaphorePermit>,
}

impl Received<'_> {
    /// A request that is to be proven later, with all that this takes.
    pub(super) fn into_unproven(self, head: &Parts) -> UnprovenPayload {
        let state = *self.state;
        UnprovenPayload(Box::new(Unproven {
            verifier: state.verifier.clone(),
            head: head.clone(),
            body: state.body,
            formed: state.formed,
            charge: state.charge,
            fate: FateCell::default(),
            permit: state.unproven,
        }))
    }
}

impl UnprovenPayload {
    /// Begins a transaction, lets `supply` lock a row and read the values from it, compares the MAC,
    /// records the nonce, calls `work` with the connection and the payload, and commits.
    ///
    /// If there is no such row, `supply` returns `None`. The request is then refused as with a wrong
    /// MAC, so that nobody without a key learns which rows there are. `supply` must lock the row until
    /// the end of the transaction: `SELECT … FOR UPDATE` on PostgreSQL. On SQLite the transaction has
    /// locked the whole database. Without a lock, the row can change between the check and the use.
    ///
    /// A failure before `work` has answered, and an error of `work`, roll everything back. Everything
    /// else is as with [`PendingPayload::transact`].
    ///
    /// # Errors
    /// Returns the error of `supply` or `work`; otherwise a [`Rejection`]: 401,
    /// `signature_invalid`, if the MAC is not that of the message with these values; 500,
    /// `value_not_supplied`, if a value is missing or cannot be signed; 503, `store_unavailable`,
    /// if `supply` takes longer than the `store_timeout`; and those of
    /// [`PendingPayload::transact`].
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn transact<D, T, E>(
        self,
        database: &D,
        supply: impl AsyncFnOnce(&mut D::Connection) -> Result<Option<Supplied>, E>,
        work: impl AsyncFnOnce(&mut D::Connection, VerifiedPayload) -> Result<T, E>,
    ) -> Result<T, E>
    where
        D: TransactIn + ?Sized,
        E: From<Rejection>,
    {
        let limit = self.0.verifier.store_timeout();
        let fate = self.0.fate.clone();
        let begun = within(limit, || database.begin()).await;
        let mut transaction = begun.map_err(|error| fate.fail(error.into()))?;
        let supplying = supply(D::connection(&mut transaction));
        let Ok(supplied) = timeout(limit, supplying).await else {
            // A statement may be under way: the connection is not used again.
            drop(transaction);
            return Err(fate.fail(too_late(limit)).into());
        };
        let ticket = match supplied {
            Ok(Some(supplied)) => self.ticket(&supplied).await.map_err(E::from),
            Ok(None) => Err(fate.fail(nothing_to_supply()).into()),
            Err(error) => Err(error),
        };
        match ticket {
            Ok(ticket) => ticket.transact_in(database, transaction, work).await,
            Err(error) => {
                // Dropped or not, it is rolled back: this only waits for it.
                let _ = within(limit, || D::rollback(transaction)).await;
                Err(error)
            }
        }
    }

    /// Compares the MAC of the message with these values, for a caller who has begun a transaction,
    /// and has locked and read the row in it. The payload that it returns is to be
    /// [consumed](PendingPayload::consume) in that same transaction.
    ///
    /// # Errors
    /// Returns an error as [`transact`](Self::transact) does. Roll the transaction back then.
    ///
    /// # Panics
    /// Panics if a key look-up must be waited for, outside of a Tokio runtime with its timer.
    pub async fn prove(self, supplied: &Supplied) -> Result<PendingPayload, Rejection> {
        self.ticket(supplied).await.map(PendingPayload::new)
    }

    async fn ticket(self, supplied: &Supplied) -> Result<Box<Ticket<Unread>>, Rejection> {
        let fate = self.0.fate.clone();
        let proven = self.0.prove(supplied).await;
        let proven = proven.and_then(|authentic| match authentic.usable {
            Usable::Once(ticket) => Ok(ticket.watched_by(fate.clone())),
            // The builder sees to it that each request is recorded.
            Usable::Again(_) => Err(nothing_to_supply()),
        });
        proven.map_err(|rejection| fate.fail(rejection))
    }

    /// Returns what the layer goes by when the handler has answered.
    pub(crate) fn fate(&self) -> FateCell<Rejection> {
        self.0.fate.clone()
    }
}

impl Unproven {
    /// Takes the request through the stages once more, now that its message is whole. Everything that was
    /// true at the door, such as its freshness, must be true still.
    async fn prove(self, supplied: &Supplied) -> Result<Authentic, Rejection> {
        let Self {
            ref verifier,
            ref head,
            body,
            formed,
            charge,
            permit,
            ..
        } = self;
        let parsed = verifier.read_head(head, Some(supplied))?;
        let Admitted { mut state } = parsed.admit().await?;
        // It was received at the door.
        state.body = body;
        state.formed = formed;
        state.charge = charge;
        let authentic = Received { state }.authenticate();
        drop(permit);
        authentic
    }
}

fn nothing_to_supply() -> Rejection {
    Rejection::new(
        RejectionKind::SignatureInvalid,
        "the handler had nothing to supply, because there is no such row",
    )
}

fn too_late(limit: Duration) -> Rejection {
    Rejection::new(
        RejectionKind::StoreUnavailable,
        format!("the handler supplied nothing within {limit:?}; the row may be locked"),
    )
}

impl fmt::Debug for UnprovenPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnprovenPayload")
            .field("body", &self.0.body.len())
            .finish_non_exhaustive()
    }
}
