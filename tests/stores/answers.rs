//! Every store of answers under its conformance suite.

use std::time::Duration;

use countersign::{
    Timestamp,
    store::{AnswerClaim, AnswerOutcome, AnswerStore, MemoryAnswers},
    testing::{
        ManualClock,
        conformance::{self, Time},
    },
};

use crate::common::log;

pub(crate) fn clock() -> ManualClock {
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

#[tokio::test]
async fn what_has_ended_makes_room_in_memory() {
    let clock = clock();
    // 200 records of 1 KiB, of which a key may have a tenth.
    let builder = MemoryAnswers::builder().capacity_bytes(200 << 10);
    let store = builder.key_share(10).clock(clock.clone()).build().unwrap();
    let pass = async |store| {
        clock.advance(HOUR);
        store
    };
    quota::what_has_ended_makes_room(store, 20, HOUR, pass).await;
}

const HOUR: Duration = Duration::from_secs(60 * 60);

#[cfg(feature = "sqlite")]
mod sqlite {
    use countersign::store::{AnswerIn as _, SqliteAnswers, SqliteAnswersBuilder, StepOutcome};
    use sqlx::{
        SqlitePool,
        sqlite::{SqliteConnectOptions, SqliteSynchronous},
    };
    use tempfile::TempDir;

    use super::{
        quota::{a_key_has_no_more_than_three, what_has_ended_makes_room},
        *,
    };
    use crate::common::assert_place;

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
        for (options, migrates, says) in [
            (hasty, true, "`synchronous=FULL`"),
            (memory, true, "name a file"),
            (options(&folder, "empty.db"), false, "a table"),
        ] {
            let pool = SqlitePool::connect_with(options).await.unwrap();
            if migrates {
                SqliteAnswers::migrate(&pool).await.unwrap();
            }
            let refused = SqliteAnswers::open(pool).await.unwrap_err();
            assert_place(&refused, says);
        }
    }

    #[tokio::test]
    async fn a_key_has_no_more_answers_in_sqlite_than_it_may() {
        let folder = tempfile::tempdir().unwrap();
        let clock = clock();
        let builder = SqliteAnswers::builder().clock(clock.clone());
        let store = open(&folder, builder.records_of_a_key(3)).await;
        a_key_has_no_more_than_three(&store).await;
        clock.advance(24 * HOUR);
        let pass = async |store| {
            clock.advance(HOUR);
            store
        };
        what_has_ended_makes_room(store, 3, HOUR, pass).await;
    }

    /// As by the store's own steps: a record whose retention has passed is nobody's.
    #[tokio::test]
    async fn no_answer_is_recorded_in_a_transaction_after_its_retention() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder, SqliteAnswers::builder()).await;
        let pool = SqlitePool::connect_with(options(&folder, "answers.db"))
            .await
            .unwrap();
        for (n, has_passed) in [(1, false), (2, true)] {
            let claim = super::quota::claim("partner", n);
            assert_eq!(store.claim(&claim).await.unwrap(), AnswerOutcome::Claimed);
            if has_passed {
                let pass = "UPDATE countersign_answer SET deadline = deadline - 86400000";
                sqlx::query(pass).execute(&pool).await.unwrap();
            }
            let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
            let answer = bytes::Bytes::from_static(b"made");
            let recorded = tx.record_answer(&claim, &answer, Duration::from_secs(1));
            let expected = if has_passed {
                StepOutcome::Lost
            } else {
                StepOutcome::Done
            };
            assert_eq!(recorded.await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn what_has_ended_is_dropped_when_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder, SqliteAnswers::builder()).await;
        let pool = SqlitePool::connect_with(options(&folder, "answers.db"))
            .await
            .unwrap();
        let pass = async || {
            let pass = "UPDATE countersign_answer SET deadline = deadline - 86400000
                WHERE digest = CAST(x'0101010101010101010101010101010101010101010101010101010101010101' AS BLOB)";
            sqlx::query(pass).execute(&pool).await.unwrap();
        };
        let drop_expired = async || SqliteAnswers::drop_expired(&pool).await.unwrap();
        super::quota::what_has_ended_is_dropped(&store, pass, drop_expired).await;
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use countersign::store::PostgresAnswers;

    use super::{
        quota::{a_key_has_no_more_than_three, what_has_ended_makes_room},
        *,
    };
    use crate::common::{assert_place, database};

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
        let store = builder.clone().open(pool.clone()).await.unwrap();
        a_key_has_no_more_than_three(&store).await;
        let delete = "DELETE FROM countersign_answers";
        sqlx::query(delete).execute(&pool).await.unwrap();
        let store = builder.clone().open(pool.clone()).await.unwrap();
        let pass = async |_| {
            let pass = "UPDATE countersign_answers SET deadline_ms = deadline_ms - 3600000";
            sqlx::query(pass).execute(&pool).await.unwrap();
            // Without a count that is believed for a second.
            builder.clone().open(pool.clone()).await.unwrap()
        };
        what_has_ended_makes_room(store, 3, HOUR, pass).await;
    }

    const CLAIM: &str = include_str!("../../src/store/postgres/answers_claim.sql");

    /// How the records that have ended were dropped once: the planner may look for them again for
    /// each row of the table.
    const TWIN: &str = "WITH clock AS MATERIALIZED (
            SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now
        ), swept AS (
            DELETE FROM countersign_answers WHERE digest IN (
                SELECT digest FROM countersign_answers
                WHERE deadline_ms <= (SELECT now FROM clock) AND digest <> $1
                LIMIT 16 FOR UPDATE SKIP LOCKED
            )
        )
        SELECT $2::bytea, $3::bytea, $4::bytea, $5::bigint, $6::bigint, $7::bool,
            $8::bool";

    /// With every plan of the database, a claim drops few records, and never the one that it has
    /// taken over.
    #[tokio::test]
    async fn a_claim_drops_few_that_have_ended_and_not_its_own() {
        let Some((pool, _)) = database::pool_and_schema("answers_swept").await else {
            return;
        };
        PostgresAnswers::migrate(&pool).await.unwrap();
        for (sql, left) in [(CLAIM, 84), (TWIN, 1)] {
            let mut tx = pool.begin().await.unwrap();
            let prepared = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
                SET LOCAL enable_hashagg = off; SET LOCAL enable_sort = off;
                SET LOCAL enable_material = off; SET LOCAL enable_memoize = off;
                SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off;
                INSERT INTO countersign_answers
                SELECT decode(lpad(to_hex(n), 64, '0'), 'hex'), '', '', '', n, 0, NULL
                FROM generate_series(1, 100) AS n";
            sqlx::raw_sql(prepared).execute(&mut *tx).await.unwrap();
            let mut own = [0_u8; 32];
            own[31] = 1;
            let claimed = sqlx::query(sql)
                .bind(own)
                .bind([1_u8])
                .bind([2_u8])
                .bind([3_u8]);
            let claimed = claimed.bind(1000_i64).bind(1000_i64).bind(false).bind(true);
            claimed.execute(&mut *tx).await.unwrap();
            let found =
                sqlx::query_as("SELECT count(*), bool_or(digest = $1) FROM countersign_answers");
            let found: (i64, bool) = found.bind(own).fetch_one(&mut *tx).await.unwrap();
            assert_eq!(found, (left, true));
        }
    }

    #[tokio::test]
    async fn what_has_ended_is_dropped_when_it_is_asked_for() {
        let Some((pool, _)) = database::pool_and_schema("answers_dropped").await else {
            return;
        };
        PostgresAnswers::migrate(&pool).await.unwrap();
        let store = PostgresAnswers::open(pool.clone()).await.unwrap();
        let pass = async || {
            let pass = "UPDATE countersign_answers SET deadline_ms = deadline_ms - 86400000
                WHERE digest = decode(repeat('01', 32), 'hex')";
            sqlx::query(pass).execute(&pool).await.unwrap();
        };
        let drop_expired = async || PostgresAnswers::drop_expired(&pool).await.unwrap();
        super::quota::what_has_ended_is_dropped(&store, pass, drop_expired).await;
    }

    #[tokio::test]
    async fn a_database_without_the_table_is_refused() {
        let Some((pool, _)) = database::pool_and_schema("no_answers").await else {
            return;
        };
        let refused = PostgresAnswers::open(pool).await.unwrap_err();
        assert_place(&refused, "a table");
        assert!(!refused.to_string().contains("PostgresStore"), "{refused}");
    }
}

