//! The pace of a sweep: when the next step is due, and later after each failure.

use std::{error::Error, time::Duration};

use crate::error::StoreError;

/// The pause after the first failure; it doubles with each one that follows.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MOST_BACKOFF: Duration = Duration::from_secs(60);

/// The pace of one task that drops what has expired, and never gives up.
#[derive(Debug, Default)]
pub(in crate::store) struct Pace {
    failures: u32,
}

impl Pace {
    /// Returns the pause before the next step: the one that a step asked for, or a longer and
    /// longer one while steps fail.
    pub(in crate::store) fn pause(&mut self, swept: Result<Duration, StoreError>) -> Duration {
        match swept {
            Ok(pause) => {
                self.failures = 0;
                pause
            }
            Err(error) => {
                let backoff = FIRST_BACKOFF * 2u32.saturating_pow(self.failures);
                let pause = backoff.min(MOST_BACKOFF);
                self.failures = (self.failures + 1).min(6);
                tracing::warn!(
                    error = &error as &dyn Error,
                    "expired nonces were not dropped; trying again in {pause:?}"
                );
                pause
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_begin_again_after_a_success() {
        let mut pace = Pace::default();
        let failed = || Err(StoreError::unavailable("a test"));
        let pauses: Vec<_> = (0..9).map(|_| pace.pause(failed()).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pace.pause(Ok(Duration::ZERO)), Duration::ZERO);
        assert_eq!(pace.pause(failed()), FIRST_BACKOFF);
    }
}
