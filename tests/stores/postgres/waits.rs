//! A transaction of a handler's may be open for long: it keeps copies of its own request waiting, and
//! nobody else.

use std::time::Duration;

use countersign::{
    error::StoreErrorKind,
    store::{ClaimOutcome, ConsumeIn as _, PostgresStore},
};
use sqlx::PgPool;
use tokio::time::timeout;

use super::{ask, claim};
use crate::common::{database, log};

/// Far above what a statement takes that waits for nothing.
const LONG: Duration = Duration::from_secs(30);

async fn store(pool: &PgPool) -> PostgresStore {
    log::listen();
    let options = (*pool.connect_options()).clone();
    let store = PostgresStore::builder().timeout(LONG);
    store.open(options).await.unwrap()
}

async fn consumed(pool: &PgPool, nonce: u64) -> Result<ClaimOutcome, StoreErrorKind> {
    let mut transaction = pool.begin().await.unwrap();
    let consumed = transaction.consume(&claim(nonce), LONG).await;
    transaction.commit().await.unwrap();
    consumed.map_err(|error| error.kind())
}

/// The answers to others while `first` is open.
async fn others_are_told(pool: &PgPool, told: Result<ClaimOutcome, StoreErrorKind>) {
    let store = store(pool).await;
    let others = async {
        assert_eq!(consumed(pool, 2).await, told);
        assert_eq!(ask(&store, &claim(3)).await, told);
        store.check().await.unwrap();
        countersign::store::PostgresStore::drop_expired(pool)
            .await
            .unwrap();
        assert_eq!(consumed(pool, 4).await, told);
    };
    timeout(LONG, others).await.expect("nobody waits");
}

async fn waiting_for(pool: &PgPool, process: i32) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))";
    let waiting = sqlx::query_scalar(sql).bind(process);
    waiting.fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn the_first_transaction_of_a_namespace_keeps_only_its_copies_waiting() {
    let Some(pool) = database::pool("an open transaction").await else {
        return;
    };
    let mut first = pool.begin().await.unwrap();
    assert_eq!(
        first.consume(&claim(1), LONG).await.unwrap(),
        ClaimOutcome::New
    );
    others_are_told(&pool, Ok(ClaimOutcome::New)).await;

    // The twin: a copy waits.
    let copy = tokio::spawn({
        let pool = pool.clone();
        async move { consumed(&pool, 1).await }
    });
    let process = sqlx::query_scalar("SELECT pg_backend_pid()");
    let process: i32 = process.fetch_one(&mut *first).await.unwrap();
    while waiting_for(&pool, process).await == 0 {
        tokio::task::yield_now().await;
    }
    first.commit().await.unwrap();
    assert_eq!(copy.await.unwrap(), Ok(ClaimOutcome::Replayed));
    assert_eq!(consumed(&pool, 3).await, Ok(ClaimOutcome::Replayed));
}

#[tokio::test]
async fn the_first_transaction_after_a_failover_keeps_nobody_waiting() {
    let Some(pool) = database::pool("an open transaction after a failover").await else {
        return;
    };
    assert_eq!(consumed(&pool, 0).await, Ok(ClaimOutcome::New));
    let ended = "UPDATE countersign_store SET timeline = 'that ended', written_by = DEFAULT";
    sqlx::raw_sql(ended).execute(&pool).await.unwrap();

    let again = StoreErrorKind::SignAgain;
    let mut first = pool.begin().await.unwrap();
    let refused = first.consume(&claim(1), LONG).await.unwrap_err();
    assert_eq!(refused.kind(), again);
    others_are_told(&pool, Err(again)).await;
    // Nor do those that were fenced twice forget it.
    first.commit().await.unwrap();
    assert_eq!(consumed(&pool, 5).await, Err(again));
    let fences = "SELECT count(*) FROM countersign_store WHERE since_ms >
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    assert!(database::count(&pool, fences).await >= 2);
}
