//! Keys: which secrets are valid under which name, at what time, and where they are looked up.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    fmt, ptr,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    clock::Timestamp,
    error::{ConfigError, ConfigErrorKind},
    future::StoreFuture,
    mac::MacKey,
    secret::Secret,
};

/// The name of a key: 1 to 128 visible ASCII characters.
///
/// Key ids are not secret: they stand in requests and in logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// The greatest length of a key id, in bytes.
    pub const MAX_LEN: usize = 128;

    /// Takes a name.
    ///
    /// # Errors
    /// When it is empty, longer than [`KeyId::MAX_LEN`], or has a character that is not visible
    /// ASCII (`!` to `~`).
    pub fn new(id: impl AsRef<str>) -> Result<Self, ConfigError> {
        let id = id.as_ref();
        if !Self::is_valid(id.as_bytes()) {
            return Err(ConfigErrorKind::KeyId.into());
        }
        Ok(Self(id.into()))
    }

    pub(crate) fn is_valid(id: &[u8]) -> bool {
        (1..=Self::MAX_LEN).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for KeyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The secrets that are valid under one key id, each with the time in which it is.
///
/// Two secrets at a time make a rotation: add the new one, move the senders, take the old one out.
///
/// ```
/// use countersign::{KeySet, Secret, Timestamp};
///
/// let end = Timestamp::from_secs(1_800_000_000).unwrap();
/// let set = KeySet::new("partner-1")?
///     .with(Secret::new("the new secret, 25 bytes!")?)
///     .with_until(Secret::new("the old secret, 25 bytes!")?, end);
/// # Ok::<_, countersign::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct KeySet {
    id: KeyId,
    secrets: Vec<TimedSecret>,
}

#[derive(Clone)]
struct TimedSecret {
    key: MacKey,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl KeySet {
    /// The greatest number of secrets that are tried for one signature.
    pub const MAX_SECRETS: usize = 8;

    /// A set without a secret yet: requests under it are refused.
    ///
    /// # Errors
    /// When the id is not a [`KeyId`].
    pub fn new(id: impl AsRef<str>) -> Result<Self, ConfigError> {
        Ok(Self {
            id: KeyId::new(id)?,
            secrets: Vec::new(),
        })
    }

    /// Adds a secret that is valid at any time.
    #[must_use]
    pub fn with(self, secret: Secret) -> Self {
        self.with_between(secret, Timestamp::EPOCH, Timestamp::MAX)
    }

    /// Adds a secret that is valid until `not_after`, that moment included.
    ///
    /// What counts is the moment at which a request was admitted, before its body arrived.
    #[must_use]
    pub fn with_until(self, secret: Secret, not_after: Timestamp) -> Self {
        self.with_between(secret, Timestamp::EPOCH, not_after)
    }

    /// Adds a secret that is valid from `not_before` until `not_after`, both included.
    ///
    /// Secrets beyond [`KeySet::MAX_SECRETS`] that are valid at one time are not tried.
    #[must_use]
    pub fn with_between(
        mut self,
        secret: Secret,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Self {
        self.secrets.push(TimedSecret {
            key: MacKey::new(secret),
            not_before,
            not_after,
        });
        self
    }

    /// The name that the secrets are valid under.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The secrets that are valid at `now`, in the order in which they were added.
    pub(crate) fn valid_at(&self, now: Timestamp) -> impl Iterator<Item = &MacKey> {
        self.secrets
            .iter()
            .filter(move |secret| (secret.not_before..=secret.not_after).contains(&now))
            .map(|secret| &secret.key)
            .take(Self::MAX_SECRETS)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "KeySet({:?}, {} secrets, redacted)",
            self.id,
            self.secrets.len()
        )
    }
}

/// Looks up the secrets of a key id, with or without waiting.
///
/// The look-up comes before a signature is verified: anyone can cause one, for any name. Answer
/// unknown names fast, and cache. One request causes at most four look-ups. It is refused if its fresh
/// signatures name more keys.
///
/// A look-up that fails, is slow, or panics is an outage of the key store: 503, `store_unavailable`.
pub trait KeyStore: Send + Sync + 'static {
    /// The secrets of `key_id`; `None` when there is no such key.
    ///
    /// A set under another id than the one asked for is refused. No two ids may share a secret:
    /// a request signed under the one could be sent again under the other.
    fn find<'a>(&'a self, key_id: &'a str) -> StoreFuture<'a, Option<Arc<KeySet>>>;

