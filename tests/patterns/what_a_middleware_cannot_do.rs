//! The limits of a middleware: clients hang up while their request is handled, and send it again.

use std::future::pending;

use axum::{Router, extract::State, routing::post};
use countersign::{Signer, VerifiedJson};
use http::{Request, StatusCode};
use tokio::task::yield_now;
use tower::ServiceExt as _;

use super::{Database, Failure, Pool};
use crate::{
    common::{KEY, ORIGIN, SECRET},
    harness::{CLIENTS, Gap, at_once, count, keys, middleware_alone, patient, rounds},
};

#[path = "../../src/guide/patterns/what_a_middleware_cannot_do.rs"]
mod answer;

const TABLES: &str = "CREATE TABLE orders (number bigint NOT NULL)";

/// Each client orders something of its own.
fn orders(round: usize) -> Vec<Request<String>> {
    let signer = Signer::new(answer::scheme().unwrap(), KEY, SECRET).unwrap();
    let order = |client| {
        let order = Request::post(format!("{ORIGIN}/orders"))
            .header("content-type", "application/json")
            .body(format!(r#"{{"number":{}}}"#, round * CLIENTS + client));
        signer.sign(order.unwrap()).unwrap()
    };
    (0..CLIENTS).map(order).collect()
}

/// Returns how many orders there are, and how many different ones.
async fn made(pool: &Pool) -> (usize, usize) {
    let made = sqlx::query_as("SELECT count(*), count(DISTINCT number) FROM orders");
    let (all, different): (i64, i64) = made.fetch_one(pool).await.unwrap();
    (
        usize::try_from(all).unwrap(),
        usize::try_from(different).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_made_once_whenever_its_client_hangs_up() {
    let Some(Database { pool, .. }) = &Database::with("middleware", TABLES).await else {
        return;
    };
    let app = answer::app(pool.clone(), patient(answer::layer(keys()).unwrap()));
    for round in rounds() {
        let orders = orders(round);
        // Each hangs up a little later than the one before.
        let clients: Vec<_> = orders
            .iter()
            .map(|order| {
                tokio::spawn(
                    app.clone()
                        .oneshot(order.clone().map(axum::body::Body::from)),
                )
            })
            .collect();
        for client in &clients {
            yield_now().await;
            client.abort();
        }
        for client in clients {
            // It was cut off, or it was quick.
            if let Ok(answer) = client.await {
                assert_eq!(answer.unwrap().status(), 200);
            }
        }
        let answers = at_once(&app, orders).await;
        assert_eq!(
            count(&answers, 200) + count(&answers, 409),
            CLIENTS,
            "{answers:?}"
        );
        let all = (round + 1) * CLIENTS;
        assert_eq!(made(pool).await, (all, all));
    }
}

/// Behind a middleware that has recorded the nonce already.
async fn twin(
    State((pool, gap)): State<(Pool, Gap)>,
    VerifiedJson(order): VerifiedJson<serde_json::Value>,
) -> Result<StatusCode, Failure> {
    gap.hold().await; // its request is recorded as used
    pending::<()>().await; // its client hangs up
    let insert = sqlx::query("INSERT INTO orders VALUES ($1)").bind(order["number"].as_i64());
    insert.execute(&pool).await?;
    Ok(StatusCode::OK)
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_a_nonce_that_is_recorded_before_the_effect_loses_every_order() {
    let Some(Database { pool, .. }) = &Database::with("middleware, twin", TABLES).await else {
        return;
    };
    let layer = middleware_alone(answer::scheme().unwrap());
    for round in rounds() {
        // Together with the one who sees them there. A client that hangs up leaves its gap unusable.
        let gap = Gap::of(CLIENTS + 1);
        let app = Router::new()
            .route("/orders", post(twin))
            .layer(layer.clone())
            .with_state((pool.clone(), gap.clone()));
        let orders = orders(round);
        let clients: Vec<_> = orders
            .iter()
            .map(|order| {
                tokio::spawn(
                    app.clone()
                        .oneshot(order.clone().map(axum::body::Body::from)),
                )
            })
            .collect();
        gap.hold().await;
        for client in clients {
            client.abort();
            assert!(client.await.is_err_and(|error| error.is_cancelled()));
        }
        // Each asks once more, and is told that its order was received.
        let answers = at_once(&app, orders).await;
        assert_eq!(count(&answers, 409), CLIENTS, "{answers:?}");
        assert_eq!(made(pool).await, (0, 0));
    }
}
