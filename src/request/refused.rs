//! Why a request is not let through, with what was verified of it if it was used before.

use tracing::Span;

use super::payload::VerifiedPayload;
use crate::error::{Rejection, RejectionKind};

/// Why a request is not let through.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) rejection: Rejection,
    /// The nonce of a request that is refused only because it was used before.
    pub(crate) duplicate: Option<Box<Duplicate>>,
}

/// A request that is authentic and fresh, and was used before. Nobody may handle it.
#[derive(Debug)]
pub(crate) struct Duplicate {
    pub(crate) payload: VerifiedPayload,
    /// The span of the verification, for later events.
    pub(crate) span: Span,
}

impl Refused {
    /// A refused claim on what was verified.
    pub(super) fn claim(rejection: Rejection, payload: VerifiedPayload) -> Self {
        let is_duplicate = rejection.kind() == RejectionKind::RequestReplayed;
        let span = Span::current();
        Self {
            duplicate: is_duplicate.then(|| Box::new(Duplicate { payload, span })),
            rejection,
        }
    }
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        Self {
            rejection,
            duplicate: None,
        }
    }
}
