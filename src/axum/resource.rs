//! One resource that a request names twice, in its target and in its signed body: both names must be
//! the same, and a handler gets at neither before they were compared.

use std::{fmt, marker::PhantomData, str::FromStr};

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::{
    extract::{leads_to, payload},
    rejection::ExtractRejection,
};
use crate::{
    error::{Rejection, RejectionKind},
    message::json,
    once::{ConsumeIn, TransactIn},
    request::{PendingPayload, VerifiedPayload},
};

/// Says where a request names its resource: in the target, and in the JSON body. It is implemented
/// for the type of the body, which [`SameResource`] and [`PendingResource`] then read.
///
/// ```
/// use countersign::axum::{InTarget, NamesResource};
///
/// /// `POST /orders/{order_id}/shipments` with `{"order_id":7,"carrier":"DHL"}`
/// #[derive(serde::Deserialize)]
/// struct Shipment { carrier: String }
///
/// impl NamesResource for Shipment {
///     type Id = i64;
///     const IN_TARGET: InTarget = InTarget::Path("order_id");
///     const IN_BODY: &'static str = "/order_id";
/// }
/// ```
pub trait NamesResource {
    /// The type of the identifier: `String`, a number, a `Uuid`. It is parsed from the text that
    /// both places have in common.
    type Id: FromStr;

    /// Its place in the target.
    const IN_TARGET: InTarget;

    /// Its place in the body: a JSON pointer (RFC 6901), such as `/order_id`.
    const IN_BODY: &'static str;
}

/// The place where the target of a request names a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InTarget {
    /// In this parameter of the route, such as `order_id` of `/orders/{order_id}`, also if the route
    /// is nested.
    Path(&'static str),
    /// In this parameter of the query, which must appear exactly once.
    Query(&'static str),
}

/// The body of a request, and the resource that both its target and its body name.
///
/// A request may say in its path which resource it is for, and in its signed body again. A handler
/// that checks one and changes the other lets the holder of a signature for one resource change
/// another. This extractor compares the two, and hands out what they have in common. A handler that
/// takes it, and neither `Path` nor [`VerifiedJson`](crate::VerifiedJson), cannot leave the check
/// out.
///
/// - A string equals exactly its characters, after the target was percent-decoded once. Case and
///   Unicode form count.
/// - An integer of the body equals its canonical decimal text alone: `7`, and not `07`, `+7` or
///   `7.0`.
/// - A name that is missing or empty, a name of the pointer that appears twice in one object, a
///   parameter that appears twice, and any other type are answered with 403, `resource_mismatch`.
///
/// If the scheme covers the path, or the query, the name is taken from what was signed, and the
/// route must be the one that the signed path leads to, as with
/// [`VerifiedPath`](crate::VerifiedPath). If the scheme does not cover it, the body says which
/// resource is meant, and the target must be equal.
///
/// With [`Processing::InTransaction`](crate::Processing::InTransaction), take [`PendingResource`].
///
/// ```
/// use countersign::axum::{InTarget, NamesResource, SameResource};
///
/// #[derive(serde::Deserialize)]
/// struct Shipment { carrier: String }
///
/// impl NamesResource for Shipment {
///     type Id = i64;
///     const IN_TARGET: InTarget = InTarget::Path("order_id");
///     const IN_BODY: &'static str = "/order_id";
/// }
///
/// /// `POST /orders/{order_id}/shipments`
/// async fn ship(SameResource { id, body, .. }: SameResource<Shipment>) -> String {
///     format!("order {id} goes with {}", body.carrier)
/// }
/// ```
#[expect(
    clippy::exhaustive_structs,
    reason = "extractors are taken apart by pattern"
)]
pub struct SameResource<T: NamesResource> {
    /// The identifier, as both places have it.
    pub id: T::Id,
    /// The verified body, read as JSON, as [`VerifiedJson`](crate::VerifiedJson) reads it.
    pub body: T,
    /// The payload of the verified request.
    pub payload: VerifiedPayload,
}

impl<T, S> FromRequestParts<S> for SameResource<T>
where
    T: NamesResource + DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ExtractRejection> {
        let payload = payload(parts)?.clone();
        let routed = Routed::from_request_parts(parts, state).await?;
        routed.same_as_in(payload)
    }
}

/// A [`PendingPayload`] whose request names its resource twice: the two names are compared inside of
/// [`transact`](Self::transact), before the handler is given either.
///
/// If they differ, the answer is 403, `resource_mismatch`. Everything is rolled back, the nonce with
/// it.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use countersign::axum::{ExtractRejection, InTarget, NamesResource, PendingResource, SameResource};
///
/// #[derive(serde::Deserialize)]
/// struct Shipment { carrier: String }
///
/// impl NamesResource for Shipment {
///     type Id = i64;
///     const IN_TARGET: InTarget = InTarget::Path("order_id");
///     const IN_BODY: &'static str = "/order_id";
/// }
///
/// async fn ship(
///     pool: &sqlx::SqlitePool,
///     pending: PendingResource<Shipment>,
/// ) -> Result<(), ExtractRejection> {
///     pending.transact(pool, async |tx, SameResource { id, body, .. }| {
///         // UPDATE orders SET carrier = … WHERE id = …
///         # let _ = (tx, id, body.carrier);
///         Ok(())
///     }).await
/// }
/// # }
/// ```
#[must_use = "a payload that is not consumed makes every success an error"]
pub struct PendingResource<T> {
    pending: PendingPayload,
    routed: Routed,
    body: PhantomData<fn() -> T>,
}

