//! Times as Redis has them: whole milliseconds.

use std::time::Duration;

use crate::clock::{self, Timestamp};

/// For how much longer than its deadline a record stays. A jump of the clock by less than that
/// loses nothing, and a jump by more wakes the watch.
pub(super) const SPARE: Duration = Duration::from_secs(10);

/// At most as long as all of time.
pub(super) fn millis(duration: Duration) -> u64 {
    clock::millis(duration).min(Timestamp::MAX.as_millis())
}

/// At [`Timestamp::MAX`] at most.
pub(super) fn timestamp(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap_or(Timestamp::MAX)
}
