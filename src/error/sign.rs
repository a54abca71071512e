//! Why something could not be signed.

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

use super::fault::{Fault, FaultKind, Reason};

/// Says why something could not be signed: a request or a response, which was not sent, a [one-time
/// token](crate::OneTimeToken), or an [envelope](crate::envelope).
#[derive(Clone, Debug)]
pub struct SignError {
    kind: SignErrorKind,
    message: Cow<'static, str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kinds of [`SignError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignErrorKind {
    /// Something that is signed is missing, cannot be written, or can be read in two ways.
    NotCoverable,
    /// No secret is valid under the key id for as long as it must be, or the secret is
    /// [tied](crate::Secret::for_algorithm) to another algorithm.
    NoSecret,
    /// The key look-up gave no answer. It may be worth trying again.
    KeysUnavailable,
    /// The store gave no answer. It may be worth trying again.
    StoreUnavailable,
    /// The time is not one that a verifier accepts: the deadline of an envelope is out of its range,
    /// or the clock is so far behind a store that the store would refuse the token.
    Time,
    /// The request was verified for another namespace than that of the envelopes.
    OtherNamespace,
    /// The token or the envelope would be too long.
    TooLong,
    /// The body is over the limit.
    BodyTooLarge,
    /// The body was not there in time.
    BodyTimeout,
    /// The body broke off or could not be read.
    BodyUnreadable,
    /// The body is a stream, and cannot be waited for here.
    BodyIsStream,
}

impl SignError {
    pub(crate) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self::of_kind(SignErrorKind::NotCoverable, message)
    }

    pub(crate) fn of_kind(kind: SignErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> SignErrorKind {
        self.kind
    }
}

/// A message in which a verifier would find a fault is not signed in the first place.
impl From<Fault> for SignError {
    fn from(fault: Fault) -> Self {
        let Reason {
            kind,
            detail: message,
            source,
            ..
        } = fault.into_parts();
        let kind = match kind {
            FaultKind::BodyTooLarge => SignErrorKind::BodyTooLarge,
            FaultKind::BodyTimeout => SignErrorKind::BodyTimeout,
            FaultKind::BodyUnreadable => SignErrorKind::BodyUnreadable,
            FaultKind::KeysUnavailable => SignErrorKind::KeysUnavailable,
            FaultKind::Store(_) => SignErrorKind::StoreUnavailable,
            FaultKind::Missing
            | FaultKind::Malformed
            | FaultKind::Insufficient
            | FaultKind::Invalid
            | FaultKind::Expired
            | FaultKind::NotYetValid
            | FaultKind::NotServed
            | FaultKind::BodyNotCovered
            | FaultKind::NotSupplied
            // Nothing is used up by being signed.
            | FaultKind::Used
            | FaultKind::InFlight
            | FaultKind::NotRecorded => SignErrorKind::NotCoverable,
        };
        Self {
            kind,
            message,
            source,
        }
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message cannot be signed: {}", self.message)
    }
}

impl Error for SignError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}
