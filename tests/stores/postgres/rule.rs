//! The rule of what may have been forgotten is the same in SQL as in Rust.

use std::{cell::RefCell, collections::BTreeSet, time::Duration};

use countersign::{
    KeyId, Timestamp,
    store::{Claim, Forgotten, History, Nonce, NonceKind},
};
use proptest::{prelude::*, test_runner::TestRunner};
use sqlx::{PgPool, Row as _};

/// Milliseconds after `START`, or durations in milliseconds: few, so that they meet at each bound.
type Case = (
    (u64, Option<u64>, u64, u64),
    (u64, Option<u64>, Option<u64>, Option<u64>, u64),
);

const START: u64 = 1_700_000_000_000;

fn cases() -> impl Strategy<Value = Vec<Case>> {
    let time = || 0..8u64;
    let maybe = || prop::option::of(0..8u64);
    let claim = (time(), maybe(), 0..3u64, 0..4u64);
    let history = (time(), maybe(), maybe(), maybe(), 0..4u64);
    prop::collection::vec((claim, history), 1..200)
}

fn moment(millis: u64) -> Timestamp {
    Timestamp::from_millis(START + millis).unwrap()
}

fn in_rust(case: &Case) -> (Option<&'static str>, u64) {
    let ((deadline, signed, skew, needs), (now, since, raised, dropped, retention)) = *case;
    let duration = Duration::from_millis;
    let nonce = Nonce::new(NonceKind::Covered, "n");
    let key = KeyId::new("k").unwrap();
    let mut claim = Claim::new("tests".into(), key, nonce, moment(deadline));
    claim = claim.with_retention(duration(needs));
    if let Some(signed) = signed {
        claim = claim.signed(moment(signed), duration(skew));
    }
    let or_none = |millis: Option<u64>| millis.map_or(Timestamp::EPOCH, moment);
    let history = History::since(or_none(since))
        .raised_at(or_none(raised))
        .dropped_up_to(or_none(dropped))
        .remembering(duration(retention));
    let now = moment(now);
    let taken = history.takes(&claim, now);
    let refusal = taken.and_then(|()| history.vouches_for(&claim)).err();
    let refusal = refusal.map(|why| match why {
        Forgotten::Retention => "retention",
        Forgotten::Past => "past",
        Forgotten::Start => "start",
        Forgotten::Raised => "raised",
        Forgotten::Dropped => "dropped",
        why => panic!("{why:?} is not known to PostgreSQL"),
    });
    (refusal, history.keep_until(&claim, now).as_millis())
}

async fn in_sql(pool: &PgPool, cases: &[Case]) -> Vec<(Option<String>, u64)> {
    let column = |of: &dyn Fn(&Case) -> Option<u64>| -> Vec<Option<i64>> {
        let value = |case| of(case).map(|value| value.try_into().unwrap());
        cases.iter().map(value).collect()
    };
    let at = |millis: u64| Some(START + millis);
    let or_zero = |millis: Option<u64>| Some(millis.map_or(0, |millis| START + millis));
    let rows = sqlx::query(
        "SELECT countersign_refusal(deadline, signed, skew, needs, now, since, raised, dropped,
                    retention),
                countersign_keep_until(deadline, needs, now, retention)
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],
                $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[]) WITH ORDINALITY
            AS given (deadline, signed, skew, needs, now, since, raised, dropped, retention, place)
        ORDER BY place",
    )
    .bind(column(&|case| at(case.0.0)))
    .bind(column(&|case| case.0.1.and_then(at)))
    .bind(column(&|case| Some(case.0.2)))
    .bind(column(&|case| Some(case.0.3)))
    .bind(column(&|case| at(case.1.0)))
    .bind(column(&|case| or_zero(case.1.1)))
    .bind(column(&|case| or_zero(case.1.2)))
    .bind(column(&|case| or_zero(case.1.3)))
    .bind(column(&|case| Some(case.1.4)))
    .fetch_all(pool)
    .await
    .unwrap();
    let answer = |row: &sqlx::postgres::PgRow| {
        let keep_until: i64 = row.get(1);
        (row.get(0), keep_until.try_into().unwrap())
    };
    rows.iter().map(answer).collect()
}

#[test]
fn what_may_have_been_forgotten_is_the_same_in_sql() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(pool) = runtime.block_on(crate::common::database::pool("the rule in SQL")) else {
        return;
    };
    let seen = RefCell::new(BTreeSet::new());
    let compared = TestRunner::default().run(&cases(), |cases| {
        let rust: Vec<_> = cases.iter().map(in_rust).collect();
        let sql = runtime.block_on(in_sql(&pool, &cases));
        for ((case, rust), (refusal, keep_until)) in cases.iter().zip(rust).zip(&sql) {
            prop_assert_eq!(rust, (refusal.as_deref(), *keep_until), "{:?}", case);
            seen.borrow_mut().insert(refusal.clone());
        }
        prop_assert_eq!(cases.len(), sql.len());
        Ok(())
    });
    compared.unwrap();
    let seen = seen.into_inner();
    assert_eq!(seen.len(), 6, "each refusal, and none: {seen:?}");
}
