// The row is changed only while it has the version that was signed.

use axum::{Router, extract::State, routing::put};
use countersign::{
    ConfigError, HttpMessageSignatures, KeyRing, PendingPayload, Processing, VerifyLayer,
    request::VerifierBuilder, rfc9421::Component,
};

use super::{Failure, Pool};

#[derive(serde::Deserialize)]
struct Place {
    id: i64,
}

#[derive(serde::Deserialize)]
struct Change {
    title: String,
}

/// Covers `If-Match`, beside the rest of the request: clients sign it, and the server requires it.
pub fn scheme() -> Result<HttpMessageSignatures, ConfigError> {
    HttpMessageSignatures::builder()
        .covers(Component::header("if-match")?)
        .build()
}

pub fn layer(keys: KeyRing) -> Result<VerifierBuilder<VerifyLayer>, ConfigError> {
    Ok(VerifyLayer::builder(scheme()?)
        .public_origin("https://api.example.com")
        .keys(keys)
        .processing(Processing::InTransaction))
}

pub fn app(pool: Pool, layer: VerifyLayer) -> Router {
    Router::new()
        .route("/documents/{id}", put(rename))
        .layer(layer)
        .with_state(pool)
}

/// `PUT /documents/1`, with `If-Match: "7"` and `{"title":"…"}`.
async fn rename(State(pool): State<Pool>, pending: PendingPayload) -> Result<(), Failure> {
    pending
        .transact(&pool, async |tx, payload| {
            let version = payload.signed_version()?; // otherwise 428
            let Place { id } = payload.path_params("/documents/{id}")?;
            let Change { title } = payload.json()?;
            // The check and the change are one statement.
            let changed = sqlx::query(
                "UPDATE documents SET title = $3, version = version + 1
                 WHERE id = $1 AND version = $2",
            )
            .bind(id)
            .bind(version.parse::<i64>()?)
            .bind(title)
            .execute(tx)
            .await?;
            Ok(version.require_changed(changed.rows_affected())?) // 0 rows: 412
        })
        .await
}
