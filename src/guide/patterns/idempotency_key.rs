// A payment is made once for each key, and its answer is recorded in the same transaction.

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use countersign::{
    ConfigError, HttpMessageSignatures, KeyRing, VerifiedPayload, VerifyLayer,
    idempotency::{IdempotencyLayer, PendingAnswer},
    request::VerifierBuilder,
    rfc9421::Component,
    store::{AnswerStore, NonceStore},
};
use http::StatusCode;

use super::{Failure, Pool};

#[derive(serde::Deserialize)]
struct Payment {
    account: i64,
    amount: i64,
}

/// Covers the `Idempotency-Key`, beside the rest of the request.
pub fn scheme() -> Result<HttpMessageSignatures, ConfigError> {
    HttpMessageSignatures::builder()
        .covers(Component::header("idempotency-key")?)
        .build()
}

/// The answers are in the database of the payments: `PostgresAnswers` or `SqliteAnswers`.
pub fn idempotency(answers: impl AnswerStore) -> Result<IdempotencyLayer, ConfigError> {
    IdempotencyLayer::builder(answers)
        .required()
        .in_transaction()
        .build()
}

pub fn verify(
    keys: KeyRing,
    nonces: impl NonceStore,
    idempotency: &IdempotencyLayer,
) -> Result<VerifierBuilder<VerifyLayer>, ConfigError> {
    Ok(VerifyLayer::builder(scheme()?)
        .public_origin("https://api.example.com")
        .keys(keys)
        .store(nonces)
        .answer_duplicates_from(idempotency))
}

pub fn app(pool: Pool, idempotency: IdempotencyLayer, verify: VerifyLayer) -> Router {
    Router::new()
        .route("/payments", post(pay))
        .layer(idempotency)
        .layer(verify) // outside
        .with_state(pool)
}

/// `POST /payments`, with `Idempotency-Key: "…"` and `{"account":1,"amount":100}`.
async fn pay(
    State(pool): State<Pool>,
    payload: VerifiedPayload,
    answer: PendingAnswer,
) -> Result<Response, Failure> {
    let Payment { account, amount } = payload.json()?;
    let mut tx = pool.begin().await?;
    let paid = "UPDATE accounts SET balance = balance - $2 WHERE id = $1 RETURNING balance";
    let balance: i64 = sqlx::query_scalar(paid)
        .bind(account)
        .bind(amount)
        .fetch_one(&mut *tx)
        .await?;
    let response = http::Response::builder().status(StatusCode::CREATED);
    let response = response.body(format!("{balance} left")).expect("a status");
    // Recorded with the payment, or rolled back with it.
    let response = answer.record(&mut tx, response).await?;
    tx.commit().await?;
    Ok(response.into_response())
}
