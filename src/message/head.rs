//! The head of a request, as a scheme reads it.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{fields::single, supplied::Supplied, target::Target};
use crate::error::Fault;

/// The head of a request, as a scheme reads it.
pub(crate) struct Head<'h> {
    pub(crate) method: &'h Method,
    pub(crate) target: Target<'h>,
    pub(crate) headers: &'h HeaderMap,
    /// The value that is signed and not sent; `None` while it is not known.
    pub(crate) supplied: Option<&'h Supplied>,
}

impl<'h> Head<'h> {
    pub(crate) fn single(&self, name: &HeaderName) -> Result<Option<&'h HeaderValue>, Fault> {
        single(self.headers, name)
    }
}

/// Without the headers: they may hold an unused signature, and other secrets.
impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("method", self.method)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
