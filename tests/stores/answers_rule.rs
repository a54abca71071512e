//! The rule of what a claim on the key of an answer finds is the same in SQL and in Lua as in Rust.

use std::collections::BTreeSet;

use countersign::{
    KeyId, Timestamp,
    store::{AnswerClaim, AnswerOutcome, AnswerRecord},
};
use proptest::{prelude::*, test_runner::TestRunner};

const START: u64 = 1_700_000_000_000;

/// A record, if there is one, and a claim. Times are milliseconds after `START`: few, so that they meet.
#[derive(Clone, Debug)]
struct Case {
    is_there: bool,
    deadline: u64,
    lease_end: u64,
    is_answered: bool,
    says_the_same: bool,
    runs_again: bool,
    now: u64,
}

fn cases() -> impl Strategy<Value = Vec<Case>> {
    let time = || 0..5u64;
    let case = (
        prop::bool::weighted(0.9),
        time(),
        time(),
        any::<[bool; 3]>(),
        time(),
    );
    let case = case.prop_map(
        |(is_there, deadline, lease_end, [answered, same, again], now)| Case {
            is_there,
            deadline,
            lease_end,
            is_answered: answered,
            says_the_same: same,
            runs_again: again,
            now,
        },
    );
    prop::collection::vec(case, 1..40)
}

const ANSWER: &str = "the answer";
const CLAIMED: [u8; 32] = [1; 32];

impl Case {
    fn fingerprint(&self) -> [u8; 32] {
        if self.says_the_same { CLAIMED } else { [2; 32] }
    }

    /// Returns what the claim finds, in one word, and for how long it must wait.
    fn in_rust(&self) -> (&'static str, u64) {
        let at = |millis| Timestamp::from_millis(START + millis).unwrap();
        let key = KeyId::new("k").unwrap();
        let mut claim = AnswerClaim::new("tests".into(), key, [0; 32], CLAIMED);
        if self.runs_again {
            claim = claim.running_again();
        }
        let mut record =
            AnswerRecord::new(self.fingerprint(), at(self.deadline), at(self.lease_end));
        record.answer = self.is_answered.then(|| ANSWER.into());
        match record.judge(&claim, at(self.now)).filter(|_| self.is_there) {
            None => ("free", 0),
            Some(AnswerOutcome::OtherContent) => ("other", 0),
            Some(AnswerOutcome::Answered(_)) => ("answered", 0),
            Some(AnswerOutcome::Unknown) => ("unknown", 0),
            Some(AnswerOutcome::InFlight { remaining, .. }) => {
                ("held", remaining.as_millis().try_into().unwrap())
            }
            Some(other) => panic!("{other:?}"),
        }
    }
}

/// Compares what `found` finds with what Rust does, in many cases; all of these came up.
fn is_the_same(found: impl Fn(&[Case]) -> Vec<bool>) {
    let seen = std::cell::RefCell::new(BTreeSet::new());
    let compared = TestRunner::default().run(&cases(), |cases| {
        for (case, is_same) in cases.iter().zip(found(&cases)) {
            prop_assert!(is_same, "{:?}: {:?} in Rust", case, case.in_rust());
            seen.borrow_mut().insert(case.in_rust().0);
        }
        Ok(())
    });
    compared.unwrap();
    let all = ["answered", "free", "held", "other", "unknown"];
    assert_eq!(seen.into_inner(), BTreeSet::from(all));
}

#[cfg(feature = "postgres")]
mod postgres {
    use countersign::store::PostgresAnswers;
    use sqlx::{AssertSqlSafe, PgPool};

    use super::*;

    const CLAIM: &str = include_str!("../../src/store/postgres/answers_claim.sql");
    const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

