//! Why a store could not be opened.

use std::{error::Error, fmt};

use super::{ConfigError, ConfigErrorKind, StoreError};

/// Why a store could not be opened.
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// use countersign::{error::OpenError, store::SqliteStore};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let refused = SqliteStore::builder().capacity(0).open("nonces.db").await;
/// assert!(matches!(refused, Err(OpenError::Config(_))));
/// # });
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration would not work, or would not be safe. Trying again does not help. A database
    /// that must be changed first, such as one without the tables, is a
    /// [`StorePlace`](ConfigErrorKind::StorePlace).
    Config(ConfigError),
    /// The database gave no answer, or cannot be used at present. It may be worth trying again.
    Store(StoreError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => fmt::Display::fmt(error, f),
            Self::Store(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(error) => error.source(),
            Self::Store(error) => error.source(),
        }
    }
}

impl From<ConfigError> for OpenError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        if error.is_misconfiguration() {
            let place = match error.source() {
                // The driver's error says what the error behind it says.
                Some(driver) => format!("{error}: {driver}"),
                None => error.to_string(),
            };
            return Self::Config(ConfigErrorKind::StorePlace(place.into()).into());
        }
        Self::Store(error)
    }
}
