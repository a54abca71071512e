//! Why a configuration is refused.

use std::{borrow::Cow, error::Error, fmt, time::Duration};

/// A configuration that would not work, or would not be safe.
///
/// Its text says what is wrong, what was expected, and what to do.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigError(ConfigErrorKind);

impl ConfigError {
    /// Returns the kind of the fault.
    #[must_use]
    pub fn kind(&self) -> &ConfigErrorKind {
        &self.0
    }

    /// Refuses the timeout that has this name, unless it is between 1 millisecond and 1 hour.
    pub(crate) fn unless_timeout(timeout: Duration, name: &str) -> Result<(), Self> {
        const HOUR: Duration = Duration::from_secs(60 * 60);
        let holds = (Duration::from_millis(1)..=HOUR).contains(&timeout);
        Self::unless_in_range(holds, || {
            format!("`{name}` must be between 1 millisecond and 1 hour")
        })
    }

    /// Refuses a name that tells services apart in a store, unless every store can keep it.
    pub(crate) fn unless_namespace(name: &str) -> Result<(), Self> {
        Self::unless(
            (1..=256).contains(&name.len()) && !name.contains('\0'),
            "a namespace must have between 1 and 256 bytes, and none of them may be zero",
        )
    }

    /// Refuses the share of a key in this store, unless it is 1 to 100 per cent.
    pub(crate) fn unless_share(per_cent: u8, store: &str) -> Result<(), Self> {
        Self::unless_in_range((1..=100).contains(&per_cent), || {
            format!("the share of a key in {store} must be between 1 and 100 per cent")
        })
    }

