//! Every store under the conformance suite; and the suite against stores of which each breaks one
//! promise.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard},
    thread,
    time::Duration,
};

use countersign::{
    Clock, MemoryStore, Timestamp,
    error::{StoreError, StoreErrorKind},
    store::{
        AttemptId, Claim, ClaimOutcome, LeaseOutcome, LeaseStore, NonceKind, NonceStore,
        StepOutcome, StoreFuture,
    },
    testing::{
        ManualClock,
        conformance::{self, Broken, Time},
    },
};

use crate::common::log;

fn clock() -> ManualClock {
    log::listen();
    ManualClock::at(Timestamp::from_secs(1_700_000_000).unwrap())
}

/// Copies meet on threads of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_store_keeps_every_promise() {
    let clock = clock();
    let store = async || MemoryStore::builder().clock(clock.clone()).build().unwrap();
    let kept = conformance::run(&Time::manual(clock.clone()), store).await;
    kept.unwrap();
}

#[tokio::test]
async fn the_memory_store_keeps_every_promise_in_real_time() {
    let kept = conformance::run(&Time::real(), async || MemoryStore::new()).await;
    kept.unwrap();
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use countersign::store::SqliteStore;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_sqlite_store_keeps_every_promise() {
        let folder = tempfile::tempdir().unwrap();
        let clock = clock();
        let open = async || {
            let patient = SqliteStore::builder().timeout(Duration::from_secs(20));
            let builder = patient.clock(clock.clone());
            builder.open(folder.path().join("nonces.db")).await.unwrap()
        };
        let kept = conformance::run(&Time::manual(clock.clone()), open).await;
        kept.unwrap();
    }

    /// On one thread, where nothing runs beside the checks but what they wait for.
    #[tokio::test]
    async fn the_sqlite_store_keeps_every_promise_in_real_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nonces.db");
        let open = async || {
            let patient = SqliteStore::builder().timeout(Duration::from_secs(20));
            patient.open(&path).await.unwrap()
        };
        conformance::run(&Time::real(), open).await.unwrap();
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use countersign::store::PostgresStore;

    use super::*;
    use crate::common::database;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_postgres_store_keeps_every_promise() {
        let Some((pool, _)) = database::pool_and_schema("conformance").await else {
            return;
        };
        let options = (*pool.connect_options()).clone();
        let patient = PostgresStore::builder().timeout(Duration::from_secs(20));
        let open = async || patient.clone().open(options.clone()).await.unwrap();
        conformance::run(&Time::real(), open).await.unwrap();
    }
}

/// The faults of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    RecordsNothing,
    TakesAnAttemptForItsOwnReply,
    ChecksAndThenSets,
    DecidesABatchByWhatWasThereBefore,
    IgnoresTheNamespace,
    IgnoresTheKey,
    IgnoresTheKind,
    IgnoresThePlace,
    IgnoresCase,
    JoinsWithoutLengths,
    KeepsNothingThatIsPastAndSaysSuccess,
    AcceptsWhatItForgot,
    HasNoWatermark,
    HasNoRetention,
    KeepsToEachClaim,
    DoesNotExtend,
    ShortensEvents,
    UndoesWhatOthersDid,
    ReleasesClaims,
    LeasesToEverybody,
    LeasesCheckAndThenSet,
    ClaimsWhatIsLeased,
    DoesNotSayWhatRemains,
    ForgetsCompletions,
    ReleasesWhatIsCompleted,
    DoesNotRelease,
    NeverEndsALease,
    DoesNotRenew,
    DoesNotFence,
    CountsNoPlaces,
    CountsPlacesAndThenSets,
    LeasesAtAnyPlace,
}

