//! PostgreSQL: nonces that are consumed in a transaction of the handler's own.
//!
//! One table remembers which requests were used, beside the tables that they change; [`migrate`]
//! makes it. A handler calls [`transact`](crate::PendingPayload::transact) with its pool, or
//! [`consume`](crate::PendingPayload::consume) with an open transaction.
//!
//! - **The server's clock decides.** A request whose deadline it has reached is refused, whatever
//!   the clock of the application says.
//! - **Copies wait.** A copy that arrives while the first one's transaction is open waits for it to
//!   end, holding a connection, for at most the
//!   [`store_timeout`](crate::VerifierBuilder::store_timeout).
//! - **Any isolation level.** At `REPEATABLE READ` and above, one of two copies may fail for
//!   serialization instead of being told a duplicate: 503, and it may come again.
//! - **Not in a savepoint.** If one were rolled back, it would take the nonce with it. PostgreSQL
//!   tells, and the consumer is refused.
//! - **What is committed lasts** as long as the database lets it: `synchronous_commit = off`, a
//!   failover to a standby that lags behind, or a backup that is restored can lose the last
//!   transactions, nonces and effects together. Whatever was done outside of the database is then
//!   done again if the request still is fresh.
//! - **The first start forgets**: what was signed before the tables were made, or up to `max_skew`
//!   later, is refused (503, code `sign_again`), for it may have been used when something else
//!   remembered it. [`assume_no_history`] says that nothing was.
//! - **Expired rows** are dropped by [`drop_expired`], which somebody has to call now and then.
//!
//! All servers of one service have to see the same tables: mind the `search_path`.

use std::time::Duration;

use sqlx::{Error, PgConnection, PgPool, Postgres, Row as _, Transaction};

use crate::{
    clock::Timestamp,
    error::{StoreError, StoreErrorKind},
    future::StoreFuture,
    nonce::{Claim, Claimed, ConsumeIn, TransactIn},
};

/// The tables, for those whose migrations are made elsewhere. Can be run again.
///
/// Times are milliseconds since the Unix epoch.
pub const SCHEMA: &str = "\
CREATE TABLE IF NOT EXISTS countersign_store (
    is_one boolean PRIMARY KEY DEFAULT true CHECK (is_one),
    -- What was signed before is not known.
    since_ms bigint NOT NULL
);
INSERT INTO countersign_store (since_ms)
    VALUES ((extract(epoch FROM clock_timestamp()) * 1000)::bigint) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS countersign_namespaces (
    namespace text PRIMARY KEY,
    -- For how long after it was signed each of its requests is remembered.
    retention_ms bigint NOT NULL,
    -- What has a deadline up to here may have been dropped, and is refused.
    dropped_up_to_ms bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS countersign_nonces (
    -- SHA-256 of namespace, key id, nonce and, where it counts, the place.
    digest bytea PRIMARY KEY,
    attempt bytea NOT NULL,
    deadline_ms bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS countersign_nonces_by_deadline ON countersign_nonces (deadline_ms);
";

/// Makes the [tables](SCHEMA), unless they are there. Several servers may do so at once.
///
/// # Errors
/// When the database refuses or cannot be reached.
pub async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    let migration = async {
        let mut transaction = pool.begin().await?;
        // `IF NOT EXISTS` alone does not stand two at once.
        lock(&mut transaction, "SELECT pg_advisory_xact_lock($1)").await?;
        sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
        transaction.commit().await
    };
    migration.await.map_err(failed)
}

/// Says that nothing was accepted before the tables were made, so that requests that were signed
/// earlier are new. To be called before the first request; later it changes nothing.
///
/// # Errors
/// When the database refuses or cannot be reached.
pub async fn assume_no_history(pool: &PgPool) -> Result<(), StoreError> {
    sqlx::query("UPDATE countersign_store SET since_ms = 0")
        .execute(pool)
        .await
        .map(|_| ())
        .map_err(failed)
}

/// Rows that one statement drops at most, so that it locks few and is done soon.
const BATCH: i64 = 1000;

/// The most batches of one call.
const MAX_BATCHES: usize = 1000;

/// Drops what has expired, in batches of 1,000 rows, each in a transaction of its own; up to a
/// million rows. Answers with how many.
///
/// Nothing goes wrong where it is not called, but for the table's growth: call it every minute or
/// so, from any number of servers, one of which then does the work. Rows are kept for a minute beyond
/// their deadline.
///
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// # async fn f(pool: sqlx::PgPool) {
/// tokio::spawn(async move {
///     let mut every_minute = tokio::time::interval(std::time::Duration::from_secs(60));
///     loop {
///         every_minute.tick().await;
///         if let Err(error) = countersign::postgres::drop_expired(&pool).await {
///             tracing::warn!(%error, "expired nonces were not dropped");
///         }
///     }
/// });
/// # }
/// ```
///
/// # Errors
/// When the database refuses or cannot be reached. What was dropped stays dropped.
pub async fn drop_expired(pool: &PgPool) -> Result<u64, StoreError> {
    let mut dropped = 0;
    for _ in 0..MAX_BATCHES {
        let batch = drop_batch(pool).await.map_err(failed)?;
        dropped += batch;
        if batch < BATCH.unsigned_abs() {
            break;
        }
    }
    Ok(dropped)
}

async fn drop_batch(pool: &PgPool) -> Result<u64, Error> {
    let mut transaction = pool.begin().await?;
    if !lock(&mut transaction, "SELECT pg_try_advisory_xact_lock($1)").await? {
        return Ok(0);
    }
    // The minute is for a statement that has looked at the clock and has not yet recorded anything.
    let dropped = sqlx::query(
        "WITH cutoff AS MATERIALIZED (
             SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint - 60000 AS ms
         ), raised AS (
             UPDATE countersign_namespaces SET dropped_up_to_ms = ms
             FROM cutoff WHERE dropped_up_to_ms < ms
         )
         DELETE FROM countersign_nonces WHERE digest IN (
             SELECT digest FROM countersign_nonces, cutoff WHERE deadline_ms <= ms
             ORDER BY deadline_ms LIMIT $1 FOR UPDATE OF countersign_nonces SKIP LOCKED
         )",
    )
    .bind(BATCH)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(dropped.rows_affected())
}

