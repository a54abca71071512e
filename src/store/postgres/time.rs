//! Times as PostgreSQL is given them: in milliseconds, as integers.

use std::time::Duration;

use crate::clock::{self, Timestamp};

/// A moment, in milliseconds since 1970.
pub(super) fn at(time: Timestamp) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// At most a thousand years, so that no sum of times overflows.
pub(super) fn millis(duration: Duration) -> i64 {
    const MILLENNIUM: i64 = 1000 * 366 * 24 * 3600 * 1000;
    i64::try_from(clock::millis(duration)).map_or(MILLENNIUM, |millis| millis.min(MILLENNIUM))
}
