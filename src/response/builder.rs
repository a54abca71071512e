//! The configuration of a verifier of responses, with its defaults and with what it refuses.

use std::{fmt, sync::Arc, time::Duration};

use super::verifier::{ResponseVerifier, Settings};
use crate::{
    body::BodyLimits,
    clock::{Clock, SystemClock},
    error::{ConfigError, ConfigErrorKind},
    key::KeyStore,
    proof::Freshness,
    scheme::{Describe as _, rfc9421::HttpMessageSignatures},
};

impl ResponseVerifier {
    /// Configures a verifier; every setting states its default.
    pub fn builder(scheme: HttpMessageSignatures) -> ResponseVerifierBuilder {
        ResponseVerifierBuilder::new(scheme)
    }
}

/// Configures a [`ResponseVerifier`].
///
/// Keys must be given; everything else has a default that is safe.
#[must_use]
pub struct ResponseVerifierBuilder {
    scheme: HttpMessageSignatures,
    keys: Option<Box<dyn KeyStore>>,
    clock: Box<dyn Clock>,
    freshness: Freshness,
    key_timeout: Duration,
    body: BodyLimits,
    strip_uncovered: bool,
}

impl ResponseVerifierBuilder {
    pub(super) fn new(scheme: HttpMessageSignatures) -> Self {
        Self {
            scheme,
            keys: None,
            clock: Box::new(SystemClock),
            freshness: Freshness::default(),
            key_timeout: Duration::from_secs(2),
            body: BodyLimits::default(),
            strip_uncovered: false,
        }
    }

    /// Sets the keys of the server: a [`KeyRing`](crate::KeyRing), or a store of your own. No
    /// default.
    pub fn keys(mut self, keys: impl KeyStore) -> Self {
        self.keys = Some(Box::new(keys));
        self
    }

    /// Sets how old a signed time may be: between 1 second and 1 day. Default: 300 seconds.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.freshness.max_age = max_age;
        self
    }

    /// Sets how far ahead of the clock a signed time may be: at most `max_age`. Default: 5 seconds.
    ///
    /// A client whose clock is behind, and which [signs again](crate::client::SignAgainLayer) for
    /// that reason, reads so in a response that is dated ahead by as much. If each request is
    /// signed under a nonce of its own, a longer time here lets nothing else pass.
    pub fn max_skew(mut self, max_skew: Duration) -> Self {
        self.freshness.max_skew = max_skew;
        self
    }

    /// Sets how long a key look-up may take to answer: between 1 millisecond and 1 hour. Default: 2
    /// seconds.
    pub fn key_timeout(mut self, timeout: Duration) -> Self {
        self.key_timeout = timeout;
        self
    }

    /// Sets the greatest length of a body, in bytes. Default: 1 MiB.
    pub fn max_body_bytes(mut self, max: usize) -> Self {
        self.body.max_bytes = max;
        self
    }

    /// Sets the time in which the whole body must arrive: between 1 millisecond and 1 hour.
    /// Default: 10 seconds.
    pub fn body_deadline(mut self, deadline: Duration) -> Self {
        self.body.deadline = deadline;
        self
    }

    /// Removes every header that the signature does not cover from the response, except
    /// `content-length`. The `Date` is then the signed time. Default: headers stay, and
    /// [`SignedBy::covers`](crate::response::SignedBy::covers) says which are covered.
    pub fn strip_uncovered_headers(mut self) -> Self {
        self.strip_uncovered = true;
        self
    }

    /// Sets the clock. Default: the [system's](SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Checks the configuration.
    ///
    /// # Errors
    /// Returns an error if keys are missing, a secret is tied to another algorithm than HMAC with
    /// SHA-256, or a time is out of its range.
    pub fn build(self) -> Result<ResponseVerifier, ConfigError> {
        let keys = self.keys.ok_or(ConfigErrorKind::Missing(
            "no keys are given; call `keys` with those of the server",
        ))?;
        let algorithm = self.scheme.profile().algorithm;
        keys.known_keys().check_algorithm(algorithm, None)?;
        self.freshness.check_ranges()?;
        self.body.check_ranges()?;
        ConfigError::unless_timeout(self.key_timeout, "key_timeout")?;
        Ok(ResponseVerifier {
            settings: Arc::new(Settings {
                scheme: self.scheme,
                keys,
                clock: self.clock,
                freshness: self.freshness,
                key_timeout: self.key_timeout,
                body: self.body,
                strip_uncovered: self.strip_uncovered,
            }),
        })
    }
}

impl fmt::Debug for ResponseVerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseVerifierBuilder")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}
