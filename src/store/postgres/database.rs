//! Transactions of the store's own, in a pool of the caller's.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::{error, pooled::PooledTransaction, time::millis};
use crate::error::StoreError;

/// A pool, and how long its database may wait for a lock, and for a statement.
pub(super) struct Database {
    pool: PgPool,
    wait: Duration,
}

impl Database {
    pub(super) fn new(pool: PgPool, wait: Duration) -> Self {
        Self { pool, wait }
    }

    /// Runs statements in a transaction of their own, which waits for no lock longer than the store
    /// does, and is on the disk when it is answered.
    pub(super) async fn transact<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let begun = PooledTransaction::begin(&self.pool).await;
        let mut transaction = begun.map_err(error::of_driver)?;
        let wait = millis(self.wait).max(1);
        let settings = format!(
            "SET LOCAL synchronous_commit = on;
            SET LOCAL lock_timeout = {wait}; SET LOCAL statement_timeout = {wait}"
        );
        let set = sqlx::raw_sql(AssertSqlSafe(settings)).execute(transaction.connection());
        set.await.map_err(error::of_driver)?;
        let answer = work(transaction.connection()).await?;
        // A timeout that struck while COMMIT waits for a standby would have it answered as a
        // success.
        let unset = sqlx::raw_sql("SET LOCAL statement_timeout = 0");
        let unset = unset.execute(transaction.connection()).await;
        unset.map_err(error::of_driver)?;
        transaction.commit().await.map_err(error::of_driver)?;
        Ok(answer)
    }
}
