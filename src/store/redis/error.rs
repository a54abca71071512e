//! What the driver's and the server's errors mean for a step.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::{StoreError, StoreErrorKind};

/// Why a step on one server has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection was lost, or the server does not have the record any more: worth another try
    /// over a new connection. Whether the step was done is unknown.
    Lost(StoreError),
    /// The record is being moved, and is to be asked for at this address once.
    Ask(String),
    /// Refused.
    Refused(StoreError),
}

impl Failure {
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Lost(error) | Self::Refused(error) => error,
            Self::Ask(_) => StoreError::unavailable("the record is being moved to another server"),
        }
    }
}

pub(super) fn of_driver(error: RedisError) -> Failure {
    let code = error.code().unwrap_or_default();
    if code == "OOM" {
        let message = "Redis has no memory left, and evicts nothing";
        return Failure::Refused(StoreError::new(StoreErrorKind::Full, message).with_source(error));
    }
    let message = match error.kind() {
        ErrorKind::Server(ServerErrorKind::Ask) => {
            if let Some((address, _)) = error.redirect_node() {
                return Failure::Ask(address.to_owned());
            }
            "Redis moves the record, and does not say where to"
        }
        ErrorKind::Server(ServerErrorKind::Moved) => "another server of the cluster has the record",
        ErrorKind::Server(ServerErrorKind::ReadOnly) => "the server is a read-only replica",
        ErrorKind::Server(ServerErrorKind::NoScript) => "the server has lost its scripts",
        ErrorKind::Server(_) => {
            let error = StoreError::unavailable("Redis refuses the step").with_source(error);
            return Failure::Refused(error);
        }
        _ => "the connection to Redis was lost",
    };
    Failure::Lost(StoreError::unavailable(message).with_source(error))
}

pub(super) fn unavailable(error: RedisError) -> StoreError {
    of_driver(error).into_error()
}

pub(super) fn sign_again(message: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::SignAgain, message)
}

/// Redis did not answer in the form that it documents.
pub(super) fn unexpected() -> StoreError {
    StoreError::unavailable("the answer of Redis cannot be read")
}