/// Every fault, and a check that must find it.
const FOUND: [(Fault, &str); 32] = [
    (
        Fault::RecordsNothing,
        "the_first_claim_wins_and_copies_are_refused",
    ),
    (Fault::TakesAnAttemptForItsOwnReply, "an_attempt_wins_once"),
    (
        Fault::ChecksAndThenSets,
        "of_copies_at_once_exactly_one_wins",
    ),
    (
        Fault::DecidesABatchByWhatWasThereBefore,
        "of_copies_in_one_batch_exactly_one_wins",
    ),
    (
        Fault::IgnoresTheNamespace,
        "what_differs_in_any_part_is_another_nonce",
    ),
    (
        Fault::IgnoresTheKey,
        "what_differs_in_any_part_is_another_nonce",
    ),
    (
        Fault::IgnoresTheKind,
        "what_differs_in_any_part_is_another_nonce",
    ),
    (
        Fault::IgnoresThePlace,
        "what_differs_in_any_part_is_another_nonce",
    ),
    (
        Fault::IgnoresCase,
        "what_differs_in_any_part_is_another_nonce",
    ),
    (
        Fault::JoinsWithoutLengths,
        "what_differs_in_any_part_is_another_nonce",
    ),
    (
        Fault::KeepsNothingThatIsPastAndSaysSuccess,
        "a_deadline_that_has_passed_is_refused",
    ),
    (Fault::AcceptsWhatItForgot, "a_late_copy_is_refused"),
    (
        Fault::HasNoWatermark,
        "a_clock_that_steps_back_reopens_nothing",
    ),
    (
        Fault::HasNoRetention,
        "a_namespace_that_remembers_for_less_refuses",
    ),
    (
        Fault::KeepsToEachClaim,
        "a_claim_that_needs_less_is_remembered_for_as_long_as_its_namespace",
    ),
    (
        Fault::DoesNotExtend,
        "a_duplicate_extends_an_event_and_never_shortens_it",
    ),
    (
        Fault::ShortensEvents,
        "a_duplicate_extends_an_event_and_never_shortens_it",
    ),
    (
        Fault::UndoesWhatOthersDid,
        "a_claim_that_is_given_up_wins_at_most_once",
    ),
    (Fault::ReleasesClaims, "a_claim_has_no_holder"),
    (Fault::LeasesToEverybody, "a_lease_is_held_by_one"),
    (Fault::LeasesCheckAndThenSet, "a_lease_is_held_by_one"),
    (Fault::ClaimsWhatIsLeased, "a_lease_is_held_by_one"),
    (Fault::DoesNotSayWhatRemains, "a_lease_is_held_by_one"),
    (Fault::ForgetsCompletions, "a_completed_lease_is_final"),
    (Fault::ReleasesWhatIsCompleted, "a_completed_lease_is_final"),
    (Fault::DoesNotRelease, "a_released_lease_is_free"),
    (Fault::NeverEndsALease, "a_lease_ends_by_itself"),
    (Fault::DoesNotRenew, "a_renewed_lease_goes_on"),
    (Fault::DoesNotFence, "an_old_holder_changes_nothing"),
    (
        Fault::CountsNoPlaces,
        "a_message_leaves_no_more_records_than_it_may",
    ),
    (
        Fault::CountsPlacesAndThenSets,
        "of_places_at_once_no_more_than_may_be_win",
    ),
    (
        Fault::LeasesAtAnyPlace,
        "a_message_has_no_more_leases_than_it_may",
    ),
];

