//! One shard: every step on a nonce, and the sweep, under the shard's lock.

use std::{sync::PoisonError, time::Duration};

use super::{
    budget::{Budget, OverCap},
    lease::Leases,
    quota::Quota,
    sync::{Mutex, MutexGuard},
    table::{NoSlot, Record, Table},
    time::{Base, Second},
};
use crate::{
    clock::Timestamp,
    error::{StoreError, StoreErrorKind},
    once::{Claim, ClaimOutcome, Forgotten, History, LeaseOutcome, StepOutcome},
};

/// The state that the shards share.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) budget: Budget,
    pub(super) quota: Quota,
    /// The greatest number of slots of one shard.
    pub(super) max_slots: usize,
}

/// The inputs of a step.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) claim: &'a Claim,
    /// The hash of the claim's namespace and key, which quotas go by.
    pub(super) owner: u64,
    pub(super) fingerprint: u64,
    /// When its record ends, which lasts for as long as its namespace remembers.
    pub(super) keep_until: Second,
    pub(super) clock: Timestamp,
    pub(super) now: Second,
    pub(super) base: Base,
    /// The watermark of the store; each shard drops records for itself.
    pub(super) history: &'a History,
    pub(super) limits: &'a Limits,
}

#[derive(Debug)]
#[repr(C)]
pub(super) struct Shard {
    /// No record that was dropped for its age had a deadline above this; it never falls.
    watermark: Second,
    /// No record has a deadline below this.
    earliest: Second,
    table: Table,
    leases: Leases,
}

enum Found {
    Recorded,
    InFlight(Duration),
    Unknown,
    /// Its record, or its lease, has expired.
    Past,
}

