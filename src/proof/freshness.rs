//! Freshness: how old a signed time may be, and how far ahead.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    clock::Timestamp,
    error::{ConfigError, Fault, FaultKind},
};

/// A request is fresh while `now - max_age <= signed time <= now + max_skew`, and until it expires.
#[derive(Clone)]
pub(crate) struct Freshness {
    pub(crate) max_age: Duration,
    pub(crate) max_skew: Duration,
    /// For how much longer another server may take a request for fresh, because its clock differs,
    /// or because a claim is on its way. A request is remembered for as long.
    pub(crate) margin: Duration,
    /// No server of the namespace has a longer `max_age`.
    pub(crate) longest_age: Duration,
    /// Whether a signature has expired at the moment of its expiry, and not only after it.
    pub(crate) ends_before_expiry: bool,
    /// The memory for requests, if anything is asked.
    pub(crate) taken_until: Option<Arc<TakenUntil>>,
}

/// Returns until when any server can record a request with this signed time, if that is known.
pub(crate) type TakenUntil = dyn Fn(Timestamp) -> Option<Timestamp> + Send + Sync;

impl Default for Freshness {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(300),
            max_skew: Duration::from_secs(5),
            margin: Duration::ZERO,
            longest_age: Self::DAY,
            ends_before_expiry: false,
            taken_until: None,
        }
    }
}

impl Freshness {
    /// No `max_age` is longer.
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    pub(crate) fn check_ranges(&self) -> Result<(), ConfigError> {
        const SECOND: Duration = Duration::from_secs(1);
        ConfigError::unless(
            (SECOND..=Self::DAY).contains(&self.max_age),
            "`max_age` must be between 1 second and 1 day",
        )?;
        ConfigError::unless(
            (self.max_age..=Self::DAY).contains(&self.longest_age),
            "`longest_max_age` must be between `max_age` and 1 day",
        )?;
        ConfigError::unless(
            self.max_skew <= self.max_age,
            "`max_skew` must be at most `max_age`",
        )
    }

    pub(crate) fn check(
        &self,
        now: Timestamp,
        signed_at: Option<Timestamp>,
        expires_at: Option<Timestamp>,
    ) -> Result<(), Fault> {
        if let Some(signed_at) = signed_at {
            if signed_at < now.saturating_sub(self.max_age) {
                let detail = format!(
                    "signed at {signed_at}, more than {:?} before {now}",
                    self.max_age
                );
                return Err(Self::expired(now, self.end_of_all(signed_at), detail));
            }
            if signed_at > now.saturating_add(self.max_skew) {
                return Err(Fault::new(
                    FaultKind::NotYetValid,
                    format!(
                        "signed at {signed_at}, more than {:?} ahead of {now}",
                        self.max_skew
                    ),
                ));
            }
        }
        let is_over = |end: &Timestamp| *end < now || self.ends_before_expiry && *end == now;
        if let Some(expires_at) = expires_at.filter(is_over) {
            let detail = format!("expired at {expires_at}, and it is {now}");
            let end_of_all = expires_at.saturating_add(self.margin);
            return Err(Self::expired(now, end_of_all, detail));
        }
        Ok(())
    }

    /// Returns until when a request is fresh, by its signed time and by its own word; `None` if
    /// nothing ends it.
    pub(crate) fn until(
        &self,
        signed_at: Option<Timestamp>,
        expires_at: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let too_old = signed_at.map(|signed_at| signed_at.saturating_add(self.max_age));
        too_old.into_iter().chain(expires_at).min()
    }

    /// Returns when a request with this signed time is too old for every server of the namespace.
    /// Other servers may have a longer window than this one.
    fn end_of_all(&self, signed_at: Timestamp) -> Timestamp {
        let longest = signed_at.saturating_add(self.longest_age + self.margin);
        let taken_until = self.taken_until.as_ref();
        taken_until
            .and_then(|taken_until| taken_until(signed_at))
            .map_or(longest, |end| longest.min(end))
    }

    /// The refusal of a request that is too old for this server: for good, once it is too old for
    /// every other server too.
    fn expired(now: Timestamp, end_of_all: Timestamp, detail: String) -> Fault {
        let expired = Fault::new(FaultKind::Expired, detail);
        if now > end_of_all {
            expired.since(end_of_all)
        } else {
            expired
        }
    }
}

