//! Time: milliseconds since the Unix epoch, and where they come from.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A moment: milliseconds since 1970-01-01T00:00:00Z, up to the end of the year 9999.
///
/// Arithmetic stops at either end instead of wrapping around.
///
/// ```
/// use countersign::Timestamp;
/// use std::time::Duration;
///
/// let signed = Timestamp::from_secs(1_700_000_000).unwrap();
/// assert_eq!(signed.saturating_add(Duration::from_secs(300)).as_secs(), 1_700_000_300);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The first moment that can be told: 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The last moment that can be told: the end of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// Returns the moment after this number of seconds since the Unix epoch, or `None` if it is
    /// after [`Timestamp::MAX`].
    #[must_use]
    pub fn from_secs(secs: u64) -> Option<Self> {
        secs.checked_mul(1000).and_then(Self::from_millis)
    }

    /// Returns the moment after this number of milliseconds since the Unix epoch, or `None` if it
    /// is after [`Timestamp::MAX`].
    #[must_use]
    pub fn from_millis(millis: u64) -> Option<Self> {
        (millis <= Self::MAX.0).then_some(Self(millis))
    }

    /// Returns the whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded up.
    pub(crate) fn as_secs_up(self) -> u64 {
        self.0.div_ceil(1000)
    }

    /// Returns the moment that is `duration` later. A part of a millisecond counts as a whole one.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)).min(Self::MAX.0))
    }

    /// Returns the moment that is `duration` earlier. A part of a millisecond counts as a whole
    /// one.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// Returns how long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A time before 1970 is [`Timestamp::EPOCH`], and one after the year 9999 is [`Timestamp::MAX`].
/// Parts of a millisecond are dropped.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        Self(millis.min(Self::MAX.0))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(timestamp.0)
    }
}

/// A duration in milliseconds. All durations are rounded here, and up, so that nothing is forgotten
/// too early.
pub(crate) fn millis(duration: Duration) -> u64 {
    let part = duration.subsec_nanos().div_ceil(1_000_000);
    let whole = duration.as_secs().saturating_mul(1000);
    whole.saturating_add(u64::from(part))
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The system's clock.
///
/// A clock set to before 1970 reads as 1970: every signed request is then dated ahead, and refused.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stops_at_both_ends() {
        let t = Timestamp::from_secs(10).unwrap();
        assert_eq!(t.saturating_sub(Duration::from_secs(11)).as_millis(), 0);
        assert_eq!(t.saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(
            t.saturating_since(t.saturating_add(Duration::from_secs(1))),
            Duration::ZERO
        );
        assert_eq!(Timestamp::from_secs(u64::MAX), None);
        assert_eq!(Timestamp::from_millis(Timestamp::MAX.0 + 1), None);
    }

    #[test]
    fn durations_are_rounded_up() {
        let nanos = |n| millis(Duration::from_nanos(n));
        let found = [0, 1, 999_999, 1_000_000, 1_000_001, 1_999_999_999].map(nanos);
        assert_eq!(found, [0, 1, 1, 1, 2, 2000]);
        assert_eq!(millis(Duration::MAX), u64::MAX);
        let t = Timestamp::from_secs(10).unwrap();
        let moment = t.saturating_add(Duration::from_nanos(1));
        assert_eq!((moment.as_millis(), moment.as_secs_up()), (10_001, 11));
        assert_eq!((t.as_secs(), t.as_secs_up()), (10, 10));
    }
}