    /// In each case, the claim has the key if, and only if, it is free in Rust.
    async fn same(pool: &PgPool, cases: &[Case], free: fn(&Case) -> bool) -> Vec<bool> {
        let mut same = Vec::new();
        let mut tx = pool.begin().await.unwrap();
        for case in cases {
            let at = |millis| i64::try_from(START + millis).unwrap();
            let delete = sqlx::query("DELETE FROM countersign_answers");
            delete.execute(&mut *tx).await.unwrap();
            if case.is_there {
                let insert = "INSERT INTO countersign_answers VALUES ($1, $2, $3, $4, $5, $6, $7)";
                let insert = sqlx::query(insert)
                    .bind([0_u8; 32])
                    .bind([0_u8])
                    .bind(case.fingerprint());
                let insert = insert
                    .bind([0_u8; 16])
                    .bind(at(case.deadline))
                    .bind(at(case.lease_end));
                let insert = insert.bind(case.is_answered.then_some(ANSWER.as_bytes()));
                insert.execute(&mut *tx).await.unwrap();
            }
            let sql = CLAIM.replace(NOW, &format!("{}::bigint", at(case.now)));
            assert_ne!(sql, CLAIM);
            let claim = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false);
            let claim = claim
                .bind([0_u8; 32])
                .bind([0_u8])
                .bind(CLAIMED)
                .bind([1_u8; 16]);
            let claim = claim.bind(1000_i64).bind(1000_i64);
            let claim = claim.bind(case.runs_again).bind(true);
            let claimed: bool = claim.fetch_one(&mut *tx).await.unwrap();
            same.push(claimed == free(case));
        }
        same
    }

    #[test]
    fn a_key_is_free_in_sql_when_it_is_free_in_rust() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let pool = runtime.block_on(crate::common::database::pool("the rule of answers"));
        let Some(pool) = pool else {
            return;
        };
        runtime.block_on(PostgresAnswers::migrate(&pool)).unwrap();
        is_the_same(|cases| {
            runtime.block_on(same(&pool, cases, |case| case.in_rust().0 == "free"))
        });
        // The twin: a rule in which a deadline counts for a millisecond longer.
        let longer = |case: &Case| {
            let mut case = case.clone();
            case.deadline += 1;
            case.in_rust().0 == "free"
        };
        let case = Case {
            is_there: true,
            deadline: 1,
            lease_end: 0,
            is_answered: true,
            says_the_same: true,
            runs_again: false,
            now: 1,
        };
        assert_eq!(runtime.block_on(same(&pool, &[case], longer)), [false]);
    }
}

#[cfg(feature = "redis")]
mod redis {
    use ::redis::Value;

    use super::*;
    use crate::common::redis_server::{Server, programs};

    const SCRIPT: &str = include_str!("../../src/store/redis/answers.lua");
    const NOW: &str = "redis.call('TIME')";

    /// Returns what the script says about a claim, and of a search.
    fn found(connection: &mut ::redis::Connection, case: &Case, step: &str) -> (String, u64) {
        let mut ask = |words: &[&[u8]]| {
            let mut command = ::redis::Cmd::new();
            words.iter().for_each(|word| {
                command.arg(word);
            });
            command.query::<Value>(connection).unwrap()
        };
        let at = |millis: u64| (START + millis).to_string().into_bytes();
        ask(&[b"FLUSHALL"]);
        if case.is_there {
            let (deadline, lease_end) = (at(case.deadline), at(case.lease_end));
            let fingerprint = case.fingerprint();
            let mut record: Vec<&[u8]> = vec![b"HSET", b"{r}", b"fingerprint", &fingerprint];
            record.extend([b"attempt".as_slice(), b"a", b"call", b"c"]);
            record.extend([b"deadline".as_slice(), &deadline, b"lease", &lease_end]);
            if case.is_answered {
                record.extend([b"answer".as_slice(), ANSWER.as_bytes()]);
            }
            ask(&record);
        }
        let now = START + case.now;
        let script = SCRIPT.replace(NOW, &format!("{{{}, {}}}", now / 1000, now % 1000 * 1000));
        assert_ne!(script, SCRIPT);
        let runs_again = u8::from(case.runs_again).to_string();
        let words: [&[u8]; 16] = [
            b"EVAL",
            script.as_bytes(),
            b"2",
            b"{r}",
            b"{r}i",
            step.as_bytes(),
            b"m",
            b"b",
            b"d",
            &CLAIMED,
            b"1000",
            b"1000",
            runs_again.as_bytes(),
            b"9",
            b"9",
            b"",
        ];
        let answer = ask(&words);
        let answer: Vec<Value> = ::redis::from_redis_value(answer).unwrap();
        let mut answer = answer.into_iter();
        let word: String = ::redis::from_redis_value(answer.next().unwrap()).unwrap();
        let wait = match word.as_str() {
            "held" => ::redis::from_redis_value(answer.next().unwrap()).unwrap(),
            _ => 0,
        };
        (word, wait)
    }

    #[test]
    fn a_claim_finds_in_the_script_what_it_finds_in_rust() {
        for program in programs() {
            let server = Server::start(&program, &["--save", ""]);
            let connection = std::cell::RefCell::new(server.connection());
            is_the_same(|cases| {
                let same = cases.iter().map(|case| {
                    let mut connection = connection.borrow_mut();
                    let (word, wait) = case.in_rust();
                    let claimed = if word == "free" { "claimed" } else { word };
                    found(&mut connection, case, "find") == (word.to_owned(), wait)
                        && found(&mut connection, case, "claim") == (claimed.to_owned(), wait)
                });
                same.collect()
            });
        }
    }
}
