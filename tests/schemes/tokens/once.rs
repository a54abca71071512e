//! Redeemed once: at once, on every store, and inside of a database transaction.

use std::{sync::Barrier, thread, time::Duration};

use countersign::{
    MemoryStore, OneTimeToken, RejectionKind,
    error::{SignErrorKind, StoreError},
    store::{Claim, ClaimOutcome, LeaseStore, NonceStore, StoreFuture},
    testing::ManualClock,
};

#[cfg(any(feature = "postgres", feature = "sqlite"))]
use countersign::token::InTransaction;

use super::{Confirm, HOUR, builder, claims, clock, code, confirm, header, memory, sealed, tokens};

const ATTEMPTS: usize = 1000;

/// All attempts at once, on real threads; how many got the payload.
fn hammer(tokens: &OneTimeToken<Confirm>, token: &str, runtime: &tokio::runtime::Handle) -> usize {
    let threads = 8;
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let attempts = (0..threads).map(|_| {
            scope.spawn(|| {
                start.wait();
                let redeem = || runtime.block_on(tokens.redeem(token));
                let answers = (0..ATTEMPTS / threads).map(|_| redeem());
                answers
                    .filter(|answer| match answer {
                        Ok(payload) => *payload == confirm(),
                        Err(refused) => {
                            assert_eq!(refused.kind(), RejectionKind::TokenRedeemed, "{refused}");
                            false
                        }
                    })
                    .count()
            })
        });
        let attempts: Vec<_> = attempts.collect();
        attempts.into_iter().map(|a| a.join().unwrap()).sum()
    })
}

#[test]
fn of_1000_redemptions_at_once_one_wins_in_memory() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let clock = clock();
    let tokens = tokens(&clock, memory(&clock));
    let token = runtime.block_on(tokens.issue(&confirm())).unwrap();
    assert_eq!(hammer(&tokens, &token, runtime.handle()), 1);
}

/// Looks first and records then, as a cache that is asked and then set.
struct Racy(std::sync::Mutex<std::collections::HashSet<Vec<u8>>>);

impl NonceStore for Racy {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::new(async move {
            let nonce = claim.nonce().as_bytes().to_vec();
            if self.0.lock().unwrap().contains(&nonce) {
                return Ok(ClaimOutcome::Replayed);
            }
            thread::sleep(std::time::Duration::from_millis(20));
            self.0.lock().unwrap().insert(nonce);
            Ok(ClaimOutcome::New)
        })
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        None
    }

    fn survives_restart(&self) -> bool {
        false
    }

    fn sharing(&self) -> countersign::store::Sharing {
        countersign::store::Sharing::within_process(self)
    }
}

#[test]
fn the_same_hammer_finds_a_store_that_looks_before_it_records() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let clock = clock();
    let tokens = tokens(&clock, Racy(std::sync::Mutex::default()));
    let token = runtime.block_on(tokens.issue(&confirm())).unwrap();
    assert!(hammer(&tokens, &token, runtime.handle()) > 1);
}

/// Down, for good.
struct Down;

impl NonceStore for Down {
    fn claim<'a>(&'a self, _: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::ready(Err(StoreError::unavailable("no connection")))
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        None
    }

    fn survives_restart(&self) -> bool {
        true
    }

    fn sharing(&self) -> countersign::store::Sharing {
        countersign::store::Sharing::between_processes(self)
    }
}

/// Never answers.
struct Silent;

impl NonceStore for Silent {
    fn claim<'a>(&'a self, _: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::new(std::future::pending())
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        None
    }

    fn survives_restart(&self) -> bool {
        true
    }

    fn sharing(&self) -> countersign::store::Sharing {
        countersign::store::Sharing::between_processes(self)
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_or_is_silent_gives_out_nothing() {
    let clock = clock();
    for tokens in [tokens(&clock, Down), tokens(&clock, Silent)] {
        let token = tokens.issue(&confirm()).await.unwrap();
        assert_eq!(code(tokens.redeem(&token).await), "store_unavailable");
    }
}

/// Panics, whatever it is asked of a token.
struct Panics;

impl NonceStore for Panics {
    fn claim<'a>(&'a self, _: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        panic!("the store panics")
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        None
    }

    fn survives_restart(&self) -> bool {
        true
    }

    fn sharing(&self) -> countersign::store::Sharing {
        countersign::store::Sharing::between_processes(self)
    }

    fn refuses_until(&self, _: Duration) -> Option<countersign::Timestamp> {
        panic!("the store panics")
    }
}

