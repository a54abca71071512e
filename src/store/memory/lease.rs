//! The leases of one shard that are in flight: who holds each, and until when.

use std::time::Duration;

use tokio::time::Instant;

use super::budget::{Budget, OverCap};
use crate::once::AttemptId;

/// Leases end by the monotonic clock: a step of the wall clock neither ends nor prolongs one.
#[derive(Debug)]
struct Lease {
    fingerprint: u64,
    attempt: AttemptId,
    end: Instant,
}

/// The leases of running handlers. They are few at any time, so they are searched one by one.
#[derive(Debug)]
pub(super) struct Leases(Vec<Lease>);

impl Leases {
    /// The greatest number of leases in one shard.
    const MAX: usize = 1024;

    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes `attempt` the holder for `duration`.
    pub(super) fn hold(
        &mut self,
        fingerprint: u64,
        attempt: AttemptId,
        duration: Duration,
        budget: &Budget,
    ) -> Result<(), OverCap> {
        let lease = Lease {
            fingerprint,
            attempt,
            end: end(duration),
        };
        if let Some(held) = self
            .0
            .iter_mut()
            .find(|lease| lease.fingerprint == fingerprint)
        {
            *held = lease;
            return Ok(());
        }
        if self.0.len() == self.0.capacity() {
            self.resize((self.0.len() * 2).clamp(4, Self::MAX), budget)?;
        }
        self.0.push(lease);
        Ok(())
    }

    /// The time left to the present holder; `None` if the lease has ended.
    pub(super) fn remaining(&self, fingerprint: u64) -> Option<Duration> {
        let lease = self
            .0
            .iter()
            .find(|lease| lease.fingerprint == fingerprint)?;
        let remaining = lease.end.saturating_duration_since(Instant::now());
        (!remaining.is_zero()).then_some(remaining)
    }

    /// Makes the lease end `duration` from now, if `attempt` holds it or was the last to do so.
    pub(super) fn renew(
        &mut self,
        fingerprint: u64,
        attempt: AttemptId,
        duration: Duration,
    ) -> bool {
        let Some(at) = self.position(fingerprint, attempt) else {
            return false;
        };
        if let Some(lease) = self.0.get_mut(at) {
            lease.end = end(duration);
        }
        true
    }

    /// Takes the lease away from `attempt`, if it holds it or was the last to do so.
    pub(super) fn take(&mut self, fingerprint: u64, attempt: AttemptId, budget: &Budget) -> bool {
        let Some(at) = self.position(fingerprint, attempt) else {
            return false;
        };
        self.0.swap_remove(at);
        self.free_unused(budget);
        true
    }

    /// Removes the lease, whoever holds it.
    pub(super) fn remove(&mut self, fingerprint: u64, budget: &Budget) {
        if !self.is_empty() {
            self.0.retain(|lease| lease.fingerprint != fingerprint);
            self.free_unused(budget);
        }
    }

    pub(super) fn any_ended(&self) -> bool {
        !self.is_empty() && {
            let now = Instant::now();
            self.0.iter().any(|lease| lease.end <= now)
        }
    }

    /// Drops the leases that have ended.
    pub(super) fn drop_ended(&mut self, budget: &Budget) {
        if !self.is_empty() {
            let now = Instant::now();
            self.0.retain(|lease| lease.end > now);
            self.free_unused(budget);
        }
    }

    pub(super) fn contains(&self, fingerprint: u64) -> bool {
        self.0.iter().any(|lease| lease.fingerprint == fingerprint)
    }

    fn position(&self, fingerprint: u64, attempt: AttemptId) -> Option<usize> {
        self.0
            .iter()
            .position(|l| l.fingerprint == fingerprint && l.attempt == attempt)
    }

    fn resize(&mut self, capacity: usize, budget: &Budget) -> Result<(), OverCap> {
        if capacity <= self.0.len() {
            return Err(OverCap);
        }
        budget.take(capacity * size_of::<Lease>())?;
        let freed = self.0.capacity() * size_of::<Lease>();
        let mut new = Vec::with_capacity(capacity);
        new.append(&mut self.0);
        self.0 = new;
        budget.give_back(freed);
        Ok(())
    }

    fn free_unused(&mut self, budget: &Budget) {
        if self.is_empty() {
            let freed = self.0.capacity() * size_of::<Lease>();
            self.0 = Vec::new();
            budget.give_back(freed);
        }
    }
}

fn end(duration: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(366 * 86_400);
    Instant::now() + duration.min(YEAR)
}
