// The owner is compared in the statement that deletes.

use axum::{Router, extract::State, routing::delete};
use countersign::{
    ConfigError, HttpMessageSignatures, KeyRing, PendingPayload, Processing, VerifyLayer,
    request::{Unchanged, VerifierBuilder, require_changed},
};

use super::{Failure, Pool};

#[derive(serde::Deserialize)]
struct Place {
    id: i64,
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
        .route("/posts/{id}", delete(remove))
        .layer(layer)
        .with_state(pool)
}

/// `DELETE /posts/1`
async fn remove(State(pool): State<Pool>, pending: PendingPayload) -> Result<(), Failure> {
    pending
        .transact(&pool, async |tx, payload| {
            let Place { id } = payload.path_params("/posts/{id}")?;
            // The caller is the signer: no header names it.
            let removed = sqlx::query("DELETE FROM posts WHERE id = $1 AND owner = $2")
                .bind(id)
                .bind(payload.key_id().as_str())
                .execute(tx)
                .await?;
            // 404 and not 403: whether there is such a post is nobody else's affair.
            Ok(require_changed(
                removed.rows_affected(),
                Unchanged::NotFound,
            )?)
        })
        .await
}
