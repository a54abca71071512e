//! How much a store holds, for which key, and for how long.

use std::time::Duration;

use countersign::{
    KeyId, Timestamp,
    error::{OpenError, StoreErrorKind},
    store::{Claim, ClaimOutcome, Nonce, NonceKind, NonceStore, SqliteStore},
    testing::ManualClock,
};

use super::{folder, number, stranger};
use crate::common::log::Log;

const WINDOW: Duration = Duration::from_secs(300);
const SKEW: Duration = Duration::from_secs(5);

fn start() -> Timestamp {
    Timestamp::from_secs(1_700_000_000).unwrap()
}

fn claim(key: &str, nonce: u64, deadline: Timestamp) -> Claim {
    let nonce = Nonce::new(NonceKind::Covered, nonce.to_be_bytes());
    Claim::new("tests".into(), KeyId::new(key).unwrap(), nonce, deadline)
}

async fn ask(store: &SqliteStore, claim: &Claim) -> Result<ClaimOutcome, StoreErrorKind> {
    store.claim(claim).await.map_err(|error| error.kind())
}

#[tokio::test]
async fn a_full_store_refuses_knows_every_nonce_and_has_room_again() {
    let folder = folder();
    let path = folder.path().join("nonces.db");
    let clock = ManualClock::at(start());
    let builder = SqliteStore::builder().capacity(100).key_share(100);
    let builder = builder.clock(clock.clone()).danger_assume_no_history();
    let store = builder.open(&path).await.unwrap();
    let deadline = start().saturating_add(WINDOW);
    for nonce in 0..100 {
        assert_eq!(
            ask(&store, &claim("k", nonce, deadline)).await,
            Ok(ClaimOutcome::New)
        );
    }
    let refused = store.claim(&claim("k", 100, deadline)).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Full);
    assert!(refused.retry_after().is_some());
    for nonce in 0..100 {
        assert_eq!(
            ask(&store, &claim("k", nonce, deadline)).await,
            Ok(ClaimOutcome::Replayed)
        );
    }
    clock.advance(WINDOW);
    let later = clock_of(&clock).saturating_add(WINDOW);
    until(async || ask(&store, &claim("k", 100, later)).await == Ok(ClaimOutcome::New)).await;
    let mut stranger = stranger(&path).await;
    let latest = number(&mut stranger, "SELECT watermark FROM countersign_store").await;
    assert_eq!(latest.unsigned_abs(), deadline.as_millis());
    let rows = number(&mut stranger, "SELECT count(*) FROM countersign_nonce").await;
    let counted = number(&mut stranger, "SELECT sum(records) FROM countersign_key").await;
    assert_eq!(rows, counted);
}

fn clock_of(clock: &ManualClock) -> Timestamp {
    countersign::Clock::now(clock)
}

