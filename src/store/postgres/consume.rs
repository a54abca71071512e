//! Nonces that are consumed in a transaction of the handler's own.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Row as _, Transaction};

use super::{error, pooled::PooledTransaction, step::Step, transaction};
use crate::{
    error::StoreError,
    future::StoreFuture,
    message::Encoding,
    once::{Claim, ClaimOutcome, ConsumeIn, TransactIn},
    store::batched::{Action, Answer, unexpected},
};

/// Keeps to `wait` by a `lock_timeout` of that one statement; the transaction's own stays as it is.
impl ConsumeIn for Transaction<'_, Postgres> {
    fn consume<'a>(
        &'a mut self,
        claim: &'a Claim,
        wait: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::new(consume(self, claim, wait))
    }

    fn is_recorded<'a>(&'a mut self, claim: &'a Claim) -> StoreFuture<'a, bool> {
        StoreFuture::new(is_recorded(self, claim))
    }
}

impl ConsumeIn for PooledTransaction {
    fn consume<'a>(
        &'a mut self,
        claim: &'a Claim,
        wait: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::new(consume(self.connection(), claim, wait))
    }

    fn is_recorded<'a>(&'a mut self, claim: &'a Claim) -> StoreFuture<'a, bool> {
        StoreFuture::new(is_recorded(self.connection(), claim))
    }
}

async fn consume(
    connection: &mut PgConnection,
    claim: &Claim,
    wait: Duration,
) -> Result<ClaimOutcome, StoreError> {
    let step = Step {
        claim,
        digest: claim.digest(),
        action: Action::Consume,
    };
    match transaction::within(connection, step, wait).await? {
        Answer::Claimed(claimed) => Ok(claimed),
        other => Err(unexpected(other)),
    }
}

async fn is_recorded(connection: &mut PgConnection, claim: &Claim) -> Result<bool, StoreError> {
    let sql = format!(
        "SELECT EXISTS (
             SELECT FROM countersign_nonces WHERE digest = decode('{}', 'hex')
                 AND attempt = decode('{}', 'hex') AND lease_end_ms IS NULL
         )",
        Encoding::Hex.encode(&claim.digest()),
        Encoding::Hex.encode(&claim.attempt().to_bytes()),
    );
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(connection);
    let recorded = row.await.and_then(|row| row.try_get(0));
    recorded.map_err(error::of_driver)
}

impl TransactIn for PgPool {
    type Transaction = PooledTransaction;
    type Connection = PgConnection;

    fn begin(&self) -> StoreFuture<'_, PooledTransaction> {
        StoreFuture::new(async move {
            let begun = PooledTransaction::begin(self).await;
            begun.map_err(error::of_driver)
        })
    }

    fn connection(transaction: &mut PooledTransaction) -> &mut PgConnection {
        transaction.connection()
    }

    fn commit(transaction: PooledTransaction) -> StoreFuture<'static, ()> {
        StoreFuture::new(async move { transaction.commit().await.map_err(error::of_driver) })
    }

    fn rollback(transaction: PooledTransaction) -> StoreFuture<'static, ()> {
        StoreFuture::new(async move { transaction.roll_back().await.map_err(error::of_driver) })
    }
}
