//! Requests that a handler leaves to a worker: the nonce is recorded by the worker, or at another door,
//! and by one of them alone.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{RequestExt as _, Router, body::Body, extract::State, http::StatusCode, routing::post};
use countersign::{
    Clock as _, HeaderScheme, KeyRing, Part, PendingPayload, Processing, Rejection, Signer,
    VerifyLayer,
    clock::SystemClock,
    envelope::{Deadline, Envelopes, PayloadEnvelope},
    request::Proven,
    store::SqliteStore,
    testing::ManualClock,
};
use http::Request;
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tower::ServiceExt as _;

use crate::common::{KEY, ORIGIN, SECRET, request, scheme, signer_for, verdict};

const SECOND: Duration = Duration::from_secs(1);
/// A busy machine may need long from the signature to the last door.
const MAX_AGE: Duration = Duration::from_secs(5);
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct App {
    envelopes: Envelopes,
    queue: Arc<Mutex<Vec<Vec<u8>>>>,
    pool: SqlitePool,
    _folder: Arc<tempfile::TempDir>,
}

/// Leaves the request to the worker, or uses it at the door: which of the two, no signature says.
async fn door(State(app): State<App>, mut request: Request<Body>) -> Result<StatusCode, Rejection> {
    let at_the_door = request.headers().contains_key("at-the-door");
    let pending: PendingPayload = request.extract_parts().await.unwrap();
    if at_the_door {
        let used = pending.transact(&app.pool, async |_, _| Ok::<_, Rejection>(()));
        return used.await.map(|()| StatusCode::OK);
    }
    let deadline = Deadline::after(30 * SECOND);
    let Ok(sealed) = app.envelopes.seal_unrecorded(&pending.leave()?, deadline) else {
        return Ok(StatusCode::INTERNAL_SERVER_ERROR);
    };
    app.queue.lock().unwrap().push(sealed);
    Ok(StatusCode::ACCEPTED)
}

impl App {
    async fn new(namespace: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(folder.path().join("app.db"));
        let pool = SqlitePool::connect_with(options.create_if_missing(true))
            .await
            .unwrap();
        SqliteStore::migrate(&pool).await.unwrap();
        SqliteStore::danger_assume_no_history(&pool).await.unwrap();
        let ring = KeyRing::new()
            .with("envelopes", "a secret of envelopes alone")
            .unwrap();
        Self {
            envelopes: PayloadEnvelope::builder("ship-order")
                .keys(ring)
                .seal_under("envelopes")
                .namespace(namespace)
                .clock_difference(Duration::ZERO)
                .store_timeout(STORE_TIMEOUT)
                .build()
                .unwrap(),
            queue: Arc::default(),
            pool,
            _folder: Arc::new(folder),
        }
    }

    fn router(&self, namespace: &str, seals_for: Duration) -> Router {
        let layer = VerifyLayer::builder(scheme())
            .public_origin(ORIGIN)
            .keys(KeyRing::new().with(KEY, SECRET).unwrap())
            .namespace(namespace)
            .processing(Processing::InTransaction)
            .max_age(MAX_AGE)
            .max_skew(SECOND)
            .clock_difference(Duration::ZERO)
            .store_timeout(STORE_TIMEOUT)
            .seals_for(seals_for)
            .build()
            .unwrap();
        Router::new()
            .route("/orders", post(door))
            .layer(layer)
            .with_state(self.clone())
    }

    /// Returns what happens to every job, one after the other.
    async fn work(&self) -> Vec<&'static str> {
        let jobs = self.queue.lock().unwrap().clone();
        let mut done = Vec::new();
        for job in jobs {
            let work = async |_: &mut _, order: Proven| {
                assert_eq!(order.bytes(), "{}");
                Ok::<_, Rejection>(())
            };
            let opened = self.envelopes.open(&job).unwrap();
            let used = opened.transact(&self.pool, work).await;
            done.push(used.map_or_else(|refused| refused.kind().code(), |()| "used"));
        }
        done
    }
}

fn signed() -> Request<String> {
    let clock = ManualClock::at(SystemClock::default().now());
    let signed = signer_for(KEY, SECRET, &clock).sign(request("POST", "/orders", "{}"));
    signed.unwrap()
}

async fn send(router: &Router, request: &Request<String>, door: bool) -> u16 {
    let mut request = request.clone().map(Body::from);
    if door {
        request
            .headers_mut()
            .insert("at-the-door", "yes".parse().unwrap());
    }
    verdict(router.clone().oneshot(request).await.unwrap())
        .await
        .0
}

