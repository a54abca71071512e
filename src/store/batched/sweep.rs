//! The task that drops what has expired, for as long as its store lives, and never gives up.

use std::{error::Error, time::Duration};

use crate::error::StoreError;

/// The pause after the first failure; it doubles with each one that follows.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MOST_BACKOFF: Duration = Duration::from_secs(60);

/// A store whose expired records are dropped, a few in each step.
pub(in crate::store) trait Sweep: Send {
    /// Lets this time pass. Returns `false` once the store is gone.
    fn rest(&mut self, pause: Duration) -> impl Future<Output = bool> + Send;

    /// Drops some of what has expired, and returns the pause before the next step.
    fn step(&mut self) -> impl Future<Output = Result<Duration, StoreError>> + Send;
}

/// Drops on until the store is gone, for the first time after this pause.
pub(in crate::store) async fn sweep(store: &mut impl Sweep, first: Duration) {
    let mut pace = Pace::default();
    let mut pause = first;
    while store.rest(pause).await {
        pause = pace.pause(store.step().await);
    }
}

/// When the next step is due, and later after each failure.
#[derive(Debug, Default)]
struct Pace {
    failures: u32,
}

impl Pace {
    /// Returns the pause before the next step: the one that a step asked for, or a longer and
    /// longer one while steps fail.
    fn pause(&mut self, swept: Result<Duration, StoreError>) -> Duration {
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
