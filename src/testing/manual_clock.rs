//! A clock for tests, which is set and stepped by hand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::clock::{Clock, Timestamp};

/// A clock for tests. Its time changes only when it is set or stepped, forward or back.
///
/// Clones show the same time.
///
/// ```
/// use countersign::{testing::ManualClock, Clock, Timestamp};
/// use std::time::Duration;
///
/// let clock = ManualClock::at(Timestamp::from_secs(1_700_000_000).unwrap());
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now().as_secs(), 1_700_000_005);
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// Returns a clock that stays at `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(now.as_millis())))
    }

    /// Sets the clock.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_millis(), Ordering::SeqCst);
    }

    /// Steps the clock forward, to [`Timestamp::MAX`] at most.
    pub fn advance(&self, by: Duration) {
        self.change(|now| now.saturating_add(by));
    }

    /// Steps the clock back, to [`Timestamp::EPOCH`] at most.
    pub fn step_back(&self, by: Duration) {
        self.change(|now| now.saturating_sub(by));
    }

    fn change(&self, to: impl Fn(Timestamp) -> Timestamp) {
        self.0.update(Ordering::SeqCst, Ordering::SeqCst, |now| {
            to(timestamp(now)).as_millis()
        });
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// The clock holds milliseconds of a timestamp alone.
fn timestamp(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stops_at_both_ends() {
        let clock = ManualClock::at(Timestamp::from_secs(10).unwrap());
        clock.step_back(Duration::from_secs(11));
        assert_eq!(clock.now(), Timestamp::EPOCH);
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp::MAX);
    }
}
