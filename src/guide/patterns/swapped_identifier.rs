// The account in the path is the one in the signed body, or the handler is given neither.

use axum::{Router, extract::State, routing::post};
use countersign::{
    ConfigError, HeaderScheme, KeyRing, Part, Processing, VerifyLayer,
    axum::{InTarget, NamesResource, PendingResource, SameResource},
    request::{Unchanged, VerifierBuilder, require_changed},
};

use super::{Failure, Pool};

/// `POST /accounts/{account_id}/close`, with `{"account_id":"a-1","reason":"…"}`.
#[derive(serde::Deserialize)]
struct Close {
    reason: String,
}

impl NamesResource for Close {
    type Id = String;
    const IN_TARGET: InTarget = InTarget::Path("account_id");
    const IN_BODY: &'static str = "/account_id";
}

/// A partner's format, which leaves the path out.
pub fn scheme() -> Result<HeaderScheme, ConfigError> {
    HeaderScheme::builder("x-signature")
        .key_id("x-key-id")
        .time("x-timestamp")
        .nonce("x-nonce")
        .signs(Part::lines([
            Part::KeyId,
            Part::Time,
            Part::Nonce,
            Part::Body,
        ]))
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
        .route("/accounts/{account_id}/close", post(close))
        .layer(layer)
        .with_state(pool)
}

async fn close(
    State(pool): State<Pool>,
    pending: PendingResource<Close>, // and neither `Path` nor `VerifiedJson`
) -> Result<(), Failure> {
    pending
        .transact(&pool, async |tx, SameResource { id, body, .. }| {
            let closed =
                sqlx::query("UPDATE accounts SET closed = $2 WHERE id = $1 AND closed IS NULL")
                    .bind(id)
                    .bind(body.reason)
                    .execute(tx)
                    .await?;
            Ok(require_changed(
                closed.rows_affected(),
                Unchanged::Conflict,
            )?)
        })
        .await
}
