// The job is an envelope, and its use is recorded with its effect.

use axum::{Router, extract::State, routing::post};
use countersign::{
    ConfigError, HttpMessageSignatures, KeyRing, PendingPayload, Processing, VerifyLayer,
    envelope::{Deadline, Envelopes, PayloadEnvelope},
    request::VerifierBuilder,
};
use http::StatusCode;
use std::time::Duration;

use super::{Failure, Pool};

#[derive(serde::Deserialize)]
struct Order {
    id: i64,
}

/// The keys are of the service's own; no sender has one.
pub fn envelopes(keys: KeyRing) -> Result<Envelopes, ConfigError> {
    PayloadEnvelope::builder("ship-order")
        .keys(keys)
        .seal_under("2026-11")
        .store_timeout(Duration::from_secs(60))
        .build()
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

pub fn app(pool: Pool, envelopes: Envelopes, layer: VerifyLayer) -> Router {
    Router::new()
        .route("/orders", post(accept))
        .layer(layer)
        .with_state((pool, envelopes))
}

/// `POST /orders`, with `{"id":1}`: the nonce and the job are recorded together. A body that is not an
/// order is refused here, because no worker could do anything with it.
async fn accept(
    State((pool, envelopes)): State<(Pool, Envelopes)>,
    pending: PendingPayload,
) -> Result<StatusCode, Failure> {
    pending
        .transact(&pool, async |tx, payload| {
            let _: Order = payload.json()?;
            let hour = Deadline::after(Duration::from_secs(3600));
            let job = envelopes.seal(&payload, hour)?;
            sqlx::query("INSERT INTO jobs (job) VALUES ($1)")
                .bind(job)
                .execute(tx)
                .await?;
            Ok(StatusCode::ACCEPTED)
        })
        .await
}

/// In the worker, for each delivery of a job. The job can be removed after `Ok`, and after a refusal
/// that no later delivery changes: `envelope_used` (an earlier delivery has done the job),
/// `envelope_altered`, `envelope_of_other_purpose` and `envelope_expired`. After every other error the
/// job stays in the queue, and comes again after a pause: another worker that has it may still roll
/// back.
pub async fn work(pool: &Pool, envelopes: &Envelopes, job: &[u8]) -> Result<(), Failure> {
    let envelope = envelopes.open(job)?; // 403 if it was altered, 410 if it is too late
    envelope
        .transact(pool, async |tx, order| {
            let Order { id } = order.json()?;
            sqlx::query("INSERT INTO parcels VALUES ($1)")
                .bind(id)
                .execute(tx)
                .await?;
            Ok(())
        })
        .await
}
