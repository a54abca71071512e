//! The time that a store goes by, and how a check ends.

use std::time::Duration;

use crate::{
    clock::{Clock as _, SystemClock, Timestamp},
    testing::ManualClock,
};

/// The time that a store goes by.
#[derive(Clone, Debug)]
pub struct Time(pub(super) Option<ManualClock>);

impl Time {
    /// Says that the store uses the clock of the host, or of a server within a second of it. The
    /// checks wait for time to pass, and take about 20 seconds.
    #[must_use]
    pub fn real() -> Self {
        Self(None)
    }

    /// Says that the store uses this clock. Its leases may use another clock.
    #[must_use]
    pub fn manual(clock: ManualClock) -> Self {
        Self(Some(clock))
    }

    pub(super) fn now(&self) -> Timestamp {
        match &self.0 {
            Some(clock) => clock.now(),
            None => SystemClock.now(),
        }
    }

    pub(super) async fn pass(&self, time: Duration) {
        match &self.0 {
            Some(clock) => clock.advance(time),
            None => tokio::time::sleep(time).await,
        }
    }

    /// Passes until the store's clock shows a later moment, for certain.
    pub(super) async fn pass_beyond(&self, moment: Timestamp) {
        let left = moment.saturating_since(self.now());
        self.pass(left + 2 * SECOND).await;
    }

    /// Passes for leases too, where these go by a clock of their own.
    pub(super) async fn pass_for_leases(&self, time: Duration) {
        if let Some(clock) = &self.0 {
            clock.advance(time);
        }
        tokio::time::sleep(time).await;
    }
}

/// Why a check failed.
pub(super) type Check = Result<(), String>;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
