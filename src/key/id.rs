//! The name of a key.

use std::{borrow::Borrow, fmt, sync::Arc};

use crate::error::{ConfigError, ConfigErrorKind};

/// The name of a key: 1 to 128 visible ASCII characters.
///
/// Key ids are not secret: they appear in requests and in logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// The greatest length of a key id, in bytes.
    pub const MAX_LEN: usize = 128;

    /// Takes a name.
    ///
    /// # Errors
    /// Returns an error if it is empty, longer than [`KeyId::MAX_LEN`], or has a character that is
    /// not visible ASCII (`!` to `~`).
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

    /// Returns the name.
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