    /// Which keys these are, for two layers that share a store of nonces. Default: those that this very
    /// object looks up. Let layers share it in an [`Arc`], or give each a namespace.
    fn known_keys(&self) -> KnownKeys {
        KnownKeys::looked_up_by(self)
    }
}

/// Tells whether two [`KeyStore`]s mean the same secrets by a key id: see [`KeyStore::known_keys`].
#[derive(Clone)]
pub struct KnownKeys(Known);

#[derive(Clone)]
enum Known {
    /// The fingerprints of the secrets under each id.
    Listed(HashMap<KeyId, HashSet<Vec<u8>>>),
    /// Not before they are asked for, by the object at this place.
    LookedUpBy(usize),
}

impl KnownKeys {
    /// Those that this object looks up, whatever they are.
    #[must_use]
    pub fn looked_up_by<K: ?Sized>(keys: &K) -> Self {
        Self(Known::LookedUpBy(ptr::from_ref(keys).addr()))
    }

    /// An id under which the two have other secrets, or may have: this one, if it is given.
    pub(crate) fn differ(&self, other: &Self, only: Option<&KeyId>) -> Option<String> {
        let counts = |id: &KeyId| only.is_none_or(|only| only == id);
        match (&self.0, &other.0) {
            (Known::Listed(one), Known::Listed(other)) => one
                .iter()
                .filter(|(id, secrets)| counts(id) && other.get(*id).is_some_and(|o| o != *secrets))
                .map(|(id, _)| id)
                .min()
                .map(ToString::to_string),
            (Known::LookedUpBy(one), Known::LookedUpBy(other)) => {
                (one != other).then(|| only.map_or("*".to_owned(), ToString::to_string))
            }
            (Known::Listed(listed), Known::LookedUpBy(_))
            | (Known::LookedUpBy(_), Known::Listed(listed)) => listed
                .keys()
                .filter(|id| counts(id))
                .min()
                .map(ToString::to_string),
        }
    }
}

impl fmt::Debug for KnownKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KnownKeys(redacted)")
    }
}

impl<K: KeyStore + ?Sized> KeyStore for Arc<K> {
    fn find<'a>(&'a self, key_id: &'a str) -> StoreFuture<'a, Option<Arc<KeySet>>> {
        (**self).find(key_id)
    }

    fn known_keys(&self) -> KnownKeys {
        (**self).known_keys()
    }
}

/// Keys in memory, which can be replaced while requests are served.
///
/// Clones share their keys: keep one, and hand another to the layer.
///
/// ```
/// use countersign::KeyRing;
///
/// let keys = KeyRing::new().with("partner-1", "the secret of partner 1")?;
/// let handle = keys.clone(); // for later; `keys` goes to the layer
/// handle.replace(KeyRing::new().with("partner-1", "a newer secret of partner 1")?);
/// # Ok::<_, countersign::ConfigError>(())
/// ```
#[derive(Clone, Default)]
pub struct KeyRing(Arc<RwLock<Keys>>);

#[derive(Clone, Default)]
struct Keys {
    sets: HashMap<KeyId, Arc<KeySet>>,
    /// Under which id each secret stands, by its fingerprints.
    owners: HashMap<Vec<u8>, KeyId>,
}

impl KeyRing {
    /// A ring without a key.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key with one secret that is valid at any time, for every clone at once.
    ///
    /// # Errors
    /// When the id or the secret is not valid, the id is there already, or the secret is there
    /// under another id.
    pub fn with<T>(self, id: impl AsRef<str>, secret: T) -> Result<Self, ConfigError>
    where
        T: TryInto<Secret>,
        ConfigError: From<T::Error>,
    {
        self.with_set(KeySet::new(id)?.with(secret.try_into()?))
    }

    /// Adds a set of secrets, for every clone at once.
    ///
    /// # Errors
    /// When the set's id is there already, or one of its secrets is there under another id. Two
    /// secrets count as one when HMAC does not tell them apart.
    pub fn with_set(self, set: KeySet) -> Result<Self, ConfigError> {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if keys.sets.contains_key(set.id()) {
            return Err(ConfigErrorKind::DuplicateKeyId(set.id().to_string()).into());
        }
        let prints: Vec<_> = set
            .secrets
            .iter()
            .flat_map(|s| s.key.fingerprints())
            .collect();
        if let Some(owner) = prints.iter().find_map(|print| keys.owners.get(print)) {
            let ids = (owner.to_string(), set.id().to_string());
            return Err(ConfigErrorKind::SharedSecret(ids.0, ids.1).into());
        }
        keys.owners
            .extend(prints.into_iter().map(|print| (print, set.id().clone())));
        keys.sets.insert(set.id().clone(), Arc::new(set));
        drop(keys);
        Ok(self)
    }

