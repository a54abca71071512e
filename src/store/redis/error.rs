//! The meaning of the driver's and the server's errors for a step.

use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use crate::error::{StoreError, StoreErrorKind};

/// Why a step on one server has no answer.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The connection was lost, or the server does not have the record any more: worth another try
    /// over a new connection. Whether the step was done is unknown.
    Lost(StoreError),
    /// Refused.
    Refused(StoreError),
}

impl Failure {
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Lost(error) | Self::Refused(error) => error,
        }
    }
}

pub(super) fn of_driver(error: RedisError) -> Failure {
    let code = error.code().unwrap_or_default();
    if code == "OOM" {
        return Failure::Refused(full().with_source(error));
    }
    let message = match error.kind() {
        // The memory of the new server is known once the whole slot is there.
        ErrorKind::Server(ServerErrorKind::Ask) => {
            let message = "the cluster is moving this nonce's slot to another server";
            return Failure::Refused(StoreError::unavailable(message).with_source(error));
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

pub(super) fn full() -> StoreError {
    let message = "Redis has no memory left, and evicts nothing";
    StoreError::new(StoreErrorKind::Full, message)
}

/// Redis did not answer in the form that it documents.
pub(super) fn unexpected() -> StoreError {
    StoreError::unavailable("the answer of Redis cannot be read")
}

/// Reads an answer as a value of this type.
pub(super) fn read<T: redis::FromRedisValue>(value: Value) -> Result<T, StoreError> {
    redis::from_redis_value(value).map_err(|error| unexpected().with_source(error))
}

/// The error of an answer that did not come in time.
pub(super) fn late(wait: Duration) -> StoreError {
    StoreError::late("Redis", wait)
}
