//! Courses of claims and steps on one key: every store of answers says what one model says, under a
//! clock that only the test moves.

use std::{cell::RefCell, collections::BTreeSet, time::Duration};

use bytes::Bytes;
use countersign::{
    KeyId, Timestamp,
    store::{AnswerClaim, AnswerOutcome, AnswerRecord, AnswerStore, MemoryAnswers, StepOutcome},
    testing::ManualClock,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestError, TestRunner},
};

use crate::common;

/// Far ahead of every server's own clock, by which Redis drops what has ended.
const START: u64 = 4_000_000_000_000;

/// The questions, by the number of the claim that asks. Times are in milliseconds: few, so that they
/// meet.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Claim(usize),
    Find(usize),
    Renew(usize, u64),
    Record(usize),
    Release(usize),
    Resolve(usize),
    Wait(u64),
}

/// The terms of a claim.
#[derive(Clone, Copy, Debug)]
struct Terms {
    content: u8,
    runs_again: bool,
    lease: u64,
    retention: u64,
}

#[derive(Clone, Debug)]
struct Course {
    terms: [Terms; 3],
    asked: Vec<Asked>,
}

fn courses() -> impl Strategy<Value = Course> {
    // Most claims are of one intention.
    let content = prop_oneof![5 => Just(0_u8), 1 => Just(1)];
    let terms = (content, any::<bool>(), 0..4_u64, 1..12_u64).prop_map(
        |(content, runs_again, lease, retention)| Terms {
            content,
            runs_again,
            lease,
            retention,
        },
    );
    let claim = || 0..3_usize;
    let asked = prop_oneof![
        4 => claim().prop_map(Asked::Claim),
        1 => claim().prop_map(Asked::Find),
        2 => (claim(), 0..4_u64).prop_map(|(claim, lease)| Asked::Renew(claim, lease)),
        1 => claim().prop_map(Asked::Record),
        1 => claim().prop_map(Asked::Release),
        1 => claim().prop_map(Asked::Resolve),
        4 => (1..4_u64).prop_map(Asked::Wait),
    ];
    (
        prop::array::uniform3(terms),
        prop::collection::vec(asked, 1..30),
    )
        .prop_map(|(terms, asked)| Course { terms, asked })
}

impl Course {
    /// The claims, each an attempt of its own, on a key that no other course has.
    fn claims(&self, number: u64) -> [AnswerClaim; 3] {
        let mut digest = [7; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        self.terms.map(|terms| {
            let key = KeyId::new("partner").unwrap();
            let claim = AnswerClaim::new("courses".into(), key, digest, [terms.content; 32])
                .with_lease(Duration::from_millis(terms.lease))
                .with_retention(Duration::from_millis(terms.retention));
            match terms.runs_again {
                true => claim.running_again(),
                false => claim,
            }
        })
    }
}

/// The answer that a claim records, or resolves the key with.
fn answer(claim: usize) -> Bytes {
    format!("the answer of {claim}").into()
}

fn found(outcome: Option<AnswerOutcome>) -> String {
    match outcome {
        None => "free".to_owned(),
        Some(AnswerOutcome::Claimed) => "claimed".to_owned(),
        Some(AnswerOutcome::InFlight { remaining, .. }) => {
            format!("held {}", remaining.as_millis())
        }
        Some(AnswerOutcome::Unknown) => "unknown".to_owned(),
        Some(AnswerOutcome::OtherContent) => "other".to_owned(),
        Some(AnswerOutcome::Answered(answer)) => {
            format!("answered {}", String::from_utf8_lossy(&answer))
        }
        Some(other) => panic!("{other:?}"),
    }
}

fn stepped(outcome: StepOutcome) -> String {
    match outcome {
        StepOutcome::Done => "done".to_owned(),
        StepOutcome::Lost => "lost".to_owned(),
        other => panic!("{other:?}"),
    }
}

/// The answers of every store to a course that begins at this moment. The twin takes a lease to last for a
/// millisecond longer.
struct Model {
    now: u64,
    record: Option<(AnswerRecord, usize)>,
    is_twin: bool,
}

impl Model {
    fn run(course: &Course, start: u64, is_twin: bool) -> Vec<String> {
        let mut model = Self {
            now: start,
            record: None,
            is_twin,
        };
        let claims = course.claims(0);
        let said = course.asked.iter().map(|asked| model.ask(&claims, *asked));
        said.collect()
    }

