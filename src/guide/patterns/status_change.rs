// The status that a change requires is a condition of the change.

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
        .route("/orders/{id}/ship", post(ship))
        .layer(layer)
        .with_state(pool)
}

/// `POST /orders/1/ship`
async fn ship(State(pool): State<Pool>, pending: PendingPayload) -> Result<(), Failure> {
    pending
        .transact(&pool, async |tx, payload| {
            let Place { id } = payload.path_params("/orders/{id}/ship")?;
            let shipped = sqlx::query(
                "UPDATE orders SET status = 'shipped' WHERE id = $1 AND status = 'pending'",
            )
            .bind(id)
            .execute(&mut *tx)
            .await?;
            require_changed(shipped.rows_affected(), Unchanged::Conflict)?; // 0 rows: 409
            // The parcel is ordered in the same transaction: an outbox row, which a worker takes.
            sqlx::query("INSERT INTO parcels VALUES ($1)")
                .bind(id)
                .execute(tx)
                .await?;
            Ok(())
        })
        .await
}
