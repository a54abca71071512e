//! Signs outgoing requests under one key.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Request, request::Parts};

use crate::{
    clock::{Clock, SystemClock, Timestamp},
    error::{ConfigError, ConfigErrorKind, SignError},
    key::{RotatingKey, Secret, SigningKey},
    message::{Encoding, join_cookies},
    once::Signed,
    scheme::{Describe, Scheme, Signing},
};

/// Signs outgoing requests under one key.
///
/// Use one key for requests that you send and another for requests that you accept. Otherwise
/// somebody can send your own requests back to you, and they are valid.
///
/// ```
/// use countersign::{HeaderScheme, Part, Signer};
///
/// let scheme = HeaderScheme::builder("x-signature")
///     .key_id("x-key-id")
///     .time("x-timestamp")
///     .nonce("x-nonce")
///     .signs(Part::lines([Part::Method, Part::PathAndQuery, Part::KeyId, Part::Time, Part::Nonce, Part::Body]))
///     .build()?;
/// let signer = Signer::new(scheme, "billing", "the secret of billing")?;
///
/// let request = http::Request::post("https://api.example.com/transfer").body("{}")?;
/// let signed = signer.sign(request)?;
/// assert!(signed.headers().contains_key("x-signature"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Rotation
/// The key can be [rotated](Signer::rotate) while requests are sent. Clones share it.
#[derive(Clone)]
pub struct Signer {
    scheme: Arc<dyn Describe>,
    key: RotatingKey,
    pub(super) clock: Arc<dyn Clock>,
}

impl Signer {
    /// Returns a signer for this scheme, under this key.
    ///
    /// # Errors
    /// Returns an error if the key id or the secret is not valid, or the secret is tied to another
    /// algorithm than that of the scheme.
    pub fn new<T>(
        scheme: impl Scheme,
        key_id: impl AsRef<str>,
        secret: T,
    ) -> Result<Self, ConfigError>
    where
        T: TryInto<Secret>,
        ConfigError: From<T::Error>,
    {
        let scheme = scheme.format();
        Ok(Self {
            key: RotatingKey::new(key_id, secret, scheme.profile().algorithm)?,
            scheme: Arc::new(scheme),
            clock: Arc::new(SystemClock),
        })
    }

    /// Returns a signer for a scheme whose requests name no key. The secret is the text that the
    /// provider shows.
    ///
    /// # Errors
    /// Returns an error if the requests of this scheme name their key, or the secret is not valid.
    pub fn with_secret(scheme: impl Scheme, secret: impl AsRef<str>) -> Result<Self, ConfigError> {
        let scheme = scheme.format();
        let id = scheme.fixed_key_id().map(str::to_owned);
        let id = id.ok_or(ConfigErrorKind::Missing(
            "requests of this scheme name their key; give its id with `Signer::new`",
        ))?;
        let secret = scheme.read_secret(secret.as_ref())?;
        Self::new(scheme, id, secret)
    }

    /// Sets the clock that signed times are taken from. Default: the [system's](SystemClock).
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Replaces the key, for every clone at once: the client need not be built again.
    ///
    /// Once this returns, no signature is begun under the old key. Requests that are being signed
    /// at that moment, or are on their way, still have it. So a rotation has this order:
    ///
    /// 1. The receiver gets the new secret, and accepts both: a
    ///    [`KeySet`](crate::KeySet) with two, or a second key id.
    /// 2. The sender rotates.
    /// 3. After `max_age`, when requests under the old secret are too old, the receiver removes it.
    ///
    /// A scheme with a fixed key id signs only under that id.
    ///
    /// ```
    /// # use countersign::{HttpMessageSignatures, Signer};
    /// let signer = Signer::new(HttpMessageSignatures::default(), "billing", "the secret of billing")?;
    /// let in_the_client = signer.clone();
    ///
    /// signer.rotate("billing-2", "a newer secret of billing")?;
    ///
    /// let request = http::Request::get("https://api.example.com/").body("")?;
    /// let signed = in_the_client.sign(request)?;
    /// assert!(signed.headers()["signature-input"].to_str()?.contains("keyid=\"billing-2\""));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error as [`Signer::new`] does. The key then stays the same.
    pub fn rotate<T>(&self, key_id: impl AsRef<str>, secret: T) -> Result<(), ConfigError>
    where
        T: TryInto<Secret>,
        ConfigError: From<T::Error>,
    {
        self.key
            .rotate(key_id, secret, self.scheme.profile().algorithm)
    }