impl<T: NamesResource + DeserializeOwned> PendingResource<T> {
    /// Does the same as [`PendingPayload::transact`], and gives `work` the compared resource.
    ///
    /// # Errors
    /// Returns an error as [`PendingPayload::transact`] does; 403, `resource_mismatch`, if the
    /// names differ; and 400 or 422 if the body is not a `T`.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn transact<D, R, E>(
        self,
        database: &D,
        work: impl AsyncFnOnce(&mut D::Connection, SameResource<T>) -> Result<R, E>,
    ) -> Result<R, E>
    where
        D: TransactIn + ?Sized,
        E: From<Rejection> + From<ExtractRejection>,
    {
        let Self {
            pending, routed, ..
        } = self;
        let compared = async |tx: &mut D::Connection, payload| {
            let same = routed.same_as_in(payload)?;
            work(tx, same).await
        };
        pending.transact(database, compared).await
    }

    /// Does the same as [`PendingPayload::consume`], and returns the compared resource.
    ///
    /// # Errors
    /// Returns an error as [`transact`](Self::transact) does. Roll the transaction back then.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn consume<C: ConsumeIn + ?Sized>(
        self,
        transaction: &mut C,
    ) -> Result<SameResource<T>, ExtractRejection> {
        let payload = self.pending.consume(transaction).await?;
        self.routed.same_as_in(payload)
    }
}

impl<T: Send, S: Send + Sync> FromRequestParts<S> for PendingResource<T> {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ExtractRejection> {
        // First what may fail: a payload that was taken is gone.
        let routed = Routed::from_request_parts(parts, state).await?;
        let pending = PendingPayload::from_request_parts(parts, state).await?;
        Ok(Self {
            pending,
            routed,
            body: PhantomData,
        })
    }
}

/// The target as the router saw it. Nobody has signed it.
struct Routed {
    /// Without one, the target can name nothing by its path.
    route: Option<MatchedPath>,
    /// Decoded once.
    parameters: Vec<(String, String)>,
    query: Option<String>,
}

impl Routed {
    async fn from_request_parts<S: Send + Sync>(
        parts: &mut Parts,
        state: &S,
    ) -> Result<Self, ExtractRejection> {
        let parameters = RawPathParams::from_request_parts(parts, state).await;
        let parameters = parameters.map_err(|error| ExtractRejection::syntax(&error))?;
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Ok(Self {
            route: parts.extensions.get().cloned(),
            parameters: parameters.into_iter().map(owned).collect(),
            query: parts.uri.query().map(str::to_owned),
        })
    }

    fn same_as_in<T>(&self, payload: VerifiedPayload) -> Result<SameResource<T>, ExtractRejection>
    where
        T: NamesResource + DeserializeOwned,
    {
        let name = self.named(T::IN_TARGET, &payload)?;
        let body = payload.bytes();
        if !json::names(body, T::IN_BODY, &name) {
            return Err(differs(format!(
                "the target names `{}`, and the body does not name the same at `{}`",
                name.escape_debug(),
                T::IN_BODY
            )));
        }
        let id = name.parse().map_err(|_| {
            differs(format!(
                "`{}` is not an identifier of this resource",
                name.escape_debug()
            ))
        })?;
        let body = payload
            .json()
            .map_err(|error| ExtractRejection::json(&error))?;
        Ok(SameResource { id, body, payload })
    }

    /// The name in the target, from what was signed if that is covered.
    fn named(
        &self,
        place: InTarget,
        payload: &VerifiedPayload,
    ) -> Result<String, ExtractRejection> {
        let found = match place {
            InTarget::Path(parameter) => {
                let route = self.route.as_ref().map(MatchedPath::as_str);
                if let Some(signed) = payload.routed_path() {
                    let route = route.unwrap_or_default();
                    let routed = self.parameters.iter();
                    let routed = routed.map(|(name, value)| (name.as_str(), value.as_str()));
                    if !leads_to(signed, route, routed) {
                        return Err(ExtractRejection::mismatch(route, signed));
                    }
                }
                let named = |(name, _): &&(String, String)| name == parameter;
                only(
                    self.parameters
                        .iter()
                        .filter(named)
                        .map(|(_, value)| value.clone()),
                )
            }
            InTarget::Query(parameter) => match payload.query_param(parameter) {
                Some(signed) => Some(signed.to_owned()),
                // All of the query is covered, and the parameter is missing or appears twice.
                None if payload.query().is_some() => None,
                None => {
                    let pairs = self.query.as_deref().unwrap_or_default().as_bytes();
                    let pairs = form_urlencoded::parse(pairs);
                    only(
                        pairs
                            .filter(|(name, _)| name == parameter)
                            .map(|(_, value)| value.into_owned()),
                    )
                }
            },
        };
        let found = found.filter(|name| !name.is_empty());
        found.ok_or_else(|| differs(format!("the target does not name one resource: {place:?}")))
    }
}

/// The only item; `None` if there is none, or more than one.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next();
    first.filter(|_| items.next().is_none())
}

fn differs(detail: String) -> ExtractRejection {
    ExtractRejection::refused(Rejection::new(RejectionKind::ResourceMismatch, detail))
}

/// Without the body.
impl<T: NamesResource<Id: fmt::Debug>> fmt::Debug for SameResource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SameResource")
            .field("id", &self.id)
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for PendingResource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingResource")
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}