async fn until(is_so: impl AsyncFn() -> bool) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(30);
    while !is_so().await {
        assert!(
            tokio::time::Instant::now() < patience,
            "not within 30 seconds"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn one_key_takes_up_no_more_than_its_share() {
    let folder = folder();
    let builder = SqliteStore::builder().capacity(100).key_share(30);
    let builder = builder
        .clock(ManualClock::at(start()))
        .danger_assume_no_history();
    let store = builder.open(folder.path().join("nonces.db")).await.unwrap();
    let deadline = start().saturating_add(WINDOW);
    for nonce in 0..30 {
        assert_eq!(
            ask(&store, &claim("greedy", nonce, deadline)).await,
            Ok(ClaimOutcome::New)
        );
    }
    let over = ask(&store, &claim("greedy", 30, deadline)).await;
    assert_eq!(over, Err(StoreErrorKind::KeyOverQuota));
    assert_eq!(
        ask(&store, &claim("greedy", 0, deadline)).await,
        Ok(ClaimOutcome::Replayed)
    );
    assert_eq!(
        ask(&store, &claim("other", 30, deadline)).await,
        Ok(ClaimOutcome::New)
    );
    // A lease that is given back counts no more.
    let leases = store.leases().unwrap();
    for nonce in 1000..1100 {
        let lease = claim("third", nonce, deadline);
        leases.lease(&lease, WINDOW).await.unwrap();
        leases.release(&lease).await.unwrap();
    }
    assert_eq!(
        ask(&store, &claim("third", 30, deadline)).await,
        Ok(ClaimOutcome::New)
    );
}

#[tokio::test]
async fn a_new_database_refuses_what_was_signed_before_it() {
    let folder = folder();
    let path = folder.path().join("nonces.db");
    let clock = ManualClock::at(start());
    let open = async || {
        let builder = SqliteStore::builder().clock(clock.clone());
        builder.open(&path).await.unwrap()
    };
    let signed =
        |nonce, at: Timestamp| claim("k", nonce, at.saturating_add(WINDOW)).signed(at, SKEW);
    let before = signed(1, start().saturating_add(SKEW));
    let after = signed(2, start().saturating_add(SKEW + Duration::from_millis(1)));
    let store = open().await;
    assert_eq!(ask(&store, &before).await, Err(StoreErrorKind::SignAgain));
    assert_eq!(ask(&store, &after).await, Ok(ClaimOutcome::New));
    drop(store);
    // A restart is no new database.
    clock.advance(Duration::from_secs(10));
    let store = open().await;
    assert_eq!(ask(&store, &after).await, Ok(ClaimOutcome::Replayed));
    let third = signed(3, start().saturating_add(Duration::from_secs(7)));
    assert_eq!(ask(&store, &third).await, Ok(ClaimOutcome::New));
}

mod retention {
    use super::*;

    fn signed(nonce: u64, at: Timestamp, max_age: Duration) -> Claim {
        let claim = claim("k", nonce, at.saturating_add(max_age));
        claim.signed(at, SKEW).with_retention(max_age + SKEW)
    }

    async fn store(folder: &tempfile::TempDir, clock: &ManualClock) -> SqliteStore {
        let builder = SqliteStore::builder()
            .clock(clock.clone())
            .danger_assume_no_history();
        builder.open(folder.path().join("nonces.db")).await.unwrap()
    }

    /// A server with a window of five minutes accepts; one with a window of an hour is given a copy
    /// when the record is gone.
    #[tokio::test]
    async fn a_server_that_needs_longer_is_fenced() {
        let folder = folder();
        let clock = ManualClock::at(start());
        let store = store(&folder, &clock).await;
        let (short, long) = (WINDOW, 12 * WINDOW);
        assert_eq!(
            ask(&store, &signed(1, start(), short)).await,
            Ok(ClaimOutcome::New)
        );
        clock.advance(2 * WINDOW);
        let swept = claim("k", 99, clock_of(&clock).saturating_add(WINDOW));
        until(async || {
            let _ = ask(&store, &swept).await;
            let mut stranger = stranger(folder.path().join("nonces.db")).await;
            number(&mut stranger, "SELECT count(*) FROM countersign_nonce").await == 1
        })
        .await;

        for at in [start(), clock_of(&clock)] {
            let refused = ask(&store, &signed(1, at, long)).await;
            assert_eq!(refused, Err(StoreErrorKind::Misconfigured));
        }
        store.extend_retention("tests", long + SKEW).await.unwrap();
        let copy = ask(&store, &signed(1, start(), long)).await;
        assert_eq!(copy, Err(StoreErrorKind::SignAgain));
        // For good, and for every process: it may have been accepted before, and not since.
        let refusal = store.claim(&signed(1, start(), long)).await.unwrap_err();
        assert_eq!(refusal.final_since(), Some(clock_of(&clock)));
        // Requests that are signed from now on are known.
        clock.advance(2 * SKEW);
        let fresh = clock_of(&clock);
        assert_eq!(
            ask(&store, &signed(2, fresh, short)).await,
            Ok(ClaimOutcome::New)
        );
        assert_eq!(
            ask(&store, &signed(3, fresh, long)).await,
            Ok(ClaimOutcome::New)
        );
        // And so it is for as long as the other server asks for it.
        clock.advance(3 * WINDOW);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        for nonce in [2, 3] {
            let copy = ask(&store, &signed(nonce, fresh, long)).await;
            assert_eq!(copy, Ok(ClaimOutcome::Replayed));
        }
    }

    /// They may come again at any time, and no fence would end: what was promised for those before is
    /// kept, and no more.
    #[tokio::test]
    async fn what_covers_no_time_and_events_are_served_once_the_retention_is_extended() {
        let folder = folder();
        let clock = ManualClock::at(start());
        let store = store(&folder, &clock).await;
        let untimed = |nonce, retention| {
            let deadline = clock_of(&clock).saturating_add(retention);
            claim("k", nonce, deadline).with_retention(retention)
        };
        let long = 12 * WINDOW;
        assert_eq!(
            ask(&store, &untimed(1, WINDOW)).await,
            Ok(ClaimOutcome::New)
        );
        let refused = store.claim(&untimed(2, long)).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Misconfigured);
        assert!(
            refused.to_string().contains("extend_retention"),
            "{refused}"
        );
        let pool = sqlx::SqlitePool::connect_with(
            sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("nonces.db")),
        );
        SqliteStore::extend_retention_in(&pool.await.unwrap(), "tests", long)
            .await
            .unwrap();
        assert_eq!(
            ask(&store, &untimed(1, long)).await,
            Ok(ClaimOutcome::Replayed)
        );
        assert_eq!(ask(&store, &untimed(2, long)).await, Ok(ClaimOutcome::New));
        clock.advance(2 * WINDOW);
        for nonce in [1, 2] {
            let answer = ask(&store, &untimed(nonce, long)).await;
            let known = if nonce == 2 {
                ClaimOutcome::Replayed
            } else {
                ClaimOutcome::New
            };
            assert_eq!(
                answer,
                Ok(known),
                "as long as was promised when it was recorded"
            );
        }
    }
}

