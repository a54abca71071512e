// The effect and the record that the request was used are one transaction of the handler.

use axum::{Router, extract::State, routing::post};
use countersign::{
    ConfigError, HttpMessageSignatures, KeyRing, PendingPayload, Processing, VerifyLayer,
    request::VerifierBuilder,
};

use super::{Failure, Pool};

#[derive(serde::Deserialize)]
struct Order {
    number: i64,
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
        .route("/orders", post(order))
        .layer(layer)
        .with_state(pool)
}

/// `POST /orders`, with `{"number":1}`.
async fn order(State(pool): State<Pool>, pending: PendingPayload) -> Result<(), Failure> {
    pending
        .transact(&pool, async |tx, payload| {
            let Order { number } = payload.json()?;
            sqlx::query("INSERT INTO orders VALUES ($1)")
                .bind(number)
                .execute(tx)
                .await?;
            Ok(())
        })
        .await
}
