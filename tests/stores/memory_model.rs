//! The memory store against a model of what a store owes, under random sequences of steps.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use countersign::{
    Clock, KeyId, MemoryStore, Timestamp,
    error::{StoreError, StoreErrorKind},
    store::{
        AttemptId, Claim, ClaimOutcome, LeaseOutcome, LeaseStore, Nonce, NonceKind, NonceStore,
        StepOutcome, StoreFuture,
    },
    testing::ManualClock,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::{self, Instant},
};

use crate::common;

const START: u64 = 1_700_000_000_000;
const SKEW: Duration = Duration::from_secs(2);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(START.saturating_add_signed(millis)).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Claim(Asked),
    Lease(Asked, u64),
    /// The first number says which of the earlier claims.
    Renew(usize, u64),
    Complete(usize),
    Release(usize),
    SetClock(i64),
    Wait(u64),
    /// Claims that have nothing to do with the rest: they bring the sweep round.
    Others,
}

#[derive(Clone, Debug)]
struct Asked {
    nonce: u8,
    key: u8,
    event: bool,
    deadline: i64,
    signed_at: Option<i64>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let deadline = prop::sample::select(vec![1, 9_999, 10_000, 10_001, 20_500, 60_000]);
    let signed_at = prop::sample::select(vec![None, None, None, Some(2_000), Some(2_001)]);
    (
        0..2u8,
        0..2u8,
        prop::bool::weighted(0.3),
        deadline,
        signed_at,
    )
        .prop_map(|(nonce, key, event, deadline, signed_at)| Asked {
            nonce,
            key,
            event,
            deadline,
            signed_at,
        })
}

fn step() -> impl Strategy<Value = Step> {
    let duration = || prop::sample::select(vec![0, 1, 1_000, 5_000]);
    let clock = prop::sample::select(vec![
        -5_000, 0, 9_000, 9_999, 10_000, 10_500, 11_000, 21_000, 61_000,
    ]);
    prop_oneof![
        6 => asked().prop_map(Step::Claim),
        4 => (asked(), duration()).prop_map(|(asked, d)| Step::Lease(asked, d)),
        2 => (0..8usize, duration()).prop_map(|(which, d)| Step::Renew(which, d)),
        3 => (0..8usize).prop_map(Step::Complete),
        2 => (0..8usize).prop_map(Step::Release),
        4 => clock.prop_map(Step::SetClock),
        2 => duration().prop_map(Step::Wait),
        3 => Just(Step::Others),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..60)
}

impl Asked {
    fn claim(&self) -> Claim {
        let kind = if self.event {
            NonceKind::Event
        } else {
            NonceKind::Covered
        };
        let key = KeyId::new(format!("key-{}", self.key)).unwrap();
        let claim = Claim::new(
            "model".into(),
            key,
            Nonce::new(kind, vec![self.nonce]),
            at(self.deadline),
        );
        match self.signed_at {
            Some(signed_at) => claim.signed(at(signed_at), SKEW),
            None => claim,
        }
    }
}

fn identity(claim: &Claim) -> [u8; 32] {
    claim.digest()
}

/// A store keeps whole seconds: deadlines are rounded up, the present moment down.
fn whole(deadline: Timestamp) -> u64 {
    deadline.as_millis().div_ceil(1000)
}

#[derive(Clone, Copy, Debug)]
enum Record {
    Final {
        deadline: Timestamp,
        /// The clock has shown the deadline or a later moment since: a store may have dropped it.
        droppable: bool,
    },
    Leased {
        deadline: Timestamp,
        attempt: AttemptId,
        end: Instant,
    },
}

/// An answer of a store to any step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    New,
    Recorded,
    InFlight(Duration),
    Done,
    Lost,
    Refused(StoreErrorKind),
}

const SIGN_AGAIN: Answer = Answer::Refused(StoreErrorKind::SignAgain);

