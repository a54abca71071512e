//! The effect of each step on the record of a nonce: the rules, without a database.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    error::{StoreError, StoreErrorKind},
    once::{Claim, ClaimOutcome, History, LeaseOutcome, StepOutcome},
    store::batched::{Action, Answer},
};

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) deadline: Timestamp,
    pub(super) key: i64,
    /// The holder of the lease, or the consumer of the nonce.
    pub(super) attempt: Option<Vec<u8>>,
    /// The end of the lease; without one, the record is final.
    pub(super) lease_end: Option<Timestamp>,
}

/// The store's record of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// No record that was accepted since has been forgotten before its time.
    pub(super) since: Timestamp,
    /// No record that was dropped for its age had a deadline above this; it never falls.
    pub(super) watermark: Timestamp,
    /// The number of records of all keys.
    pub(super) records: u64,
    /// How many steps have changed a record; it never falls.
    pub(super) steps: u64,
}

/// The record of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Namespace {
    /// For how long its claims are remembered at least.
    pub(super) retention: Duration,
    /// When that was extended: what came before was remembered for less.
    pub(super) raised: Option<Timestamp>,
}

/// The counts of one key of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: i64,
    pub(super) records: u64,
    pub(super) steps: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) records: u64,
    pub(super) records_of_a_key: u64,
}

/// The data that a step reads and writes, under the database's lock.
#[derive(Debug)]
pub(super) struct State<'a> {
    pub(super) now: Timestamp,
    pub(super) limits: Limits,
    pub(super) whole: &'a mut Whole,
    pub(super) namespace: &'a mut Option<Namespace>,
    pub(super) key: &'a mut Key,
    pub(super) record: &'a mut Option<Record>,
    /// How many records the message has, where that counts.
    pub(super) of_message: &'a mut u64,
}

enum Found {
    Recorded,
    InFlight(Duration),
    /// There is no record, or it has expired.
    Nothing,
}