    fn ask(&mut self, claims: &[AnswerClaim; 3], asked: Asked) -> String {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let now = at(self.now);
        let judge = |claim: usize| {
            let record = self.record.as_ref();
            record.and_then(|(record, _)| record.judge(&claims[claim], now))
        };
        let after = |time: Duration| now.saturating_add(time);
        let longer = Duration::from_millis(u64::from(self.is_twin));
        match asked {
            Asked::Wait(millis) => self.now += millis,
            Asked::Find(claim) => return found(judge(claim)),
            Asked::Claim(number) => {
                if let Some(outcome) = judge(number) {
                    return found(Some(outcome));
                }
                let claim = &claims[number];
                let (deadline, lease_end) =
                    (after(claim.retention()), after(claim.lease() + longer));
                let record = AnswerRecord::new(*claim.fingerprint(), deadline, lease_end);
                self.record = Some((record, number));
                return "claimed".to_owned();
            }
            Asked::Renew(claim, _)
            | Asked::Record(claim)
            | Asked::Release(claim)
            | Asked::Resolve(claim) => {
                let open = self.record.as_mut();
                let open =
                    open.filter(|(record, _)| record.deadline > now && record.answer.is_none());
                let Some((record, holder)) = open else {
                    return "lost".to_owned();
                };
                let may = match asked {
                    Asked::Resolve(_) => record.lease_end <= now,
                    _ => *holder == claim,
                };
                if !may {
                    return "lost".to_owned();
                }
                match asked {
                    Asked::Renew(_, lease) => {
                        record.lease_end = after(Duration::from_millis(lease));
                    }
                    Asked::Release(_) => self.record = None,
                    _ => record.answer = Some(answer(claim)),
                }
                return "done".to_owned();
            }
        }
        String::new()
    }
}

async fn ask_store(store: &impl AnswerStore, claims: &[AnswerClaim; 3], asked: Asked) -> String {
    match asked {
        Asked::Wait(_) => String::new(),
        Asked::Claim(claim) => found(Some(store.claim(&claims[claim]).await.unwrap())),
        Asked::Find(claim) => found(store.find(&claims[claim]).await.unwrap()),
        Asked::Renew(claim, lease) => {
            let lease = Duration::from_millis(lease);
            stepped(store.renew(&claims[claim], lease).await.unwrap())
        }
        Asked::Record(claim) => {
            stepped(store.record(&claims[claim], &answer(claim)).await.unwrap())
        }
        Asked::Release(claim) => stepped(store.release(&claims[claim]).await.unwrap()),
        Asked::Resolve(claim) => {
            stepped(store.resolve(&claims[claim], &answer(claim)).await.unwrap())
        }
    }
}

/// Compares what a store says with what the model says, in many courses, one after another. Returns
/// the course in which they differ, and what came up.
fn compare(
    usual: u32,
    is_twin: bool,
    mut run: impl FnMut(&[AnswerClaim; 3], Asked, u64) -> String,
) -> Result<BTreeSet<String>, TestError<Course>> {
    let seen = RefCell::new(BTreeSet::new());
    let mut runner = TestRunner::new(Config {
        cases: common::cases(usual),
        failure_persistence: None,
        ..Config::default()
    });
    let state = RefCell::new((0, START, &mut run));
    runner.run(&courses(), |course| {
        let (number, now, run) = &mut *state.borrow_mut();
        *number += 1;
        let claims = course.claims(*number);
        let said = Model::run(&course, *now, is_twin);
        for (asked, said) in course.asked.iter().zip(said) {
            if let Asked::Wait(millis) = asked {
                *now += millis;
            }
            prop_assert_eq!(run(&claims, *asked, *now), said.clone(), "{:?}", asked);
            let kind = format!("{asked:?}");
            let kind = kind.split('(').next().unwrap();
            seen.borrow_mut()
                .insert(format!("{kind} {}", said.split(' ').next().unwrap()));
        }
        Ok(())
    })?;
    Ok(seen.into_inner())
}

/// Every outcome of a step came up, and the store said the same as the model.
fn is_the_model(usual: u32, run: impl FnMut(&[AnswerClaim; 3], Asked, u64) -> String) {
    let seen = compare(usual, false, run).unwrap_or_else(|differs| panic!("{differs}"));
    for claimed in ["claimed", "held", "unknown", "other", "answered"] {
        assert!(seen.contains(&format!("Claim {claimed}")), "{seen:?}");
    }
    for step in ["Renew", "Record", "Release", "Resolve"] {
        for outcome in ["done", "lost"] {
            assert!(seen.contains(&format!("{step} {outcome}")), "{seen:?}");
        }
    }
}

fn set(clock: &ManualClock, millis: u64) {
    clock.set(Timestamp::from_millis(millis).unwrap());
}

fn memory() -> impl FnMut(&[AnswerClaim; 3], Asked, u64) -> String {
    let clock = ManualClock::at(Timestamp::from_millis(START).unwrap());
    let store = MemoryAnswers::builder().clock(clock.clone()).build();
    let store = store.unwrap();
    move |claims, asked, now| {
        set(&clock, now);
        common::ready(ask_store(&store, claims, asked))
    }
}

#[test]
fn the_memory_store_of_answers_is_the_model() {
    is_the_model(512, memory());
}

/// The twin: a model whose leases last for a millisecond longer is found out.
#[test]
fn a_model_that_differs_by_a_millisecond_is_found_out() {
    let differs = compare(512, true, memory()).unwrap_err();
    assert!(matches!(differs, TestError::Fail(..)), "{differs}");
}

#[cfg(feature = "sqlite")]
#[test]
fn the_sqlite_store_of_answers_is_the_model() {
    use countersign::store::SqliteAnswers;
    use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(Timestamp::from_millis(START).unwrap());
    let store = runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(folder.path().join("answers.db"));
        let options = options
            .create_if_missing(true)
            .pragma("journal_mode", "wal");
        let pool = SqlitePool::connect_with(options).await.unwrap();
        SqliteAnswers::migrate(&pool).await.unwrap();
        let builder = SqliteAnswers::builder().clock(clock.clone());
        builder.open(pool).await.unwrap()
    });
    is_the_model(64, |claims, asked, now| {
        set(&clock, now);
        runtime.block_on(ask_store(&store, claims, asked))
    });
}