    /// Replaces all keys, for every clone at once. Requests whose key has been looked up go on
    /// with what was found.
    #[expect(clippy::needless_pass_by_value, reason = "the new keys are used up")]
    pub fn replace(&self, new: Self) {
        let keys = new.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}

impl KeyStore for KeyRing {
    fn find<'a>(&'a self, key_id: &'a str) -> StoreFuture<'a, Option<Arc<KeySet>>> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        StoreFuture::ready(Ok(keys.sets.get(key_id).cloned()))
    }

    /// Those that the ring has at this moment.
    fn known_keys(&self) -> KnownKeys {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut listed: HashMap<_, HashSet<_>> = HashMap::new();
        for (fingerprint, id) in &keys.owners {
            let secrets = listed.entry(id.clone()).or_default();
            secrets.insert(fingerprint.clone());
        }
        KnownKeys(Known::Listed(listed))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(keys.sets.values()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mac::MacAlgorithm;
    use sha1::{Digest as _, Sha1};

    const A: &str = "secret number one";
    const B: &str = "secret number two";

    fn found(ring: &KeyRing, id: &str) -> Option<Arc<KeySet>> {
        ring.find(id).at_hand().unwrap().unwrap()
    }

    #[test]
    fn one_secret_under_two_ids_is_refused() {
        let ring = KeyRing::new().with("a", A).unwrap();
        let error = ring.with("b", format!("{A}\0")).unwrap_err();
        assert_eq!(
            error.kind(),
            &ConfigErrorKind::SharedSecret("a".into(), "b".into())
        );
    }

    #[test]
    fn a_secret_that_hmac_sha1_hashes_to_another_is_refused() {
        let long = [9; 65];
        let hashed = Sha1::digest(long).to_vec();
        let ring = KeyRing::new().with("a", long.to_vec()).unwrap();
        let error = ring.with("b", hashed).unwrap_err();
        assert_eq!(
            error.kind(),
            &ConfigErrorKind::SharedSecret("a".into(), "b".into())
        );
    }

    #[test]
    fn an_id_is_given_once() {
        let error = KeyRing::new()
            .with("a", A)
            .unwrap()
            .with("a", B)
            .unwrap_err();
        assert_eq!(error.kind(), &ConfigErrorKind::DuplicateKeyId("a".into()));
    }

    #[test]
    fn key_ids_are_bounded_and_visible() {
        for id in ["", " ", "a b", "a\n", "\u{e9}", &"x".repeat(129)] {
            assert!(KeyId::new(id).is_err(), "{id:?}");
        }
        assert!(KeyId::new("x".repeat(128)).is_ok());
    }

    #[test]
    fn keys_are_replaced_for_every_clone() {
        let ring = KeyRing::new().with("a", A).unwrap();
        let clone = ring.clone();
        ring.replace(KeyRing::new().with("b", B).unwrap());
        assert!(found(&clone, "a").is_none());
        assert!(found(&clone, "b").is_some());
    }

    #[test]
    fn a_secret_is_valid_from_and_until_its_moments_included() {
        let at = |secs| Timestamp::from_secs(secs).unwrap();
        let set = KeySet::new("a")
            .unwrap()
            .with_between(Secret::new(A).unwrap(), at(10), at(20));
        for (now, valid) in [(9, 0), (10, 1), (20, 1), (21, 0)] {
            assert_eq!(set.valid_at(at(now)).count(), valid, "at {now}");
        }
    }

    #[test]
    fn no_more_secrets_are_tried_than_stated() {
        let set = (0..20).fold(KeySet::new("a").unwrap(), |set, i| {
            set.with(Secret::new(format!("secret number {i:3}")).unwrap())
        });
        assert_eq!(set.valid_at(Timestamp::MAX).count(), KeySet::MAX_SECRETS);
    }

    #[test]
    fn nothing_of_a_secret_is_in_debug() {
        let ring = KeyRing::new().with("a", A).unwrap();
        let set = found(&ring, "a").unwrap();
        let mac = set
            .valid_at(Timestamp::MAX)
            .next()
            .unwrap()
            .start(MacAlgorithm::HmacSha256);
        let hex = crate::encoding::Encoding::Hex.encode(mac.finish().as_ref());
        for text in [format!("{ring:?}"), format!("{set:#?}")] {
            assert!(!text.contains("number") && !text.contains(&hex), "{text}");
        }
    }
}
