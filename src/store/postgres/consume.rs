//! Nonces that are consumed in a transaction of the handler's own.

use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Row as _, Transaction};

use super::{error, statement::Step, transaction};
use crate::{
    encoding::Encoding,
    future::StoreFuture,
    nonce::{Claim, Claimed, ConsumeIn, TransactIn},
    store::queue::{Action, Answer, unexpected},
};

impl ConsumeIn for Transaction<'_, Postgres> {
    fn consume<'a>(&'a mut self, claim: &'a Claim) -> StoreFuture<'a, Claimed> {
        StoreFuture::new(async move {
            let step = Step {
                claim,
                digest: claim.digest(),
                action: Action::Consume,
            };
            match transaction::within(self, step).await? {
                Answer::Claimed(claimed) => Ok(claimed),
                other => Err(unexpected(other)),
            }
        })
    }

    fn is_recorded<'a>(&'a mut self, claim: &'a Claim) -> StoreFuture<'a, bool> {
        StoreFuture::new(async move { is_recorded(self, claim).await.map_err(error::of_driver) })
    }
}

async fn is_recorded(connection: &mut PgConnection, claim: &Claim) -> Result<bool, sqlx::Error> {
    let sql = format!(
        "SELECT EXISTS (
             SELECT FROM countersign_nonces WHERE digest = decode('{}', 'hex')
                 AND attempt = decode('{}', 'hex') AND lease_end_ms IS NULL
         )",
        Encoding::Hex.encode(&claim.digest()),
        Encoding::Hex.encode(&claim.attempt().to_bytes()),
    );
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(connection);
    row.await?.try_get(0)
}

impl TransactIn for PgPool {
    type Transaction = Transaction<'static, Postgres>;
    type Connection = PgConnection;

    fn begin(&self) -> StoreFuture<'_, Self::Transaction> {
        StoreFuture::new(async move { PgPool::begin(self).await.map_err(error::of_driver) })
    }

    fn connection(transaction: &mut Self::Transaction) -> &mut PgConnection {
        transaction
    }

    fn commit(transaction: Self::Transaction) -> StoreFuture<'static, ()> {
        StoreFuture::new(async move { transaction.commit().await.map_err(error::of_driver) })
    }

    fn rollback(transaction: Self::Transaction) -> StoreFuture<'static, ()> {
        StoreFuture::new(async move { transaction.rollback().await.map_err(error::of_driver) })
    }
}
