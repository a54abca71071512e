//! Times as Redis has them: whole milliseconds.

use std::time::Duration;

use crate::clock::Timestamp;

/// For how much longer than its deadline a record stays. A jump of the clock by less than that loses
/// nothing, and a jump by more wakes the watch.
pub(super) const SPARE: Duration = Duration::from_secs(10);

/// Rounded up, so that nothing is forgotten too early.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000))
        .unwrap_or(u64::MAX)
        .min(Timestamp::MAX.as_millis())
}

/// At [`Timestamp::MAX`] at most.
pub(super) fn timestamp(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap_or(Timestamp::MAX)
}
