//! An envelope that is delivered twice, the second time when its request is long stale and the record
//! of it has been swept: on every store, one delivery has the effect.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use countersign::{
    Clock, KeyRing, MemoryStore, Processing, Rejection, Timestamp, VerifiedPayload, Verifier,
    clock::SystemClock,
    envelope::{Deadline, Envelopes, PayloadEnvelope},
    error::StoreError,
    request::{Proven, Verified, VerifierBuilder},
    store::{Claim, ClaimOutcome, LeaseStore, NonceStore, Sharing, StoreFuture, TransactIn},
    testing::ManualClock,
};
use http::request::Parts;
use http_body_util::Full;

use crate::common::{KEY, SECRET, request, scheme, signer_for};

const SECOND: Duration = Duration::from_secs(1);
/// A busy machine may need long from the signature to the claim.
const MAX_AGE: Duration = Duration::from_secs(5);
const STORE_TIMEOUT: Duration = Duration::from_secs(4);
/// The request is stale after its longest age, and its record is dropped once a store may no longer
/// answer.
const LATER: Duration = Duration::from_millis(9500);

fn envelopes(clock: impl Clock) -> Envelopes {
    PayloadEnvelope::builder("ship-order")
        .keys(
            KeyRing::new()
                .with("envelopes", "a secret of envelopes alone")
                .unwrap(),
        )
        .seal_under("envelopes")
        .namespace("envelopes on every store")
        .clock(clock)
        .build()
        .unwrap()
}

fn verifier(clock: impl Clock) -> VerifierBuilder<Verifier> {
    Verifier::builder(scheme())
        .public_origin(crate::common::ORIGIN)
        .keys(KeyRing::new().with(KEY, SECRET).unwrap())
        .namespace("envelopes on every store")
        .max_age(MAX_AGE)
        .max_skew(SECOND)
        .clock_difference(Duration::ZERO)
        .store_timeout(STORE_TIMEOUT)
        .clock(clock)
}

fn signed(now: Timestamp) -> (Parts, Full<Bytes>) {
    let signed =
        signer_for(KEY, SECRET, &ManualClock::at(now)).sign(request("POST", "/orders", "{}"));
    let (head, body) = signed.unwrap().into_parts();
    (head, Full::from(body))
}

/// Through the door, which records the nonce in this store.
async fn claimed(clock: impl Clock + Clone, store: impl NonceStore) -> VerifiedPayload {
    let (head, body) = signed(clock.now());
    let verifier = verifier(clock)
        .processing(Processing::AtMostOnce)
        .store(store);
    let verified = verifier.build().unwrap().verify(&head, body).await;
    verified.unwrap().payload().unwrap().clone()
}

fn code<T>(used: Result<T, Rejection>) -> &'static str {
    used.map_or_else(|refused| refused.kind().code(), |_| "used")
}

/// Delivers twice, and sweeps in between.
async fn delivered(
    store: &impl NonceStore,
    (clock, payload): (impl Clock, VerifiedPayload),
    sweep: impl AsyncFnOnce(),
) -> [&'static str; 2] {
    let envelopes = envelopes(clock);
    let sealed = envelopes
        .seal(&payload, Deadline::after(600 * SECOND))
        .unwrap();
    let deliver = async || code(envelopes.open(&sealed).unwrap().claim_in(store).await);
    let first = deliver().await;
    sweep().await;
    [first, deliver().await]
}

const ONCE: [&str; 2] = ["used", "envelope_used"];

#[tokio::test]
async fn on_the_memory_store_the_second_delivery_is_refused_after_a_sweep() {
    let clock = ManualClock::at(SystemClock::default().now());
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .danger_assume_no_history();
    let store = Arc::new(store.build().unwrap());
    let payload = claimed(clock.clone(), Arc::clone(&store)).await;
    let sweep = async || {
        assert_eq!(store.len(), 2);
        clock.advance(LATER);
        // Each claim sweeps a part.
        let mut others = 0;
        while store.len() >= 2 + others {
            claimed(clock.clone(), Arc::clone(&store)).await;
            others += 1;
            assert!(others < 100_000, "the record of the request is not dropped");
        }
    };
    let answers = delivered(&store, (clock.clone(), payload), sweep).await;
    assert_eq!(answers, ONCE);
}

/// As it is often written: a cache of what was done, whose entries live as long as a signature.
struct Cache(Mutex<HashMap<[u8; 32], Timestamp>>, ManualClock);

impl NonceStore for Cache {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        let now = self.1.now();
        let mut entries = self.0.lock().unwrap();
        entries.retain(|_, until| *until > now);
        let until = now.saturating_add(MAX_AGE + SECOND);
        let earlier = entries.insert(claim.digest(), until);
        StoreFuture::ready(Ok(match earlier {
            Some(_) => ClaimOutcome::Replayed,
            None => ClaimOutcome::New,
        }))
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        None
    }

    fn survives_restart(&self) -> bool {
        false
    }

    fn sharing(&self) -> Sharing {
        Sharing::within_process(self)
    }
}

