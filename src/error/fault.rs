//! Why a signature does not hold, before anybody says what happens to the carrier that has it.

use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

use super::{
    key::KeyError,
    store::{StoreError, StoreErrorKind},
};
use crate::clock::Timestamp;

/// Says why a message does not count, or is not used. A request answers with a
/// [`Rejection`](super::Rejection) made of it, a client with an error of its own: the code that
/// reads, verifies and records knows neither.
pub(crate) struct Fault(Box<Reason>);

/// The parts of a [`Fault`].
pub(super) struct Reason {
    pub(super) kind: FaultKind,
    /// For the log.
    pub(super) detail: Cow<'static, str>,
    /// The moment since which no server accepts the message, if none ever will.
    pub(super) final_since: Option<Timestamp>,
    /// How long to wait before the message is sent once more, if that is known.
    pub(super) retry_after: Option<Duration>,
    /// From which signed time on messages are accepted, if this one was signed too early for the
    /// store's memory.
    pub(super) signed_from: Option<Timestamp>,
    pub(super) source: Option<Arc<dyn Error + Send + Sync>>,
}

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
    /// A value that this side must supply is missing, or cannot be signed.
    NotSupplied,
    /// The message was used before.
    Used,
    /// A duplicate is being handled.
    InFlight,
    /// The handler succeeded, and its transaction has no record of the use.
    NotRecorded,
    /// The store refuses, or gives no answer.
    Store(StoreErrorKind),
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Reason {
            kind,
            detail: detail.into(),
            final_since: None,
            retry_after: None,
            signed_from: None,
            source: None,
        }))
    }

    /// The fault of a duplicate that must wait this long.
    pub(crate) fn in_flight(detail: &'static str, remaining: Duration) -> Self {
        let mut fault = Self::new(FaultKind::InFlight, detail);
        fault.0.retry_after = Some(remaining);
        fault
    }

    /// Returns the fault of a step whose store gave no answer, with the caller's text.
    pub(crate) fn unanswered(detail: &'static str, error: StoreError) -> Self {
        Self::new(FaultKind::Store(StoreErrorKind::Unavailable), detail).with_source(error)
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

    /// Returns since when no server of the namespace accepts the message, if none ever will.
    pub(crate) fn final_since(&self) -> Option<Timestamp> {
        self.0.final_since
    }

    pub(super) fn into_parts(self) -> Reason {
        *self.0
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

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let mut fault = Self::new(FaultKind::Store(error.kind()), error.to_string());
        fault.0.final_since = error.final_since();
        fault.0.retry_after = error.retry_after();
        fault.0.signed_from = error.signed_from();
        fault.with_source(error)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({:?}: {})", self.0.kind, self.0.detail)
    }
}
