//! A schema of its own for each test, in the PostgreSQL server that `tests/run.sh` has started.

use std::{
    env,
    str::FromStr as _,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use countersign::store::PostgresStore;
use sqlx::{
    AssertSqlSafe, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::log;

pub const URL: &str = "COUNTERSIGN_POSTGRES_URL";

/// A pool on a new schema with the tables of nonces, and a table for effects; `None`, and a word
/// about it, where there is no server.
pub async fn pool(test: &str) -> Option<PgPool> {
    pool_and_schema(test).await.map(|(pool, _)| pool)
}

pub async fn pool_and_schema(test: &str) -> Option<(PgPool, String)> {
    let (url, schema) = schema(test).await?;
    let pool = pool_of(&url, &schema, 40).await;
    PostgresStore::migrate(&pool).await.unwrap();
    PostgresStore::danger_assume_no_history(&pool)
        .await
        .unwrap();
    sqlx::raw_sql("CREATE TABLE effects (request text NOT NULL)")
        .execute(&pool)
        .await
        .unwrap();
    Some((pool, schema))
}

/// The server, and a new schema in it without tables.
pub async fn schema(test: &str) -> Option<(String, String)> {
    let url = url(test)?;
    // Two tests may begin in one nanosecond, as the clock shows it.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let schema = format!("test_{}_{}_{count}", std::process::id(), now.as_nanos());
    let admin = pool_of(&url, "public", 1).await;
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE SCHEMA {schema}")))
        .execute(&admin)
        .await
        .unwrap();
    admin.close().await;
    Some((url, schema))
}

/// The server's; `None`, and a word about it, where there is none.
pub fn url(test: &str) -> Option<String> {
    if let Ok(url) = env::var(URL) {
        return Some(url);
    }
    log::missing(test, &format!("{URL} names no PostgreSQL server"));
    None
}

pub async fn pool_of(url: &str, schema: &str, connections: u32) -> PgPool {
    let options = PgConnectOptions::from_str(url)
        .unwrap()
        .options([("search_path", schema)]);
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(60))
        .connect_with(options)
        .await
        .unwrap()
}

pub async fn effects(pool: &PgPool) -> i64 {
    count(pool, "SELECT count(*) FROM effects").await
}

pub async fn nonces(pool: &PgPool) -> i64 {
    count(pool, "SELECT count(*) FROM countersign_nonces").await
}

/// Returns how many backends that use the nonces of this schema wait for a lock.
pub async fn waiting(pool: &PgPool) -> i64 {
    let waiting = "SELECT count(*) FROM pg_locks AS wanted JOIN pg_locks AS held USING (pid)
        WHERE NOT wanted.granted AND held.relation = 'countersign_nonces'::regclass";
    count(pool, waiting).await
}

pub async fn count(pool: &PgPool, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(pool).await.unwrap()
}
