//! The task that puts the counts of keys together.

use std::{sync::Weak, time::Duration};

use sqlx::{AssertSqlSafe, PgConnection, Row as _, postgres::PgConnectOptions};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{error, transaction::in_transaction, writer::connect};
use crate::{
    error::StoreError,
    message::Encoding,
    store::quota::{EXCHANGE, Quota, Report},
};

/// Puts counts together every second, until the store is dropped.
pub(super) async fn run(options: PgConnectOptions, quota: Weak<Quota>, wait: Duration) {
    let mut connection = None;
    let mut ticks = interval(EXCHANGE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(quota) = quota.upgrade() else {
            return;
        };
        for report in quota.reports() {
            let told = timeout(wait, exchange(&options, connection.take(), report, wait)).await;
            match told.unwrap_or_else(|_| Err(StoreError::unavailable("it took too long"))) {
                Ok(kept) => connection = Some(kept),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the records of a key were not counted in PostgreSQL");
                    break;
                }
            }
        }
    }
}

/// Answers with the connection, if it is still good.
async fn exchange(
    options: &PgConnectOptions,
    connection: Option<PgConnection>,
    report: Report,
    wait: Duration,
) -> Result<PgConnection, StoreError> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => connect(options).await?,
    };
    let owner = Encoding::Hex.encode(&report.owner);
    let (change, end) = (report.change, report.end);
    let sql = format!("SELECT * FROM countersign_count('{owner}', {change}, {end})");
    let rows = sqlx::raw_sql(AssertSqlSafe(in_transaction(&sql, wait)))
        .fetch_all(&mut connection)
        .await
        .map_err(error::of_driver)?;
    let row = rows
        .first()
        .ok_or_else(|| StoreError::unavailable("PostgreSQL did not say how many there are"))?;
    let (records, fewer_at): (i64, i64) = (
        row.try_get(0).map_err(error::of_driver)?,
        row.try_get(1).map_err(error::of_driver)?,
    );
    report.told(
        u64::try_from(records).unwrap_or_default(),
        u64::try_from(fewer_at).unwrap_or_default(),
    );
    Ok(connection)
}
