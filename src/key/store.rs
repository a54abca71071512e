//! Looking keys up.

use std::{
    collections::{HashMap, HashSet},
    fmt, ptr,
    sync::Arc,
};

use super::{id::KeyId, mac::MacAlgorithm, set::KeySet};
use crate::{
    error::{ConfigError, ConfigErrorKind, KeyError},
    future::StoreFuture,
};

/// The answer of a [`KeyStore`]: the secrets of a key id, or `None`.
pub type KeyFuture<'a> = StoreFuture<'a, Option<Arc<KeySet>>, KeyError>;

/// Looks up the secrets of a key id, with or without waiting.
///
/// The look-up comes before a signature is verified: anyone can cause one, for any name. Answer
/// unknown names fast, and cache. One request causes at most four look-ups. It is refused if its
/// fresh signatures name more keys.
///
/// A look-up that fails, is slow, or panics is an outage of the key store: 503,
/// `store_unavailable`.
pub trait KeyStore: Send + Sync + 'static {
    /// Returns the secrets of `key_id`, or `None` if there is no such key.
    ///
    /// A set under another id than the one asked for is refused. No two ids may share a secret:
    /// a request signed under the one could be sent again under the other.
    ///
    /// # Errors
    /// Returns a [`KeyError`] if the key store cannot tell.
    fn find<'a>(&'a self, key_id: &'a str) -> KeyFuture<'a>;

    /// Returns which keys these are, for two layers that share a store of nonces. Default: those
    /// that this very object looks up. Let layers share it in an [`Arc`], or give each a namespace.
    ///
    /// It is called under a lock of the process: it must not build a layer, which is refused, and
    /// must not wait for a thread that builds one.
    fn known_keys(&self) -> KnownKeys {
        KnownKeys::looked_up_by(self)
    }
}

/// Tells whether two [`KeyStore`]s mean the same secrets by a key id: see [`KeyStore::known_keys`].
#[derive(Clone)]
pub struct KnownKeys(pub(super) Known);

#[derive(Clone)]
pub(super) enum Known {
    /// The fingerprints of the secrets under each id.
    Listed {
        secrets: HashMap<KeyId, HashSet<Vec<u8>>>,
        /// The algorithms to which secrets are tied.
        tied: Vec<(KeyId, MacAlgorithm)>,
    },
    /// The keys are looked up when they are asked for, by the object at this place.
    LookedUpBy(usize),
}

impl KnownKeys {
    /// Returns keys that are known only by this object, which looks them up.
    #[must_use]
    pub fn looked_up_by<K: ?Sized>(keys: &K) -> Self {
        Self(Known::LookedUpBy(ptr::from_ref(keys).addr()))
    }

    /// Returns whether some secret is in both: so it is assumed if one object looks up the keys of
    /// both.
    pub(crate) fn may_share_a_secret(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Known::Listed { secrets: one, .. }, Known::Listed { secrets: other, .. }) => {
                let others: HashSet<_> = other.values().flatten().collect();
                one.values().flatten().any(|secret| others.contains(secret))
            }
            (Known::LookedUpBy(one), Known::LookedUpBy(other)) => one == other,
            // These keys are not known before they are looked up.
            _ => false,
        }
    }

    /// Checks that a secret is under this id, unless nobody knows before it is looked up.
    ///
    /// # Errors
    /// Returns an error that names the id.
    pub(crate) fn check_has(&self, id: &str) -> Result<(), ConfigError> {
        match &self.0 {
            Known::Listed { secrets, .. } if !secrets.keys().any(|known| known.as_str() == id) => {
                Err(ConfigErrorKind::NoSecretFor(id.to_owned()).into())
            }
            _ => Ok(()),
        }
    }

    /// Checks that no secret is known to be tied to another algorithm: none of the keys, or none of
    /// the one that is given.
    ///
    /// # Errors
    /// Returns an error that names the key.
    pub(crate) fn check_algorithm(
        &self,
        wanted: MacAlgorithm,
        only: Option<&str>,
    ) -> Result<(), ConfigError> {
        let Known::Listed { tied, .. } = &self.0 else {
            return Ok(());
        };
        let counts = |id: &KeyId| only.is_none_or(|only| only == id.as_str());
        let mut others = tied
            .iter()
            .filter(|(id, algorithm)| counts(id) && *algorithm != wanted);
        match others.next() {
            None => Ok(()),
            Some((id, other)) => {
                Err(ConfigErrorKind::other_algorithm(id, other.name(), wanted.name()).into())
            }
        }
    }

    /// An id under which the two have other secrets, or may have: this one, if it is given.
    pub(crate) fn differ(&self, other: &Self, only: Option<&KeyId>) -> Option<String> {
        let counts = |id: &KeyId| only.is_none_or(|only| only == id);
        match (&self.0, &other.0) {
            (Known::Listed { secrets: one, .. }, Known::Listed { secrets: other, .. }) => one
                .iter()
                .filter(|(id, secrets)| counts(id) && other.get(*id).is_some_and(|o| o != *secrets))
                .map(|(id, _)| id)
                .min()
                .map(ToString::to_string),
            (Known::LookedUpBy(one), Known::LookedUpBy(other)) => {
                (one != other).then(|| only.map_or("*".to_owned(), ToString::to_string))
            }
            (Known::Listed { secrets, .. }, Known::LookedUpBy(_))
            | (Known::LookedUpBy(_), Known::Listed { secrets, .. }) => secrets
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
    fn find<'a>(&'a self, key_id: &'a str) -> KeyFuture<'a> {
        (**self).find(key_id)
    }

    fn known_keys(&self) -> KnownKeys {
        (**self).known_keys()
    }
}