#[tokio::test]
async fn a_database_of_another_version_is_refused() {
    let folder = folder();
    let path = folder.path().join("nonces.db");
    let store = super::open(&path).await;
    let mut stranger = stranger(&path).await;
    let change = sqlx::query("UPDATE countersign_store SET version = 1");
    change.execute(&mut stranger).await.unwrap();
    assert_eq!(
        super::ask(&store, 1).await,
        Err(StoreErrorKind::Unavailable)
    );
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(error.to_string().contains("version 1"), "{error}");
}

#[tokio::test]
async fn many_may_open_a_new_database_at_once() {
    let folder = folder();
    let path = folder.path().join("nonces.db");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let path = path.clone();
        tasks.spawn(async move { super::open(path).await });
    }
    let stores = tasks.join_all().await;
    let mut accepted = 0;
    for store in &stores {
        accepted += usize::from(super::ask(store, 1).await == Ok(ClaimOutcome::New));
    }
    assert_eq!(accepted, 1);
}

#[test]
fn a_store_whose_runtime_has_ended_refuses() {
    let folder = folder();
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let first = runtime();
    let store = first.block_on(super::open(folder.path().join("nonces.db")));
    drop(first);
    let answer = runtime().block_on(super::ask(&store, 1));
    assert_eq!(answer, Err(StoreErrorKind::Unavailable));
}

#[tokio::test]
async fn a_setting_out_of_its_range_is_refused() {
    let folder = folder();
    let path = folder.path().join("nonces.db");
    for builder in [
        SqliteStore::builder().capacity(0),
        SqliteStore::builder().key_share(0),
        SqliteStore::builder().timeout(Duration::ZERO),
        SqliteStore::builder().timeout(Duration::MAX),
        SqliteStore::builder().key_share(101),
    ] {
        let refused = builder.open(&path).await.unwrap_err();
        assert!(matches!(refused, OpenError::Config(_)), "{refused}");
    }
    assert!(!path.exists());
}

/// The lock of somebody else keeps the sweep from its work, for a while.
#[tokio::test]
async fn a_sweep_that_fails_is_logged_and_goes_on() {
    let log = Log::captured();
    let folder = folder();
    let path = folder.path().join("nonces.db");
    let clock = ManualClock::at(start());
    let builder = SqliteStore::builder()
        .clock(clock.clone())
        .danger_assume_no_history();
    let store = builder
        .timeout(Duration::from_secs(2))
        .open(&path)
        .await
        .unwrap();
    assert_eq!(
        ask(&store, &claim("k", 1, start().saturating_add(WINDOW))).await,
        Ok(ClaimOutcome::New)
    );
    let mut stranger = stranger(&path).await;
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut stranger)
        .await
        .unwrap();
    clock.advance(WINDOW);
    until(async || log.text().contains("were not dropped")).await;
    assert!(log.text().contains("locked"), "{log:?}");
    sqlx::query("ROLLBACK")
        .execute(&mut stranger)
        .await
        .unwrap();
    until(async || {
        let mut stranger = super::stranger(&path).await;
        number(&mut stranger, "SELECT count(*) FROM countersign_nonce").await == 0
    })
    .await;
}
