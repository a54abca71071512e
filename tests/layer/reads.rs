//! Reads of the path and the query from a payload that a handler has in its hand: with
//! `InTransaction`, after its nonce was recorded.

use std::collections::HashMap;

use axum::{
    Router,
    extract::{Path, Request as AxumRequest},
    middleware::{Next, from_fn},
    response::Response,
    routing::post,
};
use countersign::{
    HeaderScheme, KeyRing, Part, PendingPayload, Processing, Signer, VerifiedPayload, VerifyLayer,
    axum::ExtractRejection, clock::SystemClock, store::SqliteStore,
};
use http::Request;
use serde::Deserialize;
use sqlx::{SqlitePool, sqlite::SqlitePoolOptions};
use tower::ServiceExt as _;

use crate::common::{self, KEY, ORIGIN, SECRET, verdict};

#[derive(Debug, Deserialize)]
struct Place {
    account: i64,
    name: String,
}

#[derive(Deserialize)]
struct Asked {
    amount: i64,
}

const ROUTE: &str = "/accounts/{account}/deposits/{name}";

async fn pool() -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect("sqlite::memory:").await.unwrap();
    SqliteStore::migrate(&pool).await.unwrap();
    let tables = "CREATE TABLE deposits (account bigint, name text, amount bigint);
                  UPDATE countersign_store SET since = 0";
    sqlx::raw_sql(tables).execute(&pool).await.unwrap();
    pool
}

fn layer(scheme: HeaderScheme) -> VerifyLayer {
    // The database goes by the clock of the machine.
    VerifyLayer::builder(scheme)
        .public_origin(ORIGIN)
        .keys(KeyRing::new().with(KEY, SECRET).unwrap())
        .clock(SystemClock::default())
        .processing(Processing::InTransaction)
        .build()
        .unwrap()
}

async fn deposit(pool: SqlitePool, pending: PendingPayload) -> Result<String, ExtractRejection> {
    let work = async |tx: &mut sqlx::SqliteConnection, payload: VerifiedPayload| {
        let place: Place = payload.path_params(ROUTE)?;
        let order: Asked = payload.query_params()?;
        sqlx::query("INSERT INTO deposits VALUES ($1, $2, $3)")
            .bind(place.account)
            .bind(&place.name)
            .bind(order.amount)
            .execute(tx)
            .await
            .unwrap();
        Ok(format!(
            "{} for {} of {}",
            order.amount, place.account, place.name
        ))
    };
    pending.transact(&pool, work).await
}

fn app(pool: &SqlitePool, route: &str, scheme: HeaderScheme) -> Router {
    let pool = pool.clone();
    let handler = post(async move |pending| deposit(pool, pending).await);
    Router::new().route(route, handler).layer(layer(scheme))
}

fn signed(scheme: HeaderScheme, path_and_query: &str) -> Request<String> {
    let signer = Signer::new(scheme, KEY, SECRET).unwrap();
    signer
        .sign(common::request("POST", path_and_query, ""))
        .unwrap()
}

async fn sent(app: Router, request: Request<String>) -> (u16, String) {
    verdict(
        app.oneshot(request.map(axum::body::Body::from))
            .await
            .unwrap(),
    )
    .await
}

async fn rows(pool: &SqlitePool) -> i64 {
    let rows = sqlx::query_scalar("SELECT count(*) FROM deposits");
    rows.fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn the_parameters_of_path_and_query_are_read_in_the_transaction_and_a_refusal_rolls_back() {
    for (target, answer) in [
        (
            "/accounts/7/deposits/a%20b?amount=5",
            (200, "5 for 7 of a b"),
        ),
        (
            "/accounts/7/deposits/ann?amount=x",
            (422, "payload_unprocessable"),
        ),
        (
            "/accounts/7/deposits/ann?amount=5&amount=6",
            (422, "payload_unprocessable"),
        ),
        (
            "/accounts/seven/deposits/ann?amount=5",
            (422, "payload_unprocessable"),
        ),
        (
            "/accounts/7/deposits/%ff?amount=5",
            (400, "payload_malformed"),
        ),
    ] {
        let pool = pool().await;
        let app = app(&pool, ROUTE, common::scheme());
        let told = sent(app, signed(common::scheme(), target)).await;
        assert_eq!((told.0, &*told.1), answer, "{target}");
        assert_eq!(rows(&pool).await, i64::from(told.0 == 200), "{target}");
        // A transaction that was rolled back has used up nothing.
        let nonces = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM countersign_nonce");
        assert_eq!(
            nonces.fetch_one(&pool).await.unwrap(),
            i64::from(told.0 == 200)
        );
    }
}

/// Something between the layer and the router rewrites the path, after it was verified.
async fn rewritten(request: AxumRequest, next: Next) -> Response {
    let mut request = request;
    *request.uri_mut() = "/accounts/8/deposits/mallory?amount=900".parse().unwrap();
    next.run(request).await
}

#[tokio::test]
async fn a_path_that_was_rewritten_after_verification_is_not_what_the_handler_reads() {
    let pool = pool().await;
    let inner = pool.clone();
    let handler = post(async move |pending| deposit(inner, pending).await);
    let inside = Router::new().route(ROUTE, handler);
    let app = Router::new()
        .fallback_service(inside.layer(from_fn(async |r: AxumRequest, next: Next| {
            next.run(r).await
        })))
        .layer(from_fn(rewritten))
        .layer(layer(common::scheme()));
    let request = signed(common::scheme(), "/accounts/7/deposits/ann?amount=5");
    assert_eq!(sent(app, request).await, (200, "5 for 7 of ann".into()));

    // The twin: an extractor that looks at the request is told what somebody wrote there.
    let inside = Router::new().route(
        ROUTE,
        post(async |Path(names): Path<HashMap<String, String>>| names["account"].clone()),
    );
    let app = Router::new()
        .fallback_service(inside)
        .layer(from_fn(rewritten));
    let request = common::request("POST", "/accounts/7/deposits/ann?amount=5", "");
    assert_eq!(sent(app, request).await, (200, "8".into()));
}

#[tokio::test]
async fn another_route_is_another_resource_and_an_uncovered_path_is_not_read() {
    let pool = pool().await;
    let app_of = |scheme: HeaderScheme| app(&pool, "/{*rest}", scheme);
    let request = signed(common::scheme(), "/accounts/7/withdrawals/ann?amount=5");
    let told = sent(app_of(common::scheme()), request).await;
    assert_eq!(told, (403, "resource_mismatch".into()));
    let scheme = || {
        let scheme = HeaderScheme::builder("x-signature")
            .fixed_key_id(KEY)
            .time("x-time");
        scheme
            .signs(Part::lines([Part::Time, Part::Body]))
            .build()
            .unwrap()
    };
    let request = signed(scheme(), "/accounts/7/deposits/ann?amount=5");
    assert_eq!(
        sent(app_of(scheme()), request).await,
        (500, "not_covered".into())
    );
    assert_eq!(rows(&pool).await, 0);
}
