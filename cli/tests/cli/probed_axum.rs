//! Axum: with planted faults over HTTP/1.1 and HTTP/2, and with the library's layer in each processing.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use countersign::{
    HttpMessageSignatures, KeyRing, MemoryStore, PendingPayload, Processing, VerifiedPayload,
    VerifyLayer, store::SqliteStore,
};
use serde_json::Value;
use sqlx::SqlitePool;
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};

use crate::{
    probe::{Fault, are_told_apart, ids, probe, write_schemes},
    session::{SECRET, Session},
};

/// The effects so far, and the nonces that are known.
#[derive(Clone, Default)]
struct World {
    effects: Arc<Mutex<HashMap<String, u32>>>,
    seen: Arc<Mutex<HashSet<String>>>,
}

impl World {
    async fn act(&self, body: &[u8]) {
        sleep(Duration::from_millis(1)).await;
        let order: Value = serde_json::from_slice(body).unwrap();
        let id = order["id"].as_str().unwrap().to_owned();
        *self.effects.lock().unwrap().entry(id).or_default() += 1;
    }

    fn is_seen(&self, nonce: &str) -> bool {
        self.seen.lock().unwrap().contains(nonce)
    }

    /// Returns whether the nonce was new.
    fn see(&self, nonce: &str) -> bool {
        self.seen.lock().unwrap().insert(nonce.to_owned())
    }
}

async fn count(State(world): State<World>, Path(of): Path<String>) -> String {
    let effects = world.effects.lock().unwrap();
    effects.get(&of).copied().unwrap_or_default().to_string()
}

/// Verifies time, nonce and body by hand; the nonce.
fn by_hand(headers: &HeaderMap, body: &[u8], takes_sha1: bool) -> Result<String, StatusCode> {
    let of = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let (at, nonce, given) = (of("x-timestamp"), of("x-nonce"), of("x-signature"));
    let message = [at.as_bytes(), nonce.as_bytes(), body].join(&b'\n');
    let hex = |mac: &[u8]| {
        mac.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    macro_rules! mac {
        ($hash:ty) => {{
            use hmac::{KeyInit as _, Mac as _};
            let mut mac = hmac::Hmac::<$hash>::new_from_slice(SECRET.as_bytes()).unwrap();
            mac.update(&message);
            hex(&mac.finalize().into_bytes())
        }};
    }
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let is_fresh = at.bytes().all(|byte| byte.is_ascii_digit())
        && at.parse().is_ok_and(|at: u64| now.abs_diff(at) <= 300);
    let is_good = given == mac!(sha2::Sha256) || takes_sha1 && given == mac!(sha1::Sha1);
    match is_fresh && is_good {
        true => Ok(nonce.to_owned()),
        false => Err(StatusCode::UNAUTHORIZED),
    }
}

/// Looks, waits, and then notes.
async fn looks_first(
    State(world): State<World>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), StatusCode> {
    let nonce = by_hand(&headers, &body, false)?;
    if world.is_seen(&nonce) {
        return Err(StatusCode::CONFLICT);
    }
    sleep(Duration::from_millis(1)).await;
    world.see(&nonce);
    world.act(&body).await;
    Ok(())
}

/// Still takes the algorithm of years ago.
async fn takes_sha1(
    State(world): State<World>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), StatusCode> {
    let nonce = by_hand(&headers, &body, true)?;
    if !world.see(&nonce) {
        return Err(StatusCode::CONFLICT);
    }
    world.act(&body).await;
    Ok(())
}

async fn notes_at_once(
    State(world): State<World>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), StatusCode> {
    let nonce = by_hand(&headers, &body, false)?;
    if !world.see(&nonce) {
        return Err(StatusCode::CONFLICT);
    }
    world.act(&body).await;
    Ok(())
}

/// Waits for a body no longer than a second.
async fn reads_in_time(
    state: State<World>,
    headers: HeaderMap,
    body: Body,
) -> Result<(), StatusCode> {
    let reading = timeout(Duration::from_secs(1), to_bytes(body, 1 << 20));
    let body = reading.await.map_err(|_| StatusCode::REQUEST_TIMEOUT)?;
    let body = body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    notes_at_once(state, headers, body).await
}

/// With the library's layer.
async fn verified(State(world): State<World>, payload: VerifiedPayload) {
    world.act(payload.bytes()).await;
}

/// The nonce and the effect are in one transaction.
async fn in_transaction(
    State(pool): State<SqlitePool>,
    pending: PendingPayload,
) -> Result<String, StatusCode> {
    let paid = pending
        .transact(&pool, async |tx, payload| {
            let order: Value = payload.json().map_err(|_| Failed)?;
            sqlx::query("INSERT INTO payments VALUES ($1)")
                .bind(order["id"].as_str())
                .execute(&mut *tx)
                .await
                .map_err(|_| Failed)?;
            Ok::<_, Failed>("paid".to_owned())
        })
        .await;
    paid.map_err(|Failed| StatusCode::SERVICE_UNAVAILABLE)
}

#[derive(Debug)]
struct Failed;

impl From<countersign::Rejection> for Failed {
    fn from(_: countersign::Rejection) -> Self {
        Self
    }
}

impl From<sqlx::Error> for Failed {
    fn from(_: sqlx::Error) -> Self {
        Self
    }
}

async fn payments(State(pool): State<SqlitePool>, Path(of): Path<String>) -> String {
    let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM payments WHERE id = $1");
    count.bind(of).fetch_one(&pool).await.unwrap().to_string()
}

fn layer(address: SocketAddr, processing: Processing) -> VerifyLayer {
    let builder = VerifyLayer::builder(HttpMessageSignatures::default())
        .public_origin(format!("http://{address}"))
        .keys(KeyRing::new().with("probe", SECRET).unwrap())
        .processing(processing);
    let builder = match processing {
        // The database remembers.
        Processing::InTransaction => builder,
        _ => {
            let store = MemoryStore::builder().danger_assume_no_history();
            builder.store(store.build().unwrap())
        }
    };
    builder.build().unwrap()
}

/// Starts the server on threads of its own.
fn start(database: std::path::PathBuf) -> SocketAddr {
    let (sender, address) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let url = format!("sqlite://{}?mode=rwc", database.display());
            let pool = SqlitePool::connect(&url).await.unwrap();
            SqliteStore::migrate(&pool).await.unwrap();
            SqliteStore::danger_assume_no_history(&pool).await.unwrap();
            sqlx::raw_sql("CREATE TABLE payments (id text)")
                .execute(&pool)
                .await
                .unwrap();
            let transacted = Router::new()
                .route("/in-transaction", post(in_transaction))
                .layer(layer(address, Processing::InTransaction))
                .route("/payments/{of}", get(payments))
                .with_state(pool);
            let retryable = Processing::Retryable {
                lease: Duration::from_secs(30),
            };
            let once = Router::new()
                .route("/at-most-once", post(verified))
                .layer(layer(address, Processing::AtMostOnce));
            let retried = Router::new()
                .route("/retryable", post(verified))
                .layer(layer(address, retryable));
            let app = Router::new()
                .route("/fault/looks-first", post(looks_first))
                .route("/fault/takes-sha1", post(takes_sha1))
                .route("/mended/looks-first", post(notes_at_once))
                .route("/mended/takes-sha1", post(notes_at_once))
                .route("/fault/no-deadline", post(notes_at_once))
                .route("/mended/no-deadline", post(reads_in_time))
                .route("/effects/{of}", get(count))
                .merge(once)
                .merge(retried)
                .with_state(World::default())
                .merge(transacted);
            sender.send(address).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
    });
    address.recv().unwrap()
}

