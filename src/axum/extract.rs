//! Extractors that read what was verified.

use axum::extract::{FromRequestParts, MatchedPath, Path, RawPathParams};
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::{
    de::{DeserializeOwned, Deserializer, Error as _, Visitor},
    forward_to_deserialize_any,
};

use super::rejection::ExtractRejection;
use crate::{
    idempotency::PendingAnswer,
    once::LeaseStatus,
    request::{
        PendingPayload, PendingSlot, SignedVersion, UnprovenPayload, UnprovenSlot, VerifiedPayload,
    },
};

/// The payload itself.
impl<S: Sync> FromRequestParts<S> for VerifiedPayload {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractRejection> {
        payload(parts).cloned()
    }
}

/// Taken from its slot: of several extractors, in clones of the request too, the first one gets it,
/// and every other is answered with 500.
impl<S: Sync> FromRequestParts<S> for PendingPayload {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractRejection> {
        let slot = parts.extensions.get::<PendingSlot>().ok_or_else(|| {
            ExtractRejection::misplaced(
                "`PendingPayload` is on a route without a `VerifyLayer` that processes in \
                 transaction; add the layer, with `Processing::InTransaction`, outside of it",
            )
        })?;
        slot.take().ok_or_else(|| {
            ExtractRejection::misplaced(
                "the pending payload was taken before: by another extractor, or through a clone of \
                 the request",
            )
        })
    }
}

/// Taken from its slot, as [`PendingPayload`] is.
impl<S: Sync> FromRequestParts<S> for UnprovenPayload {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractRejection> {
        let slot = parts.extensions.get::<UnprovenSlot>().ok_or_else(|| {
            ExtractRejection::misplaced(
                "`UnprovenPayload` is on a route without a `VerifyLayer` whose scheme signs a \
                 value that is not sent; take `PendingPayload`, or `VerifiedPayload`",
            )
        })?;
        slot.take().ok_or_else(|| {
            ExtractRejection::misplaced(
                "the request was taken before: by another extractor, or through a clone of it",
            )
        })
    }
}

/// Extracts whether the lease is still held. Without
/// [`Processing::Retryable`](crate::Processing::Retryable) there is no lease, and the answer is
/// 500.
impl<S: Sync> FromRequestParts<S> for LeaseStatus {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractRejection> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            ExtractRejection::misplaced(
                "`LeaseStatus` is on a route without a `VerifyLayer` that processes under a \
                 lease; add the layer, with `Processing::Retryable`, outside of it",
            )
        })
    }
}

/// Needs an [`IdempotencyLayer`](crate::idempotency::IdempotencyLayer) whose answers are recorded
/// in transactions. Without it the answer is 500.
impl<S: Sync> FromRequestParts<S> for PendingAnswer {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractRejection> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            ExtractRejection::misplaced(
                "`PendingAnswer` is on a route without an `IdempotencyLayer`; add the layer, with \
                 `in_transaction`, outside of it",
            )
        })
    }
}

/// From the covered `If-Match`: otherwise 428, `version_required`.
///
/// ```
/// use countersign::{Rejection, SignedVersion, VerifiedPayload};
/// # async fn update(_: &[u8], _: i64) -> u64 { 1 }
///
/// async fn put(version: SignedVersion, payload: VerifiedPayload) -> Result<(), Rejection> {
///     // UPDATE … WHERE id = … AND version = …
///     let rows = update(payload.bytes(), version.parse()?).await;
///     version.require_changed(rows) // 0 rows: 412
/// }
/// ```
impl<S: Sync> FromRequestParts<S> for SignedVersion {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractRejection> {
        payload(parts)?
            .signed_version()
            .map_err(ExtractRejection::refused)
    }
}

/// The verified body, read as JSON.
///
/// The body is read as JSON under every `content-type`: an uncovered header does not decide what
/// verified bytes mean.
///
/// A body in which a name appears twice in one object, at any depth, is refused with 422, also
/// where `T` is a map or a [`serde_json::Value`]: readers differ in which of the two members they
/// take. A string that is read, or a name, with one half of a surrogate pair (`\ud800` alone) is
/// refused with 422 too, because no Rust string can hold it.
///
/// ```
/// use countersign::VerifiedJson;
///
/// #[derive(serde::Deserialize)]
/// struct Transfer { amount: u64 }
///
/// async fn transfer(VerifiedJson(order): VerifiedJson<Transfer>) -> String {
///     format!("moved {}", order.amount)
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "extractors are taken apart by pattern"
)]
pub struct VerifiedJson<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for VerifiedJson<T> {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractRejection> {
        payload(parts)?
            .json()
            .map(Self)
            .map_err(|error| ExtractRejection::json(&error))
    }
}

