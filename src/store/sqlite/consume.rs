//! Nonces that are consumed in a transaction of the handler's own, in a database of its own that
//! has the store's tables.

use std::time::Duration;

use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

use super::{
    batch::{Step, apply},
    error,
    record::Limits,
};
use crate::{
    clock::{Clock as _, SystemClock},
    error::StoreError,
    future::StoreFuture,
    once::{Claim, ClaimOutcome, ConsumeIn, TransactIn},
    store::batched::{Action, Answer, unexpected},
};

/// The content of the database is its owner's business.
const NO_LIMITS: Limits = Limits {
    records: u64::MAX,
    records_of_a_key: u64::MAX,
};

/// The database needs the tables of [`SqliteStore::migrate`](crate::store::SqliteStore::migrate),
/// and goes by the clock of the host. For the nonce to be as durable as the effect, and the effect
/// durable at all, open it with `synchronous=FULL`.
///
/// Begin with `pool.begin_with("BEGIN IMMEDIATE")`. A transaction that has read before it consumes
/// fails (503) when another has written since; nothing is lost by that. Keep the `busy_timeout` of
/// the connections below the verifier's
/// [`store_timeout`](crate::request::VerifierBuilder::store_timeout): a connection that is given up
/// while it waits is of no use until that wait ends.
impl ConsumeIn for Transaction<'_, Sqlite> {
    /// SQLite waits for its lock as long as the connection's `busy_timeout` says, whatever `wait`
    /// is.
    fn consume<'a>(&'a mut self, claim: &'a Claim, _: Duration) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::new(consume(self, claim))
    }

    fn is_recorded<'a>(&'a mut self, claim: &'a Claim) -> StoreFuture<'a, bool> {
        StoreFuture::new(is_recorded(self, claim))
    }
}

async fn consume(
    connection: &mut SqliteConnection,
    claim: &Claim,
) -> Result<ClaimOutcome, StoreError> {
    // Takes the lock: what is read from here on is what will be there at COMMIT.
    sqlx::query("UPDATE countersign_store SET version = version")
        .execute(&mut *connection)
        .await
        .map_err(error::of_driver)?;
    let step = Step {
        claim,
        digest: claim.digest(),
        action: Action::Consume,
    };
    let applied = apply(connection, &[step], SystemClock.now(), NO_LIMITS).await?;
    match applied.answers.into_iter().next() {
        Some(Ok(Answer::Claimed(claimed))) => Ok(claimed),
        Some(Ok(other)) => Err(unexpected(other)),
        Some(Err(error)) => Err(error),
        None => Err(StoreError::unavailable("SQLite gave no answer")),
    }
}

async fn is_recorded(connection: &mut SqliteConnection, claim: &Claim) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM countersign_nonce
        WHERE digest = ? AND attempt = ? AND lease_end IS NULL";
    let count: i64 = sqlx::query_scalar(sql)
        .bind(claim.digest().to_vec())
        .bind(claim.attempt().to_bytes().to_vec())
        .fetch_one(connection)
        .await
        .map_err(error::of_driver)?;
    Ok(count > 0)
}

/// Each transaction begins with `BEGIN IMMEDIATE`: it has the lock, and sees what will be there at
/// COMMIT, from its first statement on.
impl TransactIn for SqlitePool {
    type Transaction = Transaction<'static, Sqlite>;
    type Connection = SqliteConnection;

    fn begin(&self) -> StoreFuture<'_, Self::Transaction> {
        StoreFuture::new(async {
            self.begin_with("BEGIN IMMEDIATE")
                .await
                .map_err(error::of_driver)
        })
    }

    fn connection(transaction: &mut Self::Transaction) -> &mut SqliteConnection {
        transaction
    }

    fn commit(transaction: Self::Transaction) -> StoreFuture<'static, ()> {
        StoreFuture::new(async { transaction.commit().await.map_err(error::of_driver) })
    }

    fn rollback(transaction: Self::Transaction) -> StoreFuture<'static, ()> {
        StoreFuture::new(async { transaction.rollback().await.map_err(error::of_driver) })
    }
}