#[test]
fn faults_of_axum_are_found() {
    let session = Session::new();
    let address = start(session.path().join("payments.db"));
    let faults = [
        Fault("looks-first", "no-path", "race", ""),
        Fault("looks-first", "no-path", "race", "--http2"),
        Fault("takes-sha1", "no-path", "signature-algorithm", ""),
        Fault("no-deadline", "no-path", "slow-body", "--wait --timeout 3"),
    ];
    are_told_apart(&session, address, &faults);
}

#[test]
fn the_layer_is_clean_in_every_processing() {
    let session = Session::new();
    write_schemes(&session);
    let address = start(session.path().join("payments.db"));
    for (route, effects) in [
        ("at-most-once", "effects"),
        ("retryable", "effects"),
        ("in-transaction", "payments"),
    ] {
        for http in ["", "--http2"] {
            let report = probe(
                &session,
                &format!(
                    "http-message-signatures --key-id probe {http} --data '{{\"id\":\"{{uuid}}\"}}' \
                     -H 'content-type: application/json' --max-age 300 \
                     --effect 'GET http://{address}/{effects}/{{uuid}}' \
                     POST 'http://{address}/{route}?a=1'"
                ),
            );
            assert_eq!(
                ids(&report),
                Vec::<String>::new(),
                "{route} {http}: {report:#}"
            );
            let hidden = report["hidden"].as_str().unwrap();
            assert!(hidden.contains("locks of sessions"), "{hidden}");
            let checks = report["checks"].as_array().unwrap();
            let clean = checks
                .iter()
                .filter(|check| check["outcome"] == "clean")
                .count();
            assert!(clean >= 20, "{route} {http}: {checks:#?}");
        }
    }
}
