//! Counter: all clients spend from one balance.

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

#[path = "../../src/guide/patterns/counter.rs"]
mod answer;

const TABLES: &str = "CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL)";

/// The balance of each round: enough for half of the clients.
const BALANCE: usize = CLIENTS / 2;

fn purchases(amount: i64) -> impl Iterator<Item = Request<String>> {
    let signer = Signer::new(answer::scheme().unwrap(), KEY, SECRET).unwrap();
    (0..CLIENTS).map(move |_| {
        let purchase = Request::post(format!("{ORIGIN}/accounts/1/purchases"))
            .header("content-type", "application/json")
            .body(format!(r#"{{"amount":{amount}}}"#));
        signer.sign(purchase.unwrap()).unwrap()
    })
}

async fn open_account(pool: &Pool) {
    let account = "DELETE FROM accounts; INSERT INTO accounts VALUES (1, ";
    let account = sqlx::AssertSqlSafe(format!("{account}{BALANCE})"));
    sqlx::raw_sql(account).execute(pool).await.unwrap();
}

async fn balance(pool: &Pool) -> i64 {
    let balance = sqlx::query_scalar("SELECT balance FROM accounts WHERE id = 1");
    balance.fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_purchase_is_paid_for_and_no_balance_falls_below_zero() {
    let Some(Database { pool, .. }) = &Database::with("counter", TABLES).await else {
        return;
    };
    let app = answer::app(pool.clone(), patient(answer::layer(keys()).unwrap()));
    for _ in rounds() {
        open_account(pool).await;
        let answers = at_once(&app, purchases(1)).await;
        assert_eq!(count(&answers, 200), BALANCE, "{answers:?}");
        assert_eq!(count(&answers, 409), CLIENTS - BALANCE, "{answers:?}");
        assert_eq!(balance(pool).await, 0);
    }
    open_account(pool).await;
    for amount in [0, -1, i64::MIN] {
        let answers = at_once(&app, purchases(amount)).await;
        assert_eq!(count(&answers, 409), CLIENTS, "{answers:?}");
        assert_eq!(balance(pool).await, BALANCE as i64);
    }
}

/// As it is often written, behind a middleware that verifies: read, compute, write.
async fn twin(
    State((pool, gap)): State<(Pool, Gap)>,
    Path(id): Path<i64>,
) -> Result<StatusCode, Failure> {
    let balance: i64 = sqlx::query_scalar("SELECT balance FROM accounts WHERE id = $1")
        .bind(id)
        .fetch_one(&pool)
        .await?;
    if balance < 1 {
        return Ok(StatusCode::CONFLICT);
    }
    gap.hold().await;
    sqlx::query("UPDATE accounts SET balance = $2 WHERE id = $1")
        .bind(id)
        .bind(balance - 1)
        .execute(&pool)
        .await?;
    Ok(StatusCode::OK)
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_a_balance_that_is_computed_in_the_program_pays_for_one_purchase_of_all() {
    let Some(Database { pool, .. }) = &Database::with("counter, twin", TABLES).await else {
        return;
    };
    let app = Router::new()
        .route("/accounts/{id}/purchases", post(twin))
        .layer(middleware_alone(answer::scheme().unwrap()))
        .with_state((pool.clone(), Gap::of(CLIENTS)));
    for _ in rounds() {
        open_account(pool).await;
        let answers = at_once(&app, purchases(1)).await;
        assert_eq!(count(&answers, 200), CLIENTS, "{answers:?}");
        assert_eq!(balance(pool).await, BALANCE as i64 - 1);
    }
}