fn run(fault: Fault) -> Result<(), Broken> {
    let clock = clock();
    let open = async || Model {
        fault,
        clock: clock.clone(),
        memory: Mutex::default(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(conformance::run(&Time::manual(clock.clone()), open))
}

#[test]
fn a_store_without_a_fault_passes() {
    run(Fault::None).unwrap();
}

#[test]
fn every_fault_is_found_by_the_check_that_is_there_for_it() {
    let runs = FOUND.map(|(fault, check)| (fault, check, thread::spawn(move || run(fault))));
    for (fault, check, run) in runs {
        let Err(broken) = run.join().unwrap() else {
            panic!("{fault:?} was not found");
        };
        let found = broken.checks().any(|found| found == check);
        assert!(found, "{fault:?} was not found by {check}, but: {broken}");
    }
}

#[test]
fn there_is_a_fault_for_every_check() {
    let with_fault: BTreeSet<_> = FOUND.iter().map(|(_, check)| *check).collect();
    let all: BTreeSet<_> = conformance::CHECKS.iter().copied().collect();
    assert_eq!(with_fault, all);
}

/// A store that is slow and simple, and right except one fault.
struct Model {
    fault: Fault,
    clock: ManualClock,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    records: HashMap<Vec<u8>, Record>,
    watermark: Option<Timestamp>,
    /// By namespace.
    retentions: HashMap<String, Duration>,
}

#[derive(Clone, Debug)]
struct Record {
    deadline: Timestamp,
    attempt: AttemptId,
    lease_end: Option<Timestamp>,
    message: [u8; 16],
}

enum Found {
    Recorded(AttemptId),
    InFlight(Duration),
    Nothing,
}

impl Model {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn identity(&self, claim: &Claim) -> Vec<u8> {
        let mut parts = Vec::new();
        claim.write_identity(|part| parts.push(part.to_vec()));
        // Each part is written behind its length: namespace, key id, kind, nonce, method, path.
        let ignored = match self.fault {
            Fault::IgnoresTheNamespace => 0..2,
            Fault::IgnoresTheKey => 2..4,
            Fault::IgnoresTheKind => 4..6,
            Fault::IgnoresThePlace => 8..parts.len(),
            _ => 0..0,
        };
        parts.drain(ignored);
        if self.is(Fault::JoinsWithoutLengths) {
            return parts.into_iter().skip(1).step_by(2).flatten().collect();
        }
        if self.is(Fault::IgnoresCase) {
            parts
                .iter_mut()
                .for_each(|part| part.make_ascii_lowercase());
        }
        parts.concat()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        let mut memory = self.memory.lock().unwrap();
        let now = self.clock.now();
        let Memory {
            records, watermark, ..
        } = &mut *memory;
        records.retain(|_, record| {
            let in_flight = record.lease_end.is_some_and(|end| end > now);
            let keep = record.deadline > now || in_flight;
            if !keep {
                *watermark = (*watermark).max(Some(record.deadline));
            }
            keep
        });
        memory
    }

    fn look_up(&self, memory: &mut Memory, claim: &Claim) -> Result<Found, StoreError> {
        let now = self.clock.now();
        let watermark = memory.watermark.filter(|_| !self.is(Fault::HasNoWatermark));
        let is_past = match self.fault {
            Fault::KeepsNothingThatIsPastAndSaysSuccess => false,
            // It knows that it is late, and lets it through where it thinks it knows of no copy.
            Fault::AcceptsWhatItForgot => watermark.is_none() && claim.deadline() <= now,
            _ => claim.deadline() <= now || Some(claim.deadline()) <= watermark,
        };
        if is_past {
            return Err(StoreError::new(StoreErrorKind::SignAgain, "past"));
        }
        let retention = *memory
            .retentions
            .entry(claim.namespace().to_owned())
            .or_insert(claim.retention());
        if claim.retention() > retention && !self.is(Fault::HasNoRetention) {
            return Err(StoreError::new(StoreErrorKind::Misconfigured, "too short"));
        }
        let deadline = self.deadline(memory, claim);
        let identity = self.identity(claim);
        let Some(record) = memory.records.get_mut(&identity) else {
            return Ok(Found::Nothing);
        };
        let found = match record.lease_end {
            Some(end) if end > now => Found::InFlight(end.saturating_since(now)),
            Some(end) if self.is(Fault::NeverEndsALease) => {
                Found::InFlight(end.saturating_since(now))
            }
            Some(_) => Found::Nothing,
            None => Found::Recorded(record.attempt),
        };
        if claim.nonce().kind() == NonceKind::Event {
            record.deadline = match self.fault {
                Fault::DoesNotExtend => record.deadline,
                Fault::ShortensEvents => claim.deadline(),
                _ => record.deadline.max(deadline),
            };
        }
        Ok(found)
    }

    /// The deadline of the claim's record.
    fn deadline(&self, memory: &Memory, claim: &Claim) -> Timestamp {
        match memory.retentions.get(claim.namespace()) {
            Some(retention)
                if *retention > claim.retention() && !self.is(Fault::KeepsToEachClaim) =>
            {
                claim
                    .deadline()
                    .max(self.clock.now().saturating_add(*retention))
            }
            _ => claim.deadline(),
        }
    }

    /// Refuses one more record of a message that has as many as it may.
    fn count(memory: &Memory, claim: &Claim) -> Result<(), StoreError> {
        let message = message(claim);
        let of_message = memory.records.values().filter(|r| r.message == message);
        match claim.most_records() {
            Some(most) if of_message.count() >= most => {
                Err(StoreError::new(StoreErrorKind::TooManyPlaces, "places"))
            }
            _ => Ok(()),
        }
    }

    fn put(&self, memory: &mut Memory, claim: &Claim, lease_end: Option<Timestamp>) {
        let record = Record {
            deadline: self.deadline(memory, claim),
            attempt: claim.attempt(),
            lease_end,
            message: message(claim),
        };
        memory.records.insert(self.identity(claim), record);
    }

    async fn decide_claim(&self, claim: &Claim) -> Result<ClaimOutcome, StoreError> {
        let found = self.look_up(&mut self.memory(), claim)?;
        let counted = Self::count(&self.memory(), claim);
        match self.fault {
            Fault::ChecksAndThenSets | Fault::CountsPlacesAndThenSets => {
                std::thread::sleep(Duration::from_micros(200));
            }
            Fault::DecidesABatchByWhatWasThereBefore => tokio::task::yield_now().await,
            _ => {}
        }
        let takes_its_time = matches!(
            self.fault,
            Fault::ChecksAndThenSets | Fault::DecidesABatchByWhatWasThereBefore
        );
        // Under one lock, where it does not take its time.
        let mut memory = self.memory();
        let found = if takes_its_time {
            found
        } else {
            self.look_up(&mut memory, claim)?
        };
        match found {
            Found::Recorded(attempt)
                if self.is(Fault::TakesAnAttemptForItsOwnReply) && attempt == claim.attempt() =>
            {
                Ok(ClaimOutcome::New)
            }
            Found::InFlight(_) if self.is(Fault::ClaimsWhatIsLeased) => Ok(ClaimOutcome::New),
            Found::Recorded(_) | Found::InFlight(_) => Ok(ClaimOutcome::Replayed),
            Found::Nothing => {
                match self.fault {
                    Fault::CountsNoPlaces => {}
                    Fault::CountsPlacesAndThenSets => counted?,
                    _ => Self::count(&memory, claim)?,
                }
                if !self.is(Fault::RecordsNothing) {
                    self.put(&mut memory, claim, None);
                }
                Ok(ClaimOutcome::New)
            }
        }
    }

    fn decide_lease(&self, claim: &Claim, duration: Duration) -> Result<LeaseOutcome, StoreError> {
        let found = self.look_up(&mut self.memory(), claim)?;
        if self.is(Fault::LeasesCheckAndThenSet) {
            std::thread::sleep(Duration::from_micros(200));
        }
        let mut memory = self.memory();
        let found = if self.is(Fault::LeasesCheckAndThenSet) {
            found
        } else {
            self.look_up(&mut memory, claim)?
        };
        Ok(match found {
            Found::InFlight(_) if self.is(Fault::LeasesToEverybody) => LeaseOutcome::Held,
            Found::InFlight(_) if self.is(Fault::DoesNotSayWhatRemains) => {
                LeaseOutcome::in_flight(Duration::ZERO)
            }
            Found::InFlight(remaining) => LeaseOutcome::in_flight(remaining),
            Found::Recorded(_) => LeaseOutcome::Completed,
            Found::Nothing => {
                if !self.is(Fault::LeasesAtAnyPlace) {
                    Self::count(&memory, claim)?;
                }
                self.put(
                    &mut memory,
                    claim,
                    Some(self.clock.now().saturating_add(duration)),
                );
                LeaseOutcome::Held
            }
        })
    }

    /// Does a step on the record, if the claim's attempt holds it.
    fn held(
        &self,
        claim: &Claim,
        step: impl FnOnce(&mut HashMap<Vec<u8>, Record>, Vec<u8>),
    ) -> StoreFuture<'static, StepOutcome> {
        let mut memory = self.memory();
        let identity = self.identity(claim);
        let record = memory.records.get(&identity);
        let is_held = record.is_some_and(|record| {
            let by_it = record.attempt == claim.attempt() || self.is(Fault::DoesNotFence);
            let ignores_state = matches!(
                self.fault,
                Fault::ReleasesClaims | Fault::ReleasesWhatIsCompleted
            );
            by_it && (record.lease_end.is_some() || ignores_state)
        });
        if !is_held {
            return StoreFuture::ready(Ok(StepOutcome::Lost));
        }
        step(&mut memory.records, identity);
        StoreFuture::ready(Ok(StepOutcome::Done))
    }
}

/// The part of the digest that the records of one message have in common.
fn message(claim: &Claim) -> [u8; 16] {
    claim.digest()[..16].try_into().unwrap()
}

/// Takes back what a claim recorded, if it is given up.
struct UndoOnDrop<'a>(Option<(&'a Model, &'a Claim)>);

impl Drop for UndoOnDrop<'_> {
    fn drop(&mut self) {
        if let Some((model, claim)) = self.0 {
            model.memory().records.remove(&model.identity(claim));
        }
    }
}