impl State<'_> {
    pub(super) fn step(&mut self, claim: &Claim, action: Action) -> Result<Answer, StoreError> {
        let before = self.record.clone();
        let answer = self.answer(claim, action);
        if *self.record != before {
            self.whole.steps += 1;
            self.key.steps += 1;
        }
        answer
    }

    fn answer(&mut self, claim: &Claim, action: Action) -> Result<Answer, StoreError> {
        Ok(match action {
            Action::Claim => Answer::Claimed(self.claim(claim, None)?),
            Action::Consume => {
                let attempt = claim.attempt().to_bytes().to_vec();
                Answer::Claimed(self.claim(claim, Some(attempt))?)
            }
            Action::Lease(duration) => Answer::Leased(self.lease(claim, duration)?),
            Action::Renew(duration) => Answer::Held(self.renew(claim, duration)),
            Action::Complete => Answer::Held(self.complete(claim)),
            Action::Release => Answer::Held(self.release(claim)),
        })
    }

    fn claim(
        &mut self,
        claim: &Claim,
        attempt: Option<Vec<u8>>,
    ) -> Result<ClaimOutcome, StoreError> {
        match self.look_up(claim)? {
            Found::Recorded | Found::InFlight(_) => Ok(ClaimOutcome::Replayed),
            Found::Nothing => self.put(claim, attempt, None).map(|()| ClaimOutcome::New),
        }
    }

    fn lease(&mut self, claim: &Claim, duration: Duration) -> Result<LeaseOutcome, StoreError> {
        match self.look_up(claim)? {
            Found::Recorded => Ok(LeaseOutcome::Completed),
            Found::InFlight(remaining) => Ok(LeaseOutcome::in_flight(remaining)),
            Found::Nothing => {
                let attempt = claim.attempt().to_bytes().to_vec();
                let end = self.now.saturating_add(duration);
                self.put(claim, Some(attempt), Some(end))
                    .map(|()| LeaseOutcome::Held)
            }
        }
    }

    fn renew(&mut self, claim: &Claim, duration: Duration) -> StepOutcome {
        let end = self.now.saturating_add(duration);
        match self.held_by(claim) {
            Some(record) => {
                record.lease_end = Some(end);
                StepOutcome::Done
            }
            None => StepOutcome::Lost,
        }
    }

    fn complete(&mut self, claim: &Claim) -> StepOutcome {
        let deadline = self.keep_until(claim);
        match self.held_by(claim) {
            Some(record) => {
                record.deadline = record.deadline.max(deadline);
                record.lease_end = None;
                record.attempt = None;
                StepOutcome::Done
            }
            None => StepOutcome::Lost,
        }
    }

    fn release(&mut self, claim: &Claim) -> StepOutcome {
        if self.held_by(claim).is_none() {
            return StepOutcome::Lost;
        }
        *self.record = None;
        *self.of_message = self.of_message.saturating_sub(1);
        self.whole.records = self.whole.records.saturating_sub(1);
        self.key.records = self.key.records.saturating_sub(1);
        StepOutcome::Done
    }

    /// The record, if the claim's attempt holds the lease on it or was the last to do so.
    fn held_by(&mut self, claim: &Claim) -> Option<&mut Record> {
        let attempt = claim.attempt().to_bytes();
        self.record.as_mut().filter(|record| {
            record.lease_end.is_some() && record.attempt.as_deref() == Some(&attempt)
        })
    }

    /// Finds out what is known of the nonce, and refuses it if it may have been forgotten.
    fn look_up(&mut self, claim: &Claim) -> Result<Found, StoreError> {
        let history = self.history(claim);
        let refused = |why| history.final_refusal(claim, why);
        history.takes(claim, self.now).map_err(refused)?;
        // The first claim of a namespace says for how long it is remembered.
        self.namespace.get_or_insert(Namespace {
            retention: claim.retention(),
            raised: None,
        });
        if let Some(record) = self.record {
            let found = match record.lease_end {
                Some(end) => {
                    (end > self.now).then(|| Found::InFlight(end.saturating_since(self.now)))
                }
                None => (record.deadline > self.now).then_some(Found::Recorded),
            };
            if let Some(found) = found {
                if claim.extends() {
                    let deadline = history.keep_until(claim, self.now);
                    record.deadline = record.deadline.max(deadline);
                }
                return Ok(found);
            }
        }
        history.vouches_for(claim).map_err(refused)?;
        Ok(Found::Nothing)
    }

    /// Returns what may have been forgotten of the claim's namespace.
    fn history(&self, claim: &Claim) -> History {
        let namespace = self.namespace.as_ref();
        History::since(self.whole.since)
            .dropped_up_to(self.whole.watermark)
            .raised_at(namespace.and_then(|n| n.raised).unwrap_or(Timestamp::EPOCH))
            .remembering(namespace.map_or(claim.retention(), |n| n.retention))
    }

    /// The deadline of the claim's record.
    fn keep_until(&self, claim: &Claim) -> Timestamp {
        self.history(claim).keep_until(claim, self.now)
    }

    /// Records the nonce, in the place of an expired record.
    fn put(
        &mut self,
        claim: &Claim,
        attempt: Option<Vec<u8>>,
        lease_end: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let deadline = self.keep_until(claim);
        let past = self.record.as_ref().map(|record| record.deadline);
        if past.is_none() {
            self.count(claim)?;
        }
        *self.record = Some(Record {
            deadline: past.map_or(deadline, |past| past.max(deadline)),
            key: self.key.id,
            attempt,
            lease_end,
        });
        Ok(())
    }

    fn count(&mut self, claim: &Claim) -> Result<(), StoreError> {
        const SECOND: Duration = Duration::from_secs(1);
        if claim
            .most_records()
            .is_some_and(|most| *self.of_message >= most as u64)
        {
            return Err(StoreError::too_many_places());
        }
        if self.whole.records >= self.limits.records {
            let full = StoreError::new(StoreErrorKind::Full, "the store is full");
            return Err(full.with_retry_after(SECOND));
        }
        if self.key.records >= self.limits.records_of_a_key {
            return Err(StoreError::over_quota(SECOND));
        }
        self.whole.records += 1;
        self.key.records += 1;
        *self.of_message += 1;
        Ok(())
    }
}
