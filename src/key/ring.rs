//! A key store in memory, whose keys can be replaced.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{Arc, RwLock, RwLockWriteGuard},
};

use super::{
    id::KeyId,
    secret::Secret,
    set::KeySet,
    store::{KeyFuture, KeyStore, Known, KnownKeys},
};
use crate::{
    error::{ConfigError, ConfigErrorKind},
    future::StoreFuture,
    lock::{read, write},
};

/// Keys in memory, which can be replaced while requests are served.
///
/// Clones share their keys: keep one clone, and give another to the layer.
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
    /// Few keys are found faster by comparing than by hashing.
    sets: BTreeMap<KeyId, Arc<KeySet>>,
    /// The id of each secret, by the fingerprints of the secret.
    owners: HashMap<Vec<u8>, KeyId>,
}

impl KeyRing {
    /// Returns a ring without a key.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key with one secret that is valid at any time, for every clone at once.
    ///
    /// # Errors
    /// Returns an error if the id or the secret is not valid, the id is there already, or the
    /// secret is there under another id.
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
    /// Returns an error as [`insert`](Self::insert) does.
    pub fn with_set(self, set: KeySet) -> Result<Self, ConfigError> {
        self.insert(set)?;
        Ok(self)
    }

    /// Adds a set of secrets. Every clone of the ring has them from now on, that of a running layer
    /// too.
    ///
    /// # Errors
    /// Returns an error if the set's id is there already, or if one of its secrets is there under
    /// another id. Two secrets count as one if HMAC does not tell them apart.
    pub fn insert(&self, set: KeySet) -> Result<(), ConfigError> {
        self.write().insert(set)
    }

    /// Removes the key with this id from every clone of the ring, and says whether it was there.
    /// Requests whose key has been looked up go on with the secrets that were found.
    pub fn remove(&self, id: &str) -> bool {
        self.write().remove(id)
    }

    /// Replaces all keys by those of another ring, for every clone at once. Requests whose key has
    /// been looked up go on with the secrets that were found.
    #[expect(clippy::needless_pass_by_value, reason = "the new keys are used up")]
    pub fn replace(&self, new: Self) {
        let keys = read(&new.0).clone();
        *self.write() = keys;
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        write(&self.0)
    }
}

impl Keys {
    fn insert(&mut self, set: KeySet) -> Result<(), ConfigError> {
        if self.sets.contains_key(set.id()) {
            return Err(ConfigErrorKind::DuplicateKeyId(set.id().to_string()).into());
        }
        let prints: Vec<_> = set
            .secrets
            .iter()
            .flat_map(|secret| secret.key.fingerprints())
            .collect();
        if let Some(owner) = prints.iter().find_map(|print| self.owners.get(print)) {
            let (owner, id) = (owner.to_string(), set.id().to_string());
            return Err(ConfigErrorKind::SharedSecret(owner, id).into());
        }
        let owned = prints.into_iter().map(|print| (print, set.id().clone()));
        self.owners.extend(owned);
        self.sets.insert(set.id().clone(), Arc::new(set));
        Ok(())
    }

    fn remove(&mut self, id: &str) -> bool {
        self.owners.retain(|_, owner| owner.as_str() != id);
        self.sets.remove(id).is_some()
    }
}

impl KeyStore for KeyRing {
    fn find<'a>(&'a self, key_id: &'a str) -> KeyFuture<'a> {
        let keys = read(&self.0);
        StoreFuture::ready(Ok(keys.sets.get(key_id).cloned()))
    }

    /// Returns the keys that the ring has at this moment.
    fn known_keys(&self) -> KnownKeys {
        let keys = read(&self.0);
        let mut listed: HashMap<_, HashSet<_>> = HashMap::new();
        for (fingerprint, id) in &keys.owners {
            let secrets = listed.entry(id.clone()).or_default();
            secrets.insert(fingerprint.clone());
        }
        let tied = keys.sets.values().flat_map(|set| {
            let algorithms = set.secrets.iter().filter_map(|s| s.key.algorithm());
            algorithms.map(|algorithm| (set.id().clone(), algorithm))
        });
        KnownKeys(Known::Listed {
            secrets: listed,
            tied: tied.collect(),
        })
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = read(&self.0);
        f.debug_set().entries(keys.sets.values()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::key::MacAlgorithm;
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
    fn a_key_that_is_removed_is_gone_for_every_clone_and_its_secret_is_free() {
        let ring = KeyRing::new().with("a", A).unwrap();
        let clone = ring.clone();
        let set = |id| KeySet::new(id).unwrap().with(Secret::new(A).unwrap());
        assert!(clone.insert(set("b")).is_err());
        assert!(ring.remove("a") && !ring.remove("a"));
        assert!(found(&clone, "a").is_none());
        clone.insert(set("b")).unwrap();
        assert!(found(&ring, "b").is_some());
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
        let hex = crate::message::Encoding::Hex.encode(mac.finish().as_ref());
        for text in [format!("{ring:?}"), format!("{set:#?}")] {
            assert!(!text.contains("number") && !text.contains(&hex), "{text}");
        }
    }
}
