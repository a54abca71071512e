//! Nonces that are consumed in a transaction of the handler's own.

use std::{path::Path, time::Duration};

use countersign::{
    error::StoreErrorKind,
    store::{ClaimOutcome, ConsumeIn as _, NonceStore, SqliteStore, TransactIn},
};
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

use super::{HOUR, claim, claim_by, folder, now};

/// A database with a table of the user's, and the store's.
async fn database(path: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(60));
    let pool = SqlitePool::connect_with(options).await.unwrap();
    sqlx::raw_sql("CREATE TABLE effects (nonce INTEGER)")
        .execute(&pool)
        .await
        .unwrap();
    SqliteStore::migrate(&pool).await.unwrap();
    SqliteStore::migrate(&pool)
        .await
        .expect("once more, and nothing is lost");
    SqliteStore::danger_assume_no_history(&pool).await.unwrap();
    pool
}

/// It is a word about a first start. Said later, it takes back no fence.
#[tokio::test]
async fn no_history_is_assumed_of_a_database_in_which_nothing_was_recorded() {
    let folder = folder();
    let path = folder.path().join("own.db");
    let pool = database(&path).await;
    let signed = now();
    let kind = async |nonce| {
        let claim = claim(nonce).signed(signed, Duration::from_secs(5));
        let mut transaction = TransactIn::begin(&pool).await.unwrap();
        let consumed = transaction.consume(&claim, HOUR).await;
        SqlitePool::commit(transaction).await.unwrap();
        consumed.map_err(|error| error.kind())
    };
    assert_eq!(kind(1).await, Ok(ClaimOutcome::New));
    // The database was restored alone, and is opened by a store, which fences it.
    drop(SqliteStore::open(&path).await.unwrap());
    assert_eq!(kind(2).await, Err(StoreErrorKind::SignAgain));
    SqliteStore::danger_assume_no_history(&pool).await.unwrap();
    assert_eq!(kind(2).await, Err(StoreErrorKind::SignAgain));
    // The twin: the statement that asks for nothing reopens what was signed before.
    let update = sqlx::raw_sql("UPDATE countersign_store SET since = 0");
    update.execute(&pool).await.unwrap();
    assert_eq!(kind(2).await, Ok(ClaimOutcome::New));
}

async fn effects(pool: &SqlitePool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM effects")
        .fetch_one(pool)
        .await
        .unwrap()
}

/// Consumes the nonce, and has an effect if it is new.
async fn handle(pool: &SqlitePool, nonce: u64) -> ClaimOutcome {
    let mut transaction = pool.begin().await.unwrap();
    let claimed = transaction.consume(&claim(nonce), HOUR).await.unwrap();
    if claimed == ClaimOutcome::New {
        let effect = sqlx::query("INSERT INTO effects VALUES (1)");
        effect.execute(&mut *transaction).await.unwrap();
    }
    SqlitePool::commit(transaction).await.unwrap();
    claimed
}