impl From<Result<ClaimOutcome, StoreError>> for Answer {
    fn from(answer: Result<ClaimOutcome, StoreError>) -> Self {
        match answer {
            Ok(ClaimOutcome::New) => Self::New,
            // The model tells a lease from a record where the answer does not.
            Ok(_) => Self::Recorded,
            Err(error) => Self::Refused(error.kind()),
        }
    }
}

impl From<Result<LeaseOutcome, StoreError>> for Answer {
    fn from(answer: Result<LeaseOutcome, StoreError>) -> Self {
        match answer {
            Ok(LeaseOutcome::Held) => Self::New,
            Ok(LeaseOutcome::InFlight { remaining, .. }) => Self::InFlight(remaining),
            Ok(_) => Self::Recorded,
            Err(error) => Self::Refused(error.kind()),
        }
    }
}

impl From<Result<StepOutcome, StoreError>> for Answer {
    fn from(answer: Result<StepOutcome, StoreError>) -> Self {
        match answer {
            Ok(StepOutcome::Done) => Self::Done,
            Ok(_) => Self::Lost,
            Err(error) => Self::Refused(error.kind()),
        }
    }
}

/// The promises of a store. If it has a choice (when it drops what is past its deadline), the model
/// allows each answer, and goes on from the one that was given.
struct Model {
    clock: ManualClock,
    since: Timestamp,
    records: HashMap<[u8; 32], Record>,
    /// A store's low watermark is at most this.
    watermark: u64,
}

impl Model {
    fn new(clock: ManualClock) -> Self {
        Self {
            since: clock.now(),
            clock,
            records: HashMap::new(),
            watermark: 0,
        }
    }

    fn now(&self) -> u64 {
        self.clock.now().as_secs()
    }

    /// The answers that may be given to a claim or a request for a lease.
    fn allowed(&self, claim: &Claim) -> Vec<Answer> {
        if claim.deadline() <= self.clock.now() {
            return vec![SIGN_AGAIN];
        }
        let free = || {
            let fenced = claim
                .signed_at()
                .is_some_and(|at| at <= self.since.saturating_add(SKEW));
            if fenced {
                vec![SIGN_AGAIN]
            } else if whole(claim.deadline()) <= self.watermark {
                vec![SIGN_AGAIN, Answer::New]
            } else {
                vec![Answer::New]
            }
        };
        match self.records.get(&identity(claim)) {
            None => free(),
            Some(Record::Leased { end, .. }) => {
                let remaining = end.saturating_duration_since(Instant::now());
                if remaining.is_zero() {
                    free()
                } else {
                    vec![Answer::InFlight(remaining)]
                }
            }
            Some(Record::Final {
                deadline,
                droppable,
            }) => {
                let mut allowed = Vec::new();
                if whole(*deadline) > self.now() {
                    allowed.push(Answer::Recorded);
                }
                if *droppable {
                    allowed.extend(free());
                    if whole(claim.deadline()) <= whole(*deadline) {
                        allowed.retain(|answer| *answer != Answer::New);
                        allowed.push(SIGN_AGAIN);
                    }
                }
                allowed
            }
        }
    }

    /// The answers that may be given to a step of a holder.
    fn allowed_to_holder(&self, claim: &Claim) -> Vec<Answer> {
        match self.records.get(&identity(claim)) {
            Some(Record::Leased { attempt, end, .. }) if *attempt == claim.attempt() => {
                if *end > Instant::now() {
                    vec![Answer::Done]
                } else {
                    vec![Answer::Done, Answer::Lost]
                }
            }
            _ => vec![Answer::Lost],
        }
    }

