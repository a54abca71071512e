//! Cache: all clients confirm one order that waits in a cache, and it is charged once.

use std::{
    str::FromStr as _,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::post,
};
use countersign::{
    KeyRing, MemoryStore, Signer,
    store::{NonceStore, PostgresStore, SqliteStore},
};
use http::{Request, StatusCode};
use sqlx::postgres::PgConnectOptions;

use crate::{
    common::{KEY, ORIGIN, SECRET, database},
    failure::Failure,
    harness::{CLIENTS, Gap, at_once, count, keys, middleware_alone, patient, rounds},
};

#[path = "../../src/guide/patterns/cache.rs"]
mod answer;

const AMOUNT: u64 = 30;

fn signed(path: &str, body: String) -> Request<String> {
    let signer = Signer::new(answer::scheme().unwrap(), KEY, SECRET).unwrap();
    let request = Request::post(format!("{ORIGIN}{path}"))
        .header("content-type", "application/json")
        .body(body);
    signer.sign(request.unwrap()).unwrap()
}

fn order(id: usize) -> [Request<String>; 1] {
    [signed(
        &format!("/orders/{id}"),
        format!(r#"{{"amount":{AMOUNT}}}"#),
    )]
}

/// Each is signed by itself: none is a copy of another.
fn confirmations(id: usize) -> impl Iterator<Item = Request<String>> {
    (0..CLIENTS).map(move |_| signed(&format!("/orders/{id}/confirm"), String::new()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_waits_in_a_cache_is_charged_once_and_as_it_was_signed() {
    charged_once(MemoryStore::new().danger_assume_no_history()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_it_is_charged_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::builder().danger_assume_no_history();
    charged_once(store.open(folder.path().join("nonces.db")).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_it_is_charged_once() {
    let Some((_pool, schema)) = database::pool_and_schema("the page `cache`").await else {
        return;
    };
    let url = std::env::var(database::URL).unwrap();
    let options = PgConnectOptions::from_str(&url).unwrap();
    let options = options.options([("search_path", schema)]);
    charged_once(PostgresStore::open(options).await.unwrap()).await;
}

async fn charged_once(used: impl NonceStore) {
    let ring = KeyRing::new()
        .with("2026-11", "a secret of envelopes alone")
        .unwrap();
    let shop = answer::Shop {
        cache: Arc::default(),
        envelopes: answer::envelopes(ring).unwrap(),
        used: Arc::new(used),
        charged: Arc::default(),
    };
    let app = answer::app(shop.clone(), patient(answer::layer(keys()).unwrap()));
    let charged = || {
        let charged = std::mem::take(&mut *shop.charged.lock().unwrap());
        charged.iter().map(|order| order.amount).collect::<Vec<_>>()
    };
    for id in rounds() {
        assert_eq!(count(&at_once(&app, order(id)).await, 202), 1);
        let answers = at_once(&app, confirmations(id)).await;
        assert_eq!(count(&answers, 200), 1, "{answers:?}");
        assert_eq!(count(&answers, 409), CLIENTS - 1, "{answers:?}");
        assert_eq!(charged(), [AMOUNT]);
    }
    // A writer of the cache cannot write an order.
    assert_eq!(count(&at_once(&app, order(0)).await, 202), 1);
    for entry in shop.cache.lock().unwrap().values_mut() {
        let text = String::from_utf8_lossy(entry).into_owned();
        assert!(text.contains(r#"{"amount":30}"#));
        let place = entry.windows(2).position(|digits| digits == b"30").unwrap();
        entry[place] = b'9';
    }
    let answers = at_once(&app, confirmations(0)).await;
    assert_eq!(count(&answers, 403), CLIENTS, "{answers:?}");
    assert!(charged().is_empty());
}

type Cache = Arc<Mutex<std::collections::HashMap<String, serde_json::Value>>>;
type Charged = Arc<Mutex<Vec<u64>>>;

/// As it is often written, behind a middleware that verifies: look whether it is done, charge, and say
/// that it is done.
async fn twin(
    State((cache, charged, gap)): State<(Cache, Charged, Gap)>,
    Path(id): Path<usize>,
) -> Result<StatusCode, Failure> {
    if cache.lock().unwrap().contains_key(&format!("done:{id}")) {
        return Ok(StatusCode::CONFLICT);
    }
    gap.hold().await;
    let order = cache.lock().unwrap()[&format!("order:{id}")].clone();
    charged
        .lock()
        .unwrap()
        .push(order["amount"].as_u64().unwrap());
    cache
        .lock()
        .unwrap()
        .insert(format!("done:{id}"), true.into());
    Ok(StatusCode::OK)
}

async fn order_of_twin(
    State((cache, ..)): State<(Cache, Charged, Gap)>,
    Path(id): Path<usize>,
    Json(order): Json<serde_json::Value>,
) -> StatusCode {
    cache.lock().unwrap().insert(format!("order:{id}"), order);
    StatusCode::ACCEPTED
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_a_cache_that_is_looked_into_first_charges_all() {
    let (cache, charged): (Cache, Charged) = Default::default();
    let app = Router::new()
        .route("/orders/{id}", post(order_of_twin))
        .route("/orders/{id}/confirm", post(twin))
        .layer(middleware_alone(answer::scheme().unwrap()))
        .with_state((cache, Arc::clone(&charged), Gap::of(CLIENTS)));
    for id in rounds() {
        assert_eq!(count(&at_once(&app, order(id)).await, 202), 1);
        let answers = at_once(&app, confirmations(id)).await;
        assert_eq!(count(&answers, 200), CLIENTS, "{answers:?}");
        let charged = std::mem::take(&mut *charged.lock().unwrap());
        assert_eq!(charged, [AMOUNT; CLIENTS]);
    }
}
