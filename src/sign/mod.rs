//! Signing outgoing requests, from the same description that verifies them.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::Request;

use crate::{
    clock::{Clock, SystemClock},
    encoding::Encoding,
    error::{ConfigError, SignError},
    key::KeyId,
    mac::MacKey,
    scheme::{Describe, Scheme, Signing},
    secret::Secret,
};

/// Signs outgoing requests under one key.
///
/// Use another key for what you send than for what you accept: otherwise what you sent can be sent
/// back to you, and would be valid.
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
#[derive(Clone)]
pub struct Signer {
    scheme: Arc<dyn Describe>,
    key_id: KeyId,
    key: MacKey,
    clock: Arc<dyn Clock>,
}

impl Signer {
    /// A signer for this scheme, under this key.
    ///
    /// # Errors
    /// When the key id or the secret is not valid.
    pub fn new<T>(
        scheme: impl Scheme,
        key_id: impl AsRef<str>,
        secret: T,
    ) -> Result<Self, ConfigError>
    where
        T: TryInto<Secret>,
        ConfigError: From<T::Error>,
    {
        Ok(Self {
            scheme: Arc::new(scheme),
            key_id: KeyId::new(key_id)?,
            key: MacKey::new(secret.try_into()?),
            clock: Arc::new(SystemClock),
        })
    }

    /// The clock that signed times are taken from. Default: the [system's](SystemClock).
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Signs a request, with the present time and, where the scheme has one, a nonce of 128 random
    /// bits.
    ///
    /// Whatever else is covered has to be there already; the URI names the authority, or `Host` does.
    /// Headers that the scheme writes replace those of the same name.
    ///
    /// # Errors
    /// When something that is covered is missing, or cannot be read one way only.
    pub fn sign<B: AsRef<[u8]>>(&self, request: Request<B>) -> Result<Request<B>, SignError> {
        self.sign_with_nonce(
            request,
            &Encoding::Hex.encode(&crate::random::bytes::<16>()),
        )
    }

    /// Signs a request under a nonce, or an event id, of your own: new for each request, or the
    /// same for each retry of one event.
    ///
    /// # Errors
    /// As [`Signer::sign`]; and when the scheme has a nonce, and a verifier would not accept this one.
    pub fn sign_with_nonce<B: AsRef<[u8]>>(
        &self,
        request: Request<B>,
        nonce: &str,
    ) -> Result<Request<B>, SignError> {
        let (mut parts, body) = request.into_parts();
        let candidate = self.scheme.prepare(
            &mut parts,
            &Signing {
                key_id: &self.key_id,
                now: self.clock.now(),
                nonce: nonce.as_bytes(),
                body: body.as_ref(),
            },
        )?;
        let body_as_sent = Bytes::copy_from_slice(body.as_ref());
        let formed = candidate
            .input
            .form_body(&body_as_sent)
            .map_err(SignError::new)?;
        let signed = formed.map_or(body_as_sent, |formed| formed.signed);
        let mut mac = self.scheme.start(&self.key, &candidate.parameters);
        candidate.input.feed(&signed, |bytes| mac.update(bytes));
        self.scheme.write(&mut parts, &candidate, &mac.finish())?;
        Ok(Request::from_parts(parts, body))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("scheme", &self.scheme)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeaderScheme, Part};

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