/// The server's clock is one that the test sets: a function of the test's schema comes before it.
#[cfg(feature = "postgres")]
#[test]
fn the_postgres_store_of_answers_is_the_model() {
    use countersign::store::PostgresAnswers;
    use sqlx::AssertSqlSafe;

    use crate::common::database;

    const CLOCK: &str = "
        CREATE TABLE clock (millis bigint NOT NULL);
        INSERT INTO clock VALUES (0);
        CREATE FUNCTION clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql
            AS 'SELECT to_timestamp(millis / 1000.0) FROM clock';";

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some((url, schema)) = runtime.block_on(database::schema("courses of answers")) else {
        return;
    };
    let (pool, store) = runtime.block_on(async {
        let pool = database::pool_of(&url, &format!("{schema},pg_catalog"), 4).await;
        sqlx::raw_sql(CLOCK).execute(&pool).await.unwrap();
        PostgresAnswers::migrate(&pool).await.unwrap();
        let store = PostgresAnswers::open(pool.clone()).await.unwrap();
        (pool, store)
    });
    let mut shown = 0;
    is_the_model(48, |claims, asked, now| {
        runtime.block_on(async {
            if now != shown {
                let sql = format!("UPDATE clock SET millis = {now}");
                let set = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await;
                set.unwrap();
                shown = now;
            }
            ask_store(&store, claims, asked).await
        })
    });
}

#[cfg(feature = "redis")]
mod redis {
    use ::redis::{FromRedisValue, Value};

    use super::*;
    use crate::common::redis_server::{Server, programs};

    const SCRIPT: &str = include_str!("../../src/store/redis/answers.lua");
    const NOW: &str = "redis.call('TIME')";

    fn read<T: FromRedisValue>(value: Option<Value>) -> T {
        ::redis::from_redis_value(value.unwrap()).unwrap()
    }

    /// The script, asked as the store asks it. Each call has a number of its own.
    fn ask(
        connection: &mut ::redis::Connection,
        claims: &[AnswerClaim; 3],
        asked: Asked,
        now: u64,
        call: u64,
    ) -> String {
        let zero = Duration::ZERO;
        let (step, number, lease, text) = match asked {
            Asked::Wait(_) => return String::new(),
            Asked::Claim(claim) => ("claim", claim, claims[claim].lease(), Bytes::new()),
            Asked::Find(claim) => ("find", claim, zero, Bytes::new()),
            Asked::Renew(claim, lease) => {
                ("renew", claim, Duration::from_millis(lease), Bytes::new())
            }
            Asked::Record(claim) => ("record", claim, zero, answer(claim)),
            Asked::Release(claim) => ("release", claim, zero, Bytes::new()),
            Asked::Resolve(claim) => ("resolve", claim, zero, answer(claim)),
        };
        let script = SCRIPT.replace(NOW, &format!("{{{}, {}}}", now / 1000, now % 1000 * 1000));
        assert_ne!(script, SCRIPT);
        let claim = &claims[number];
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        let mut record = b"{r}".to_vec();
        record.extend_from_slice(claim.digest());
        let mut command = ::redis::cmd("EVAL");
        command.arg(&script).arg(2).arg(&record).arg("{r}index");
        command
            .arg(step)
            .arg(&claim.digest()[..])
            .arg(&claim.attempt().to_bytes()[..])
            .arg(call)
            .arg(&claim.fingerprint()[..])
            .arg(millis(claim.retention()))
            .arg(millis(lease))
            .arg(u8::from(claim.runs_again()))
            .arg(1_000_000)
            .arg(60_000)
            .arg(&text[..]);
        let answer: Vec<Value> = command.query(connection).unwrap();
        let mut answer = answer.into_iter();
        let word: String = read(answer.next());
        match word.as_str() {
            "held" => format!("held {}", read::<u64>(answer.next())),
            "answered" => format!("answered {}", read::<String>(answer.next())),
            _ => word,
        }
    }

    #[test]
    fn the_script_of_answers_is_the_model() {
        for program in programs() {
            let server = Server::start(&program, &["--save", ""]);
            let mut connection = server.connection();
            let mut call = 0;
            is_the_model(128, |claims, asked, now| {
                call += 1;
                ask(&mut connection, claims, asked, now, call)
            });
        }
    }
}
