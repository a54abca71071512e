//! The way to the counts of keys that all processes share.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use sqlx::{AssertSqlSafe, PgConnection, Row as _, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::{error, transaction::in_transaction, writer::connect};
use crate::{
    error::StoreError,
    message::Encoding,
    store::batched::{Exchange, Quota, Report},
};

/// The counts of one store, and a connection for them alone.
pub(super) struct Counts {
    pub(super) options: PgConnectOptions,
    pub(super) connection: Option<PgConnection>,
    pub(super) quota: Weak<Quota>,
    pub(super) wait: Duration,
}

impl Exchange for Counts {
    const DATABASE: &'static str = "PostgreSQL";

    fn quota(&self) -> Option<Arc<Quota>> {
        self.quota.upgrade()
    }

    async fn tell(&mut self, report: Report) -> Result<(), StoreError> {
        let (connection, wait) = (self.connection.take(), self.wait);
        let told = timeout(wait, exchange(&self.options, connection, report, wait)).await;
        let kept = told.unwrap_or_else(|_| Err(StoreError::unavailable("it took too long")))?;
        self.connection = Some(kept);
        Ok(())
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