impl NonceStore for Model {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::new(async move {
            if self.is(Fault::UndoesWhatOthersDid) {
                let mut undo = UndoOnDrop(Some((self, claim)));
                tokio::task::yield_now().await;
                let answer = self.decide_claim(claim).await;
                undo.0 = None;
                return answer;
            }
            self.decide_claim(claim).await
        })
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        Some(self)
    }

    fn survives_restart(&self) -> bool {
        false
    }

    fn sharing(&self) -> countersign::store::Sharing {
        countersign::store::Sharing::within_process(self)
    }
}

impl LeaseStore for Model {
    fn lease<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, LeaseOutcome> {
        StoreFuture::ready(self.decide_lease(claim, duration))
    }

    fn renew<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, StepOutcome> {
        let end = self.clock.now().saturating_add(duration);
        self.held(claim, |records, identity| {
            if let Some(record) = records.get_mut(&identity)
                && !self.is(Fault::DoesNotRenew)
            {
                record.lease_end = Some(end);
            }
        })
    }

    fn complete<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        self.held(claim, |records, identity| {
            if self.is(Fault::ForgetsCompletions) {
                records.remove(&identity);
            } else if let Some(record) = records.get_mut(&identity) {
                record.lease_end = None;
            }
        })
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        self.held(claim, |records, identity| {
            if !self.is(Fault::DoesNotRelease) {
                records.remove(&identity);
            }
        })
    }
}