mod quota {
    use countersign::{KeyId, error::StoreErrorKind};

    use super::*;

    /// A key whose records have ended is served, whatever others have left, and is not served before.
    /// `pass` lets the retention pass.
    pub async fn what_has_ended_makes_room<S: AnswerStore>(
        store: S,
        most: u8,
        retention: Duration,
        pass: impl AsyncFnOnce(S) -> S,
    ) {
        let short = |key: &str, n| claim(key, n).with_retention(retention);
        for n in 0..100 {
            let other = short(&format!("other-{n}"), n);
            assert_eq!(store.claim(&other).await.unwrap(), AnswerOutcome::Claimed);
        }
        for n in 100..100 + most {
            let own = short("partner", n);
            assert_eq!(store.claim(&own).await.unwrap(), AnswerOutcome::Claimed);
        }
        let next = claim("partner", 200);
        if !retention.is_zero() {
            let over = store.claim(&next).await.unwrap_err();
            assert_eq!(over.kind(), StoreErrorKind::KeyOverQuota);
        }
        let store = pass(store).await;
        assert_eq!(store.claim(&next).await.unwrap(), AnswerOutcome::Claimed);
    }

    /// There are two records; `pass` lets the retention of the first pass.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub async fn what_has_ended_is_dropped<S: AnswerStore>(
        store: &S,
        pass: impl AsyncFn(),
        drop_expired: impl AsyncFn() -> u64,
    ) {
        let (first, second) = (claim("partner", 1), claim("partner", 2));
        for claim in [&first, &second] {
            assert_eq!(store.claim(claim).await.unwrap(), AnswerOutcome::Claimed);
        }
        assert_eq!(drop_expired().await, 0);
        pass().await;
        assert_eq!(drop_expired().await, 1);
        assert_eq!(drop_expired().await, 0);
        assert!(store.find(&second).await.unwrap().is_some());
        assert_eq!(store.claim(&first).await.unwrap(), AnswerOutcome::Claimed);
    }

    pub fn claim(key: &str, n: u8) -> AnswerClaim {
        let key = KeyId::new(key).unwrap();
        AnswerClaim::new("quota".into(), key, [n; 32], [0; 32])
    }

    #[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
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
        // An attempt that was cut off is taken over, which adds no record.
        let cut_off = store.renew(&first, Duration::ZERO).await.unwrap();
        assert_eq!(cut_off, countersign::store::StepOutcome::Done);
        let unknown = store.claim(&claim("partner", 0)).await.unwrap();
        assert_eq!(unknown, AnswerOutcome::Unknown);
        let retry = claim("partner", 0).running_again();
        assert_eq!(store.claim(&retry).await.unwrap(), AnswerOutcome::Claimed);
        let over = store.claim(&claim("partner", 3).running_again()).await;
        assert_eq!(over.unwrap_err().kind(), StoreErrorKind::KeyOverQuota);
    }
}

