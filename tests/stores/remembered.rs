//! A store's report of its memory, and records that are forgotten on purpose.

use std::time::Duration;

use countersign::{
    KeyId, MemoryStore, Timestamp,
    store::{Claim, ClaimOutcome, LeaseOutcome, NonceStore, Recorded, StepOutcome},
};
use http::Method;

use crate::claims::{HOUR, SKEW, claim_by, claim_until, now};

/// An attempt of its own, signed as late as can be, which a store of any age accepts.
fn claim(nonce: u64) -> Claim {
    let later = now().saturating_add(HOUR);
    claim_until(nonce, later).signed(later, SKEW)
}

/// Known for its key and nonce alone.
fn known(nonce: u64) -> Claim {
    claim_until(nonce, Timestamp::MAX)
}

fn counts(recorded: Recorded) -> (u64, u64) {
    assert_eq!(recorded.until.is_some(), recorded.records > 0);
    (recorded.records, recorded.in_flight)
}

/// Each store has these methods, and no trait has: anybody who looks after a store knows its kind.
macro_rules! forgets_on_purpose {
    ($store:expr) => {
        let store = $store;
        let lease = Duration::from_secs(60);
        assert_eq!(counts(store.recorded(&known(1)).await.unwrap()), (0, 0));
        assert_eq!(
            counts(store.danger_forget(&known(1)).await.unwrap()),
            (0, 0)
        );
        for nonce in 1..=3 {
            assert_eq!(store.claim(&claim(nonce)).await.unwrap(), ClaimOutcome::New);
        }
        // To look changes nothing.
        for _ in 0..2 {
            let recorded = store.recorded(&known(1)).await.unwrap();
            assert_eq!(counts(recorded), (1, 0));
            assert!(recorded.until.unwrap() > now());
        }
        assert_eq!(
            store.claim(&claim(1)).await.unwrap(),
            ClaimOutcome::Replayed
        );
        // The forgotten one is accepted once, and the others stay.
        assert_eq!(
            counts(store.danger_forget(&known(1)).await.unwrap()),
            (1, 0)
        );
        assert_eq!(counts(store.recorded(&known(1)).await.unwrap()), (0, 0));
        assert_eq!(store.claim(&claim(1)).await.unwrap(), ClaimOutcome::New);
        for nonce in 1..=3 {
            let again = store.claim(&claim(nonce)).await.unwrap();
            assert_eq!(again, ClaimOutcome::Replayed, "{nonce}");
        }
        // A lease that is held stays, and its holder goes on.
        let leases = store.leases().unwrap();
        let held = claim(4);
        assert_eq!(
            leases.lease(&held, lease).await.unwrap(),
            LeaseOutcome::Held
        );
        assert_eq!(
            counts(store.danger_forget(&known(4)).await.unwrap()),
            (0, 1)
        );
        let other = leases.lease(&claim(4), lease).await.unwrap();
        assert!(matches!(other, LeaseOutcome::InFlight { .. }), "{other:?}");
        assert_eq!(leases.complete(&held).await.unwrap(), StepOutcome::Done);
        let done = leases.lease(&claim(4), lease).await.unwrap();
        assert_eq!(done, LeaseOutcome::Completed);
        // A completed record is forgotten.
        assert_eq!(
            counts(store.danger_forget(&known(4)).await.unwrap()),
            (1, 0)
        );
        let again = claim(4);
        assert_eq!(
            leases.lease(&again, lease).await.unwrap(),
            LeaseOutcome::Held
        );
        assert_eq!(leases.complete(&held).await.unwrap(), StepOutcome::Lost);
        assert_eq!(leases.release(&again).await.unwrap(), StepOutcome::Done);
        // With a place.
        let placed = |claim: Claim| claim.at_place(Method::POST, "/hooks");
        let first = store.claim(&placed(claim(5))).await.unwrap();
        assert_eq!(first, ClaimOutcome::New);
        assert_eq!(
            counts(store.danger_forget(&placed(known(5))).await.unwrap()),
            (1, 0)
        );
        let again = store.claim(&placed(claim(5))).await.unwrap();
        assert_eq!(again, ClaimOutcome::New);
        let status = store.status().await.unwrap();
        assert!(status.records.unwrap() >= 4, "{status:?}");
    };
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use countersign::store::SqliteStore;

    use super::*;

    #[tokio::test]
    async fn sqlite_forgets_what_it_is_told_to() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("used.db");
        let builder = SqliteStore::builder().danger_assume_no_history();
        let store = builder.open(&file).await.unwrap();
        forgets_on_purpose!(&store);
        // By key: its own records in one namespace, or in all.
        let until = now().saturating_add(HOUR);
        let by = |key: &str, nonce: u64| claim_by(key, nonce, until).signed(until, SKEW);
        for (key, nonce) in [("other", 1), ("other", 2), ("third", 1)] {
            assert_eq!(
                store.claim(&by(key, nonce)).await.unwrap(),
                ClaimOutcome::New
            );
        }
        let key = KeyId::new("other").unwrap();
        let of_key = |namespace: Option<&'static str>| store.recorded_of_key(namespace, &key);
        assert_eq!(counts(of_key(None).await.unwrap()), (2, 0));
        assert_eq!(counts(of_key(Some("tests")).await.unwrap()), (2, 0));
        assert_eq!(counts(of_key(Some("others")).await.unwrap()), (0, 0));
        let others = store.danger_forget_key(Some("others"), &key).await.unwrap();
        assert_eq!(counts(others), (0, 0));
        assert_eq!(
            store.claim(&by("other", 1)).await.unwrap(),
            ClaimOutcome::Replayed
        );
        let forgotten = store.danger_forget_key(None, &key).await.unwrap();
        assert_eq!(counts(forgotten), (2, 0));
        for (key, nonce, expected) in [
            ("other", 1, ClaimOutcome::New),
            ("other", 2, ClaimOutcome::New),
            ("third", 1, ClaimOutcome::Replayed),
        ] {
            assert_eq!(store.claim(&by(key, nonce)).await.unwrap(), expected);
        }
        let status = store.status().await.unwrap();
        assert_eq!(status.version, Some(2));
        assert_eq!(status.since, None);
        let names: Vec<_> = status.namespaces.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["tests"]);
        let of_third: Vec<_> = status.keys.iter().filter(|k| k.key_id == "third").collect();
        assert_eq!(of_third.len(), 1, "{status:?}");
        assert_eq!(of_third[0].records, 1);
        // A database that was forgotten in is no copy: the next start vouches for the same.
        drop(store);
        let store = SqliteStore::open(&file).await.unwrap();
        assert_eq!(store.status().await.unwrap().since, None);
        assert_eq!(
            store.claim(&by("third", 1)).await.unwrap(),
            ClaimOutcome::Replayed
        );
    }
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn postgres_forgets_what_it_is_told_to() {
    use countersign::store::PostgresStore;

    let Some(pool) = crate::common::database::pool("remembered").await else {
        return;
    };
    PostgresStore::danger_assume_no_history(&pool)
        .await
        .unwrap();
    let options = (*pool.connect_options()).clone();
    let store = PostgresStore::open(options).await.unwrap();
    forgets_on_purpose!(&store);
    let status = store.status().await.unwrap();
    let names: Vec<_> = status.namespaces.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["tests"], "{status:?}");
    // A store that made a record which was forgotten does not take it for lost.
    assert_eq!(store.claim(&claim(9)).await.unwrap(), ClaimOutcome::New);
    assert_eq!(
        counts(store.danger_forget(&known(9)).await.unwrap()),
        (1, 0)
    );
    assert_eq!(store.claim(&claim(10)).await.unwrap(), ClaimOutcome::New);
    assert_eq!(store.status().await.unwrap().since, status.since);
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn redis_forgets_what_it_is_told_to() {
    use countersign::store::RedisStore;

    use crate::common::redis_server::{Server, programs};

    for program in programs() {
        let server = Server::start(&program, &["--save", ""]);
        let builder = RedisStore::builder().danger_assume_no_history();
        let store = builder.open(&server.url()).await.unwrap();
        forgets_on_purpose!(&store);
        assert_eq!(store.status().await.unwrap().since, None);
    }
}

#[test]
fn the_file_of_a_memory_store_tells_how_far_it_has_come() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mark");
    assert!(MemoryStore::status_of_high_watermark(&file).is_err());
    let store = MemoryStore::builder()
        .high_watermark(&file)
        .build()
        .unwrap();
    // While another has it.
    let status = MemoryStore::status_of_high_watermark(&file).unwrap();
    assert!(
        status.since.is_some() && status.records.is_none(),
        "{status:?}"
    );
    let before = status.accepted_up_to;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let claimed = runtime.block_on(store.claim(&claim(1))).unwrap();
    assert_eq!(claimed, ClaimOutcome::New);
    let status = MemoryStore::status_of_high_watermark(&file).unwrap();
    assert!(status.accepted_up_to > before, "{status:?}");
    assert!(status.accepted_up_to.unwrap() >= claim(1).signed_at().unwrap());
    std::fs::write(&file, "no mark").unwrap();
    let error = MemoryStore::status_of_high_watermark(&file).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}
