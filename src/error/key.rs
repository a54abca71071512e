//! Why a key store gave no answer.

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

/// Says why a [`KeyStore`](crate::KeyStore) gave no answer. The request is refused: 503,
/// `store_unavailable`.
///
/// A key that does not exist is an answer, and not an error.
///
/// ```
/// use countersign::error::KeyError;
///
/// let error = KeyError::unavailable("the secrets service did not answer within 2 s");
/// assert_eq!(error.to_string(), "the secrets service did not answer within 2 s");
/// ```
#[derive(Clone, Debug)]
pub struct KeyError(Box<Told>);

#[derive(Clone, Debug)]
struct Told {
    message: Cow<'static, str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl KeyError {
    /// Returns the error of a key store that is down, slow or unsure. `message` goes to the log,
    /// never to the sender: it must hold no secret.
    #[must_use]
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Told {
            message: message.into(),
            source: None,
        }))
    }

    /// Keeps the error behind this one as its source.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl Error for KeyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|error| error as _)
    }
}