#[cfg(feature = "redis")]
mod redis {
    use bytes::Bytes;
    use countersign::{
        error::StoreErrorKind,
        store::{RedisAnswers, RedisStore, StepOutcome},
    };

    use super::{
        quota::{a_key_has_no_more_than_three, what_has_ended_makes_room},
        *,
    };
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
            server.tell(&["FLUSHALL"]);
            let ended = Duration::ZERO;
            what_has_ended_makes_room(answers, 3, ended, async |store| store).await;
        }
    }

    /// A server without memory refuses, also if there are records to be dropped.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_without_memory_claims_nothing() {
        for program in programs() {
            let server = Server::start(&program, &[]);
            let store = RedisStore::open(&server.url()).await.unwrap();
            let answers = RedisAnswers::of(&store);
            let ended = super::quota::claim("partner", 1).with_retention(Duration::ZERO);
            let claimed = answers.claim(&ended).await.unwrap();
            assert_eq!(claimed, AnswerOutcome::Claimed);
            let held = [3, 4, 5].map(|n| super::quota::claim("partner", n));
            for claim in &held {
                let claimed = answers.claim(claim).await.unwrap();
                assert_eq!(claimed, AnswerOutcome::Claimed);
            }
            server.tell(&["CONFIG", "SET", "maxmemory", "1"]);
            let next = super::quota::claim("partner", 2);
            let refused = answers.claim(&next).await.unwrap_err();
            assert_eq!(refused.kind(), StoreErrorKind::Full, "{program}");
            // The holder of a key keeps it, says what was done, and gives it back.
            let [one, other, unknown] = &held;
            for claim in &held {
                assert_eq!(answers.renew(claim, HOUR).await.unwrap(), StepOutcome::Done);
            }
            let long = Bytes::from(vec![0; 17 << 10]);
            let refused = answers.record(one, &long).await.unwrap_err();
            assert_eq!(refused.kind(), StoreErrorKind::Full, "{program}");
            let short = long.slice(..16 << 10);
            assert_eq!(
                answers.record(one, &short).await.unwrap(),
                StepOutcome::Done
            );
            assert_eq!(answers.release(other).await.unwrap(), StepOutcome::Done);
            let ends = answers.renew(unknown, Duration::ZERO).await.unwrap();
            assert_eq!(ends, StepOutcome::Done);
            let resolved = answers.resolve(unknown, &short).await.unwrap();
            assert_eq!(resolved, StepOutcome::Done);
            let found = answers.find(one).await.unwrap();
            assert_eq!(found, Some(AnswerOutcome::Answered(short)));
            server.tell(&["CONFIG", "SET", "maxmemory", "0"]);
            let claimed = answers.claim(&next).await.unwrap();
            assert_eq!(claimed, AnswerOutcome::Claimed);
        }
    }

    /// No key is claimed without an answer of the server.
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
