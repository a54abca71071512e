//! Values that are signed and not sent: the handler supplies them from its own row, and the MAC is
//! compared in its transaction. Nothing is read, and nothing recorded, before it has passed.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, http::Request, response::IntoResponse, routing::put};
use countersign::{
    HeaderScheme, KeyRing, Part, PendingPayload, Processing, Rejection, Signer, VerifiedPayload,
    Verifier, VerifyLayer,
    clock::SystemClock,
    envelope::{Deadline, PayloadEnvelope},
    error::ConfigErrorKind,
    request::{Supplied, UnprovenPayload, VerifierBuilder},
    scheme::{JsonObject, PythonJson},
    store::SqliteStore,
};
use http_body_util::Full;
use sqlx::{SqliteConnection, SqlitePool, sqlite::SqlitePoolOptions};
use tokio::sync::Notify;
use tower::ServiceExt as _;

use crate::common::{self, HOST, KEY, ORIGIN, SECRET, keys, verdict};

const MINUTE: Duration = Duration::from_secs(60);

fn lines(version: Part) -> HeaderScheme {
    HeaderScheme::builder("x-signature")
        .key_id("x-key-id")
        .time("x-timestamp")
        .nonce("x-nonce")
        .signs(Part::lines([
            Part::Method,
            Part::Authority,
            Part::Path,
            version,
            Part::KeyId,
            Part::Time,
            Part::Nonce,
            Part::Body,
        ]))
        .build()
        .unwrap()
}

fn scheme() -> HeaderScheme {
    lines(Part::supplied("version"))
}

fn builder(scheme: HeaderScheme) -> VerifierBuilder<VerifyLayer> {
    VerifyLayer::builder(scheme)
        .public_origin(ORIGIN)
        .keys(keys())
        .clock(SystemClock::default())
        .processing(Processing::InTransaction)
}

fn request(version: &str) -> Request<String> {
    let mut request = common::request("PUT", "/documents/1", r#"{"title":"new"}"#);
    let supplied = Supplied::new().with("version", version);
    request.extensions_mut().insert(supplied);
    request
}

fn signed(version: &str) -> Request<String> {
    let signer = Signer::new(scheme(), KEY, SECRET).unwrap();
    let mut signed = signer.sign(request(version)).unwrap();
    // The value that the client knows does not travel.
    signed.extensions_mut().clear();
    signed
}

async fn pool() -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect("sqlite::memory:").await.unwrap();
    SqliteStore::migrate(&pool).await.unwrap();
    let tables = "CREATE TABLE effects (title text); UPDATE countersign_store SET since = 0";
    sqlx::raw_sql(tables).execute(&pool).await.unwrap();
    pool
}

async fn count(pool: &SqlitePool, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(pool).await.unwrap()
}

/// Returns how many effects there were, and how many nonces are recorded.
async fn left(pool: &SqlitePool) -> (i64, i64) {
    (
        count(pool, "SELECT count(*) FROM effects").await,
        count(pool, "SELECT count(*) FROM countersign_nonce").await,
    )
}

/// The supplied value, in the place of a locked row.
type Row = Result<Option<Supplied>, Rejection>;

