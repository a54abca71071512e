//! The key of a signer, which can be replaced while it signs.

use std::{
    fmt,
    sync::{Arc, RwLock},
};

use super::{id::KeyId, mac::MacAlgorithm, mac_key::MacKey, secret::Secret};
use crate::{
    error::{ConfigError, ConfigErrorKind},
    lock::{read, write},
};

/// Clones share their key.
#[derive(Clone)]
pub(crate) struct RotatingKey(Arc<RwLock<Arc<SigningKey>>>);

pub(crate) struct SigningKey {
    pub(crate) id: KeyId,
    pub(crate) key: MacKey,
}

impl SigningKey {
    fn new<T>(
        id: impl AsRef<str>,
        secret: T,
        algorithm: MacAlgorithm,
    ) -> Result<Arc<Self>, ConfigError>
    where
        T: TryInto<Secret>,
        ConfigError: From<T::Error>,
    {
        let id = KeyId::new(id)?;
        let key = MacKey::new(secret.try_into()?);
        match key.algorithm() {
            Some(other) if other != algorithm => {
                Err(ConfigErrorKind::other_algorithm(&id, other.name(), algorithm.name()).into())
            }
            _ => Ok(Arc::new(Self { id, key })),
        }
    }
}

impl RotatingKey {
    /// A key of a scheme that has this algorithm.
    pub(crate) fn new<T>(
        id: impl AsRef<str>,
        secret: T,
        algorithm: MacAlgorithm,
    ) -> Result<Self, ConfigError>
    where
        T: TryInto<Secret>,
        ConfigError: From<T::Error>,
    {
        let key = SigningKey::new(id, secret, algorithm)?;
        Ok(Self(Arc::new(RwLock::new(key))))
    }

    pub(crate) fn rotate<T>(
        &self,
        id: impl AsRef<str>,
        secret: T,
        algorithm: MacAlgorithm,
    ) -> Result<(), ConfigError>
    where
        T: TryInto<Secret>,
        ConfigError: From<T::Error>,
    {
        let new = SigningKey::new(id, secret, algorithm)?;
        *write(&self.0) = new;
        Ok(())
    }

    pub(crate) fn current(&self) -> Arc<SigningKey> {
        Arc::clone(&read(&self.0))
    }
}

/// The key id alone.
impl fmt::Debug for RotatingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.current().id, f)
    }
}
