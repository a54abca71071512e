//! The holder of a key renews it, records under it and releases it before others claim theirs; and
//! one sender claims before the many claims of another.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use countersign::{
    KeyId,
    store::{AnswerClaim, AnswerOutcome, AnswerStore, StepOutcome},
};
use tokio::task::{JoinSet, yield_now};

const CLAIMS: usize = 200;

fn claim(n: usize) -> AnswerClaim {
    claim_of("k", n)
}

fn claim_of(sender: &str, n: usize) -> AnswerClaim {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&n.to_be_bytes());
    let sender = KeyId::new(sender).unwrap();
    AnswerClaim::new("line".into(), sender, digest, [0; 32])
}

/// Returns how many of those who ask at once have been served when a step of one is done that comes
/// after all of them.
async fn served_before<F>(ask: impl Fn(usize) -> F, step: impl Future) -> usize
where
    F: Future<Output = ()> + Send + 'static,
{
    let (came, served) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let mut asking = JoinSet::new();
    for n in 0..CLAIMS {
        let (asked, came, served) = (ask(n), Arc::clone(&came), Arc::clone(&served));
        asking.spawn(async move {
            came.fetch_add(1, Ordering::SeqCst);
            asked.await;
            served.fetch_add(1, Ordering::SeqCst);
        });
    }
    while came.load(Ordering::SeqCst) < CLAIMS {
        yield_now().await;
    }
    step.await;
    let before = served.load(Ordering::SeqCst);
    asking.join_all().await;
    before
}

async fn holders_come_first(store: impl AnswerStore) {
    let store = Arc::new(store);
    let [recorded, released] = [claim(CLAIMS), claim(CLAIMS + 1)];
    for claim in [&recorded, &released] {
        assert_eq!(store.claim(claim).await.unwrap(), AnswerOutcome::Claimed);
    }
    let ask = |n| {
        let store = Arc::clone(&store);
        async move {
            let claimed = store.claim(&claim(n)).await.unwrap();
            assert_eq!(claimed, AnswerOutcome::Claimed);
        }
    };
    let answer = Bytes::from("done");
    let steps = async {
        let renewed = store.renew(&recorded, Duration::from_secs(9)).await;
        let recorded = store.record(&recorded, &answer).await;
        let released = store.release(&released).await;
        for step in [renewed, recorded, released] {
            assert_eq!(step.unwrap(), StepOutcome::Done);
        }
    };
    let before = served_before(ask, steps).await;
    assert!(before < CLAIMS / 2, "{before}");

    // Another sender that comes after them. The twin comes after them as the same sender.
    let many = |round: usize| {
        let store = &store;
        move |n| {
            let (store, n) = (Arc::clone(store), round * CLAIMS + 10 + n);
            async move {
                let claimed = store.claim(&claim(n)).await.unwrap();
                assert_eq!(claimed, AnswerOutcome::Claimed);
            }
        }
    };
    let other = claim_of("other", CLAIMS + 2);
    let before = served_before(many(1), store.claim(&other)).await;
    assert!(before < CLAIMS / 2, "{before}");
    let same = claim(CLAIMS + 3);
    let before = served_before(many(2), store.claim(&same)).await;
    assert!(before >= CLAIMS / 2, "{before}");
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use countersign::store::SqliteAnswers;
    use sqlx::{
        SqlitePool,
        sqlite::{SqliteConnectOptions, SqlitePoolOptions},
    };
    use tempfile::TempDir;

    use super::*;

    async fn pool(folder: &TempDir, connections: u32) -> SqlitePool {
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("answers.db"))
            .create_if_missing(true)
            .pragma("journal_mode", "wal");
        let pool = SqlitePoolOptions::new().max_connections(connections);
        let pool = pool.connect_with(options).await.unwrap();
        SqliteAnswers::migrate(&pool).await.unwrap();
        pool
    }

    #[tokio::test]
    async fn a_holder_does_not_wait_for_claims_in_sqlite() {
        for connections in [1, 4] {
            let folder = tempfile::tempdir().unwrap();
            let pool = pool(&folder, connections).await;
            holders_come_first(SqliteAnswers::open(pool).await.unwrap()).await;
        }
    }

    /// In the line of the pool, it waits for all of them.
    #[tokio::test]
    async fn twin_a_holder_waits_for_claims_in_the_line_of_a_pool() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder, 1).await;
        let ask = |_| {
            let pool = pool.clone();
            async move {
                let writing = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
                writing.commit().await.unwrap();
            }
        };
        let step = sqlx::query("DELETE FROM countersign_answer").execute(&pool);
        let before = served_before(ask, step).await;
        assert!(before + 1 >= CLAIMS, "{before}");
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use countersign::store::{PostgresAnswers, PostgresStore};

    use super::*;
    use crate::common::database;

    #[tokio::test]
    async fn a_holder_does_not_wait_for_claims_in_postgresql() {
        let test = "a_holder_does_not_wait_for_claims_in_postgresql";
        let Some((url, schema)) = database::schema(test).await else {
            return;
        };
        let pool = database::pool_of(&url, &schema, 2).await;
        PostgresStore::migrate(&pool).await.unwrap();
        PostgresAnswers::migrate(&pool).await.unwrap();
        holders_come_first(PostgresAnswers::open(pool).await.unwrap()).await;
    }

    /// A record that is taken over is no record more. The twin, a new record, is one.
    #[tokio::test]
    async fn a_record_that_is_taken_over_is_not_counted_again() {
        let test = "a_record_that_is_taken_over_is_not_counted_again";
        let Some((pool, _)) = database::pool_and_schema(test).await else {
            return;
        };
        PostgresAnswers::migrate(&pool).await.unwrap();
        let builder = PostgresAnswers::builder().records_of_a_key(2);
        let store = builder.open(pool).await.unwrap();
        let cut_off = || claim(1).with_lease(Duration::ZERO).running_again();
        for _ in 0..5 {
            let taken_over = store.claim(&cut_off()).await.unwrap();
            assert_eq!(taken_over, AnswerOutcome::Claimed);
        }
        let second = store.claim(&claim(2)).await.unwrap();
        assert_eq!(second, AnswerOutcome::Claimed);
        assert!(store.claim(&claim(3)).await.is_err());
    }
}
