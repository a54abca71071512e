//! What can be wrong with a configuration, how a store or a key look-up fails, why a message cannot
//! be signed, and why a response is refused.

use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

use http::StatusCode;

use crate::clock::Timestamp;

/// A configuration that would not work, or would not be safe.
///
/// Its text says what is wrong, what was expected, and what to do.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigError(ConfigErrorKind);

impl ConfigError {
    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &ConfigErrorKind {
        &self.0
    }

    /// Refuses a limit or duration that does not hold to its range.
    pub(crate) fn unless(holds: bool, range: &'static str) -> Result<(), Self> {
        if holds {
            Ok(())
        } else {
            Err(ConfigErrorKind::Range(range).into())
        }
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigError({:?}: {self})", self.0)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for ConfigError {}

impl From<ConfigErrorKind> for ConfigError {
    fn from(kind: ConfigErrorKind) -> Self {
        Self(kind)
    }
}

/// So that a conversion which cannot fail fits where one that can is asked for.
impl From<std::convert::Infallible> for ConfigError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// A secret with too few or too many bytes.
    #[non_exhaustive]
    SecretLength {
        /// Bytes found, zeros at the end not counted.
        found: usize,
        /// The least number of bytes.
        min: usize,
        /// The greatest number of bytes.
        max: usize,
    },
    /// A secret whose text is not of the encoding that is named here.
    SecretEncoding(&'static str),
    /// A key id that is empty, too long, or has characters that a header cannot carry.
    KeyId,
    /// Two sets of secrets under the key id that is named here.
    DuplicateKeyId(String),
    /// One secret (or two that HMAC does not tell apart) under both key ids.
    SharedSecret(String, String),
    /// A public origin that is not `scheme://authority` with, at most, a path prefix.
    Origin(String),
    /// A forwarded header that cannot be used, or a network that cannot be read.
    Forwarded(String),
    /// A description of a scheme that is not safe, or contradicts itself.
    Scheme(Cow<'static, str>),
    /// Something that has to be configured is missing.
    Missing(&'static str),
    /// A limit or duration that is out of its range.
    Range(&'static str),
    /// The file of a memory store's high watermark, and why it cannot be used.
    HighWatermark(String),
    /// A store that others may have too, under the key id that is named here and the namespace `default`:
    /// names that nobody chose.
    UnchosenNames(String),
    /// Another layer of this process claims in the same store and namespace, with other secrets under the
    /// key id that is named second (`*` where key ids are looked up).
    OtherSecrets(String, String),
    /// Another layer of this process claims in the same store and namespace, and has to be remembered for
    /// another time: its own comes first.
    OtherRetention(String, Duration, Duration),
    /// A processing that the store cannot give.
    Processing(&'static str),
}

impl fmt::Display for ConfigErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretLength { found, min, max } => write!(
                f,
                "the secret has {found} bytes that count; it needs {min} to {max} (zeros at its \
                 end do not count); make one with `openssl rand -hex 32`"
            ),
            Self::SecretEncoding(encoding) => {
                write!(
                    f,
                    "the secret is not valid {encoding}; copy it again, without spaces"
                )
            }
            Self::KeyId => write!(
                f,
                "a key id is 1 to 128 visible ASCII characters without spaces, so that a header \
                 can carry it"
            ),
            Self::DuplicateKeyId(id) => write!(
                f,
                "key id `{id}` is given twice; put all its secrets into one `KeySet`"
            ),
            Self::SharedSecret(one, other) => write!(
                f,
                "key ids `{one}` and `{other}` have the same secret, so that a request signed \
                 under one could be sent again under the other; give each its own"
            ),
            Self::Origin(origin) => write!(
                f,
                "`{origin}` is not usable as a public origin; write it as clients see it, such as \
                 `https://api.example.com` or `https://example.com/api`, each authority once"
            ),
            Self::Forwarded(what) => write!(f, "forwarded headers: {what}"),
            Self::Scheme(what) => write!(f, "the scheme's description: {what}"),
            Self::HighWatermark(what) => write!(f, "the high watermark in {what}"),
            Self::UnchosenNames(key_id) => write!(
                f,
                "key id `{key_id}` and namespace `default` are the names that every service with this \
                 preset has, and others can use the same store: one service's webhooks would use up \
                 another's; call `namespace` with the name of this service, or the preset's `key_id` with \
                 the name of this account"
            ),
            Self::OtherSecrets(namespace, key_id) => write!(
                f,
                "another layer on this store has other secrets for key id `{key_id}` in namespace \
                 `{namespace}`: the holder of one secret could use up requests of the other; give each \
                 layer a `namespace`, or a key id, of its own, or give both the same `KeyRing`"
            ),
            Self::OtherRetention(namespace, other, this) => write!(
                f,
                "another layer on this store has to be remembered for {other:?} in namespace \
                 `{namespace}`, and this layer for {this:?}: give each layer a `namespace` of its own, or \
                 give both the same `max_age`, retention, `clock_difference` and `store_timeout`"
            ),
            Self::Missing(what) => f.write_str(what),
            Self::Range(what) => f.write_str(what),
            Self::Processing(what) => f.write_str(what),
        }
    }
}

/// Why a store or a key look-up gave no answer. Whatever the reason, the request is refused.
///
/// ```
/// use countersign::{StoreError, StoreErrorKind};
///
/// let error = StoreError::unavailable("no connection within 2 s");
/// assert_eq!(error.kind(), StoreErrorKind::Unavailable);
/// ```
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: Cow<'static, str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
    retry_after: Option<Duration>,
    final_since: Option<Timestamp>,
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
    /// An error of this kind; `message` goes to the log, never to the sender.
    #[must_use]
    pub fn new(kind: StoreErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
            retry_after: None,
            final_since: None,
        }
    }

    /// The store is down, slow or unsure.
    #[must_use]
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StoreErrorKind::Unavailable, message)
    }

    /// Keeps the driver's error as the source.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Says after what time it is worth trying again.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    /// Says that the refusal is final: since this moment, no server that shares the store has accepted
    /// the claim, and none ever will. Default: the refusal is not final.
    ///
    /// A signed response then says [`Never`](crate::Outcome::Never) of a request that was sent after
    /// this moment, and its client can sign the same order again.
    #[must_use]
    pub fn for_good_since(mut self, moment: Timestamp) -> Self {
        self.final_since = Some(moment);
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// After what time it is worth trying again, where the store can tell.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Since when the refusal is final, if it is.
    #[must_use]
    pub fn final_since(&self) -> Option<Timestamp> {
        self.final_since
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// A request or a response that could not be signed, and was not sent.
#[derive(Clone, Debug)]
pub struct SignError {
    kind: SignErrorKind,
    message: Cow<'static, str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kinds of [`SignError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignErrorKind {
    /// Something that is covered is missing, or cannot be read one way only.
    NotCoverable,
    /// The body is over the limit.
    BodyTooLarge,
    /// The body was not there in time.
    BodyTimeout,
    /// The body broke off or could not be read.
    BodyUnreadable,
    /// The body is a stream, and cannot be waited for here.
    BodyIsStream,
}

impl SignError {
    pub(crate) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self::of_kind(SignErrorKind::NotCoverable, message)
    }

    pub(crate) fn of_kind(kind: SignErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn with_source(mut self, source: Option<Arc<dyn Error + Send + Sync>>) -> Self {
        self.source = source;
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> SignErrorKind {
        self.kind
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message cannot be signed: {}", self.message)
    }
}

impl Error for SignError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// A response that is refused: it is not known to come from the server, or to answer the request.
///
/// Nothing of it is to be believed, its status included. Whether the request had an effect is not
/// known.
#[derive(Clone, Debug)]
pub struct ResponseError {
    kind: ResponseErrorKind,
    status: Option<StatusCode>,
    message: Cow<'static, str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kinds of [`ResponseError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResponseErrorKind {
    /// The request itself cannot be read one way only, so that nothing could be bound to it. A layer
    /// has not sent it.
    RequestNotBindable,
    /// The response carries no signature.
    SignatureMissing,
    /// The signature cannot be read, or can be read in two ways.
    SignatureMalformed,
    /// The signature covers too little, such as another request, or none.
    SignatureInsufficient,
    /// Unknown key, wrong MAC or wrong digest: among others, it answers another request.
    SignatureInvalid,
    /// Signed too long ago, or past its expiry.
    SignatureExpired,
    /// Dated ahead.
    SignatureNotYetValid,
    /// The body is over the limit.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body broke off or could not be read.
    BodyUnreadable,
    /// There is a body, or a switch of protocols, that nothing in the signature covers.
    BodyNotCovered,
    /// The server received another body than the one that was sent: the request was altered on the
    /// way.
    RequestAltered,
    /// The key look-up gave no answer.
    KeysUnavailable,
}

impl ResponseError {
    pub(crate) fn new(kind: ResponseErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            status: None,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn with_source(mut self, source: Option<Arc<dyn Error + Send + Sync>>) -> Self {
        self.source = source;
        self
    }

    /// Tells the log which response this was.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ResponseErrorKind {
        self.kind
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the response is refused")?;
        if let Some(status) = self.status {
            write!(f, " (it says {})", status.as_u16())?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Error for ResponseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}
