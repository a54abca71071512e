//! The store's time: whole seconds in 32 bits.

use crate::clock::Timestamp;

/// A second, counted from 68 years before the store was made to 68 years after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Second(pub(super) u32);

impl Second {
    /// Before any deadline.
    pub(super) const ZERO: Self = Self(0);

    /// After any deadline of which anything is known.
    pub(super) const LAST: Self = Self(u32::MAX);
}

/// The origin of the store's seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base(u64);

impl Base {
    pub(super) fn around(start: Timestamp) -> Self {
        Self(start.as_secs().saturating_sub(1 << 31))
    }

    /// The present moment, rounded down.
    pub(super) fn now(self, now: Timestamp) -> Second {
        self.second(now.as_secs())
    }

    /// A deadline, rounded up, so that a record is never dropped too early.
    pub(super) fn deadline(self, deadline: Timestamp) -> Second {
        self.second(deadline.as_secs_up()).max(Second(1))
    }

    /// The moment at which a second begins.
    pub(super) fn moment(self, second: Second) -> Timestamp {
        let secs = self.0.saturating_add(u64::from(second.0));
        Timestamp::from_secs(secs).unwrap_or(Timestamp::MAX)
    }

    fn second(self, secs: u64) -> Second {
        Second(u32::try_from(secs.saturating_sub(self.0)).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn now_is_rounded_down_and_a_deadline_up() {
        let start = Timestamp::from_secs(1_700_000_000).unwrap();
        let base = Base::around(start);
        let later = start.saturating_add(Duration::from_millis(1));
        assert_eq!(base.now(later), base.now(start));
        assert_eq!(base.deadline(later).0, base.deadline(start).0 + 1);
        assert_eq!(base.deadline(start), base.now(start));
    }

    #[test]
    fn both_ends_of_time_are_in_reach() {
        let base = Base::around(Timestamp::from_secs(1_700_000_000).unwrap());
        assert_eq!(base.now(Timestamp::MAX), Second::LAST);
        assert_eq!(base.deadline(Timestamp::MAX), Second::LAST);
        assert_eq!(
            Base::around(Timestamp::EPOCH).now(Timestamp::EPOCH),
            Second::ZERO
        );
        assert!(Base::around(Timestamp::EPOCH).deadline(Timestamp::EPOCH) > Second::ZERO);
    }
}
