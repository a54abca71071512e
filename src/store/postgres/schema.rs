//! The tables and functions, and what is changed in them by hand.

use std::time::Duration;

use sqlx::{PgConnection, PgPool, Row as _};

use super::time::millis;

/// See [`PostgresStore::SCHEMA`](super::PostgresStore::SCHEMA), as the functions below.
pub(super) const SCHEMA: &str = concat!(
    include_str!("schema.sql"),
    "\n",
    include_str!("functions.sql")
);

pub(super) async fn migrate(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    // `IF NOT EXISTS` alone fails if two run at once.
    lock(&mut transaction, Lock::Wait).await?;
    sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
    transaction.commit().await
}

pub(super) async fn assume_no_history(pool: &PgPool) -> Result<(), sqlx::Error> {
    // A database that has been fenced, or must be, is left as it is: it is a copy of one that was
    // in use.
    let sql = "UPDATE countersign_store SET since_ms = 0, written_by = DEFAULT
        WHERE NOT EXISTS (SELECT FROM countersign_namespaces)
            AND (SELECT count(*) FROM countersign_store) = 1
            AND (SELECT is_known FROM countersign_present())";
    sqlx::raw_sql(sql).execute(pool).await.map(drop)
}

pub(super) async fn fence(pool: &PgPool) -> Result<(), sqlx::Error> {
    let run = sqlx::raw_sql("SELECT countersign_fence()").execute(pool);
    run.await.map(drop)
}

pub(super) async fn extend_retention(
    connection: &mut PgConnection,
    namespace: &str,
    retention: Duration,
) -> Result<(), sqlx::Error> {
    // The minute is for a statement that has read the retention and has not yet recorded anything.
    let sql = "UPDATE countersign_namespaces SET retention_ms = $2, raised_ms = greatest(
            raised_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 60000
        )
        WHERE namespace = $1 AND retention_ms < $2";
    let query = sqlx::query(sql).persistent(false).bind(namespace);
    let run = query.bind(millis(retention)).execute(connection);
    run.await.map(drop)
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Lock {
    Wait,
    Try,
}

/// Takes the advisory lock under which the tables of a schema are made and expired rows dropped. It
/// ends with the transaction, as a pooler in front of the server needs it.
pub(super) async fn lock(connection: &mut PgConnection, lock: Lock) -> Result<bool, sqlx::Error> {
    // The bytes of `csgs`. Advisory locks are the whole database's: the schema keeps the sweep of
    // one application from holding up that of another.
    let sql = match lock {
        Lock::Wait => {
            "SELECT true FROM pg_advisory_xact_lock(x'63736773'::integer, hashtext(current_schema()))"
        }
        Lock::Try => {
            "SELECT pg_try_advisory_xact_lock(x'63736773'::integer, hashtext(current_schema()))"
        }
    };
    let row = sqlx::raw_sql(sql).fetch_one(connection).await?;
    row.try_get(0)
}