#[tokio::test]
async fn the_nonce_is_recorded_with_the_effect_or_not_at_all() {
    let folder = folder();
    let pool = database(&folder.path().join("own.db")).await;
    let first = claim(1);
    let mut transaction = sqlx::Pool::begin(&pool).await.unwrap();
    assert_eq!(
        transaction.consume(&first, HOUR).await.unwrap(),
        ClaimOutcome::New
    );
    assert!(transaction.is_recorded(&first).await.unwrap());
    assert!(
        !transaction.is_recorded(&claim(1)).await.unwrap(),
        "another attempt"
    );
    assert_eq!(
        transaction.consume(&claim(1), HOUR).await.unwrap(),
        ClaimOutcome::Replayed
    );
    transaction.rollback().await.unwrap();

    let mut transaction = countersign::store::TransactIn::begin(&pool).await.unwrap();
    assert!(!transaction.is_recorded(&first).await.unwrap());
    SqlitePool::rollback(transaction).await.unwrap();
    assert_eq!(handle(&pool, 1).await, ClaimOutcome::New);
    assert_eq!(handle(&pool, 1).await, ClaimOutcome::Replayed);
    assert_eq!(effects(&pool).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_transactions_at_once_one_has_an_effect() {
    let folder = folder();
    let pool = database(&folder.path().join("own.db")).await;
    for nonce in 0..5 {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let pool = pool.clone();
            tasks.spawn(async move {
                let mut transaction = countersign::store::TransactIn::begin(&pool).await.unwrap();
                let claimed = transaction.consume(&claim(nonce), HOUR).await.unwrap();
                if claimed == ClaimOutcome::New {
                    let effect = sqlx::query("INSERT INTO effects VALUES (1)");
                    effect.execute(&mut *transaction).await.unwrap();
                }
                SqlitePool::commit(transaction).await.unwrap();
            });
        }
        tasks.join_all().await;
    }
    assert_eq!(effects(&pool).await, 5);
}

/// In a transaction that has read before another wrote, what it read may be out of date.
#[tokio::test]
async fn a_transaction_that_cannot_know_better_fails() {
    let folder = folder();
    let pool = database(&folder.path().join("own.db")).await;
    let mut transaction = sqlx::Pool::begin(&pool).await.unwrap();
    assert!(!transaction.is_recorded(&claim(1)).await.unwrap());
    assert_eq!(handle(&pool, 1).await, ClaimOutcome::New);
    let error = transaction.consume(&claim(1), HOUR).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    transaction.rollback().await.unwrap();
    assert_eq!(effects(&pool).await, 1);
}

#[tokio::test]
async fn what_was_dropped_is_refused_and_so_is_what_is_past() {
    let folder = folder();
    let pool = database(&folder.path().join("own.db")).await;
    let soon = now().saturating_add(Duration::from_secs(5));
    let mut transaction = sqlx::Pool::begin(&pool).await.unwrap();
    let short = claim_by("k", 1, soon);
    assert_eq!(
        transaction.consume(&short, HOUR).await.unwrap(),
        ClaimOutcome::New
    );
    assert_eq!(
        transaction.consume(&claim(2), HOUR).await.unwrap(),
        ClaimOutcome::New
    );
    transaction.commit().await.unwrap();
    assert_eq!(SqliteStore::drop_expired(&pool).await.unwrap(), 0);
    while now() <= soon {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(SqliteStore::drop_expired(&pool).await.unwrap(), 1);

    let mut transaction = sqlx::Pool::begin(&pool).await.unwrap();
    let error = transaction
        .consume(&claim_by("k", 1, soon), HOUR)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::SignAgain);
    // As if the clock had been ahead when that was dropped.
    let far = now().saturating_add(Duration::from_secs(1000));
    sqlx::query("UPDATE countersign_store SET watermark = ?")
        .bind(far.as_millis().cast_signed())
        .execute(&mut *transaction)
        .await
        .unwrap();
    let error = transaction
        .consume(&claim_by("k", 3, far), HOUR)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::SignAgain);
    assert_eq!(
        transaction.consume(&claim(3), HOUR).await.unwrap(),
        ClaimOutcome::New
    );
}

#[tokio::test]
async fn a_store_on_the_same_file_knows_what_was_consumed() {
    let folder = folder();
    let path = folder.path().join("own.db");
    let pool = database(&path).await;
    // It has no mark yet, and refuses what was signed until now.
    let store = super::open(&path).await;
    SqliteStore::danger_assume_no_history(&pool).await.unwrap();
    assert_eq!(handle(&pool, 1).await, ClaimOutcome::New);
    assert_eq!(
        store.claim(&claim(1)).await.unwrap(),
        ClaimOutcome::Replayed
    );
    assert_eq!(store.claim(&claim(2)).await.unwrap(), ClaimOutcome::New);
    assert_eq!(handle(&pool, 2).await, ClaimOutcome::Replayed);
}

#[tokio::test]
async fn without_the_tables_nothing_is_consumed() {
    let folder = folder();
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("own.db"))
        .create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let mut transaction = sqlx::Pool::begin(&pool).await.unwrap();
    let error = transaction.consume(&claim(1), HOUR).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
}
