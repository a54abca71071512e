//! The parts that the stores of answers in databases share: how a record is read, and what is
//! refused alike.

#[cfg(any(feature = "postgres", feature = "sqlite"))]
use bytes::Bytes;

use crate::error::{StoreError, StoreErrorKind};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::{
    clock::Timestamp,
    error::ConfigError,
    once::{AnswerRecord, StepOutcome},
};

/// The most records of a key by default.
pub(in crate::store) const ANSWERS_OF_A_KEY: u64 = 1_000_000;

/// How many records that have ended are dropped with a claim.
#[cfg(feature = "sqlite")]
pub(in crate::store) const SWEPT: i64 = 16;

/// Returns what a key is told that has as many answers on record as it may.
pub(in crate::store) fn over_quota() -> StoreError {
    let message = "the key has as many answers on record as are allowed";
    StoreError::new(StoreErrorKind::KeyOverQuota, message)
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(in crate::store) fn check_quota(records_of_a_key: u64) -> Result<(), ConfigError> {
    ConfigError::unless(
        records_of_a_key > 0,
        "`records_of_a_key` must be at least 1",
    )
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
/// A step changes one record, or none if the attempt does not hold it.
pub(in crate::store) fn done(rows: u64) -> StepOutcome {
    match rows {
        0 => StepOutcome::Lost,
        _ => StepOutcome::Done,
    }
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
/// The record in a row of a table.
pub(in crate::store) fn record(
    fingerprint: &[u8],
    deadline: i64,
    lease_end: i64,
    answer: Option<Vec<u8>>,
) -> Result<AnswerRecord, StoreError> {
    let damaged = |_| StoreError::unavailable("a fingerprint in the database is not 32 bytes");
    let mut record = AnswerRecord::new(
        fingerprint.try_into().map_err(damaged)?,
        moment(deadline)?,
        moment(lease_end)?,
    );
    record.answer = answer.map(Bytes::from);
    Ok(record)
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
/// A moment as databases have it: whole milliseconds in an integer.
pub(in crate::store) fn moment(millis: i64) -> Result<Timestamp, StoreError> {
    u64::try_from(millis)
        .ok()
        .and_then(Timestamp::from_millis)
        .ok_or_else(|| {
            StoreError::unavailable("the database has a number that is not a valid time")
        })
}