async fn change(tx: &mut SqliteConnection, payload: VerifiedPayload) -> Result<String, Rejection> {
    // A value that the request has not sent is told by that name alone.
    assert_eq!(payload.supplied("version"), Some("7"));
    assert_eq!(payload.supplied("nonce"), None);
    assert_eq!(payload.header("version"), None);
    assert_eq!(payload.query_param("version"), None);
    assert_eq!(payload.path(), Some("/documents/1"));
    assert_eq!(payload.bytes(), r#"{"title":"new"}"#);
    let insert = sqlx::query("INSERT INTO effects VALUES ('new')");
    insert.execute(tx).await.unwrap();
    Ok("changed".to_owned())
}

fn app(pool: &SqlitePool, layer: VerifyLayer, row: Row) -> Router {
    let pool = pool.clone();
    let handler = async move |unproven: UnprovenPayload| {
        unproven.transact(&pool, async |_| row, change).await
    };
    Router::new()
        .route("/documents/{id}", put(handler))
        .layer(layer)
}

async fn sent(app: &Router, request: &Request<String>) -> (u16, String) {
    let request = request.clone().map(Body::from);
    verdict(app.clone().oneshot(request).await.unwrap()).await
}

fn version(version: &str) -> Row {
    Ok(Some(Supplied::new().with("version", version)))
}

fn code(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn a_request_is_proven_by_what_the_handler_supplies_and_used_once() {
    let pool = pool().await;
    let app = app(&pool, builder(scheme()).build().unwrap(), version("7"));
    let request = signed("7");
    assert!(request.headers().values().all(|value| value != "7"));
    assert_eq!(sent(&app, &request).await, code(200, "changed"));
    assert_eq!(left(&pool).await, (1, 1));
    assert_eq!(sent(&app, &request).await, code(409, "request_replayed"));
    assert_eq!(left(&pool).await, (1, 1));
}

#[tokio::test]
async fn with_another_value_or_none_nothing_is_read_and_nothing_recorded() {
    let refused = Rejection::from(countersign::error::StoreError::unavailable("the row"));
    for (row, answer) in [
        (version("8"), code(401, "signature_invalid")),
        (version("70"), code(401, "signature_invalid")),
        // No such row: as a wrong MAC.
        (Ok(None), code(401, "signature_invalid")),
        (Ok(Some(Supplied::new())), code(500, "value_not_supplied")),
        (
            Ok(Some(Supplied::new().with("Version", "7"))),
            code(500, "value_not_supplied"),
        ),
        (version(""), code(500, "value_not_supplied")),
        (version("7\n"), code(500, "value_not_supplied")),
        (version(" 7"), code(500, "value_not_supplied")),
        (version("7\u{e9}"), code(500, "value_not_supplied")),
        (version(&"7".repeat(257)), code(500, "value_not_supplied")),
        (Err(refused), code(503, "store_unavailable")),
    ] {
        let pool = pool().await;
        let app = app(&pool, builder(scheme()).build().unwrap(), row.clone());
        assert_eq!(sent(&app, &signed("7")).await, answer, "{row:?}");
        assert_eq!(left(&pool).await, (0, 0), "{row:?}");
    }
}

/// Values of any length and any visible characters are told apart.
#[tokio::test]
async fn a_value_is_signed_whole() {
    for value in [
        "7",
        "0",
        "-7",
        "!~",
        "\"",
        ":",
        "2026-11-29T10:00:00.123456Z",
        &"7".repeat(256),
    ] {
        let pool = pool().await;
        let layer = builder(scheme()).build().unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let handler = {
            let (pool, seen, value) = (pool.clone(), Arc::clone(&seen), value.to_owned());
            async move |unproven: UnprovenPayload| -> Result<(), Rejection> {
                let supply = async |_: &mut SqliteConnection| version(&value);
                let work = async |_: &mut SqliteConnection, payload: VerifiedPayload| {
                    *seen.lock().unwrap() = payload.supplied("version").unwrap().to_owned();
                    Ok(())
                };
                unproven.transact(&pool, supply, work).await
            }
        };
        let app = Router::new()
            .route("/documents/{id}", put(handler))
            .layer(layer);
        assert_eq!(sent(&app, &signed(value)).await, code(200, ""));
        assert_eq!(*seen.lock().unwrap(), value);
    }
}

#[tokio::test]
async fn what_was_altered_on_the_way_is_refused_in_the_transaction() {
    let alter: [fn(&mut Request<String>); 4] = [
        |request| *request.body_mut() = r#"{"title":"old"}"#.to_owned(),
        |request| *request.uri_mut() = "/documents/2".parse().unwrap(),
        |request| {
            request
                .headers_mut()
                .insert("x-nonce", "another".parse().unwrap());
        },
        |request| {
            let mac = format!("{:064}", 0).parse().unwrap();
            request.headers_mut().insert("x-signature", mac);
        },
    ];
    let pool = pool().await;
    let app = app(&pool, builder(scheme()).build().unwrap(), version("7"));
    for alter in alter {
        let mut request = signed("7");
        alter(&mut request);
        assert_eq!(sent(&app, &request).await, code(401, "signature_invalid"));
        assert_eq!(left(&pool).await, (0, 0));
    }
}

/// A message in which the value is left out is that of no request, whoever has signed it.
#[tokio::test]
async fn a_mac_over_a_message_without_the_value_passes_nowhere() {
    let without = Signer::new(lines(Part::text("")), KEY, SECRET).unwrap();
    let mut request = request("7");
    request.extensions_mut().clear();
    let request = without.sign(request).unwrap();
    for row in [Ok(None), Ok(Some(Supplied::new())), version("")] {
        let pool = pool().await;
        let app = app(&pool, builder(scheme()).build().unwrap(), row);
        let (status, _) = sent(&app, &request).await;
        assert!([401, 500].contains(&status));
        assert_eq!(left(&pool).await, (0, 0));
    }
    // Neither in the stages, one by one.
    let verifier = Verifier::builder(scheme())
        .public_origin(ORIGIN)
        .keys(keys())
        .processing(Processing::InTransaction)
        .build()
        .unwrap();
    for request in [request, signed("7")] {
        let (head, body) = request.into_parts();
        let admitted = verifier.parse(&head).unwrap().admit().await.unwrap();
        let received = admitted
            .receive(Full::<bytes::Bytes>::from(body))
            .await
            .unwrap();
        let refused = received.authenticate().unwrap_err();
        assert_eq!(refused.kind().code(), "value_not_supplied");
    }
}

#[tokio::test]
async fn what_can_be_refused_at_the_door_never_reaches_the_handler() {
    let called = Arc::new(AtomicUsize::new(0));
    let handler = {
        let called = Arc::clone(&called);
        async move |_: UnprovenPayload| {
            called.fetch_add(1, Ordering::SeqCst);
        }
    };
    let layer = builder(scheme()).build().unwrap();
    let app = Router::new()
        .route("/documents/{id}", put(handler))
        .layer(layer);
    let with = |name: &'static str, value: &str| {
        let mut request = signed("7");
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    for (request, answer) in [
        (with("x-key-id", "unknown"), code(401, "signature_invalid")),
        (
            with("x-timestamp", "1700000000"),
            code(401, "signature_expired"),
        ),
        (
            with("x-signature", "1234"),
            code(400, "signature_malformed"),
        ),
        (with("x-nonce", ""), code(400, "signature_malformed")),
        (
            with("host", "evil.example.com"),
            code(421, "authority_not_served"),
        ),
        (
            with("content-encoding", "gzip"),
            code(401, "signature_insufficient"),
        ),
    ] {
        assert_eq!(sent(&app, &request).await, answer);
    }
    assert_eq!(called.load(Ordering::SeqCst), 0);
    // A handler that was called, proved nothing, and says that all is well.
    assert_eq!(
        sent(&app, &signed("7")).await,
        code(500, "nonce_not_recorded")
    );
    assert_eq!(called.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn nothing_but_the_unproven_payload_can_be_taken() {
    let layer = || builder(scheme()).build().unwrap();
    let route = |handler| Router::new().route("/documents/{id}", handler);
    for app in [
        route(put(async |_: VerifiedPayload| ())),
        route(put(async |_: PendingPayload| ())),
        route(put(async |_: UnprovenPayload, _: UnprovenPayload| ())),
    ] {
        let answer = sent(&app.layer(layer()), &signed("7")).await;
        assert_eq!(answer, code(500, "not_verified"));
    }
    // The body is not there either, and no header says what it means.
    let app = route(put(async |request: axum::extract::Request| {
        assert!(request.headers().get("x-http-method-override").is_none());
        axum::body::to_bytes(request.into_body(), 100)
            .await
            .unwrap()
            .into_response()
    }));
    let mut request = signed("7");
    let get = "GET".parse().unwrap();
    request.headers_mut().insert("x-http-method-override", get);
    assert_eq!(
        sent(&app.layer(layer()), &request).await,
        code(500, "nonce_not_recorded")
    );
}

/// In a transaction of the caller's own.
#[tokio::test]
async fn a_caller_proves_and_consumes_in_its_own_transaction() {
    let pool = pool().await;
    let handler = {
        let pool = pool.clone();
        async move |unproven: UnprovenPayload| -> Result<String, Rejection> {
            let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
            let supplied = Supplied::new().with("version", 7);
            let pending = unproven.prove(&supplied).await?;
            let payload = pending.consume(&mut tx).await?;
            let answer = change(&mut tx, payload).await;
            tx.commit().await.unwrap();
            answer
        }
    };
    let layer = builder(scheme()).build().unwrap();
    let app = Router::new()
        .route("/documents/{id}", put(handler))
        .layer(layer);
    assert_eq!(
        sent(&app, &signed("8")).await,
        code(401, "signature_invalid")
    );
    let request = signed("7");
    assert_eq!(sent(&app, &request).await, code(200, "changed"));
    assert_eq!(sent(&app, &request).await, code(409, "request_replayed"));
    assert_eq!(left(&pool).await, (1, 1));
}

/// A supplied value travels to a worker as such, and is not taken for anything that was sent.
#[tokio::test]
async fn a_value_that_was_supplied_is_in_the_envelope() {
    let pool = pool().await;
    let envelopes = PayloadEnvelope::builder("publish")
        .keys(
            KeyRing::new()
                .with("e", "a secret of envelopes alone")
                .unwrap(),
        )
        .seal_under("e")
        .build()
        .unwrap();
    let sealed = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let (pool, envelopes, sealed) = (pool.clone(), envelopes.clone(), Arc::clone(&sealed));
        async move |unproven: UnprovenPayload| -> Result<(), Rejection> {
            let seal = async |_: &mut SqliteConnection, payload: VerifiedPayload| {
                let envelope = envelopes.seal(&payload, Deadline::after(MINUTE)).unwrap();
                *sealed.lock().unwrap() = envelope;
                Ok(())
            };
            unproven.transact(&pool, async |_| version("7"), seal).await
        }
    };
    let layer = builder(scheme()).build().unwrap();
    let app = Router::new()
        .route("/documents/{id}", put(handler))
        .layer(layer);
    assert_eq!(sent(&app, &signed("7")).await, code(200, ""));
    let sealed = sealed.lock().unwrap().clone();
    let read = envelopes.read(&sealed).unwrap();
    assert_eq!(read.supplied("version"), Some("7"));
    assert_eq!(
        (read.supplied("nonce"), read.header("version")),
        (None, None)
    );
    assert_eq!(read.bytes(), r#"{"title":"new"}"#);
    // The twin: an envelope with another value is refused, at every place of the value.
    let places = (0..sealed.len()).filter(|at| sealed[*at] == b'7');
    let refused = places.map(|at| {
        let mut altered = sealed.clone();
        altered[at] = b'8';
        envelopes
            .read(&altered)
            .map(drop)
            .unwrap_err()
            .kind()
            .code()
    });
    let refused: Vec<_> = refused.collect();
    assert!(!refused.is_empty());
}

/// Strangers, who have no key, hold no more handlers, transactions and locks than the bound says.
#[tokio::test]
async fn strangers_hold_as_many_handlers_as_the_bound_says_and_genuine_requests_come_through() {
    let pool = pool().await;
    let (inside, released) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let handler = {
        let (pool, inside, released) = (pool.clone(), Arc::clone(&inside), Arc::clone(&released));
        async move |headers: http::HeaderMap, unproven: UnprovenPayload| {
            inside.fetch_add(1, Ordering::SeqCst);
            if headers.contains_key("x-stranger") {
                released.notified().await;
            }
            unproven
                .transact(&pool, async |_| version("7"), change)
                .await
        }
    };
    let layer = builder(scheme())
        .max_unproven(2)
        .store_timeout(Duration::from_secs(3));
    let app = Router::new()
        .route("/documents/{id}", put(handler))
        .layer(layer.build().unwrap());
    let forged = || {
        let mut request = signed("8");
        let marked = "1".parse().unwrap();
        request.headers_mut().insert("x-stranger", marked);
        request
    };
    let strangers: Vec<_> = (0..2)
        .map(|_| {
            let (app, forged) = (app.clone(), forged());
            tokio::spawn(async move { sent(&app, &forged).await })
        })
        .collect();
    while inside.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    // The bound holds, and does not hold forever.
    assert_eq!(sent(&app, &forged()).await, code(503, "handlers_exhausted"));
    assert_eq!(
        sent(&app, &signed("7")).await,
        code(503, "handlers_exhausted")
    );
    assert_eq!(inside.load(Ordering::SeqCst), 2);
    let waiting = {
        let (app, genuine) = (app.clone(), signed("7"));
        tokio::spawn(async move { sent(&app, &genuine).await })
    };
    tokio::task::yield_now().await;
    released.notify_waiters();
    for stranger in strangers {
        assert_eq!(stranger.await.unwrap(), code(401, "signature_invalid"));
    }
    assert_eq!(waiting.await.unwrap(), code(200, "changed"));
    assert_eq!(left(&pool).await, (1, 1));
}

/// A row that another transaction has locked is not waited for without end.
#[tokio::test]
async fn a_supply_that_takes_too_long_is_given_up() {
    let pool = pool().await;
    let handler = {
        let pool = pool.clone();
        async move |unproven: UnprovenPayload| {
            let never = async |_: &mut SqliteConnection| std::future::pending::<Row>().await;
            unproven.transact(&pool, never, change).await
        }
    };
    let layer = builder(scheme()).store_timeout(Duration::from_millis(100));
    let app = Router::new().route("/documents/{id}", put(handler));
    let app = app.layer(layer.build().unwrap());
    assert_eq!(
        sent(&app, &signed("7")).await,
        code(503, "store_unavailable")
    );
}

#[test]
fn a_scheme_with_a_supplied_value_is_built_where_a_handler_can_supply_it() {
    for processing in [
        Processing::AtMostOnce,
        Processing::Retryable {
            lease: Duration::from_secs(30),
        },
    ] {
        let built = builder(scheme()).processing(processing).build();
        assert!(matches!(
            built.unwrap_err().kind(),
            ConfigErrorKind::Processing(_)
        ));
    }
    let beside = builder(common::scheme()).or(scheme()).keys(keys()).build();
    assert!(matches!(
        beside.unwrap_err().kind(),
        ConfigErrorKind::SeveralSchemes(_)
    ));
    for bound in [0, 10_001] {
        let built = builder(scheme()).max_unproven(bound).build();
        assert!(matches!(
            built.unwrap_err().kind(),
            ConfigErrorKind::Range(_)
        ));
    }
}

fn described(parts: impl IntoIterator<Item = Part>) -> Result<HeaderScheme, String> {
    let scheme = HeaderScheme::builder("x-signature")
        .fixed_key_id(KEY)
        .time("x-timestamp")
        .signs(parts);
    scheme.build().map_err(|error| error.to_string())
}

#[test]
fn parts_that_concatenate_alike_are_refused_when_the_scheme_is_built() {
    let (one, other) = (|| Part::supplied("one"), || Part::supplied("other"));
    for parts in [
        vec![Part::Time, Part::text("\n"), one(), other()],
        vec![one(), Part::Time],
        vec![Part::Time, one()],
        vec![Part::Time, Part::text("\n"), one(), Part::Path],
        vec![
            Part::Time,
            Part::text(":"),
            one(),
            Part::text(":"),
            other(),
            Part::text("\n"),
            Part::Body,
        ],
    ] {
        let refused = described(parts.clone()).unwrap_err();
        assert!(refused.contains("bytes could move"), "{parts:?}: {refused}");
    }
    assert!(described(Part::lines([Part::Time, one(), other(), Part::Body])).is_ok());
    let twice = described(Part::lines([Part::Time, one(), one()])).unwrap_err();
    assert!(twice.contains("twice"), "{twice}");
    for name in ["", "Version", "a b", "a\n", "é", &"n".repeat(65)] {
        assert!(
            described(Part::lines([Part::Time, Part::supplied(name)])).is_err(),
            "{name:?}"
        );
    }
}

/// The twin: a server that puts its message together by hand reads one MAC in two ways.
#[test]
fn twin_values_that_are_joined_by_hand_trade_their_bytes() {
    let by_hand = |version: &str, amount: &str| format!("{version}{amount}");
    assert_eq!(by_hand("1", "23"), by_hand("12", "3"));
    let by_lines = |version: &str, action: &str| format!("{version}\n{action}");
    assert_eq!(by_lines("7\ndelete", "x"), by_lines("7", "delete\nx"));
    // A signer refuses what a verifier would.
    let signer = Signer::new(scheme(), KEY, SECRET).unwrap();
    for value in ["7\ndelete", "", "7 ", "\t", "é"] {
        assert!(signer.sign(request(value)).is_err(), "{value:?}");
    }
    let mut nothing = request("7");
    nothing.extensions_mut().clear();
    assert!(signer.sign(nothing).is_err());
}

/// As the view of a Django project signs it: `json.dumps(payload, sort_keys=True)`, with the version
/// of the row as a number, which the request does not say.
#[tokio::test]
async fn a_json_object_of_python_holds_the_value_as_a_number() {
    let message = JsonObject::new(PythonJson::sorted())
        .string("path", Part::Path)
        .string("body", Part::Body)
        .value("timestamp", Part::Time)
        .value("version", Part::supplied("version"));
    let scheme = HeaderScheme::builder("x-signature")
        .fixed_key_id(KEY)
        .time("x-timestamp")
        .signs([Part::Json(message)])
        .build()
        .unwrap();
    let clock = common::clock();
    let sign = |version: &str| {
        let signer = Signer::new(scheme.clone(), KEY, SECRET).unwrap();
        signer.clock(clock.clone()).sign(request(version))
    };
    // json.dumps({'body': body, 'path': path, 'timestamp': 1700000000, 'version': 7}, sort_keys=True)
    let signed = sign("7").unwrap();
    assert_eq!(signed.headers()["x-signature"], EXPECTED);
    assert_eq!(signed.headers()["host"], HOST);
    for not_a_number in ["07", "-0", "+7", "7.0", "1e2", "\"7\"", "7}", "-"] {
        assert!(sign(not_a_number).is_err(), "{not_a_number}");
    }
    for number in ["0", "-7", "123456789012345678901234567890"] {
        assert!(sign(number).is_ok(), "{number}");
    }
}

const EXPECTED: &str = "30c0386047e087b7a188c667a731346f0579ccc492d23493a3f20fe5eba3b48e";
