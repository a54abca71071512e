// The database counts, and compares in the same statement.

use axum::{Router, extract::State, routing::post};
use countersign::{
    ConfigError, HttpMessageSignatures, KeyRing, PendingPayload, Processing, VerifyLayer,
    request::{Unchanged, VerifierBuilder, require_changed},
};

use super::{Failure, Pool};

#[derive(serde::Deserialize)]
struct Place {
    id: i64,
}

#[derive(serde::Deserialize)]
struct Purchase {
    amount: i64,
}

pub fn scheme() -> Result<HttpMessageSignatures, ConfigError> {
    Ok(HttpMessageSignatures::default())
}

pub fn layer(keys: KeyRing) -> Result<VerifierBuilder<VerifyLayer>, ConfigError> {
    Ok(VerifyLayer::builder(scheme()?)
        .public_origin("https://api.example.com")
        .keys(keys)
        .processing(Processing::InTransaction))
}

pub fn app(pool: Pool, layer: VerifyLayer) -> Router {
    Router::new()
        .route("/accounts/{id}/purchases", post(buy))
        .layer(layer)
        .with_state(pool)
}

/// `POST /accounts/1/purchases`, with `{"amount":1}`.
async fn buy(State(pool): State<Pool>, pending: PendingPayload) -> Result<(), Failure> {
    pending
        .transact(&pool, async |tx, payload| {
            let Place { id } = payload.path_params("/accounts/{id}/purchases")?;
            let Purchase { amount } = payload.json()?;
            // An amount below zero would be a gift.
            let paid = sqlx::query(
                "UPDATE accounts SET balance = balance - $2
                 WHERE id = $1 AND balance >= $2 AND $2 > 0",
            )
            .bind(id)
            .bind(amount)
            .execute(tx)
            .await?;
            Ok(require_changed(paid.rows_affected(), Unchanged::Conflict)?) // 0 rows: 409
        })
        .await
}