impl fmt::Debug for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Freshness")
            .field("max_age", &self.max_age)
            .field("max_skew", &self.max_skew)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRESHNESS: Freshness = Freshness {
        ends_before_expiry: false,
        max_age: Duration::from_secs(300),
        max_skew: Duration::from_secs(5),
        margin: Duration::from_secs(7),
        longest_age: Duration::from_secs(300),
        taken_until: None,
    };

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn verdict(now: u64, signed: u64, expires: Option<u64>) -> Result<(), FaultKind> {
        FRESHNESS
            .check(at(now), Some(at(signed)), expires.map(at))
            .map_err(|fault| fault.kind())
    }

    #[test]
    fn both_edges_are_inside_and_a_millisecond_beyond_is_not() {
        let now = 1_000_000_000;
        assert_eq!(verdict(now, now - 300_000, None), Ok(()));
        assert_eq!(verdict(now, now - 300_001, None), Err(FaultKind::Expired));
        assert_eq!(verdict(now, now + 5_000, None), Ok(()));
        assert_eq!(verdict(now, now + 5_001, None), Err(FaultKind::NotYetValid));
        assert_eq!(verdict(now, now, Some(now)), Ok(()));
        assert_eq!(verdict(now, now, Some(now - 1)), Err(FaultKind::Expired));
    }

    #[test]
    fn what_ends_before_its_expiry_is_not_fresh_at_that_moment() {
        let until = Freshness {
            ends_before_expiry: true,
            ..FRESHNESS
        };
        let fresh = |now| until.check(at(now), None, Some(at(1000))).is_ok();
        assert_eq!([fresh(999), fresh(1000)], [true, false]);
    }

    #[test]
    fn a_refusal_is_for_good_once_it_is_stale_for_the_slowest_clock() {
        let since = |now: u64, signed: u64, expires: Option<u64>| {
            let checked = FRESHNESS.check(at(now), Some(at(signed)), expires.map(at));
            checked.unwrap_err().final_since()
        };
        let now = 1_000_000_000;
        assert_eq!(since(now, now - 300_001, None), None);
        assert_eq!(since(now, now - 307_000, None), None);
        assert_eq!(since(now, now - 307_001, None), Some(at(now - 1)));
        assert_eq!(since(now, now, Some(now - 7_000)), None);
        assert_eq!(since(now, now, Some(now - 7_001)), Some(at(now - 1)));
        // It becomes fresh when its time comes.
        assert_eq!(since(now, now + 5_001, None), None);
        assert_eq!(since(now, now + 5_001, Some(now - 10_000)), None);
    }

    /// Another server may have a longer window. Without a word about it, all that may be.
    #[test]
    fn a42_never_is_said_by_the_longest_window_and_not_by_ones_own() {
        let now = 10_000_000_000;
        let since = |freshness: &Freshness, age: u64| {
            let signed = now - age * 1000;
            let checked = freshness.check(at(now), Some(at(signed)), None);
            checked.unwrap_err().final_since()
        };
        let known = |seconds: u64| Freshness {
            taken_until: Some(Arc::new(move |signed_at: Timestamp| {
                Some(signed_at.saturating_add(Duration::from_secs(seconds)))
            })),
            ..Freshness::default()
        };
        let unknown = Freshness {
            taken_until: Some(Arc::new(|_| None)),
            ..FRESHNESS
        };
        let told = |seconds| Freshness {
            longest_age: Duration::from_secs(seconds),
            ..FRESHNESS
        };
        const DAY: u64 = 24 * 60 * 60;
        for (freshness, end) in [
            (Freshness::default(), DAY),
            (told(DAY), DAY + 7),
            (told(600), 607),
            (unknown, 307),
            (known(700), 700),
            (known(2 * DAY), DAY),
        ] {
            assert_eq!(since(&freshness, end), None, "{end}");
            let moment = at(now - 1000);
            assert_eq!(since(&freshness, end + 1), Some(moment), "{end}");
        }
    }

    proptest! {
        #[test]
        fn the_window_is_what_it_says(now in 0..10_000_000_u64, signed in 0..10_000_000_u64) {
            let fresh = signed + 300_000 >= now && signed <= now + 5_000;
            prop_assert_eq!(verdict(now, signed, None).is_ok(), fresh);
        }
    }
}