#[tokio::test]
async fn a_store_that_panics_is_an_outage_for_tokens() {
    let clock = clock();
    let panics = tokens(&clock, Panics);
    let error = panics.issue(&confirm()).await.unwrap_err();
    assert_eq!(error.kind(), SignErrorKind::StoreUnavailable);
    let token = tokens(&clock, Down).issue(&confirm()).await.unwrap();
    assert_eq!(code(panics.redeem(&token).await), "store_unavailable");
}

/// As each process makes it when it starts.
fn started(clock: &ManualClock) -> MemoryStore {
    MemoryStore::builder().clock(clock.clone()).build().unwrap()
}

/// A store that forgot takes no token that it may have seen redeemed.
#[tokio::test]
async fn a_memory_store_that_was_started_anew_wants_a_new_token() {
    let clock = clock();
    let before = tokens(&clock, started(&clock));
    clock.advance(Duration::from_secs(1));
    let token = before.issue(&confirm()).await.unwrap();
    assert_eq!(before.redeem(&token).await.unwrap(), confirm());
    // Whenever the next process starts while that token is fresh, it refuses it.
    for _ in 0..20 {
        let after = tokens(&clock, started(&clock));
        assert_eq!(code(after.redeem(&token).await), "sign_again");
        clock.advance(Duration::from_millis(500));
    }
}

/// Also in the first seconds of a process, at any fraction of a second, and with every skew.
#[tokio::test]
async fn a_token_is_good_from_the_next_second_on_however_young_its_process_is() {
    for max_skew in [0, 1, 5, 3600].map(Duration::from_secs) {
        for fraction in [0, 1, 499, 999].map(Duration::from_millis) {
            let clock = clock();
            clock.advance(fraction);
            let settings = builder(&clock).lifetime(2 * HOUR).max_skew(max_skew);
            let tokens = settings.store(started(&clock)).build().unwrap();
            for _ in 0..20 {
                let token = tokens.issue(&confirm()).await.unwrap();
                let mut answer = tokens.redeem(&token).await;
                if answer.is_err() {
                    assert_eq!(code(answer), "token_not_yet_valid");
                    clock.advance(Duration::from_secs(1));
                    answer = tokens.redeem(&token).await;
                }
                assert_eq!(answer.unwrap(), confirm(), "{max_skew:?} {fraction:?}");
                clock.advance(Duration::from_millis(490));
            }
        }
    }
}

