//! Status change: all clients find an order pending, and one of them ships it.

use axum::{
    Router,
    extract::{Path, State},
    routing::post,
};
use countersign::Signer;
use http::{Request, StatusCode};

use super::{Database, Failure, Pool};
use crate::{
    common::{KEY, ORIGIN, SECRET},
    harness::{CLIENTS, Gap, at_once, count, keys, middleware_alone, patient, rounds},
};

#[path = "../../src/guide/patterns/status_change.rs"]
mod answer;

const TABLES: &str = "
    CREATE TABLE orders (id bigint PRIMARY KEY, status text NOT NULL);
    CREATE TABLE parcels (of_order bigint NOT NULL)";

/// Each is signed by itself: none is a copy of another.
fn shipments(order: usize) -> impl Iterator<Item = Request<String>> {
    let signer = Signer::new(answer::scheme().unwrap(), KEY, SECRET).unwrap();
    (0..CLIENTS).map(move |_| {
        let ship = Request::post(format!("{ORIGIN}/orders/{order}/ship")).body(String::new());
        signer.sign(ship.unwrap()).unwrap()
    })
}

async fn place(pool: &Pool, order: usize) {
    let order = sqlx::query("INSERT INTO orders VALUES ($1, 'pending')").bind(order as i64);
    order.execute(pool).await.unwrap();
}

async fn parcels(pool: &Pool, order: usize) -> i64 {
    let parcels = sqlx::query_scalar("SELECT count(*) FROM parcels WHERE of_order = $1");
    parcels.bind(order as i64).fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_order_is_shipped_once() {
    let Some(Database { pool, .. }) = &Database::with("status change", TABLES).await else {
        return;
    };
    let app = answer::app(pool.clone(), patient(answer::layer(keys()).unwrap()));
    for order in rounds() {
        place(pool, order).await;
        let answers = at_once(&app, shipments(order)).await;
        assert_eq!(count(&answers, 200), 1, "{answers:?}");
        assert_eq!(count(&answers, 409), CLIENTS - 1, "{answers:?}");
        assert!(
            answers
                .iter()
                .all(|(status, code)| *status == 200 || code == "resource_conflict")
        );
        assert_eq!(parcels(pool, order).await, 1);
    }
}

/// As it is often written, behind a middleware that verifies: look at the status, then ship.
async fn twin(
    State((pool, gap)): State<(Pool, Gap)>,
    Path(id): Path<i64>,
) -> Result<StatusCode, Failure> {
    let status: String = sqlx::query_scalar("SELECT status FROM orders WHERE id = $1")
        .bind(id)
        .fetch_one(&pool)
        .await?;
    if status != "pending" {
        return Ok(StatusCode::CONFLICT);
    }
    gap.hold().await;
    let parcel = sqlx::query("INSERT INTO parcels VALUES ($1)").bind(id);
    parcel.execute(&pool).await?;
    let shipped = sqlx::query("UPDATE orders SET status = 'shipped' WHERE id = $1").bind(id);
    shipped.execute(&pool).await?;
    Ok(StatusCode::OK)
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_a_status_that_is_looked_at_first_ships_one_order_to_all() {
    let Some(Database { pool, .. }) = &Database::with("status change, twin", TABLES).await else {
        return;
    };
    let app = Router::new()
        .route("/orders/{id}/ship", post(twin))
        .layer(middleware_alone(answer::scheme().unwrap()))
        .with_state((pool.clone(), Gap::of(CLIENTS)));
    for order in rounds() {
        place(pool, order).await;
        let answers = at_once(&app, shipments(order)).await;
        assert_eq!(count(&answers, 200), CLIENTS, "{answers:?}");
        assert_eq!(parcels(pool, order).await, CLIENTS as i64);
    }
}
