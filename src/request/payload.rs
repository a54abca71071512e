//! The payload that a handler receives: the immutable snapshot of what was verified.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response};
use serde::de::DeserializeOwned;

use super::{budget::Charge, verifier::Verifier};
use crate::{
    clock::Timestamp,
    key::KeyId,
    once::{Claim, Memory, Nonce, NonceStore},
    proof::Proven,
};

/// The verified snapshot of a request.
///
/// It has only what the signature covers, as it was at the moment of verification. Anything else
/// reads as `None`. Only a verification can make a `VerifiedPayload`, so having one proves that the
/// request was verified. Clones share the snapshot.
///
/// ```compile_fail,E0423
/// // It cannot be made by hand:
/// let forged = countersign::VerifiedPayload(Default::default());
/// ```
#[derive(Clone)]
pub struct VerifiedPayload(Arc<Snapshot>);

/// The means to record an event: the terms of its request, and the store of the layer.
pub(super) struct Events {
    pub(super) terms: Claim,
    /// `None` with [`Processing::InTransaction`](crate::Processing::InTransaction).
    pub(super) store: Option<Arc<dyn NonceStore>>,
    pub(super) timeout: Duration,
}

pub(super) struct Snapshot {
    pub(super) proven: Proven,
    pub(super) verifier: Verifier,
    /// The answer of the scheme itself: seldom there, and boxed to be small.
    pub(super) answer: Option<Box<Response<Bytes>>>,
    /// The whole body, if more of it arrived than is covered.
    pub(super) uncovered: Option<Bytes>,
    #[cfg_attr(
        not(feature = "axum"),
        expect(dead_code, reason = "for `VerifiedPath`")
    )]
    pub(super) prefix_len: usize,
    /// The means to record the events that the request may hold.
    pub(super) events: Option<Box<Events>>,
    /// The bytes count against the budget for as long as they are here.
    #[expect(dead_code, reason = "it is held")]
    pub(super) charge: Charge,
}

impl VerifiedPayload {
    pub(super) fn new(snapshot: Arc<Snapshot>) -> Self {
        Self(snapshot)
    }

    /// Returns the body, as it was signed. Empty if the scheme covers no body, because then a
    /// request with one is refused.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        self.0.proven.bytes()
    }

    /// Returns the body, read as JSON.
    ///
    /// # Errors
    /// Returns an error if the body is not JSON, or not of this shape, and if a name appears twice
    /// in one of its objects, at any depth: readers differ in which of the two members they take.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        self.0.proven.json()
    }

    /// Returns the scheme that the request was verified under: `http-message-signatures`, the key
    /// id that the preset has by default, such as `github`, or for a
    /// [`HeaderScheme`](crate::HeaderScheme) the name of the header of the signature, such as
    /// `x-signature`.
    ///
    /// If a layer accepts [several schemes](crate::request::VerifierBuilder::or), and the request is
    /// signed under more than one, this is the first of them, and the payload holds what that
    /// covers.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.0.proven.scheme()
    }

    /// Returns the id of the key that the request was verified under.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        self.0.proven.key_id()
    }

    /// Returns when the request was signed, by the sender's clock, or `None` if the scheme covers
    /// no time.
    #[must_use]
    pub fn signed_at(&self) -> Option<Timestamp> {
        self.0.proven.signed_at()
    }

    /// Returns the expiry that the signature states, if it states one. The window in which the
    /// request is fresh may end earlier.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.0.proven.expires_at()
    }

    /// Returns the nonce, which makes this request unique under its key. Returns `None` for schemes
    /// whose requests may be equal, and are therefore not claimed.
    #[must_use]
    pub fn nonce(&self) -> Option<&Nonce> {
        self.0.proven.nonce()
    }

    /// Returns the whole body, as it was received, if the scheme covers only a part of it. Anybody
    /// who captured the request can change the other bytes. Returns `None` if all of the body is
    /// covered: then [`bytes`](Self::bytes) has it.
    #[must_use]
    pub fn danger_uncovered_body(&self) -> Option<&Bytes> {
        self.0.uncovered.as_ref()
    }

    /// Returns the answer to a handshake of the sender, if this request is one and the scheme
    /// answers it. A layer sends this answer by itself.
    #[must_use]
    pub fn handshake(&self) -> Option<Response<Bytes>> {
        self.0.answer.as_deref().cloned()
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.0.answer.is_some()
    }

    /// Returns the method, if it is covered.
    #[must_use]
    pub fn method(&self) -> Option<&Method> {
        self.0.proven.method()
    }

    /// Returns the authority, if it is covered: in lower case and without the default port.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.0.proven.authority()
    }

    /// Returns the path, if it is covered, as the client signed it: with its percent-encoding, and
    /// with the prefix that a proxy or a router removed on the way.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.0.proven.path()
    }

    /// The path without the prefix that a proxy took off: what a router would see of it.
    #[cfg(feature = "axum")]
    pub(crate) fn routed_path(&self) -> Option<&str> {
        self.path()?.get(self.0.prefix_len..)
    }

    /// Returns the query, if it is covered, as the client signed it: without the `?`, and empty if
    /// there is none. If the scheme signs a decoded URL ([HubSpot](crate::webhooks::HubSpot)), this
    /// is the decoded query that was signed.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.0.proven.query()
    }

    /// Returns the value of this header, if all of it is covered. The case of the name does not
    /// count.
    ///
    /// If a scheme covers a header of several lines (RFC 9421), they are one value, joined by
    /// commas, as they were signed.
    #[must_use]
    pub fn header(&self, name: impl AsRef<str>) -> Option<&HeaderValue> {
        self.0.proven.header(name)
    }

    /// Returns the value that the handler supplied under this name
    /// ([`Part::supplied`](crate::Part::supplied)), and that was signed. The request did not send
    /// it.
    #[must_use]
    pub fn supplied(&self, name: &str) -> Option<&str> {
        self.0.proven.supplied(name)
    }

    /// Returns one member of a header that is a dictionary (RFC 9651), as it was signed, if it is
    /// covered by itself. The case of the header's name does not count.
    #[must_use]
    pub fn header_member(&self, name: impl AsRef<str>, key: &str) -> Option<&str> {
        self.0.proven.header_member(name, key)
    }

    /// Returns one parameter of the query, decoded, if it is covered by itself or with the whole
    /// query. Returns `None` if the parameter appears more than once or is not UTF-8.
    #[must_use]
    pub fn query_param(&self, name: &str) -> Option<&str> {
        self.0.proven.query_param(name)
    }

    pub(super) fn events(&self) -> Option<&Events> {
        self.0.events.as_deref()
    }

    pub(super) fn verifier(&self) -> &Verifier {
        &self.0.verifier
    }

    /// The memory that the request is recorded in.
    pub(crate) fn memory(&self) -> &Memory {
        &self.0.verifier.settings.memory
    }

    /// The covered headers, each once.
    pub(crate) fn covered_headers(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.proven.headers().iter()
    }
}

/// The snapshot without its request: what other carriers take.
impl AsRef<Proven> for VerifiedPayload {
    fn as_ref(&self) -> &Proven {
        &self.0.proven
    }
}

impl fmt::Debug for VerifiedPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.proven.show("VerifiedPayload", f)
    }
}
