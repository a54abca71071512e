//! Times as the database has them: whole milliseconds in an integer.

use std::time::Duration;

pub(super) use crate::store::batched::answers::moment as timestamp;
use crate::{
    clock::{self, Timestamp},
    error::StoreError,
};

pub(super) fn millis(moment: Timestamp) -> i64 {
    moment.as_millis().cast_signed()
}

pub(super) fn millis_of(duration: Duration) -> i64 {
    i64::try_from(clock::millis(duration)).unwrap_or(i64::MAX)
}

pub(super) fn duration(millis: i64) -> Result<Duration, StoreError> {
    u64::try_from(millis)
        .map(Duration::from_millis)
        .map_err(|_| {
            StoreError::unavailable("the database has a number that is not a valid duration")
        })
}
