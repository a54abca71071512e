//! The tables and functions, and what is changed in them by hand.

use std::time::Duration;

use sqlx::{PgConnection, PgPool, Row as _};

use super::{error, statement::millis};
use crate::error::StoreError;

/// The tables and functions, for those whose migrations are made elsewhere. Can be run again.
pub const SCHEMA: &str = concat!(
    include_str!("schema.sql"),
    "\n",
    include_str!("functions.sql")
);

/// Makes the [tables and functions](SCHEMA), unless they are there. Several servers may do so at once.
///
/// # Errors
/// When the database refuses or cannot be reached.
pub async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    let migration = async {
        let mut transaction = pool.begin().await?;
        // `IF NOT EXISTS` alone does not stand two at once.
        lock(&mut transaction, Lock::Wait).await?;
        sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
        transaction.commit().await
    };
    migration.await.map_err(error::of_driver)
}

/// Says that nothing was accepted before the tables were made, so that requests that were signed
/// earlier are new. To be called before the first request; later it changes nothing.
///
/// # Errors
/// When the database refuses or cannot be reached.
pub async fn assume_no_history(pool: &PgPool) -> Result<(), StoreError> {
    // Not of a database that has been fenced, or has to be: it is a copy of one that was in use.
    let sql = "UPDATE countersign_store SET since_ms = 0, written_by = DEFAULT
        WHERE NOT EXISTS (SELECT FROM countersign_namespaces)
            AND (SELECT count(*) FROM countersign_store) = 1
            AND (SELECT is_known FROM countersign_present())";
    let run = sqlx::raw_sql(sql).execute(pool).await;
    run.map(drop).map_err(error::of_driver)
}

/// Refuses what was signed up to now, and up to five seconds and `max_skew` later (503, code
/// `sign_again`): records of it may be missing.
///
/// Copies and failovers are found and fenced without this call. Call it, before servers connect, after
/// an older state of the same database was put back in a way that
/// [nothing in it shows](super#what-is-put-back-and-what-is-seen-of-it). In `psql` it is
/// `SELECT countersign_fence()`.
///
/// # Errors
/// Returns an error if the database refuses or cannot be reached.
pub async fn fence(pool: &PgPool) -> Result<(), StoreError> {
    let run = sqlx::raw_sql("SELECT countersign_fence()").execute(pool);
    run.await.map(drop).map_err(error::of_driver)
}

/// Makes a namespace remember for longer: after `max_age` and the like were raised, and before the
/// servers that need it are started, which are refused until then. The refusal names the time.
///
/// What was signed up to a minute and `max_skew` from now is refused from here on (503, code
/// `sign_again`): earlier records may be dropped too soon for the new retention.
///
/// A retention that is shorter than the present one changes nothing.
///
/// # Errors
/// When the database refuses or cannot be reached.
pub async fn extend_retention(
    pool: &PgPool,
    namespace: &str,
    retention: Duration,
) -> Result<(), StoreError> {
    sqlx::query(
        // The minute is for a statement that has read the retention and has not yet recorded anything.
        "UPDATE countersign_namespaces SET retention_ms = $2, raised_ms = greatest(
             raised_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 60000
         )
         WHERE namespace = $1 AND retention_ms < $2",
    )
    .bind(namespace)
    .bind(millis(retention))
    .execute(pool)
    .await
    .map(drop)
    .map_err(error::of_driver)
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Lock {
    Wait,
    Try,
}

/// Takes the advisory lock under which tables are made and expired rows dropped. It ends with the
/// transaction, as a pooler in front of the server needs it.
pub(super) async fn lock(connection: &mut PgConnection, lock: Lock) -> Result<bool, sqlx::Error> {
    // The bytes of `countrsg`.
    let sql = match lock {
        Lock::Wait => "SELECT true FROM pg_advisory_xact_lock(7165074649430258535)",
        Lock::Try => "SELECT pg_try_advisory_xact_lock(7165074649430258535)",
    };
    let row = sqlx::raw_sql(sql).fetch_one(connection).await?;
    row.try_get(0)
}