/// The twin: a token that is dated now, as another issuer would date it, is dead forever.
#[tokio::test]
async fn a_token_that_is_dated_at_the_start_of_the_process_is_never_redeemed() {
    let clock = clock();
    let tokens = tokens(&clock, started(&clock));
    let token = sealed(&header().to_string(), &claims(&clock).to_string());
    for _ in 0..20 {
        assert_eq!(code(tokens.redeem(&token).await), "sign_again");
        clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_store_that_refuses_far_ahead_issues_no_dead_token() {
    let clock = clock();
    let folder = tempfile::tempdir().unwrap();
    let store = || {
        let store = MemoryStore::builder().clock(clock.clone());
        store.high_watermark(folder.path().join("mark")).build()
    };
    clock.advance(HOUR);
    let ahead = tokens(&clock, store().unwrap());
    clock.advance(Duration::from_secs(10));
    let token = ahead.issue(&confirm()).await.unwrap();
    ahead.redeem(&token).await.unwrap();
    drop(ahead);
    clock.step_back(HOUR);
    let error = tokens(&clock, store().unwrap()).issue(&confirm()).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), SignErrorKind::Time);
    let error = error.to_string();
    assert!(error.contains("set the clock right"), "{error}");
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use countersign::{Clock as _, Rejection, clock::SystemClock, store::SqliteStore};
    use sqlx::{SqlitePool, sqlite::SqliteConnectOptions, sqlite::SqlitePoolOptions};

    use super::*;

    #[test]
    fn of_1000_redemptions_at_once_one_wins_on_sqlite() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let clock = clock();
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::builder()
            .clock(clock.clone())
            .danger_assume_no_history();
        let store = runtime
            .block_on(store.open(folder.path().join("nonces.db")))
            .unwrap();
        let tokens = tokens(&clock, store);
        let token = runtime.block_on(tokens.issue(&confirm())).unwrap();
        assert_eq!(hammer(&tokens, &token, runtime.handle()), 1);
    }

    pub(super) async fn pool(folder: &std::path::Path) -> SqlitePool {
        let path = folder.join("app.db");
        // Makes the tables of nonces, and says that nothing was accepted earlier.
        let store = SqliteStore::builder().danger_assume_no_history();
        drop(store.open(&path).await.unwrap());
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .busy_timeout(std::time::Duration::from_secs(30));
        let pool = SqlitePoolOptions::new()
            .connect_with(options)
            .await
            .unwrap();
        sqlx::raw_sql("CREATE TABLE effects (request text NOT NULL)")
            .execute(&pool)
            .await
            .unwrap();
        pool
    }

    async fn spend(
        tokens: &OneTimeToken<Confirm, InTransaction>,
        pool: &SqlitePool,
        token: &str,
        fail: bool,
    ) -> Result<(), Rejection> {
        let pending = tokens.verify(token).await?;
        pending
            .transact(pool, async |tx, payload| {
                sqlx::query("INSERT INTO effects VALUES ($1)")
                    .bind(payload.address)
                    .execute(tx)
                    .await
                    .unwrap();
                if fail {
                    return Err(StoreError::unavailable("changed its mind").into());
                }
                Ok(())
            })
            .await
    }

    #[tokio::test]
    async fn a_token_is_used_up_with_its_effects_or_not_at_all_on_sqlite() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(folder.path()).await;
        let clock = ManualClock::at(SystemClock::default().now());
        let tokens = builder(&clock).in_transaction().build().unwrap();
        let token = tokens.issue(&confirm()).await.unwrap();
        let effects = async || {
            let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM effects");
            count.fetch_one(&pool).await.unwrap()
        };
        assert_eq!(
            code(spend(&tokens, &pool, &token, true).await),
            "store_unavailable"
        );
        assert_eq!(effects().await, 0, "rolled back, the token too");
        spend(&tokens, &pool, &token, false).await.unwrap();
        assert_eq!(effects().await, 1);
        assert_eq!(
            code(spend(&tokens, &pool, &token, false).await),
            "token_redeemed"
        );
        assert_eq!(effects().await, 1);
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use std::sync::Arc;

    use countersign::{Clock as _, Rejection, clock::SystemClock};
    use sqlx::PgConnection;
    use tokio::{sync::Notify, task::JoinSet};

    use super::{super::builder, *};
    use crate::common::database;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_token_is_used_up_with_its_effects_or_not_at_all_on_postgresql() {
        let Some(pool) = database::pool("a token on PostgreSQL").await else {
            return;
        };
        let clock = ManualClock::at(SystemClock::default().now());
        let tokens = builder(&clock)
            .in_transaction()
            .store_timeout(std::time::Duration::from_secs(30))
            .build()
            .unwrap();
        let token: Arc<str> = tokens.issue(&confirm()).await.unwrap().into();
        let spend = async |fail| -> Result<(), Rejection> {
            let mut tx = pool.begin().await.unwrap();
            let payload = tokens.verify(&token).await?.redeem_in(&mut tx).await?;
            sqlx::query("INSERT INTO effects VALUES ($1)")
                .bind(payload.address)
                .execute(&mut *tx)
                .await
                .unwrap();
            if fail {
                tx.rollback().await.unwrap();
            } else {
                tx.commit().await.unwrap();
            }
            Ok(())
        };
        spend(true).await.unwrap();
        assert_eq!(database::effects(&pool).await, 0);

        let mut copies = JoinSet::new();
        for _ in 0..200 {
            let (tokens, pool, token) = (tokens.clone(), pool.clone(), Arc::clone(&token));
            copies.spawn(async move {
                let pending = tokens.verify(&token).await?;
                pending
                    .transact(&pool, async |tx, payload: Confirm| {
                        sqlx::query("INSERT INTO effects VALUES ($1)")
                            .bind(payload.address)
                            .execute(tx)
                            .await
                            .unwrap();
                        Ok::<_, Rejection>(())
                    })
                    .await
            });
        }
        let answers = copies.join_all().await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        for refused in answers.into_iter().filter_map(Result::err) {
            assert_eq!(refused.kind(), RejectionKind::TokenRedeemed, "{refused}");
        }
        assert_eq!(database::effects(&pool).await, 1);
        assert_eq!(code(spend(false).await), "token_redeemed");
    }

    #[tokio::test]
    async fn a57_duplicates_of_a_token_wait_without_a_connection() {
        let Some(pool) = database::pool("duplicates of a token").await else {
            return;
        };
        let clock = ManualClock::at(SystemClock::default().now());
        let limit = std::time::Duration::from_secs(3);
        let tokens = builder(&clock).in_transaction().store_timeout(limit);
        let tokens = tokens.build().unwrap();
        let token = tokens.issue(&confirm()).await.unwrap();
        let (begun, go_on) = (Notify::new(), Notify::new());
        let first = async {
            let work = async |_: &mut PgConnection, _| {
                begun.notify_one();
                go_on.notified().await;
                Ok::<_, Rejection>(())
            };
            tokens.verify(&token).await?.transact(&pool, work).await
        };
        let duplicates = async {
            begun.notified().await;
            let connections = pool.size();
            let duplicate = async || {
                let work = async |_: &mut PgConnection, _| Ok::<_, Rejection>(());
                tokens.verify(&token).await?.transact(&pool, work).await
            };
            let told = tokio::join!(duplicate(), duplicate(), duplicate());
            for told in [told.0, told.1, told.2] {
                assert_eq!(code(told), "request_in_flight");
            }
            assert_eq!(pool.size(), connections);
            go_on.notify_one();
            assert_eq!(code(duplicate().await), "token_redeemed");
        };
        let (first, ()) = tokio::join!(first, duplicates);
        first.unwrap();
    }
    /// The caller's transaction has a connection already, so few copies may wait with one.
    #[tokio::test]
    async fn a57_of_the_copies_of_a_token_in_transactions_one_waits() {
        let Some(pool) = database::pool("copies of a token in transactions").await else {
            return;
        };
        let clock = ManualClock::at(SystemClock::default().now());
        let tokens = |limit| {
            let tokens = builder(&clock).in_transaction().store_timeout(limit);
            tokens.build().unwrap()
        };
        let here = tokens(std::time::Duration::from_secs(30));
        let token = here.issue(&confirm()).await.unwrap();
        let redeem = async |tokens: &OneTimeToken<Confirm, InTransaction>| {
            let mut tx = pool.begin().await.unwrap();
            let redeemed = tokens.verify(&token).await.unwrap();
            (redeemed.redeem_in(&mut tx).await, tx)
        };
        let (first, tx) = redeem(&here).await;
        first.unwrap();
        let copy = async { code(redeem(&here).await.0) };
        let others = async {
            while database::waiting(&pool).await == 0 {}
            for _ in 0..5 {
                assert_eq!(code(redeem(&here).await.0), "request_in_flight");
            }
            // The twin: tokens of another process have turns of their own, and wait as well.
            let there = tokens(std::time::Duration::from_millis(500));
            assert_eq!(code(redeem(&there).await.0), "store_unavailable");
            tx.commit().await.unwrap();
        };
        let (copy, ()) = tokio::join!(copy, others);
        assert_eq!(copy, "token_redeemed");
        assert_eq!(code(redeem(&here).await.0), "token_redeemed");
    }
}
