//! Why a store gave no answer.

use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

use crate::clock::Timestamp;

/// Says why a store gave no answer. For every reason, the request is refused.
///
/// ```
/// use countersign::error::{StoreError, StoreErrorKind};
///
/// let error = StoreError::unavailable("no connection within 2 s");
/// assert_eq!(error.kind(), StoreErrorKind::Unavailable);
/// ```
// In a box, as nearly every answer is none: a result is small, and handed through several futures.
#[derive(Clone, Debug)]
pub struct StoreError(Box<Told>);

#[derive(Clone, Debug)]
struct Told {
    kind: StoreErrorKind,
    message: Cow<'static, str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
    retry_after: Option<Duration>,
    final_since: Option<Timestamp>,
    signed_from: Option<Timestamp>,
    is_misconfiguration: bool,
}

/// The kinds of [`StoreError`], each with a rejection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Down, slow or unsure: 503, `store_unavailable`.
    Unavailable,
    /// No room for one more record, and none is evicted: 503, `store_full`.
    Full,
    /// This key has used up its share of the store: 429, `key_over_quota`.
    KeyOverQuota,
    /// This message has left as many records as it may at open places: 429, `too_many_places`.
    TooManyPlaces,
    /// The store may have forgotten a request that was signed then: 503, `sign_again`.
    SignAgain,
    /// The namespace remembers for less time than this claim needs, and goes on doing so until
    /// somebody changes it: 500, `store_misconfigured`. The error's text says how.
    Misconfigured,
}

impl StoreError {
    /// Returns an error of this kind; `message` goes to the log, never to the sender.
    #[must_use]
    pub fn new(kind: StoreErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Told {
            kind,
            message: message.into(),
            source: None,
            retry_after: None,
            final_since: None,
            signed_from: None,
            is_misconfiguration: false,
        }))
    }

    /// Returns an error that says that the store is down, slow or unsure.
    #[must_use]
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StoreErrorKind::Unavailable, message)
    }

    /// The message was used at as many open places as it may be.
    pub(crate) fn too_many_places() -> Self {
        Self::new(
            StoreErrorKind::TooManyPlaces,
            "the message has a record at as many open places as are allowed",
        )
    }

    /// The key has as many records as it may have.
    pub(crate) fn over_quota(retry_after: Duration) -> Self {
        Self::new(
            StoreErrorKind::KeyOverQuota,
            "the key has used up its share of the store",
        )
        .with_retry_after(retry_after)
    }

    /// The store, or its database, did not answer in time.
    pub(crate) fn late(who: &str, limit: Duration) -> Self {
        Self::unavailable(format!("{who} gave no answer within {limit:?}"))
    }

    /// Keeps the driver's error as the source.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Says after what time it is worth trying again.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.0.retry_after = Some(retry_after);
        self
    }

    /// Says that the refusal is final: since this moment, no server that shares the store has
    /// accepted the claim, and none ever will. Default: the refusal is not final.
    ///
    /// A signed response then says [`Never`](crate::response::Outcome::Never) of a request that was
    /// sent after this moment, and its client can sign the same order again.
    #[must_use]
    pub fn for_good_since(mut self, moment: Timestamp) -> Self {
        self.0.final_since = Some(moment);
        self
    }

    /// Says up to which signed time the store refuses claims, for
    /// [`SignAgain`](StoreErrorKind::SignAgain). The answer's `Retry-After` is the time that is left
    /// until a request can be signed later than that, in whole seconds, by the server's clock.
    /// Default: not said, and no `Retry-After`.
    ///
    /// ```
    /// use countersign::{
    ///     Rejection, Timestamp,
    ///     error::{StoreError, StoreErrorKind},
    /// };
    ///
    /// let started = Timestamp::from_secs(4_000_000_000).unwrap();
    /// let error = StoreError::new(StoreErrorKind::SignAgain, "signed before the start")
    ///     .refused_up_to(started);
    /// assert!(Rejection::from(error).retry_after().is_some());
    /// ```
    #[must_use]
    pub fn refused_up_to(mut self, signed_at: Timestamp) -> Self {
        // Most signatures say their time in whole seconds.
        let next = signed_at.as_secs().saturating_add(1);
        self.0.signed_from = Timestamp::from_secs(next);
        self
    }

    /// Says that somebody must change the database or the configuration: a store that is being opened
    /// then fails with a `ConfigError`. A store that is in use refuses, as with every other error.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "redis", feature = "sqlite")),
        expect(dead_code)
    )]
    pub(crate) fn misconfigured(mut self) -> Self {
        self.0.is_misconfiguration = true;
        self
    }

    pub(crate) fn is_misconfiguration(&self) -> bool {
        self.0.is_misconfiguration
    }

    /// From which signed time on the store accepts claims, if that is what it waits for.
    pub(crate) fn signed_from(&self) -> Option<Timestamp> {
        self.0.signed_from
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.0.kind
    }

    /// Returns after what time a retry may succeed, if the store knows.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns since when the refusal is final, if it is.
    #[must_use]
    pub fn final_since(&self) -> Option<Timestamp> {
        self.0.final_since
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}