    fn asked(&mut self, claim: &Claim, answer: Answer, lease: Option<Duration>) {
        let id = identity(claim);
        match answer {
            Answer::New => {
                let deadline = claim.deadline();
                let record = match lease {
                    None => Record::Final {
                        deadline,
                        droppable: false,
                    },
                    Some(duration) => Record::Leased {
                        deadline,
                        attempt: claim.attempt(),
                        end: Instant::now() + duration,
                    },
                };
                self.records.insert(id, record);
            }
            Answer::Recorded | Answer::InFlight(_) => match self.records.get_mut(&id) {
                Some(Record::Final {
                    deadline,
                    droppable,
                }) => {
                    *droppable = false;
                    if claim.extends() {
                        *deadline = claim.deadline().max(*deadline);
                    }
                }
                Some(Record::Leased { deadline, .. }) if claim.extends() => {
                    *deadline = claim.deadline().max(*deadline);
                }
                _ => {}
            },
            _ => {}
        }
        self.note_expired();
    }

    fn renewed(&mut self, claim: &Claim, answer: Answer, duration: Duration) {
        match self.records.get_mut(&identity(claim)) {
            Some(Record::Leased { end, .. }) if answer == Answer::Done => {
                *end = Instant::now() + duration;
            }
            _ => self.lost(claim, answer),
        }
    }

    fn completed(&mut self, claim: &Claim, answer: Answer) {
        match self.records.get_mut(&identity(claim)) {
            Some(record @ Record::Leased { .. }) if answer == Answer::Done => {
                let Record::Leased { deadline, .. } = *record else {
                    unreachable!()
                };
                let deadline = deadline.max(claim.deadline());
                *record = Record::Final {
                    deadline,
                    droppable: false,
                };
            }
            _ => self.lost(claim, answer),
        }
        self.note_expired();
    }

    fn released(&mut self, claim: &Claim, answer: Answer) {
        if answer == Answer::Done {
            self.records.remove(&identity(claim));
        } else {
            self.lost(claim, answer);
        }
    }

    /// A lease of this attempt had ended, and the store has dropped it.
    fn lost(&mut self, claim: &Claim, answer: Answer) {
        let id = identity(claim);
        if answer == Answer::Lost
            && let Some(Record::Leased { attempt, .. }) = self.records.get(&id)
            && *attempt == claim.attempt()
        {
            self.records.remove(&id);
        }
    }