#[tokio::test]
async fn of_duplicates_that_were_left_to_the_worker_one_is_used() {
    let app = App::new("left to the worker").await;
    let router = app.router("left to the worker", 60 * SECOND);
    let request = signed();
    for _ in 0..3 {
        assert_eq!(send(&router, &request, false).await, 202);
    }
    assert_eq!(app.work().await, ["used", "envelope_used", "envelope_used"]);
    assert_eq!(app.work().await, ["envelope_used"; 3]);
    // And the door knows it.
    assert_eq!(send(&router, &request, true).await, 409);
    // Nobody reads what may not be recorded.
    let job = app.queue.lock().unwrap()[0].clone();
    assert_eq!(
        app.envelopes.read(&job).unwrap_err().kind().code(),
        "nonce_not_recorded"
    );
}

/// The record of the door would have been swept by then, if it did not last as long as an envelope.
#[tokio::test]
async fn what_was_used_at_the_door_is_not_used_by_the_worker_long_after_its_freshness() {
    let app = App::new("used at the door").await;
    let router = app.router("used at the door", 60 * SECOND);
    let request = signed();
    assert_eq!(send(&router, &request, false).await, 202);
    assert_eq!(send(&router, &request, true).await, 200);
    tokio::time::sleep(MAX_AGE + SECOND).await;
    assert_eq!(SqliteStore::drop_expired(&app.pool).await.unwrap(), 0);
    assert_eq!(app.work().await, ["envelope_used"]);
    assert_eq!(send(&router, &request, false).await, 401);
}

#[tokio::test]
async fn nothing_is_sealed_that_outlives_the_memory_of_its_nonce_or_is_of_another_namespace() {
    let app = App::new("too long").await;
    let request = signed();
    for (namespace, seals_for, answer) in [
        ("too long", Duration::ZERO, 500),
        ("too long", 24 * SECOND, 500),
        ("another one", 60 * SECOND, 500),
        ("too long", 60 * SECOND, 202),
    ] {
        let router = app.router(namespace, seals_for);
        assert_eq!(
            send(&router, &request, false).await,
            answer,
            "{namespace}, {seals_for:?}"
        );
    }
}

/// For every carrier of the duplicate of an event, the record of the event lasts as long as the duplicate
/// is fresh.
#[tokio::test]
async fn a_duplicate_in_an_envelope_extends_the_record_of_its_event() {
    const NAMESPACE: &str = "events left to the worker";
    let app = App::new(NAMESPACE).await;
    let lines = [Part::Method, Part::Time, Part::Nonce, Part::Body];
    let scheme = HeaderScheme::builder("x-signature")
        .fixed_key_id(KEY)
        .time("x-timestamp")
        .event_id("x-event-id")
        .signs(Part::lines(lines))
        .build()
        .unwrap();
    let layer = VerifyLayer::builder(scheme.clone())
        .keys(KeyRing::new().with(KEY, SECRET).unwrap())
        .namespace(NAMESPACE)
        .processing(Processing::InTransaction)
        .clock_difference(Duration::ZERO)
        .store_timeout(STORE_TIMEOUT)
        .seals_for(60 * SECOND)
        .build()
        .unwrap();
    let router = Router::new().route("/orders", post(door));
    let router = router.layer(layer).with_state(app.clone());
    let now = SystemClock::default().now();
    let events = [60, 20].map(|age| {
        let clock = ManualClock::at(now.saturating_sub(age * SECOND));
        let signer = Signer::new(scheme.clone(), KEY, SECRET).unwrap();
        let request = request("POST", "/orders", "{}");
        signer
            .clock(clock)
            .sign_with_nonce(request, "event-1")
            .unwrap()
    });
    for event in &events {
        assert_eq!(send(&router, event, false).await, 202);
    }
    let deadline = async || -> i64 {
        let deadline = "SELECT max(deadline) FROM countersign_nonce";
        let deadline = sqlx::query_scalar(deadline).fetch_one(&app.pool);
        deadline.await.unwrap()
    };
    let duplicate = app.queue.lock().unwrap().pop().unwrap();
    assert_eq!(app.work().await, ["used"]);
    let before = deadline().await;
    *app.queue.lock().unwrap() = vec![duplicate];
    assert_eq!(app.work().await, ["envelope_used"]);
    assert_eq!(deadline().await, before + 40_000);
    // The door finds that record, which has the place of the request: no signature covers its path.
    assert_eq!(send(&router, &events[1], true).await, 409);
}