    /// Signs a request, with the current time and, where the scheme has one, a nonce of 128 random
    /// bits.
    ///
    /// All other covered parts must be there already; the URI names the authority, or `Host`
    /// does. Headers that the scheme writes replace those of the same name.
    ///
    /// # Errors
    /// Returns an error if something that is covered is missing, or cannot be read one way only.
    pub fn sign<B: AsRef<[u8]>>(&self, request: Request<B>) -> Result<Request<B>, SignError> {
        self.sign_at(request, self.clock.now())
    }

    /// Signs a request under a nonce, or an event id, of your own: new for each request, or the
    /// same for each retry of one event.
    ///
    /// # Errors
    /// Returns an error as [`Signer::sign`] does; and if the scheme has a nonce, and a verifier
    /// would not accept this one.
    pub fn sign_with_nonce<B: AsRef<[u8]>>(
        &self,
        request: Request<B>,
        nonce: &str,
    ) -> Result<Request<B>, SignError> {
        self.sign_with(request, self.clock.now(), nonce)
    }

    /// Signs a request as of another time than the present.
    pub(super) fn sign_at<B: AsRef<[u8]>>(
        &self,
        request: Request<B>,
        now: Timestamp,
    ) -> Result<Request<B>, SignError> {
        self.sign_with(request, now, &new_nonce())
    }

    fn sign_with<B: AsRef<[u8]>>(
        &self,
        request: Request<B>,
        now: Timestamp,
        nonce: &str,
    ) -> Result<Request<B>, SignError> {
        let (mut parts, body) = request.into_parts();
        match self.write(&mut parts, body.as_ref(), now, nonce)? {
            None => Ok(Request::from_parts(parts, body)),
            Some(_) => Err(SignError::new(
                "the signature is in the body, which only `sign_body` can write",
            )),
        }
    }

    /// Signs a request under a nonce of your own, with any scheme: also with one whose signature
    /// is in the body.
    ///
    /// # Errors
    /// Returns an error as [`Signer::sign_with_nonce`] does.
    pub fn sign_body(
        &self,
        request: Request<Bytes>,
        nonce: &str,
    ) -> Result<Request<Bytes>, SignError> {
        let (mut parts, body) = request.into_parts();
        let written = self.write(&mut parts, &body, self.clock.now(), nonce)?;
        Ok(Request::from_parts(parts, written.unwrap_or(body)))
    }

    /// Writes the signature into the head, or returns the body that holds it.
    fn write(
        &self,
        parts: &mut Parts,
        body: &[u8],
        now: Timestamp,
        nonce: &str,
    ) -> Result<Option<Bytes>, SignError> {
        let SigningKey { id, key } = &*self.key.current();
        // A receiver has one line, whatever the versions of HTTP on the way make of it.
        join_cookies(&mut parts.headers);
        let unsigned = self.scheme.prepare(
            parts,
            &Signing {
                key_id: id,
                now,
                nonce: nonce.as_bytes(),
                body,
            },
        )?;
        let rewritten = unsigned
            .message
            .rewrite_body(body)
            .map_err(SignError::new)?;
        let signed = rewritten.as_deref().unwrap_or(body);
        let mac = unsigned.sign(key, self.scheme.profile().algorithm, signed);
        self.scheme.write(parts, &unsigned, &mac)?;
        // By our clock, whatever time is signed.
        parts.extensions.insert(Signed::at(self.clock.now()));
        self.scheme.write_body(body, &unsigned, &mac)
    }
}

/// 128 random bits.
pub(crate) fn new_nonce() -> String {
    Encoding::Hex.encode(&crate::random::bytes::<16>())
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("scheme", &self.scheme)
            .field("key_id", &self.key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::header::{HeaderScheme, Part};

    #[test]
    fn a_nonce_that_no_verifier_accepts_is_not_signed() {
        let scheme = HeaderScheme::builder("x-signature")
            .fixed_key_id("partner-1")
            .time("x-timestamp")
            .nonce("x-nonce")
            .signs(Part::lines([Part::Time, Part::Nonce, Part::Body]))
            .build()
            .unwrap();
        let signer = Signer::new(scheme, "partner-1", "the secret of partner 1").unwrap();
        let sign = |nonce: &str| signer.sign_with_nonce(Request::new(""), nonce);
        for nonce in ["", "a b", "a\n", "é", &"n".repeat(257)] {
            assert!(sign(nonce).is_err(), "{nonce:?}");
        }
        assert!(sign(&"n".repeat(256)).is_ok());
    }
}