impl Shard {
    pub(super) fn new() -> Self {
        Self {
            table: Table::default(),
            leases: Leases::new(),
            watermark: Second::ZERO,
            earliest: Second::LAST,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn leases(&self) -> usize {
        self.leases.len()
    }

    pub(super) fn claim(&mut self, step: &Step<'_>) -> Result<ClaimOutcome, StoreError> {
        match self.look_up(step)? {
            Found::Recorded | Found::InFlight(_) => Ok(ClaimOutcome::Replayed),
            Found::Unknown => self.add(step, false).map(|()| ClaimOutcome::New),
            Found::Past => {
                self.renew_record(step, false);
                self.leases.remove(step.fingerprint, &step.limits.budget);
                Ok(ClaimOutcome::New)
            }
        }
    }

    pub(super) fn lease(
        &mut self,
        step: &Step<'_>,
        duration: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        match self.look_up(step)? {
            Found::Recorded => Ok(LeaseOutcome::Completed),
            Found::InFlight(remaining) => Ok(LeaseOutcome::in_flight(remaining)),
            found => {
                self.hold(step, duration).map_err(|_| self.full(step.now))?;
                // A sweep for the sake of room may have dropped expired records.
                if matches!(found, Found::Past) && self.table.find(step.fingerprint).is_some() {
                    self.renew_record(step, true);
                } else {
                    self.add(step, true).inspect_err(|_| {
                        self.leases.remove(step.fingerprint, &step.limits.budget);
                    })?;
                }
                Ok(LeaseOutcome::Held)
            }
        }
    }

    pub(super) fn renew(&mut self, step: &Step<'_>, duration: Duration) -> StepOutcome {
        held(
            self.leases
                .renew(step.fingerprint, step.claim.attempt(), duration),
        )
    }

    pub(super) fn complete(&mut self, step: &Step<'_>) -> StepOutcome {
        let done = self.end_lease(step);
        if done && let Some(record) = self.table.find(step.fingerprint) {
            record.extend(step.keep_until);
            record.complete();
            self.earliest = self.earliest.min(record.deadline());
        }
        held(done)
    }

    pub(super) fn release(&mut self, step: &Step<'_>) -> StepOutcome {
        let done = self.end_lease(step);
        if done && let Some(record) = self.table.remove(step.fingerprint) {
            step.limits.quota.give_back(record.place());
        }
        held(done)
    }

    /// Returns whether a sweep would find something to drop.
    pub(super) fn is_due(&self, now: Second) -> bool {
        self.earliest <= now || self.leases.any_ended()
    }

    /// Drops the records whose deadline has passed, and the leases that have ended. A lease in
    /// flight stays, whatever its deadline: its holder has yet to say how it went.
    pub(super) fn sweep(&mut self, now: Second, limits: &Limits) {
        let Self {
            table,
            leases,
            watermark,
            earliest,
        } = self;
        leases.drop_ended(&limits.budget);
        *earliest = Second::LAST;
        table.retain(|record| {
            let keep = if record.is_leased() {
                leases.contains(record.fingerprint())
            } else if record.deadline() > now {
                *earliest = record.deadline().min(*earliest);
                true
            } else {
                *watermark = record.deadline().max(*watermark);
                false
            };
            if !keep {
                limits.quota.give_back(record.place());
            }
            keep
        });
        self.shrink(limits);
    }

    /// Finds out what is known of the nonce, and refuses it if it may have been forgotten.
    fn look_up(&mut self, step: &Step<'_>) -> Result<Found, StoreError> {
        let refused = |why| step.history.final_refusal(step.claim, why);
        step.history
            .takes(step.claim, step.clock)
            .map_err(refused)?;
        // At the end of the store's seconds, the clock may say otherwise.
        if step.keep_until <= step.now {
            return Err(refused(Forgotten::Past));
        }
        let mut is_past = false;
        if let Some(record) = self.table.find(step.fingerprint) {
            let found = if record.is_leased() {
                self.leases.remaining(step.fingerprint).map(Found::InFlight)
            } else if record.deadline() > step.now {
                Some(Found::Recorded)
            } else {
                self.watermark = self.watermark.max(record.deadline());
                None
            };
            if let Some(found) = found {
                if step.claim.extends() {
                    record.extend(step.keep_until);
                }
                return Ok(found);
            }
            is_past = true;
        }
        step.history
            .dropped_up_to(step.base.moment(self.watermark))
            .vouches_for(step.claim)
            .map_err(refused)?;
        Ok(if is_past { Found::Past } else { Found::Unknown })
    }

    /// Records a nonce in the place of an earlier record of it.
    fn renew_record(&mut self, step: &Step<'_>, leased: bool) {
        if let Some(record) = self.table.find(step.fingerprint) {
            *record = Record::new(step.fingerprint, step.keep_until, record.place(), leased);
            self.earliest = self.earliest.min(step.keep_until);
        }
    }

    /// Records a nonce of which there is no record.
    fn add(&mut self, step: &Step<'_>, leased: bool) -> Result<(), StoreError> {
        let limits = step.limits;
        let of_message = || self.table.count_of_message(step.fingerprint);
        if step
            .claim
            .most_records()
            .is_some_and(|most| of_message() >= most)
        {
            return Err(StoreError::too_many_places());
        }
        let place = limits.quota.take(step.owner);
        let place = place.map_err(|_| StoreError::over_quota(self.until_earliest(step.now)))?;
        let record = Record::new(step.fingerprint, step.keep_until, place, leased);
        self.insert(record, step.now, limits).map_err(|_| {
            limits.quota.give_back(place);
            self.full(step.now)
        })?;
        self.earliest = self.earliest.min(step.keep_until);
        Ok(())
    }

    fn hold(&mut self, step: &Step<'_>, duration: Duration) -> Result<(), OverCap> {
        let (fingerprint, attempt) = (step.fingerprint, step.claim.attempt());
        let budget = &step.limits.budget;
        let held = self.leases.hold(fingerprint, attempt, duration, budget);
        if held.is_err() && self.leases.any_ended() {
            self.sweep(step.now, step.limits);
            return self.leases.hold(fingerprint, attempt, duration, budget);
        }
        held
    }

    fn insert(&mut self, record: Record, now: Second, limits: &Limits) -> Result<(), NoSlot> {
        if self.table.insert(record).is_ok() {
            return Ok(());
        }
        if self.is_due(now) {
            self.sweep(now, limits);
            if self.table.insert(record).is_ok() {
                return Ok(());
            }
        }
        let mut slots = self.table.slots();
        while slots < limits.max_slots {
            slots = (slots + (slots / 5).max(Table::MIN_SLOTS)).min(limits.max_slots);
            if self.resize(slots, limits).is_ok() && self.table.insert(record).is_ok() {
                return Ok(());
            }
        }
        Err(NoSlot)
    }

    fn shrink(&mut self, limits: &Limits) {
        let (len, slots) = (self.table.len(), self.table.slots());
        let wanted = if len == 0 {
            0
        } else {
            (len + len / 2).max(Table::MIN_SLOTS)
        };
        if wanted < slots / 2 {
            // A table that would not fit, in slots or in the cap while both exist, stays as it is.
            let _ = self.resize(wanted, limits);
        }
    }

    fn resize(&mut self, slots: usize, limits: &Limits) -> Result<(), NoSlot> {
        let (new, old) = (Table::bytes(slots), Table::bytes(self.table.slots()));
        limits.budget.take(new).map_err(|_| NoSlot)?;
        match self.table.resized(slots) {
            Ok(table) => {
                self.table = table;
                limits.budget.give_back(old);
                Ok(())
            }
            Err(error) => {
                limits.budget.give_back(new);
                Err(error)
            }
        }
    }

    fn end_lease(&mut self, step: &Step<'_>) -> bool {
        self.leases
            .take(step.fingerprint, step.claim.attempt(), &step.limits.budget)
    }

    fn full(&self, now: Second) -> StoreError {
        StoreError::new(StoreErrorKind::Full, "the store is full")
            .with_retry_after(self.until_earliest(now))
    }

    /// Returns when there is room again; a second, where nothing in this shard will make any.
    fn until_earliest(&self, now: Second) -> Duration {
        let wait = match self.earliest {
            Second::LAST => 0,
            earliest => earliest.0.saturating_sub(now.0),
        };
        Duration::from_secs(u64::from(wait).max(1))
    }
}

fn held(done: bool) -> StepOutcome {
    if done {
        StepOutcome::Done
    } else {
        StepOutcome::Lost
    }
}

/// A cache line of its own, so that threads at two shards do not wait for each other.
#[repr(align(64))]
pub(super) struct Padded(pub(super) Mutex<Shard>);

/// A step leaves no shard half done: it calls nothing that panics once it has begun to change it.
/// A clock that panics leaves whole data behind.
pub(super) fn lock(shard: &Padded) -> MutexGuard<'_, Shard> {
    shard.0.lock().unwrap_or_else(PoisonError::into_inner)
}
