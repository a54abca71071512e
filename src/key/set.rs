//! The secrets that are valid under one name at one time.

use std::fmt;

use super::{id::KeyId, mac::MacAlgorithm, mac_key::MacKey, secret::Secret};
use crate::{clock::Timestamp, error::ConfigError};

/// The secrets under one key id, each with the time in which it is valid.
///
/// For a rotation, add the new secret, move the senders to it, and then remove the old one.
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
    pub(super) secrets: Vec<TimedSecret>,
}

#[derive(Clone)]
pub(super) struct TimedSecret {
    pub(super) key: MacKey,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

impl KeySet {
    /// The greatest number of secrets that are tried for one signature.
    pub const MAX_SECRETS: usize = 8;

    /// Returns a set without a secret yet: requests under it are refused.
    ///
    /// # Errors
    /// Returns an error if the id is not a [`KeyId`].
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
    /// A secret counts if it is valid when the key of a request has been looked up, before the body
    /// arrives.
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

    /// Returns the name that the secrets are valid under.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Returns how many secrets there are, valid or not.
    pub(crate) fn len(&self) -> usize {
        self.secrets.len()
    }

    /// The algorithm of a secret that is tied to another one than this.
    pub(crate) fn other_algorithm(&self, wanted: MacAlgorithm) -> Option<MacAlgorithm> {
        let mut tied = self
            .secrets
            .iter()
            .filter_map(|secret| secret.key.algorithm());
        tied.find(|algorithm| *algorithm != wanted)
    }

    /// Returns whether a secret is valid for a time alone.
    pub(crate) fn is_timed(&self) -> bool {
        let always = (Timestamp::EPOCH, Timestamp::MAX);
        let mut secrets = self.secrets.iter();
        secrets.any(|secret| (secret.not_before, secret.not_after) != always)
    }

    /// The secrets that are valid at `now`, in the order in which they were added.
    pub(crate) fn valid_at(&self, now: Timestamp) -> impl Iterator<Item = &MacKey> {
        self.valid_between(now, now)
    }

    /// Returns the secrets that are tried at `now` and stay valid until `end`.
    pub(crate) fn valid_between(
        &self,
        now: Timestamp,
        end: Timestamp,
    ) -> impl Iterator<Item = &MacKey> {
        self.secrets
            .iter()
            .filter(move |secret| (secret.not_before..=secret.not_after).contains(&now))
            .take(Self::MAX_SECRETS)
            .filter(move |secret| secret.not_after >= end)
            .map(|secret| &secret.key)
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