#[tokio::test]
async fn twin_a_cache_that_remembers_for_as_long_as_a_signature_lives_has_the_effect_twice() {
    let clock = ManualClock::at(SystemClock::default().now());
    let cache = Cache(Mutex::default(), clock.clone());
    let store = MemoryStore::new().danger_assume_no_history();
    let payload = claimed(clock.clone(), store).await;
    let sweep = async || clock.advance(LATER);
    let answers = delivered(&cache, (clock.clone(), payload), sweep).await;
    assert_eq!(answers, ["used", "used"]);
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread")]
async fn on_redis_the_second_delivery_is_refused_after_its_request_has_expired() {
    use crate::common::redis_server::{Server, programs};
    use countersign::store::RedisStore;

    for program in programs() {
        let server = Server::start(&program, &["--save", ""]);
        let builder = RedisStore::builder().danger_assume_no_history();
        let store = Arc::new(builder.open(&server.url()).await.unwrap());
        let clock = SystemClock::default();
        let records = || -> HashSet<Vec<u8>> {
            let keys: Vec<Vec<u8>> = server.ask(&["KEYS", "*"]).unwrap();
            keys.into_iter().collect()
        };
        let before = records();
        let payload = claimed(clock, Arc::clone(&store)).await;
        let of_request = &records() - &before;
        assert!(
            !of_request.is_empty(),
            "no record of the request on {program}"
        );
        let sweep = async || {
            // A little longer than it must be kept.
            for _ in 0..300 {
                if !of_request.is_subset(&records()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            panic!("the record of the request is still on {program}");
        };
        let answers = delivered(&store, (clock, payload), sweep).await;
        assert_eq!(answers, ONCE, "on {program}");
    }
}

/// In transactions: at the door, and of the worker.
async fn transacted<D: TransactIn>(
    database: &D,
    sweep: impl AsyncFnOnce() -> Result<u64, StoreError>,
    count: impl AsyncFn() -> i64,
) {
    let clock = SystemClock::default();
    let (head, body) = signed(clock.now());
    let door = verifier(clock)
        .processing(Processing::InTransaction)
        .build()
        .unwrap();
    let Ok(Verified::Pending(pending)) = door.verify(&head, body).await else {
        panic!("it is not pending");
    };
    let envelopes = envelopes(clock);
    // The job is written in the transaction that records the nonce.
    let sealed = pending.transact(database, async |_, payload| {
        Ok::<_, Rejection>(
            envelopes
                .seal(&payload, Deadline::after(600 * SECOND))
                .unwrap(),
        )
    });
    let sealed = sealed.await.unwrap();
    let deliver = async || {
        let work = async |_: &mut D::Connection, order: Proven| {
            assert_eq!(order.bytes(), "{}");
            Ok::<_, Rejection>(())
        };
        code(
            envelopes
                .open(&sealed)
                .unwrap()
                .transact(database, work)
                .await,
        )
    };
    assert_eq!(deliver().await, "used");
    assert_eq!(count().await, 2);
    tokio::time::sleep(LATER).await;
    sweep().await.unwrap();
    assert_eq!(
        count().await,
        1,
        "the record of the request alone is dropped"
    );
    assert_eq!(deliver().await, "envelope_used");
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_the_second_delivery_is_refused_after_a_sweep() {
    use countersign::store::SqliteStore;
    use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};

    let folder = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(folder.path().join("app.db"));
    let pool = SqlitePool::connect_with(options.create_if_missing(true))
        .await
        .unwrap();
    SqliteStore::migrate(&pool).await.unwrap();
    SqliteStore::danger_assume_no_history(&pool).await.unwrap();
    let count = async || -> i64 {
        let count = sqlx::query_scalar("SELECT count(*) FROM countersign_nonce");
        count.fetch_one(&pool).await.unwrap()
    };
    transacted(
        &pool,
        async || SqliteStore::drop_expired(&pool).await,
        count,
    )
    .await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_the_second_delivery_is_refused_after_a_sweep() {
    use crate::common::database;
    use countersign::store::PostgresStore;

    let Some(pool) = database::pool("envelopes").await else {
        return;
    };
    let count = async || database::nonces(&pool).await;
    let sweep = async || {
        // It keeps what has expired for a minute, which this test does not wait.
        let minute = "UPDATE countersign_nonces SET deadline_ms = deadline_ms - 60000";
        sqlx::raw_sql(minute).execute(&pool).await.unwrap();
        // While another sweep is at work, this one leaves the records to it.
        loop {
            match PostgresStore::drop_expired(&pool).await {
                Ok(0) if database::nonces(&pool).await == 2 => tokio::task::yield_now().await,
                dropped => break dropped,
            }
        }
    };
    transacted(&pool, sweep, count).await;
}