/// The verified body, read as a form (`application/x-www-form-urlencoded`), whatever `content-type`
/// says.
///
/// A form with a raw `"`, `<`, `>`, `{` or `}` is refused with 400: a form encodes these. Otherwise
/// a JSON body that was signed under the same key could be read as a form, and a text `&admin=1` in
/// it as a parameter.
///
/// A form in which a name appears twice is refused with 422, unless `T` is a list of pairs, such as
/// `Vec<(String, String)>`, which has both.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "extractors are taken apart by pattern"
)]
pub struct VerifiedForm<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for VerifiedForm<T> {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractRejection> {
        payload(parts)?.form().map(Self)
    }
}

/// The verified query. If the scheme does not cover the query, the answer is 500.
///
/// A query in which a name appears twice is refused with 422, unless `T` is a list of pairs, such
/// as `Vec<(String, String)>`, which has both.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "extractors are taken apart by pattern"
)]
pub struct VerifiedQuery<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for VerifiedQuery<T> {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractRejection> {
        payload(parts)?.query_params().map(Self)
    }
}

fn read_pairs<T: DeserializeOwned>(text: &[u8]) -> Result<T, ExtractRejection> {
    let mut names: Vec<_> = form_urlencoded::parse(text).map(|(name, _)| name).collect();
    names.sort_unstable();
    let mut neighbours = names.iter().zip(names.iter().skip(1));
    let twice = neighbours.find(|(one, next)| one == next);
    let twice = twice.map(|(name, _)| &**name);
    T::deserialize(Pairs {
        inner: serde_urlencoded::Deserializer::new(form_urlencoded::parse(text)),
        twice,
    })
    .map_err(|error| ExtractRejection::shape(&error))
}

/// Reads pairs as a list, or as a map or a struct if no name appears twice: a map would take the
/// last value of a name, and other readers take the first.
struct Pairs<'p, D> {
    inner: D,
    twice: Option<&'p str>,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Pairs<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        match self.twice {
            None => self.inner.deserialize_any(visitor),
            Some(name) => Err(D::Error::custom(format_args!("{name:?} appears twice"))),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_seq(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit_struct newtype_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The parameters of the verified path.
///
/// The signed path is matched against the route again, and its parameters must equal those that the
/// router saw. Otherwise something between the layer and the router has rewritten the request, and
/// the answer is 403, `resource_mismatch`. If the scheme does not cover the
/// path, the answer is 500.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "extractors are taken apart by pattern"
)]
pub struct VerifiedPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for VerifiedPath<T> {
    type Rejection = ExtractRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ExtractRejection> {
        let payload = payload(parts)?.clone();
        let signed = payload
            .routed_path()
            .ok_or_else(|| ExtractRejection::uncovered("path"))?;
        let route = parts
            .extensions
            .get::<MatchedPath>()
            .cloned()
            .ok_or_else(|| {
                ExtractRejection::misplaced("`VerifiedPath` is used without a matched route")
            })?;
        let routed = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|error| ExtractRejection::syntax(&error))?;
        if !leads_to(signed, route.as_str(), &routed) {
            return Err(ExtractRejection::mismatch(route.as_str(), signed));
        }
        match Path::from_request_parts(parts, state).await {
            Ok(Path(parameters)) => Ok(Self(parameters)),
            Err(error) if error.status().is_server_error() => {
                Err(ExtractRejection::misplaced(&error.body_text()))
            }
            Err(error) => Err(ExtractRejection::shape(&error)),
        }
    }
}

/// Returns whether the signed path, matched against the route, has the parameters that the router
/// saw.
pub(super) fn leads_to<'r>(
    signed: &str,
    route: &str,
    routed: impl IntoIterator<Item = (&'r str, &'r str)>,
) -> bool {
    let mut router = matchit::Router::new();
    if router.insert(route, ()).is_err() {
        return false;
    }
    let Ok(matched) = router.at(signed) else {
        return false;
    };
    let mut signed = matched.params.iter();
    routed.into_iter().all(|(name, value)| {
        signed.next().is_some_and(|(signed_name, signed_value)| {
            signed_name == name && percent_decode_str(signed_value).eq(value.bytes())
        })
    })
}

