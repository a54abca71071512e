//! One-time token: all clients redeem one voucher.

use std::time::Duration;

use axum::{
    Router,
    extract::{Path, Query, State},
    routing::post,
};
use http::{Request, StatusCode};

use super::{Database, Failure, Pool};
use crate::{
    common::{KEY, ORIGIN},
    harness::{CLIENTS, Gap, at_once, count, keys, rounds},
};

#[path = "../../src/guide/patterns/one_time_token.rs"]
mod answer;

const TABLES: &str = "
    CREATE TABLE credits (account bigint NOT NULL, amount bigint NOT NULL);
    CREATE TABLE used (token text NOT NULL)";

fn vouchers() -> answer::Vouchers {
    let patient = answer::vouchers(keys(), KEY).store_timeout(Duration::from_secs(60));
    patient.build().unwrap()
}

/// A voucher for this account.
async fn voucher(vouchers: &answer::Vouchers, account: usize) -> String {
    let (account, amount) = (account as i64, 10);
    let token = vouchers.issue(&answer::Voucher { account, amount }).await;
    token.unwrap()
}

/// All clients bring this token, for this account.
fn redemptions(account: usize, token: &str) -> Vec<Request<String>> {
    let link = format!("{ORIGIN}/accounts/{account}/vouchers?token={token}");
    let redemption = Request::post(link).body(String::new()).unwrap();
    vec![redemption; CLIENTS]
}

async fn credit(pool: &Pool, account: usize) -> i64 {
    let credit = "SELECT CAST(COALESCE(SUM(amount), 0) AS bigint) FROM credits WHERE account = $1";
    let credit = sqlx::query_scalar(credit).bind(account as i64);
    credit.fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voucher_is_paid_once_and_to_nobody_else() {
    let Some(Database { pool, .. }) = &Database::with("one-time token", TABLES).await else {
        return;
    };
    let vouchers = vouchers();
    let app = answer::app(pool.clone(), vouchers.clone());
    for round in rounds() {
        let (account, other) = (2 * round, 2 * round + 1);
        let token = voucher(&vouchers, account).await;
        let answers = at_once(&app, redemptions(other, &token)).await;
        assert_eq!(count(&answers, 403), CLIENTS, "{answers:?}");
        let answers = at_once(&app, redemptions(account, &token)).await;
        assert_eq!(count(&answers, 200), 1, "{answers:?}");
        assert_eq!(count(&answers, 409), CLIENTS - 1, "{answers:?}");
        assert_eq!(
            (credit(pool, account).await, credit(pool, other).await),
            (10, 0)
        );
    }
}

#[derive(serde::Deserialize)]
struct Link {
    token: String,
}

/// As it is often written: the signature is right, and whether the token was used is looked up first
/// and written down afterwards.
async fn twin(
    State((pool, vouchers, gap)): State<(Pool, answer::Vouchers, Gap)>,
    Path(account): Path<i64>,
    Query(Link { token }): Query<Link>,
) -> Result<StatusCode, Failure> {
    let _genuine = vouchers.verify(&token).await?;
    let used: i64 = sqlx::query_scalar("SELECT count(*) FROM used WHERE token = $1")
        .bind(&token)
        .fetch_one(&pool)
        .await?;
    if used > 0 {
        return Ok(StatusCode::CONFLICT);
    }
    gap.hold().await;
    let pay = sqlx::query("INSERT INTO credits VALUES ($1, 10)").bind(account);
    pay.execute(&pool).await?;
    let record = sqlx::query("INSERT INTO used VALUES ($1)").bind(&token);
    record.execute(&pool).await?;
    Ok(StatusCode::OK)
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_a_token_that_is_looked_up_first_is_paid_to_all() {
    let Some(Database { pool, .. }) = &Database::with("one-time token, twin", TABLES).await else {
        return;
    };
    let vouchers = vouchers();
    let app = Router::new()
        .route("/accounts/{id}/vouchers", post(twin))
        .with_state((pool.clone(), vouchers.clone(), Gap::of(CLIENTS)));
    for account in rounds() {
        let token = voucher(&vouchers, account).await;
        let answers = at_once(&app, redemptions(account, &token)).await;
        assert_eq!(count(&answers, 200), CLIENTS, "{answers:?}");
        assert_eq!(credit(pool, account).await, 10 * CLIENTS as i64);
    }
}
