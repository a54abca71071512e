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
use crate::{error::StoreError, store::batched::Pace};

/// Rows that one statement drops at most, so that it locks few and is done soon.
const BATCH: u64 = 1000;

/// The most batches of one call.
const MAX_BATCHES: usize = 1000;

const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// For how long a batch may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// See [`PostgresStore::drop_expired`](super::PostgresStore::drop_expired).
pub(super) async fn drop_expired(pool: &PgPool) -> Result<u64, sqlx::Error> {
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

/// Drops on until the store is gone, whose end of the channel this waits for. What fails is tried
/// again, after a while.
pub(super) async fn run(options: PgConnectOptions, mut store: mpsc::Receiver<Infallible>) {
    let mut connection = None;
    let mut pace = Pace::default();
    let mut pause = SWEEP_EVERY;
    while timeout(pause, store.recv()).await.is_err() {
        let swept = timeout(PATIENCE, sweep(&options, connection.take())).await;
        let swept = swept.unwrap_or_else(|_| Err(StoreError::unavailable("it took too long")));
        pause = pace.pause(swept.map(|(kept, dropped)| {
            connection = Some(kept);
            if dropped < BATCH {
                SWEEP_EVERY
            } else {
                Duration::ZERO
            }
        }));
    }
}

/// A batch, on a connection that is given back if it is still good.
async fn sweep(
    options: &PgConnectOptions,
    connection: Option<PgConnection>,
) -> Result<(PgConnection, u64), StoreError> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => connect(options).await?,
    };
    let dropped = drop_batch(&mut connection)
        .await
        .map_err(error::of_driver)?;
    Ok((connection, dropped))
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
