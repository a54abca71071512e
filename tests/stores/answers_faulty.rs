//! The conformance suite of stores of answers, against stores of which each breaks one promise.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
    time::Duration,
};

use bytes::Bytes;
use countersign::{
    Clock, Timestamp,
    store::{
        AnswerClaim, AnswerOutcome, AnswerRecord, AnswerStore, AttemptId, Sharing, StepOutcome,
        StoreFuture,
    },
    testing::{
        ManualClock,
        conformance::{self, Time},
    },
};

use crate::answers::clock;

/// The faults of a store of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    ChecksAndThenSets,
    ClaimsTwiceForOneAttempt,
    CutsDigests,
    IgnoresContent,
    IgnoresContentOnceAnswered,
    KeepsAnswersAsText,
    Overwrites,
    ReleasesAnswers,
    DoesNotRelease,
    DoesNotFence,
    FreesWhatIsUnknown,
    NeverEndsALease,
    DoesNotRenew,
    RefusesLateAnswers,
    ResolvesWhatIsAtWork,
    NeverRunsAgain,
    RunsAllAgain,
    FindsAndClaims,
    KeepsForEver,
}

/// Every fault, and a check that must find it.
const FOUND: [(Fault, &str); 19] = [
    (
        Fault::ChecksAndThenSets,
        "of_claims_at_once_exactly_one_has_the_key",
    ),
    (
        Fault::ClaimsTwiceForOneAttempt,
        "the_first_claim_has_the_key_and_others_wait",
    ),
    (Fault::CutsDigests, "keys_are_apart"),
    (Fault::IgnoresContent, "other_content_is_told_apart"),
    (
        Fault::IgnoresContentOnceAnswered,
        "other_content_is_told_apart",
    ),
    (
        Fault::KeepsAnswersAsText,
        "an_answer_is_given_again_byte_by_byte",
    ),
    (Fault::Overwrites, "an_answer_is_final"),
    (Fault::ReleasesAnswers, "an_answer_is_final"),
    (Fault::DoesNotRelease, "a_released_key_is_free"),
    (Fault::DoesNotFence, "an_old_holder_changes_nothing"),
    (
        Fault::FreesWhatIsUnknown,
        "a_lease_that_has_expired_is_unknown",
    ),
    (
        Fault::NeverEndsALease,
        "a_lease_that_has_expired_is_unknown",
    ),
    (Fault::DoesNotRenew, "a_renewed_lease_goes_on"),
    (
        Fault::RefusesLateAnswers,
        "an_answer_counts_after_its_lease",
    ),
    (
        Fault::ResolvesWhatIsAtWork,
        "only_what_is_unknown_is_resolved",
    ),
    (
        Fault::NeverRunsAgain,
        "only_a_claim_that_may_run_again_takes_over",
    ),
    (
        Fault::RunsAllAgain,
        "of_claims_that_may_run_again_one_takes_over",
    ),
    (Fault::FindsAndClaims, "finding_claims_nothing"),
    (Fault::KeepsForEver, "a_record_ends_with_its_retention"),
];

type Records = HashMap<[u8; 32], (AnswerRecord, AttemptId)>;

/// A plain store with one fault.
pub(crate) struct Faulty {
    fault: Fault,
    clock: ManualClock,
    records: Mutex<Records>,
}

impl Faulty {
    #[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
    pub(crate) fn new(fault: Fault) -> Self {
        Self {
            fault,
            clock: clock(),
            records: Mutex::default(),
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn digest(&self, claim: &AnswerClaim) -> [u8; 32] {
        let mut digest = *claim.digest();
        if self.is(Fault::CutsDigests) {
            digest[16..].fill(0);
        }
        digest
    }

    fn judge(&self, claim: &AnswerClaim, records: &Records) -> Option<AnswerOutcome> {
        let (record, attempt) = records.get(&self.digest(claim))?;
        let now = self.clock.now();
        let mut record = record.clone();
        if self.is(Fault::KeepsForEver) {
            record.deadline = Timestamp::MAX;
        }
        let ignores = self.is(Fault::IgnoresContent)
            || self.is(Fault::IgnoresContentOnceAnswered) && record.answer.is_some();
        if ignores {
            record.fingerprint = *claim.fingerprint();
        }
        if self.is(Fault::NeverEndsALease) {
            record.lease_end = now.saturating_add(Duration::from_secs(1));
        }
        if self.is(Fault::ClaimsTwiceForOneAttempt) && *attempt == claim.attempt() {
            return None;
        }
        let is_open = record.answer.is_none() && record.lease_end <= now;
        match record.judge(claim, now) {
            Some(AnswerOutcome::Unknown) if self.is(Fault::FreesWhatIsUnknown) => None,
            None if self.is(Fault::NeverRunsAgain) && is_open && now < record.deadline => {
                Some(AnswerOutcome::Unknown)
            }
            Some(AnswerOutcome::InFlight { .. })
                if self.is(Fault::RunsAllAgain) && claim.runs_again() =>
            {
                None
            }
            outcome => outcome,
        }
    }

    fn set(&self, claim: &AnswerClaim, records: &mut Records) -> AnswerOutcome {
        let now = self.clock.now();
        let record = AnswerRecord::new(
            *claim.fingerprint(),
            now.saturating_add(claim.retention()),
            now.saturating_add(claim.lease()),
        );
        records.insert(self.digest(claim), (record, claim.attempt()));
        AnswerOutcome::Claimed
    }

    fn change(
        &self,
        claim: &AnswerClaim,
        is_any_attempt: bool,
        change: impl FnOnce(&mut Records, [u8; 32]),
    ) -> StoreFuture<'_, StepOutcome> {
        let mut records = self.records.lock().unwrap();
        let digest = self.digest(claim);
        let may = records.get(&digest).is_some_and(|(record, attempt)| {
            let is_own = is_any_attempt || self.is(Fault::DoesNotFence);
            is_own || *attempt == claim.attempt() && record.deadline > self.clock.now()
        });
        if may {
            change(&mut records, digest);
        }
        StoreFuture::ready(Ok(if may {
            StepOutcome::Done
        } else {
            StepOutcome::Lost
        }))
    }

    fn is_answered(&self, claim: &AnswerClaim) -> bool {
        let records = self.records.lock().unwrap();
        let record = records.get(&self.digest(claim));
        record.is_some_and(|(record, _)| record.answer.is_some())
    }

    fn is_expired(&self, claim: &AnswerClaim) -> bool {
        let records = self.records.lock().unwrap();
        let record = records.get(&self.digest(claim));
        record.is_some_and(|(record, _)| record.lease_end <= self.clock.now())
    }

    fn lost(&self) -> StoreFuture<'_, StepOutcome> {
        StoreFuture::ready(Ok(StepOutcome::Lost))
    }

