//! Bounds on how much is sent, how fast, and for how long.

use std::time::{Duration, Instant};

/// Why a probe ends before all is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// --max-requests were sent.
    Requests,
    /// --max-time is over.
    Time,
    /// Nothing is answered any more.
    Gone,
    /// Ctrl-C was pressed.
    Asked,
    /// Something of the probe itself failed.
    Failed(String),
}

impl Stop {
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Requests => "--max-requests were sent".to_owned(),
            Self::Time => "--max-time was over".to_owned(),
            Self::Gone => "the endpoint answers valid requests no longer".to_owned(),
            Self::Asked => "it was interrupted".to_owned(),
            Self::Failed(why) => why.clone(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Budget {
    left: u32,
    pub(crate) ends: Instant,
    rate: u32,
    /// When the next request may leave.
    next: Instant,
    pub(crate) sent: u64,
}

impl Budget {
    pub(crate) fn new(requests: u32, time: Duration, rate: u32) -> Self {
        let started = Instant::now();
        Self {
            left: requests,
            ends: started + time,
            rate: rate.max(1),
            next: started,
            sent: 0,
        }
    }

    /// Waits until this many requests may leave.
    pub(crate) async fn take(&mut self, count: usize) -> Result<(), Stop> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.left = self.left.checked_sub(count).ok_or(Stop::Requests)?;
        self.sent += u64::from(count);
        let now = Instant::now();
        let at = self.next.max(now);
        if at > self.ends {
            return Err(Stop::Time);
        }
        self.next = at + Duration::from_secs(1) * count / self.rate;
        if at > now {
            tokio::time::sleep(at - now).await;
        }
        Ok(())
    }

    /// Waits until the next request may leave, so that what is signed then need not wait.
    pub(crate) async fn ready(&self) {
        tokio::time::sleep_until(self.next.min(self.ends).into()).await;
    }

    /// Returns how long may still be waited.
    pub(crate) fn time_left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::block_on;

    #[test]
    fn requests_and_time_end_and_a_rate_is_kept() {
        block_on(async {
            let mut budget = Budget::new(3, Duration::from_secs(60), 1000);
            assert_eq!(budget.take(2).await, Ok(()));
            assert_eq!(budget.take(2).await, Err(Stop::Requests));
            let mut budget = Budget::new(3, Duration::ZERO, 1000);
            tokio::time::sleep(Duration::from_millis(2)).await;
            assert_eq!(budget.take(1).await, Err(Stop::Time));
            let started = Instant::now();
            let mut budget = Budget::new(300, Duration::from_secs(60), 1000);
            budget.take(50).await.unwrap();
            budget.take(1).await.unwrap();
            assert!(started.elapsed() >= Duration::from_millis(50));
        })
        .unwrap();
    }
}
