//! Freshness: how old a signed time may be, and how far ahead.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    error::ConfigError,
    rejection::{Rejection, RejectionKind},
};

/// A request is fresh while `now - max_age <= signed time <= now + max_skew`, and until it expires.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    pub(crate) max_age: Duration,
    pub(crate) max_skew: Duration,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(300),
            max_skew: Duration::from_secs(5),
        }
    }
}

impl Freshness {
    pub(crate) fn check_ranges(&self) -> Result<(), ConfigError> {
        const SECOND: Duration = Duration::from_secs(1);
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        ConfigError::unless(
            (SECOND..=DAY).contains(&self.max_age),
            "`max_age` is between 1 second and 1 day",
        )?;
        ConfigError::unless(
            self.max_skew <= self.max_age,
            "`max_skew` is at most `max_age`",
        )
    }

    pub(crate) fn check(
        &self,
        now: Timestamp,
        signed_at: Option<Timestamp>,
        expires_at: Option<Timestamp>,
    ) -> Result<(), Rejection> {
        if let Some(signed_at) = signed_at {
            if signed_at < now.minus(self.max_age) {
                return Err(Rejection::new(
                    RejectionKind::SignatureExpired,
                    format!(
                        "signed at {signed_at}, more than {:?} before {now}",
                        self.max_age
                    ),
                ));
            }
            if signed_at > now.plus(self.max_skew) {
                return Err(Rejection::new(
                    RejectionKind::SignatureNotYetValid,
                    format!(
                        "signed at {signed_at}, more than {:?} ahead of {now}",
                        self.max_skew
                    ),
                ));
            }
        }
        if let Some(expires_at) = expires_at.filter(|expires_at| *expires_at < now) {
            return Err(Rejection::new(
                RejectionKind::SignatureExpired,
                format!("expired at {expires_at}, before {now}"),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRESHNESS: Freshness = Freshness {
        max_age: Duration::from_secs(300),
        max_skew: Duration::from_secs(5),
    };

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn verdict(now: u64, signed: u64, expires: Option<u64>) -> Result<(), RejectionKind> {
        FRESHNESS
            .check(at(now), Some(at(signed)), expires.map(at))
            .map_err(|rejection| rejection.kind())
    }

    #[test]
    fn both_edges_are_inside_and_a_millisecond_beyond_is_not() {
        let now = 1_000_000_000;
        assert_eq!(verdict(now, now - 300_000, None), Ok(()));
        assert_eq!(
            verdict(now, now - 300_001, None),
            Err(RejectionKind::SignatureExpired)
        );
        assert_eq!(verdict(now, now + 5_000, None), Ok(()));
        assert_eq!(
            verdict(now, now + 5_001, None),
            Err(RejectionKind::SignatureNotYetValid)
        );
        assert_eq!(verdict(now, now, Some(now)), Ok(()));
        assert_eq!(
            verdict(now, now, Some(now - 1)),
            Err(RejectionKind::SignatureExpired)
        );
    }

    proptest! {
        #[test]
        fn the_window_is_what_it_says(now in 0..10_000_000_u64, signed in 0..10_000_000_u64) {
            let fresh = signed + 300_000 >= now && signed <= now + 5_000;
            prop_assert_eq!(verdict(now, signed, None).is_ok(), fresh);
        }
    }
}
