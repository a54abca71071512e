//! The verified snapshot: what every carrier hands out.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::de::DeserializeOwned;

use super::prove::ProvenSignature;
use crate::{
    clock::Timestamp,
    key::KeyId,
    message::{Covered, Part, json},
    once::Nonce,
};

/// The verified snapshot of a request, whatever carries it: a
/// [`VerifiedPayload`](crate::VerifiedPayload) shows it in a handler, and a
/// [`PayloadEnvelope`](crate::envelope::PayloadEnvelope) brings it to a worker.
///
/// It holds only what the signature covers, as it was at the moment of verification; anything else
/// reads as `None`. It cannot be made by hand. Its methods are those of
/// [`VerifiedPayload`](crate::VerifiedPayload), which says more of each.
pub struct Proven {
    pub(crate) body: Bytes,
    pub(crate) scheme: Arc<str>,
    pub(crate) key_id: KeyId,
    pub(crate) signed_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) nonce: Option<Nonce>,
    pub(crate) covered: Covered,
    pub(crate) lasts: Lasts,
}

/// For how long a request counts that was proven.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lasts {
    /// Until when it is fresh, if anything that is covered ends it.
    pub(crate) fresh_until: Option<Timestamp>,
    /// Until when its nonce is on record where it arrived, if it is claimed.
    pub(crate) claimed_until: Option<Timestamp>,
    /// The part of that time in which its sender may repeat it, or sign its event again.
    pub(crate) repeats_for: Duration,
    /// When it was first sealed, if it came in an envelope.
    pub(crate) sealed_at: Option<Timestamp>,
    /// The earliest that it can have been accepted, if it covers when it was signed.
    pub(crate) signed_from: Option<Timestamp>,
}

impl Proven {
    pub(crate) fn new(
        signature: ProvenSignature<'_, '_>,
        sent: &HeaderMap,
        scheme: Arc<str>,
        nonce: Option<Nonce>,
        body: Bytes,
        lasts: Lasts,
    ) -> Self {
        let parameters = signature.parameters();
        Self {
            body,
            scheme,
            key_id: signature.key_id().clone(),
            signed_at: parameters.signed_at,
            expires_at: parameters.expires_at,
            nonce,
            covered: Covered::new(signature.into_message(), sent),
            lasts,
        }
    }

    /// Returns the body, as it was signed.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// Returns an error if the body is not JSON, or not of this shape, and if a name appears twice
    /// in one of its objects, at any depth.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        json::read(&self.body)
    }

    /// Returns the name of the scheme that the request was verified under.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns the key id that the request was verified under.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Returns when the request was signed, if that is covered.
    #[must_use]
    pub fn signed_at(&self) -> Option<Timestamp> {
        self.signed_at
    }

    /// Returns when the signature expires by its own word, if it says so.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Returns what makes the request unique under its key, if it is claimed at all.
    #[must_use]
    pub fn nonce(&self) -> Option<&Nonce> {
        self.nonce.as_ref()
    }

    /// Returns the method, if it is covered.
    #[must_use]
    pub fn method(&self) -> Option<&Method> {
        self.covered.method()
    }

    /// Returns the authority, if it is covered.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.covered.authority()
    }

    /// Returns the path, if it is covered, as the client signed it.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.covered.path()
    }

    /// Returns the query, if it is covered, without the `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.covered.query()
    }

    /// Returns the value of this header, if all of it is covered; its name in either case.
    #[must_use]
    pub fn header(&self, name: impl AsRef<str>) -> Option<&HeaderValue> {
        self.covered.header(name.as_ref())
    }

    /// Returns one member of a header that is a dictionary, if it is covered by itself.
    #[must_use]
    pub fn header_member(&self, name: impl AsRef<str>, key: &str) -> Option<&str> {
        self.covered.member(name.as_ref(), key)
    }

    /// Returns the value that was supplied under this name, and that was signed: the request has
    /// not sent it.
    #[must_use]
    pub fn supplied(&self, name: &str) -> Option<&str> {
        self.covered.supplied(name)
    }

    /// Returns one parameter of the query, decoded, if it is covered and appears once.
    #[must_use]
    pub fn query_param(&self, name: &str) -> Option<&str> {
        self.covered.query_param(name)
    }

    /// Returns what the message says, part by part, without what a signature says about itself.
    pub(crate) fn content(&self) -> impl Iterator<Item = (&Part, &[u8])> {
        self.covered.content()
    }

    /// The bytes of this header, if all of it is covered.
    pub(crate) fn header_bytes(&self, name: &HeaderName) -> Option<&[u8]> {
        self.covered.header_bytes(name)
    }

    /// The covered headers, each once.
    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        self.covered.headers()
    }
}

impl Proven {
    /// Shows the snapshot under this name, without its body and its headers, which may be
    /// confidential.
    pub(crate) fn show(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("key_id", self.key_id())
            .field("signed_at", &self.signed_at())
            .field("nonce", &self.nonce())
            .field("method", &self.method())
            .field("authority", &self.authority())
            .field("path", &self.path())
            .field("bytes", &self.bytes().len())
            .finish_non_exhaustive()
    }
}

impl AsRef<Self> for Proven {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl fmt::Debug for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show("Proven", f)
    }
}
