//! The key of a signer, which can be replaced while it signs.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use super::{id::KeyId, mac::MacKey, secret::Secret};
use crate::error::ConfigError;

/// Clones share their key.
#[derive(Clone)]
pub(crate) struct RotatingKey(Arc<RwLock<Arc<SigningKey>>>);

pub(crate) struct SigningKey {
    pub(crate) id: KeyId,
    pub(crate) key: MacKey,
}

impl SigningKey {
    fn new<T>(id: impl AsRef<str>, secret: T) -> Result<Arc<Self>, ConfigError>
    where
        T: TryInto<Secret>,
        ConfigError: From<T::Error>,
    {
        Ok(Arc::new(Self {
            id: KeyId::new(id)?,
            key: MacKey::new(secret.try_into()?),
        }))
    }
}

impl RotatingKey {
    pub(crate) fn new<T>(id: impl AsRef<str>, secret: T) -> Result<Self, ConfigError>
    where
        T: TryInto<Secret>,
        ConfigError: From<T::Error>,
    {
        Ok(Self(Arc::new(RwLock::new(SigningKey::new(id, secret)?))))
    }

    pub(crate) fn rotate<T>(&self, id: impl AsRef<str>, secret: T) -> Result<(), ConfigError>
    where
        T: TryInto<Secret>,
        ConfigError: From<T::Error>,
    {
        let new = SigningKey::new(id, secret)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    pub(crate) fn current(&self) -> Arc<SigningKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The key id alone.
impl fmt::Debug for RotatingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.current().id, f)
    }
}