    fn keep(&self, answer: &Bytes) -> Bytes {
        if self.is(Fault::KeepsAnswersAsText) {
            return String::from_utf8_lossy(answer).into_owned().into();
        }
        answer.clone()
    }
}

impl AnswerStore for Faulty {
    fn sharing(&self) -> Sharing {
        Sharing::within_process(self)
    }

    fn claim<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, AnswerOutcome> {
        if self.is(Fault::ChecksAndThenSets) {
            return StoreFuture::new(async move {
                let found = self.judge(claim, &self.records.lock().unwrap());
                tokio::task::yield_now().await;
                Ok(found.unwrap_or_else(|| self.set(claim, &mut self.records.lock().unwrap())))
            });
        }
        let mut records = self.records.lock().unwrap();
        let found = self.judge(claim, &records);
        StoreFuture::ready(Ok(found.unwrap_or_else(|| self.set(claim, &mut records))))
    }

    fn find<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, Option<AnswerOutcome>> {
        let mut records = self.records.lock().unwrap();
        let found = self.judge(claim, &records);
        if found.is_none() && self.is(Fault::FindsAndClaims) {
            self.set(claim, &mut records);
        }
        StoreFuture::ready(Ok(found))
    }

    fn renew<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        lease: Duration,
    ) -> StoreFuture<'a, StepOutcome> {
        if self.is_answered(claim) {
            return self.lost();
        }
        let end = self.clock.now().saturating_add(lease);
        self.change(claim, false, |records, digest| {
            if !self.is(Fault::DoesNotRenew) || lease.is_zero() {
                records.get_mut(&digest).unwrap().0.lease_end = end;
            }
        })
    }

    fn record<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
    ) -> StoreFuture<'a, StepOutcome> {
        let refused = self.is_answered(claim) && !self.is(Fault::Overwrites)
            || self.is_expired(claim) && self.is(Fault::RefusesLateAnswers);
        if refused {
            return self.lost();
        }
        self.change(claim, false, |records, digest| {
            records.get_mut(&digest).unwrap().0.answer = Some(self.keep(answer));
        })
    }

    fn release<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, StepOutcome> {
        if self.is_answered(claim) && !self.is(Fault::ReleasesAnswers) {
            return self.lost();
        }
        self.change(claim, false, |records, digest| {
            if !self.is(Fault::DoesNotRelease) {
                records.remove(&digest);
            }
        })
    }

    fn resolve<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
    ) -> StoreFuture<'a, StepOutcome> {
        let is_unknown = self.is_expired(claim) || self.is(Fault::ResolvesWhatIsAtWork);
        if self.is_answered(claim) || !is_unknown {
            return self.lost();
        }
        self.change(claim, true, |records, digest| {
            records.get_mut(&digest).unwrap().0.answer = Some(self.keep(answer));
        })
    }
}

async fn broken_by(fault: Fault) -> BTreeSet<&'static str> {
    let clock = clock();
    let open = async || Faulty {
        fault,
        clock: clock.clone(),
        records: Mutex::default(),
    };
    let time = Time::manual(clock.clone());
    match conformance::run_answers(&time, open).await {
        Ok(()) => BTreeSet::new(),
        Err(broken) => broken.checks().collect(),
    }
}

#[tokio::test]
async fn every_broken_promise_of_a_store_of_answers_is_found() {
    assert_eq!(broken_by(Fault::None).await, BTreeSet::new());
    let mut needed = BTreeSet::new();
    for (fault, check) in FOUND {
        let broken = broken_by(fault).await;
        assert!(broken.contains(check), "{fault:?}: {broken:?}");
        needed.insert(check);
    }
    let all: BTreeSet<_> = conformance::ANSWER_CHECKS.iter().copied().collect();
    assert_eq!(needed, all, "each check is needed for a fault");
}
