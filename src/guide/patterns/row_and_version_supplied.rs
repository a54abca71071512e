// The version is signed and not sent: the MAC is compared with that of the row, under its lock.

use axum::{
    Router,
    extract::{Path, State},
    routing::put,
};
use countersign::{
    ConfigError, HeaderScheme, KeyRing, Part, Processing, VerifyLayer,
    request::{Supplied, UnprovenPayload, VerifierBuilder},
};
use http::StatusCode;

use super::{Connection, Failure, Pool};

#[derive(serde::Deserialize)]
struct Place {
    id: i64,
}

#[derive(serde::Deserialize)]
struct Change {
    title: String,
}

pub fn scheme() -> Result<HeaderScheme, ConfigError> {
    HeaderScheme::builder("x-signature")
        .key_id("x-key-id")
        .time("x-timestamp")
        .nonce("x-nonce")
        .signs(Part::lines([
            Part::Method,
            Part::Authority,
            Part::Path,
            Part::supplied("version"),
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
        .route("/documents/{id}", put(rename))
        .layer(layer)
        .with_state(pool)
}

/// `PUT /documents/1`, with `{"title":"…"}`.
async fn rename(
    State(pool): State<Pool>,
    Path(asked): Path<i64>, // nobody has verified it: it says which row to lock, and no more
    unproven: UnprovenPayload,
) -> Result<(), Failure> {
    let lock = async |tx: &mut Connection| {
        // `locked!` adds `FOR UPDATE`; SQLite's transaction has locked the whole file.
        let version = locked!("SELECT version FROM documents WHERE id = $1");
        let version = sqlx::query_scalar(version).bind(asked);
        let version: Option<i64> = version.fetch_optional(tx).await?;
        Ok(version.map(|version| Supplied::new().with("version", version)))
    };
    unproven
        .transact(&pool, lock, async |tx, payload| {
            let Place { id } = payload.path_params("/documents/{id}")?;
            if id != asked {
                return Err(StatusCode::FORBIDDEN.into()); // the lock is on another row
            }
            let Change { title } = payload.json()?;
            let change = "UPDATE documents SET title = $2, version = version + 1 WHERE id = $1";
            sqlx::query(change).bind(id).bind(title).execute(tx).await?;
            Ok(())
        })
        .await
}