    fn note_expired(&mut self) {
        let now = self.now();
        for record in self.records.values_mut() {
            if let Record::Final {
                deadline,
                droppable,
            } = record
                && whole(*deadline) <= now
            {
                *droppable = true;
                self.watermark = self.watermark.max(whole(*deadline));
            }
        }
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

/// Takes the steps on a store, and fails at the first answer that the model does not allow.
async fn agrees(
    store: &dyn NonceStore,
    clock: ManualClock,
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let mut model = Model::new(clock.clone());
    let leases = store.leases().unwrap();
    let mut claims: Vec<Claim> = Vec::new();
    for step in steps {
        let earlier = |which: usize| claims.iter().rev().nth(which).cloned();
        let millis = Duration::from_millis;
        match step {
            Step::Claim(asked) => {
                let claim = asked.claim();
                let allowed = model.allowed(&claim);
                let mut answer = store.claim(&claim).await.into();
                if answer == Answer::Recorded
                    && let [in_flight @ Answer::InFlight(_)] = allowed[..]
                {
                    answer = in_flight;
                }
                prop_assert!(
                    allowed.contains(&answer),
                    "{step:?}: {answer:?}, not {allowed:?}"
                );
                model.asked(&claim, answer, None);
            }
            Step::Lease(asked, duration) => {
                let claim = asked.claim();
                let allowed = model.allowed(&claim);
                let answer = leases.lease(&claim, millis(*duration)).await.into();
                prop_assert!(
                    allowed.contains(&answer),
                    "{step:?}: {answer:?}, not {allowed:?}"
                );
                model.asked(&claim, answer, Some(millis(*duration)));
                claims.push(claim);
            }
            Step::Renew(which, duration) => {
                let Some(claim) = earlier(*which) else {
                    continue;
                };
                let allowed = model.allowed_to_holder(&claim);
                let answer = leases.renew(&claim, millis(*duration)).await.into();
                prop_assert!(
                    allowed.contains(&answer),
                    "{step:?}: {answer:?}, not {allowed:?}"
                );
                model.renewed(&claim, answer, millis(*duration));
            }
            Step::Complete(which) => {
                let Some(claim) = earlier(*which) else {
                    continue;
                };
                let allowed = model.allowed_to_holder(&claim);
                let answer = leases.complete(&claim).await.into();
                prop_assert!(
                    allowed.contains(&answer),
                    "{step:?}: {answer:?}, not {allowed:?}"
                );
                model.completed(&claim, answer);
            }
            Step::Release(which) => {
                let Some(claim) = earlier(*which) else {
                    continue;
                };
                let allowed = model.allowed_to_holder(&claim);
                let answer = leases.release(&claim).await.into();
                prop_assert!(
                    allowed.contains(&answer),
                    "{step:?}: {answer:?}, not {allowed:?}"
                );
                model.released(&claim, answer);
            }
            Step::SetClock(millis) => {
                clock.set(at(*millis));
                model.note_expired();
            }
            Step::Wait(duration) => time::advance(millis(*duration)).await,
            Step::Others => {
                let now = clock.now();
                for i in 0..48 {
                    // Each step of the clock makes the next of the 16 shards due.
                    clock.set(now.saturating_sub(millis(2_500 * (i % 3))));
                    let mut other = Asked {
                        nonce: 99,
                        key: 0,
                        event: false,
                        deadline: -60_000,
                        signed_at: None,
                    };
                    other.nonce += u8::try_from(i).unwrap();
                    let answer: Answer = store.claim(&other.claim()).await.into();
                    prop_assert_eq!(answer, SIGN_AGAIN);
                }
                clock.set(now);
            }
        }
    }
    Ok(())
}

fn config() -> Config {
    Config {
        failure_persistence: None,
        ..Config::with_cases(common::cases(1_000))
    }
}

#[test]
fn the_memory_store_answers_as_the_model_does() {
    TestRunner::new(config())
        .run(&steps(), |steps| {
            let clock = ManualClock::at(at(0));
            let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
            runtime().block_on(agrees(&store, clock, &steps))
        })
        .unwrap();
}

/// A store as plain as it can be, with one fault or none.
struct Plain {
    clock: ManualClock,
    since: Timestamp,
    state: Mutex<(HashMap<[u8; 32], Record>, u64)>,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    ForgetsWithoutAWatermark,
    DropsTooEarly,
    DoesNotExtend,
    DoesNotFenceARestart,
    DoesNotFenceLeases,
    KeepsALeaseForGood,
    CompletesWithoutRecording,
}

impl Plain {
    fn new(clock: ManualClock, fault: Option<Fault>) -> Self {
        Self {
            since: clock.now(),
            clock,
            state: Mutex::default(),
            fault,
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn ask(&self, claim: &Claim, lease: Option<Duration>) -> Answer {
        let (records, watermark) = &mut *self.state.lock().unwrap();
        let now = self.clock.now();
        let rounds_down = self.has(Fault::DropsTooEarly);
        let kept_until = |d: Timestamp| if rounds_down { d.as_secs() } else { whole(d) };
        records.retain(|_, record| match record {
            Record::Final { deadline, .. } if kept_until(*deadline) <= now.as_secs() => {
                if !self.has(Fault::ForgetsWithoutAWatermark) && !rounds_down {
                    *watermark = (*watermark).max(kept_until(*deadline));
                }
                false
            }
            Record::Leased { end, .. } => {
                *end > Instant::now() || self.has(Fault::KeepsALeaseForGood)
            }
            Record::Final { .. } => true,
        });
        if claim.deadline() <= now {
            return SIGN_AGAIN;
        }
        if let Some(record) = records.get_mut(&identity(claim)) {
            let (Record::Final { deadline, .. } | Record::Leased { deadline, .. }) = record;
            if claim.extends() && !self.has(Fault::DoesNotExtend) {
                *deadline = claim.deadline().max(*deadline);
            }
            return match record {
                Record::Final { .. } => Answer::Recorded,
                Record::Leased { end, .. } => {
                    Answer::InFlight(end.saturating_duration_since(Instant::now()))
                }
            };
        }
        let fenced = claim
            .signed_at()
            .is_some_and(|at| at <= self.since.saturating_add(SKEW));
        if whole(claim.deadline()) <= *watermark
            || (fenced && !self.has(Fault::DoesNotFenceARestart))
        {
            return SIGN_AGAIN;
        }
        let (deadline, attempt) = (claim.deadline(), claim.attempt());
        let record = match lease {
            None => Record::Final {
                deadline,
                droppable: false,
            },
            Some(duration) => Record::Leased {
                deadline,
                attempt,
                end: Instant::now() + duration,
            },
        };
        records.insert(identity(claim), record);
        Answer::New
    }

    fn hold(
        &self,
        claim: &Claim,
        then: impl FnOnce(&mut HashMap<[u8; 32], Record>, Timestamp),
    ) -> StoreFuture<'_, StepOutcome> {
        let (records, _) = &mut *self.state.lock().unwrap();
        let held = match records.get(&identity(claim)) {
            Some(Record::Leased {
                deadline, attempt, ..
            }) if *attempt == claim.attempt() || self.has(Fault::DoesNotFenceLeases) => {
                then(records, *deadline);
                StepOutcome::Done
            }
            _ => StepOutcome::Lost,
        };
        StoreFuture::ready(Ok(held))
    }
}

fn sign_again<T>() -> Result<T, StoreError> {
    Err(StoreError::new(StoreErrorKind::SignAgain, "sign again"))
}

impl NonceStore for Plain {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::ready(match self.ask(claim, None) {
            Answer::New => Ok(ClaimOutcome::New),
            Answer::Refused(_) => sign_again(),
            _ => Ok(ClaimOutcome::Replayed),
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

impl LeaseStore for Plain {
    fn lease<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, LeaseOutcome> {
        StoreFuture::ready(match self.ask(claim, Some(duration)) {
            Answer::New => Ok(LeaseOutcome::Held),
            Answer::InFlight(remaining) => Ok(LeaseOutcome::in_flight(remaining)),
            Answer::Refused(_) => sign_again(),
            _ => Ok(LeaseOutcome::Completed),
        })
    }

    fn renew<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, StepOutcome> {
        self.hold(claim, |records, deadline| {
            let (attempt, end) = (claim.attempt(), Instant::now() + duration);
            records.insert(
                identity(claim),
                Record::Leased {
                    deadline,
                    attempt,
                    end,
                },
            );
        })
    }

    fn complete<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        let forgets = self.has(Fault::CompletesWithoutRecording);
        self.hold(claim, |records, deadline| {
            records.remove(&identity(claim));
            if !forgets {
                let deadline = deadline.max(claim.deadline());
                records.insert(
                    identity(claim),
                    Record::Final {
                        deadline,
                        droppable: false,
                    },
                );
            }
        })
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        self.hold(claim, |records, _| {
            records.remove(&identity(claim));
        })
    }
}

fn agrees_with_plain(fault: Option<Fault>) -> bool {
    TestRunner::new_with_rng(
        Config {
            max_shrink_iters: 0,
            ..config()
        },
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    )
    .run(&steps(), |steps| {
        let clock = ManualClock::at(at(0));
        let store = Plain::new(clock.clone(), fault);
        runtime().block_on(agrees(&store, clock, &steps))
    })
    .is_ok()
}

#[test]
fn a_plain_store_answers_as_the_model_does() {
    assert!(agrees_with_plain(None));
}

#[test]
fn the_model_catches_each_fault() {
    for fault in [
        Fault::ForgetsWithoutAWatermark,
        Fault::DropsTooEarly,
        Fault::DoesNotExtend,
        Fault::DoesNotFenceARestart,
        Fault::DoesNotFenceLeases,
        Fault::KeepsALeaseForGood,
        Fault::CompletesWithoutRecording,
    ] {
        assert!(!agrees_with_plain(Some(fault)), "{fault:?} went unseen");
    }
}
