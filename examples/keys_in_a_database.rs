//! Keys in a table of a database, behind a cache, and one layer for many tenants: each tenant's
//! webhooks are verified under the tenant's own secret, and counted for the tenant alone.
//!
//! `cargo run --example keys_in_a_database --features cached-keys,sqlite`

#![allow(clippy::print_stdout, reason = "an example for people to read")]

use std::{error::Error, sync::Arc, time::Duration};

use axum::{Router, body::Body, routing::post};
use countersign::{
    KeySet, KeyStore, MemoryStore, Secret, Signer, VerifiedPayload, VerifyLayer,
    error::KeyError,
    key::{CachedKeys, KeyFuture},
    testing::Delivery,
    webhooks::GitHub,
};
use http::StatusCode;
use sqlx::{SqlitePool, sqlite::SqlitePoolOptions};
use tower::ServiceExt as _;

/// The secrets of tenants, two of one tenant while a secret is rotated.
///
/// A real table holds them encrypted, under a key that the database does not have.
struct Tenants(SqlitePool);

impl Tenants {
    async fn secrets_of(&self, tenant: &str) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar("SELECT secret FROM secrets WHERE tenant = $1")
            .bind(tenant)
            .fetch_all(&self.0)
            .await
    }
}

impl KeyStore for Tenants {
    fn find<'a>(&'a self, key_id: &'a str) -> KeyFuture<'a> {
        KeyFuture::new(async move {
            let secrets = self.secrets_of(key_id).await.map_err(|error| {
                KeyError::unavailable("the table of secrets cannot be read").with_source(error)
            })?;
            // An unknown name is not an error.
            if secrets.is_empty() {
                return Ok(None);
            }
            let broken = |error| KeyError::unavailable("a row is no secret").with_source(error);
            let mut set = KeySet::new(key_id).map_err(broken)?;
            for secret in secrets {
                set = set.with(Secret::new(secret).map_err(broken)?);
            }
            Ok(Some(Arc::new(set)))
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect("sqlite::memory:").await?;
    let tables = "CREATE TABLE secrets (tenant text NOT NULL, secret text NOT NULL UNIQUE);
                  INSERT INTO secrets VALUES
                      ('acme', 'the secret of acme'), ('globex', 'the secret of globex')";
    sqlx::raw_sql(tables).execute(&pool).await?;

    let keys = CachedKeys::builder(Tenants(pool.clone()))
        .time_to_live(Duration::from_secs(60)) // a secret that was revoked is valid for as long
        .build()?;
    let layer = VerifyLayer::builder(GitHub::new().key_id_from_path("tenant"))
        .keys(keys.clone())
        .store(MemoryStore::new().danger_assume_no_history()) // the first start of an example
        .build()?;
    let handler = async |event: VerifiedPayload| format!("handled for {}", event.key_id());
    let app = Router::new()
        .route("/hooks/{tenant}", post(handler))
        .layer(layer);

    let send = async |secret: &str, tenant: &str, body: &'static str, expected: StatusCode| {
        let signer = Signer::new(GitHub::new(), "github", secret)?;
        let delivery = Delivery::by(signer, body).to(&format!("/hooks/{tenant}"));
        let request = delivery.request().map(Body::new);
        let status = app.clone().oneshot(request).await?.status();
        println!("{tenant}, signed with `{secret}`: {status}");
        if status == expected {
            Ok(())
        } else {
            Err(format!("expected {expected}").into())
        }
    };
    let (ok, refused) = (StatusCode::OK, StatusCode::UNAUTHORIZED);
    send("the secret of acme", "acme", r#"{"n":1}"#, ok).await?;
    send("the secret of globex", "globex", r#"{"n":1}"#, ok).await?;
    send("the secret of acme", "globex", r#"{"n":2}"#, refused).await?;
    send("the secret of acme", "nobody", r#"{"n":2}"#, refused).await?;

    // A rotation: both secrets are valid, as soon as the cache is told.
    let added = "INSERT INTO secrets VALUES ('acme', 'a newer secret of acme')";
    sqlx::query(added).execute(&pool).await?;
    keys.invalidate("acme");
    send("the secret of acme", "acme", r#"{"n":3}"#, ok).await?;
    send("a newer secret of acme", "acme", r#"{"n":4}"#, ok).await
}
