//! Drops what has expired.

use std::{convert::Infallible, time::Duration};

use sqlx::{Connection as _, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::{sync::mpsc, time::timeout};

use super::{
    error,
    schema::{Lock, lock},
    transaction::FENCE_A_COPY,
    writer::connect,
};
use crate::{
    error::StoreError,
    store::batched::{Sweep, sweep},
};

/// Rows that one statement drops at most, so that it locks few and is done soon.
const BATCH: u64 = 1000;

/// The most batches of one call.
const MAX_BATCHES: usize = 1000;

const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// For how long a batch may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// See [`PostgresStore::drop_expired`](super::PostgresStore::drop_expired).
pub(super) async fn drop_expired(pool: &PgPool) -> Result<u64, sqlx::Error> {
    in_batches(pool, drop_batch).await
}

/// Drops in batches of [`BATCH`] rows until one is not full.
pub(super) async fn in_batches(
    pool: &PgPool,
    drop_batch: impl AsyncFn(&mut PgConnection) -> Result<u64, sqlx::Error>,
) -> Result<u64, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let mut dropped = 0;
    for _ in 0..MAX_BATCHES {
        let batch = drop_batch(&mut connection).await?;
        dropped += batch;
        if batch < BATCH {
            break;
        }
    }
    Ok(dropped)
}

/// Drops what has expired while the store is there.
pub(super) async fn run(options: PgConnectOptions, store: mpsc::Receiver<Infallible>) {
    let mut sweeper = Sweeper {
        options,
        connection: None,
        store,
    };
    sweep(&mut sweeper, SWEEP_EVERY).await;
}

struct Sweeper {
    options: PgConnectOptions,
    /// `None` after an error, because the state of the session ends with the connection.
    connection: Option<PgConnection>,
    /// Nothing comes but the end, with the store's.
    store: mpsc::Receiver<Infallible>,
}

impl Sweep for Sweeper {
    async fn rest(&mut self, pause: Duration) -> bool {
        timeout(pause, self.store.recv()).await.is_err()
    }

    async fn step(&mut self) -> Result<Duration, StoreError> {
        let connection = self.connection.take();
        let dropped = timeout(PATIENCE, async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => connect(&self.options).await?,
            };
            let dropped = drop_batch(&mut connection).await;
            Ok((connection, dropped.map_err(error::of_driver)?))
        });
        let (connection, dropped) = dropped
            .await
            .unwrap_or_else(|_| Err(StoreError::unavailable("it took too long")))?;
        self.connection = Some(connection);
        Ok(if dropped < BATCH {
            SWEEP_EVERY
        } else {
            Duration::ZERO
        })
    }
}

async fn drop_batch(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    if !lock(&mut transaction, Lock::Try).await? {
        return Ok(0);
    }
    // A handler that consumes may roll back the fence that it finds necessary; this one stays.
    let fence = sqlx::raw_sql(FENCE_A_COPY);
    fence.execute(&mut *transaction).await?;
    // The minute is for a statement that has looked at the clock and has not yet recorded anything.
    let dropped = sqlx::raw_sql(
        "WITH here AS MATERIALIZED (
             SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms
         ), raised AS (
             UPDATE countersign_namespaces SET dropped_up_to_ms = now_ms - 60000
             FROM here WHERE dropped_up_to_ms < now_ms - 60000
         ), expired AS MATERIALIZED (
             SELECT digest FROM countersign_nonces
             WHERE deadline_ms <= (SELECT now_ms - 60000 FROM here)
                 AND (lease_end_ms IS NULL OR lease_end_ms <= (SELECT now_ms FROM here))
             ORDER BY deadline_ms LIMIT 1000 FOR UPDATE SKIP LOCKED
         )
         DELETE FROM countersign_nonces USING expired
         WHERE countersign_nonces.digest = expired.digest",
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(dropped.rows_affected())
}
