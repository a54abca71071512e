//! Why a signature does not hold, before anybody says what becomes of the carrier that has it.

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

use super::key::KeyError;
use crate::clock::Timestamp;

/// Says why a message does not count. A request answers with a [`Rejection`](super::Rejection)
/// made of it, a client with an error of its own: the code that reads and verifies knows neither.
pub(crate) struct Fault(Box<Reason>);

struct Reason {
    kind: FaultKind,
    detail: Cow<'static, str>,
    /// The moment since which no server accepts the message, if none ever will.
    final_since: Option<Timestamp>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The parts of a [`Fault`]: its kind, its reason for the log, the moment since which it is final,
/// and the error behind it.
pub(super) type Parts = (
    FaultKind,
    Cow<'static, str>,
    Option<Timestamp>,
    Option<Arc<dyn Error + Send + Sync>>,
);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// There is no signature.
    Missing,
    /// The signature, its parameters or the target cannot be read, or can be read in two ways.
    Malformed,
    /// The signature covers too little.
    Insufficient,
    /// Unknown key, wrong MAC or wrong digest.
    Invalid,
    /// Too old, or expired.
    Expired,
    /// Dated ahead.
    NotYetValid,
    /// The authority is not one of ours.
    NotServed,
    BodyTooLarge,
    BodyTimeout,
    BodyUnreadable,
    /// The signature covers no body, and there is one.
    BodyNotCovered,
    /// The key look-up gave no answer.
    KeysUnavailable,
    /// A value that this side has to supply is missing, or cannot be signed.
    NotSupplied,
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Reason {
            kind,
            detail: detail.into(),
            final_since: None,
            source: None,
        }))
    }

    /// Keeps the error behind this one.
    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Says that no server accepts the message since this moment, and none ever will.
    pub(crate) fn since(mut self, moment: Timestamp) -> Self {
        self.0.final_since = Some(moment);
        self
    }

    pub(crate) fn kind(&self) -> FaultKind {
        self.0.kind
    }

    pub(crate) fn reason(&self) -> &str {
        &self.0.detail
    }

    /// Since when no server of the namespace accepts the message, if none ever will.
    pub(crate) fn final_since(&self) -> Option<Timestamp> {
        self.0.final_since
    }

    pub(super) fn into_parts(self) -> Parts {
        let Reason {
            kind,
            detail,
            final_since,
            source,
        } = *self.0;
        (kind, detail, final_since, source)
    }
}

/// The fault of what cannot be read, or can be read in two ways.
pub(crate) fn malformed(detail: impl Into<Cow<'static, str>>) -> Fault {
    Fault::new(FaultKind::Malformed, detail)
}

impl From<KeyError> for Fault {
    fn from(error: KeyError) -> Self {
        Self::new(FaultKind::KeysUnavailable, error.to_string()).with_source(error)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({:?}: {})", self.0.kind, self.0.detail)
    }
}