/// Takes the advisory lock under which tables are made and expired rows dropped.
async fn lock(connection: &mut PgConnection, statement: &'static str) -> Result<bool, Error> {
    let key = i64::from_be_bytes(*b"countrsg");
    let row = sqlx::query(statement)
        .bind(key)
        .fetch_one(connection)
        .await?;
    // The waiting kind answers with nothing.
    Ok(row.try_get(0).unwrap_or(true))
}

/// Makes a namespace remember for longer: after `max_age` and the like were raised, and before the
/// servers that need it are started, which are refused until then. The refusal names the time.
///
/// What was signed up to `max_skew` and a minute from now is refused from here on (503, code
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
    max_skew: Duration,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE countersign_namespaces SET retention_ms = $2, dropped_up_to_ms = greatest(
             dropped_up_to_ms,
             (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 60000 + $3 + $2
         )
         WHERE namespace = $1 AND retention_ms < $2",
    )
    .bind(namespace)
    .bind(millis(retention))
    .bind(millis(max_skew))
    .execute(pool)
    .await
    .map(|_| ())
    .map_err(failed)
}

impl ConsumeIn for Transaction<'_, Postgres> {
    fn consume<'a>(&'a mut self, claim: &'a Claim) -> StoreFuture<'a, Claimed> {
        StoreFuture::new(async move {
            if let Some(answer) = consume(self, claim).await? {
                return Ok(answer);
            }
            register(self, claim).await?;
            consume(self, claim).await?.ok_or_else(|| {
                StoreError::unavailable(
                    "another transaction has just recorded this namespace, and this one does not \
                     see it yet",
                )
            })
        })
    }

    fn is_recorded<'a>(&'a mut self, claim: &'a Claim) -> StoreFuture<'a, bool> {
        StoreFuture::new(async move {
            sqlx::query(
                "SELECT EXISTS (
                     SELECT FROM countersign_nonces WHERE digest = $1 AND attempt = $2
                 )",
            )
            .bind(claim.digest().as_slice())
            .bind(claim.attempt().to_bytes().as_slice())
            .fetch_one(&mut **self)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(failed)
        })
    }
}

impl TransactIn for PgPool {
    type Transaction = Transaction<'static, Postgres>;
    type Connection = PgConnection;

    fn begin(&self) -> StoreFuture<'_, Self::Transaction> {
        StoreFuture::new(async move { PgPool::begin(self).await.map_err(failed) })
    }

    fn connection(transaction: &mut Self::Transaction) -> &mut PgConnection {
        transaction
    }

    fn commit(transaction: Self::Transaction) -> StoreFuture<'static, ()> {
        StoreFuture::new(async move { transaction.commit().await.map_err(failed) })
    }

    fn rollback(transaction: Self::Transaction) -> StoreFuture<'static, ()> {
        StoreFuture::new(async move { transaction.rollback().await.map_err(failed) })
    }
}

