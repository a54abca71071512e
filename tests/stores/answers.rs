//! Every store of answers under its conformance suite; and the suite against stores of which each
//! breaks one promise.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
    time::Duration,
};

use bytes::Bytes;
use countersign::{
    Clock, Timestamp,
    store::{
        AnswerClaim, AnswerOutcome, AnswerRecord, AnswerStore, AttemptId, MemoryAnswers,
        StepOutcome, StoreFuture,
    },
    testing::{
        ManualClock,
        conformance::{self, Time},
    },
};

use crate::common::log;

fn clock() -> ManualClock {
    log::listen();
    ManualClock::at(Timestamp::from_secs(1_700_000_000).unwrap())
}

/// Claims meet on threads of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_store_of_answers_keeps_every_promise() {
    let clock = clock();
    let store = async || {
        MemoryAnswers::builder()
            .clock(clock.clone())
            .build()
            .unwrap()
    };
    let kept = conformance::run_answers(&Time::manual(clock.clone()), store).await;
    kept.unwrap();
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use countersign::store::{SqliteAnswers, SqliteAnswersBuilder};
    use sqlx::{
        SqlitePool,
        sqlite::{SqliteConnectOptions, SqliteSynchronous},
    };
    use tempfile::TempDir;

    use super::{
        quota::{a_key_has_no_more_than_three, claim},
        *,
    };

    fn options(folder: &TempDir, name: &str) -> SqliteConnectOptions {
        let options = SqliteConnectOptions::new().filename(folder.path().join(name));
        options
            .create_if_missing(true)
            .pragma("journal_mode", "wal")
    }

    async fn open(folder: &TempDir, builder: SqliteAnswersBuilder) -> SqliteAnswers {
        let pool = SqlitePool::connect_with(options(folder, "answers.db"))
            .await
            .unwrap();
        SqliteAnswers::migrate(&pool).await.unwrap();
        builder.open(pool).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_sqlite_store_of_answers_keeps_every_promise() {
        let folder = tempfile::tempdir().unwrap();
        let clock = clock();
        let open = async || open(&folder, SqliteAnswers::builder().clock(clock.clone())).await;
        let kept = conformance::run_answers(&Time::manual(clock.clone()), open).await;
        kept.unwrap();
    }

    #[tokio::test]
    async fn a_database_that_would_forget_answers_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let hasty = options(&folder, "hasty.db").synchronous(SqliteSynchronous::Normal);
        let memory = SqliteConnectOptions::new().in_memory(true);
        for (options, migrates) in [
            (hasty, true),
            (memory, true),
            (options(&folder, "empty.db"), false),
        ] {
            let pool = SqlitePool::connect_with(options).await.unwrap();
            if migrates {
                SqliteAnswers::migrate(&pool).await.unwrap();
            }
            assert!(SqliteAnswers::open(pool).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_key_has_no_more_answers_in_sqlite_than_it_may() {
        let folder = tempfile::tempdir().unwrap();
        let clock = clock();
        let builder = SqliteAnswers::builder().clock(clock.clone());
        let store = open(&folder, builder.records_of_a_key(3)).await;
        a_key_has_no_more_than_three(&store).await;
        clock.advance(Duration::from_secs(24 * 60 * 60));
        let late = store.claim(&claim("partner", 3)).await.unwrap();
        assert_eq!(late, AnswerOutcome::Claimed, "what has ended makes room");
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use countersign::store::PostgresAnswers;

    use super::{quota::a_key_has_no_more_than_three, *};
    use crate::common::database;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_postgres_store_of_answers_keeps_every_promise() {
        let Some((pool, _)) = database::pool_and_schema("conformance_answers").await else {
            return;
        };
        PostgresAnswers::migrate(&pool).await.unwrap();
        let patient = PostgresAnswers::builder().timeout(Duration::from_secs(20));
        let open = async || patient.clone().open(pool.clone()).await.unwrap();
        conformance::run_answers(&Time::real(), open).await.unwrap();
    }

    #[tokio::test]
    async fn a_key_has_no_more_answers_in_postgresql_than_it_may() {
        let Some((pool, _)) = database::pool_and_schema("answers_of_a_key").await else {
            return;
        };
        PostgresAnswers::migrate(&pool).await.unwrap();
        let builder = PostgresAnswers::builder().records_of_a_key(3);
        a_key_has_no_more_than_three(&builder.open(pool).await.unwrap()).await;
    }

    #[tokio::test]
    async fn a_database_without_the_table_is_refused() {
        let Some((pool, _)) = database::pool_and_schema("no_answers").await else {
            return;
        };
        assert!(PostgresAnswers::open(pool).await.is_err());
    }
}

#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
mod quota {
    use countersign::{KeyId, error::StoreErrorKind};

    use super::*;

    pub fn claim(key: &str, n: u8) -> AnswerClaim {
        let key = KeyId::new(key).unwrap();
        AnswerClaim::new("quota".into(), key, [n; 32], [0; 32])
    }

    /// Another key is served, what is known is told, and what was released makes room.
    pub async fn a_key_has_no_more_than_three<S: AnswerStore>(store: &S) {
        let first = claim("partner", 0);
        for claim in [&first, &claim("partner", 1), &claim("partner", 2)] {
            assert_eq!(store.claim(claim).await.unwrap(), AnswerOutcome::Claimed);
        }
        let over = store.claim(&claim("partner", 3)).await.unwrap_err();
        assert_eq!(over.kind(), StoreErrorKind::KeyOverQuota);
        let known = store.claim(&claim("partner", 0)).await.unwrap();
        assert!(matches!(known, AnswerOutcome::InFlight { .. }));
        let other = claim("another", 9);
        assert_eq!(store.claim(&other).await.unwrap(), AnswerOutcome::Claimed);
    }
}

#[cfg(feature = "redis")]
mod redis {
    use countersign::store::{RedisAnswers, RedisStore};

    use super::{quota::a_key_has_no_more_than_three, *};
    use crate::common::redis_server::{Server, programs};

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_redis_store_of_answers_keeps_every_promise() {
        for program in programs() {
            let server = Server::start(&program, &[]);
            let store = RedisStore::builder().timeout(Duration::from_secs(20));
            let store = store.open(&server.url()).await.unwrap();
            let open = async || RedisAnswers::of(&store);
            let kept = conformance::run_answers(&Time::real(), open).await;
            kept.unwrap();
            let answers = RedisAnswers::of(&store).records_of_a_key(3);
            a_key_has_no_more_than_three(&answers).await;
        }
    }

    /// Whatever the server does, nothing is claimed without its answer.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_is_gone_or_evicts_claims_nothing() {
        for program in programs() {
            let mut server = Server::start(&program, &[]);
            let store = RedisStore::open(&server.url()).await.unwrap();
            let answers = RedisAnswers::of(&store);
            let first = super::quota::claim("partner", 1);
            let claimed = answers.claim(&first).await.unwrap();
            assert_eq!(claimed, AnswerOutcome::Claimed);
            server.tell(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
            // It is inspected every second.
            let start = std::time::Instant::now();
            let mut n = 2;
            while answers
                .claim(&super::quota::claim("partner", n))
                .await
                .is_ok()
            {
                assert!(start.elapsed() < Duration::from_secs(20));
                tokio::time::sleep(Duration::from_millis(100)).await;
                n = n.checked_add(1).unwrap();
            }
            server.kill();
            assert!(
                answers
                    .claim(&super::quota::claim("partner", 0))
                    .await
                    .is_err()
            );
            assert!(answers.record(&first, &"late".into()).await.is_err());
        }
    }
}

/// What a store of answers may do wrong.
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

/// Every fault, and a check that has to find it.
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
        let record = AnswerRecord {
            fingerprint: *claim.fingerprint(),
            deadline: now.saturating_add(claim.retention()),
            lease_end: now.saturating_add(claim.lease()),
            answer: None,
        };
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