    /// Refuses the time that this store waits for its database, unless it is more than none, and at
    /// most 30 seconds: PostgreSQL's sweep spares expired records for a minute.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(crate) fn unless_wait(wait: Duration, store: &str) -> Result<(), Self> {
        let holds = !wait.is_zero() && wait <= Duration::from_secs(30);
        Self::unless_in_range(holds, || {
            format!("{store} waits for at most 30 seconds, and not for no time")
        })
    }

    /// Refuses a limit or duration that does not hold to its range.
    pub(crate) fn unless(holds: bool, range: &'static str) -> Result<(), Self> {
        Self::unless_in_range(holds, || range)
    }

    fn unless_in_range<S: Into<Cow<'static, str>>>(
        holds: bool,
        range: impl FnOnce() -> S,
    ) -> Result<(), Self> {
        if holds {
            Ok(())
        } else {
            Err(ConfigErrorKind::Range(range().into()).into())
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

/// The kinds of [`ConfigError`].
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
    /// A secret whose text is not of the encoding that is named here, and what is wrong with it.
    SecretEncoding(&'static str, Cow<'static, str>),
    /// A secret that is text and begins or ends with white space: where, and with which.
    SecretWhiteSpace(&'static str, &'static str),
    /// A key id that is empty, too long, or has characters that a header cannot carry.
    KeyId,
    /// Two sets of secrets under the key id that is named here.
    DuplicateKeyId(String),
    /// No secret is under the key id that is named here: every request of the scheme would be
    /// refused, and no token or envelope could be made.
    NoSecretFor(String),
    /// A secret that is [tied](crate::Secret::for_algorithm) to another algorithm than that of the
    /// scheme it is used with.
    #[non_exhaustive]
    OtherAlgorithm {
        /// The key id of the secret.
        key_id: String,
        /// The algorithm of the secret.
        secret: &'static str,
        /// The algorithm of the scheme.
        scheme: &'static str,
    },
    /// One secret (or two that HMAC does not tell apart) under both key ids.
    SharedSecret(String, String),
    /// A public origin that is not `scheme://authority` with, at most, a path prefix.
    Origin(String),
    /// A forwarded header that cannot be used, or a network that cannot be read.
    Forwarded(String),
    /// A description of a scheme that is not safe, or contradicts itself.
    Scheme(Cow<'static, str>),
    /// Something that must be configured is missing.
    Missing(&'static str),
    /// A limit or duration that is out of its range.
    Range(Cow<'static, str>),
    /// The place of a store, such as its URL or its file, and why no store can be opened there.
    StorePlace(Cow<'static, str>),
    /// The folder of a `FileRoot`, and why it cannot be opened.
    Folder(String),
    /// A text for a `FileDigest` that is not the SHA-256 of a file.
    FileDigest,
    /// The file of a memory store's high watermark, and why it cannot be used.
    HighWatermark(String),
    /// A store that others may have too, under the key id that is named here and the namespace
    /// `default`: names that nobody chose.
    UnchosenNames(String),
    /// Another layer of this process claims in the same store and namespace, with other secrets
    /// under the key id that is named second (`*` where key ids are looked up).
    OtherSecrets(String, String),
    /// Another layer of this process claims in the same store and namespace, and must be
    /// remembered for another time: its own comes first.
    OtherRetention(String, Duration, Duration),
    /// A secret of envelopes that a layer, or tokens, of this process has too, in the namespace that
    /// is named here.
    SecretOfSenders(String),
    /// Keys, or a store, that build a layer while another layer asks them which they are.
    BuiltWhileAsked,
    /// Schemes that one layer cannot accept together, and why.
    SeveralSchemes(String),
    /// A processing that the store cannot give.
    Processing(&'static str),
    /// A header of answers that is never stored, or a store of answers that cannot be used.
    Answer(String),
}

impl ConfigErrorKind {
    pub(crate) fn other_algorithm(
        key_id: &impl ToString,
        secret: &'static str,
        scheme: &'static str,
    ) -> Self {
        Self::OtherAlgorithm {
            key_id: key_id.to_string(),
            secret,
            scheme,
        }
    }
}

impl fmt::Display for ConfigErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretLength { found, min, max } => write!(
                f,
                "the secret has {found} bytes that count; it needs {min} to {max} (zeros at its \
                 end do not count); make one with `openssl rand -hex 32`"
            ),
            Self::SecretEncoding(encoding, what) => {
                write!(f, "the secret is not valid {encoding}: {what}")
            }
            Self::SecretWhiteSpace(place, what) => write!(
                f,
                "the secret {place} with {what}, which no sender shows as part of it; remove it, such \
                 as with `trim()`, or give the bytes to `Secret::new` if they are meant as they are"
            ),
            Self::KeyId => write!(
                f,
                "a key id is 1 to 128 visible ASCII characters without spaces, so that a header \
                 can carry it"
            ),
            Self::DuplicateKeyId(id) => write!(
                f,
                "key id `{id}` is given twice; put all its secrets into one `KeySet`"
            ),
            Self::NoSecretFor(id) => write!(
                f,
                "the keys have no secret under key id `{id}`, so that every request under it would \
                 be refused, and no token or envelope could be made; name `{id}` in the key ring, \
                 give the key id that is there, or call `secret` instead of `keys` if a scheme has \
                 only this key id"
            ),
            Self::OtherAlgorithm {
                key_id,
                secret,
                scheme,
            } => write!(
                f,
                "a secret under key id `{key_id}` is tied to {secret}, and the scheme has {scheme}; \
                 give the scheme keys of its own, or do not tie the secret"
            ),
            Self::SharedSecret(one, other) => write!(
                f,
                "key ids `{one}` and `{other}` have the same secret, so that a request signed \
                 under one could be sent again under the other; give each its own"
            ),
            Self::Origin(origin) => write!(
                f,
                "`{origin}` is not usable as a public origin; write it as clients see it, such as \
                 `https://api.example.com` or `https://example.com/api`, each authority once; `wss://` \
                 and user information are for senders that sign them"
            ),
            Self::Forwarded(what) => write!(f, "forwarded headers: {what}"),
            Self::Scheme(what) => write!(f, "the scheme's description: {what}"),
            Self::StorePlace(what) => f.write_str(what),
            Self::Folder(what) => write!(f, "no folder can be opened at {what}"),
            Self::FileDigest => f.write_str(
                "the text is not the SHA-256 of a file; write it as 64 hexadecimal digits, as base64, \
                 or as `sha-256=:…:` with base64 between the colons",
            ),
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
                "another layer on this store, or on what may be its database, has other secrets for key id \
                 `{key_id}` in namespace `{namespace}`: the holder of one secret could use up requests, or \
                 get answers, of the other; give each layer a `namespace`, or a key id, of its own, or \
                 give both the same `KeyRing`"
            ),
            Self::OtherRetention(namespace, other, this) => write!(
                f,
                "requests of another layer on this store must be remembered for {other:?} in namespace \
                 `{namespace}`, and those of this layer for {this:?}: give each layer a `namespace` of its own, or \
                 give both the same `max_age`, retention, `clock_difference` and `store_timeout`"
            ),
            Self::SecretOfSenders(namespace) => write!(
                f,
                "a secret of envelopes is also a secret of a layer, or of tokens, in namespace \
                 `{namespace}`: anybody who has it could write any payload; give envelopes secrets of \
                 their own"
            ),
            Self::BuiltWhileAsked => f.write_str(
                "keys, or a store, build this layer while another layer asks them which they are; build it \
                 before, or after",
            ),
            Self::SeveralSchemes(what) => write!(f, "several schemes for one layer: {what}"),
            Self::Missing(what) => f.write_str(what),
            Self::Range(what) => f.write_str(what),
            Self::Processing(what) => f.write_str(what),
            Self::Answer(what) => f.write_str(what),
        }
    }
}