/// Reads what the extractors read, for a handler that has taken the payload: with
/// [`Processing::InTransaction`](crate::Processing::InTransaction), inside of
/// [`transact`](PendingPayload::transact).
impl VerifiedPayload {
    /// Returns the parameters of the verified path, read as a map, or as a struct whose fields have
    /// their names. `route` is the route of the handler, as Axum writes it.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use countersign::{PendingPayload, axum::ExtractRejection};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Place { account: i64 }
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Amount { amount: i64 }
    ///
    /// /// `POST /accounts/{account}/deposits?amount=100`
    /// async fn deposit(
    ///     pool: &sqlx::SqlitePool,
    ///     pending: PendingPayload,
    /// ) -> Result<(), ExtractRejection> {
    ///     pending.transact(pool, async |tx, payload| {
    ///         let place: Place = payload.path_params("/accounts/{account}/deposits")?;
    ///         let order: Amount = payload.query_params()?;
    ///         // UPDATE accounts SET balance = balance + … WHERE id = …
    ///         # let _ = (tx, place.account, order.amount);
    ///         Ok(())
    ///     }).await
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns 403, `resource_mismatch`, if the signed path does not match this route; 422 if a
    /// parameter does not have the expected shape; 400 if it is not UTF-8; and 500 if the scheme
    /// does not cover the path, or the route cannot be read.
    pub fn path_params<T: DeserializeOwned>(&self, route: &str) -> Result<T, ExtractRejection> {
        let signed = self
            .routed_path()
            .ok_or_else(|| ExtractRejection::uncovered("path"))?;
        let mut router = matchit::Router::new();
        if router.insert(route, ()).is_err() {
            return Err(ExtractRejection::misplaced("the route cannot be read"));
        }
        let Ok(matched) = router.at(signed) else {
            return Err(ExtractRejection::mismatch(route, signed));
        };
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        for (name, value) in matched.params.iter() {
            let value = percent_decode_str(value).decode_utf8();
            pairs.append_pair(
                name,
                &value.map_err(|error| ExtractRejection::syntax(&error))?,
            );
        }
        read_pairs(pairs.finish().as_bytes())
    }

    /// Returns the verified query, as [`VerifiedQuery`] reads it.
    ///
    /// # Errors
    /// Returns 422 if the query does not have the expected shape, or a name appears twice; and 500
    /// if the scheme does not cover the query.
    pub fn query_params<T: DeserializeOwned>(&self) -> Result<T, ExtractRejection> {
        let query = self
            .query()
            .ok_or_else(|| ExtractRejection::uncovered("query"))?;
        read_pairs(query.as_bytes())
    }

    /// Returns the verified body, as [`VerifiedForm`] reads it.
    ///
    /// # Errors
    /// Returns 400 if the body has a character that a form encodes; and 422 if it does not have the
    /// expected shape, or a name appears twice.
    pub fn form<T: DeserializeOwned>(&self) -> Result<T, ExtractRejection> {
        let form = self.bytes();
        if form.iter().any(|byte| b"\"<>{}".contains(byte)) {
            return Err(ExtractRejection::unreadable(
                "the body has a character that a form encodes",
            ));
        }
        read_pairs(form)
    }
}

pub(super) fn payload(parts: &Parts) -> Result<&VerifiedPayload, ExtractRejection> {
    parts.extensions.get().ok_or_else(|| {
        ExtractRejection::misplaced(if parts.extensions.get::<UnprovenSlot>().is_some() {
            "the scheme signs a value that is not sent, and nothing is read before it is supplied; \
             take `UnprovenPayload`, and read from the payload that it gives"
        } else if parts.extensions.get::<PendingSlot>().is_some() {
            "with `Processing::InTransaction` nothing is read before the nonce is recorded; take \
             `PendingPayload`, and read from the payload that it gives"
        } else {
            "a verified extractor is on a route without `VerifyLayer`; add the layer to this \
             route or router, outside of it"
        })
    })
}