/// One statement: looks at the clock, at what was dropped, and records. Twice, for what is done with
/// a duplicate; a row of an event id is locked only if it is to be extended.
macro_rules! consume {
    ($on_conflict:literal) => {
        concat!(
            "WITH terms AS MATERIALIZED (
                 SELECT now_ms, retention_ms, dropped_up_to_ms,
                        greatest($4, coalesce($5, now_ms) + retention_ms) AS keep_until_ms
                 FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms)
                      AS clock
                 JOIN countersign_namespaces ON namespace = $1
             ), recorded AS (
                 INSERT INTO countersign_nonces AS held (digest, attempt, deadline_ms)
                 SELECT $2, $3, keep_until_ms FROM terms
                 WHERE retention_ms >= $6 AND $4 > now_ms AND keep_until_ms > dropped_up_to_ms
                 ON CONFLICT (digest) ",
            $on_conflict,
            "
                 RETURNING attempt, xmin = pg_current_xact_id()::xid AS outside_savepoints
             )
             SELECT now_ms, retention_ms, dropped_up_to_ms, keep_until_ms, attempt,
                    outside_savepoints
             FROM terms LEFT JOIN recorded ON true"
        )
    };
}

const CONSUME: &str = consume!("DO NOTHING");

const CONSUME_EVENT: &str = consume!(
    "DO UPDATE SET deadline_ms = excluded.deadline_ms WHERE held.deadline_ms < excluded.deadline_ms"
);

/// `None` where the namespace is not recorded yet.
async fn consume(
    connection: &mut PgConnection,
    claim: &Claim,
) -> Result<Option<Claimed>, StoreError> {
    let statement = if claim.extends() {
        CONSUME_EVENT
    } else {
        CONSUME
    };
    let attempt = claim.attempt().to_bytes();
    let row = sqlx::query(statement)
        .bind(claim.namespace())
        .bind(claim.digest().as_slice())
        .bind(attempt.as_slice())
        .bind(at(claim.deadline()))
        .bind(claim.signed_at().map(at))
        .bind(millis(claim.retention()))
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };

    let time = |column| row.try_get::<i64, _>(column).map_err(failed);
    let (now, retention) = (time("now_ms")?, time("retention_ms")?);
    let (dropped_up_to, keep_until) = (time("dropped_up_to_ms")?, time("keep_until_ms")?);
    if retention < millis(claim.retention()) {
        return Err(StoreError::unavailable(format!(
            "namespace `{}` remembers for {retention} ms in this database, and {} ms are needed; \
             see `extend_retention`",
            claim.namespace(),
            millis(claim.retention()),
        )));
    }
    if at(claim.deadline()) <= now || keep_until <= dropped_up_to {
        return Err(StoreError::new(
            StoreErrorKind::SignAgain,
            format!(
                "to be remembered until {} ms, and the database's clock shows {now} ms, with all \
                 dropped up to {dropped_up_to} ms",
                at(claim.deadline()),
            ),
        ));
    }
    let recorded: Option<&[u8]> = row.try_get("attempt").map_err(failed)?;
    if recorded != Some(attempt.as_slice()) {
        return Ok(Some(Claimed::Replayed));
    }
    if row.try_get("outside_savepoints").map_err(failed)? {
        Ok(Some(Claimed::New))
    } else {
        Err(StoreError::unavailable(
            "consumed in a savepoint, which would take the nonce with it if it were rolled back; \
             consume before any savepoint",
        ))
    }
}

/// The first request of a namespace says for how long its requests are remembered. What was signed
/// up to `since_ms` and the skew counts as dropped.
async fn register(connection: &mut PgConnection, claim: &Claim) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO countersign_namespaces (namespace, retention_ms, dropped_up_to_ms)
         SELECT $1, $2, since_ms + $3 + $2 FROM countersign_store
         ON CONFLICT (namespace) DO NOTHING",
    )
    .bind(claim.namespace())
    .bind(millis(claim.retention()))
    .bind(millis(claim.max_skew()))
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(failed)
}

fn failed(error: Error) -> StoreError {
    let missing = error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| code == "42P01");
    let message = if missing {
        "a table is missing in PostgreSQL; `countersign::postgres::migrate` makes those of nonces"
    } else {
        "PostgreSQL failed or gave no answer"
    };
    StoreError::unavailable(message).with_source(error)
}

fn at(time: Timestamp) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
