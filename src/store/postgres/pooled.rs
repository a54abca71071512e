//! A transaction on a connection of a handler's pool, which closes the connection rather than leave
//! a wait for the server in the pool.

use std::fmt;

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection, postgres::PgTransactionManager};
use sqlx_core::transaction::TransactionManager as _;

/// A transaction that [`transact`](crate::PendingPayload::transact) has begun.
///
/// Dropped before its COMMIT or ROLLBACK was answered, it closes its connection, and PostgreSQL
/// rolls back. A connection that went back to the pool would be of no use, and counted, until the
/// server has answered what is outstanding.
pub struct PooledTransaction {
    connection: PoolConnection<Postgres>,
    is_open: bool,
}

impl PooledTransaction {
    pub(super) async fn begin(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let connection = pool.acquire().await?;
        let mut transaction = Self {
            connection,
            is_open: true,
        };
        PgTransactionManager::begin(&mut transaction.connection, None).await?;
        Ok(transaction)
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        PgTransactionManager::commit(&mut self.connection).await?;
        self.is_open = false;
        Ok(())
    }

    pub(super) async fn roll_back(mut self) -> Result<(), sqlx::Error> {
        PgTransactionManager::rollback(&mut self.connection).await?;
        self.is_open = false;
        Ok(())
    }
}

impl Drop for PooledTransaction {
    fn drop(&mut self) {
        if self.is_open {
            self.connection.close_on_drop();
        }
    }
}

impl fmt::Debug for PooledTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PooledTransaction")
    }
}
