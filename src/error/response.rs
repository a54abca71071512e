//! Why a response is not believed.

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

use http::StatusCode;

use super::fault::{Fault, FaultKind, Reason};

/// A response that is refused: it is not known to come from the server, or to answer the request.
///
/// Believe nothing of it, not even its status. Whether the request had an effect is not
/// known.
#[derive(Clone, Debug)]
pub struct ResponseError {
    kind: ResponseErrorKind,
    status: Option<StatusCode>,
    message: Cow<'static, str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kinds of [`ResponseError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResponseErrorKind {
    /// The request itself cannot be read one way only, so that nothing could be bound to it. A
    /// layer has not sent it.
    RequestNotBindable,
    /// The response carries no signature.
    SignatureMissing,
    /// The signature cannot be read, or can be read in two ways.
    SignatureMalformed,
    /// The signature covers too little, such as another request, or none.
    SignatureInsufficient,
    /// Unknown key, wrong MAC or wrong digest: among others, it answers another request.
    SignatureInvalid,
    /// Signed too long ago, or past its expiry.
    SignatureExpired,
    /// Dated ahead.
    SignatureNotYetValid,
    /// The body is over the limit.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body broke off or could not be read.
    BodyUnreadable,
    /// There is a body, or a switch of protocols, that nothing in the signature covers.
    BodyNotCovered,
    /// The server received another body than the one that was sent: the request was altered on the
    /// way.
    RequestAltered,
    /// The key look-up gave no answer.
    KeysUnavailable,
}

impl ResponseError {
    pub(crate) fn new(kind: ResponseErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            status: None,
            message: message.into(),
            source: None,
        }
    }

    /// Tells the log which response this was.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ResponseErrorKind {
        self.kind
    }
}

/// A response is refused for the fault that was found in it.
impl From<Fault> for ResponseError {
    fn from(fault: Fault) -> Self {
        let Reason {
            kind,
            detail: message,
            source,
            ..
        } = fault.into_parts();
        let kind = match kind {
            FaultKind::Missing => ResponseErrorKind::SignatureMissing,
            // Nobody asks a response for the authority that it is for, and none awaits a value.
            FaultKind::Malformed | FaultKind::NotServed | FaultKind::NotSupplied => {
                ResponseErrorKind::SignatureMalformed
            }
            FaultKind::Insufficient => ResponseErrorKind::SignatureInsufficient,
            // No response is used up, so that none fails with one of the last four.
            FaultKind::Invalid
            | FaultKind::Used
            | FaultKind::InFlight
            | FaultKind::NotRecorded
            | FaultKind::Store(_) => ResponseErrorKind::SignatureInvalid,
            FaultKind::Expired => ResponseErrorKind::SignatureExpired,
            FaultKind::NotYetValid => ResponseErrorKind::SignatureNotYetValid,
            FaultKind::BodyTooLarge => ResponseErrorKind::BodyTooLarge,
            FaultKind::BodyTimeout => ResponseErrorKind::BodyTimeout,
            FaultKind::BodyUnreadable => ResponseErrorKind::BodyUnreadable,
            FaultKind::BodyNotCovered => ResponseErrorKind::BodyNotCovered,
            FaultKind::KeysUnavailable => ResponseErrorKind::KeysUnavailable,
        };
        Self {
            kind,
            status: None,
            message,
            source,
        }
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the response is refused")?;
        if let Some(status) = self.status {
            write!(f, " (it says {})", status.as_u16())?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Error for ResponseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}
