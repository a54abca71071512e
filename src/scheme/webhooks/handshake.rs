//! The place at which a sender's question, whether this is the right place, is answered.

use http::uri::PathAndQuery;

use crate::error::{ConfigError, ConfigErrorKind};

/// The one path at which a handshake is answered. At every other path, a request that looks like a
/// handshake is a request to another handler.
#[derive(Clone, Debug)]
pub(super) struct HandshakePath(String);

impl HandshakePath {
    pub(super) fn new(path: impl Into<String>) -> Result<Self, ConfigError> {
        let path = path.into();
        let whole = path.parse::<PathAndQuery>();
        if path.starts_with('/') && whole.is_ok_and(|whole| whole.path() == path) {
            return Ok(Self(path));
        }
        let why = format!(
            "a handshake is answered at a path such as `/webhooks`, without a query; `{}` is not one",
            path.escape_debug()
        );
        Err(ConfigErrorKind::Scheme(why.into()).into())
    }

    /// Whether this is the path, compared byte by byte.
    pub(super) fn is(&self, path: &str) -> bool {
        self.0 == path
    }
}
