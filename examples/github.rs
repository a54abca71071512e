//! Webhooks of GitHub, each delivery handled once: run it, and paste what it prints.
//!
//! `cargo run --example github`, and Ctrl-C to end it.

#![allow(clippy::print_stdout, reason = "an example for people to read")]

use std::error::Error;

use axum::{Router, routing::post};
use countersign::{MemoryStore, VerifiedJson, VerifyLayer, webhooks::GitHub};
use serde::Deserialize;
use tokio::net::TcpListener;

const SECRET: &str = "an example is no place for a secret";

#[derive(Deserialize)]
struct Push {
    r#ref: String,
    after: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;

    // GitHub signs no time, so that a delivery is fresh forever: in production, take a store that
    // survives a restart, and give this service a `namespace` in it.
    let layer = VerifyLayer::builder(GitHub::new())
        .secret(SECRET)
        .store(MemoryStore::new().danger_assume_no_history())
        .build()?;
    let app = Router::new().route("/github", post(pushed)).layer(layer);

    println!("# Paste this. Then paste it again: a redelivery is acknowledged and not handled.");
    println!("# Or change the body, `body='{{}}'`, and run only the last command: it is refused.");
    println!(
        r#"body='{{"ref":"refs/heads/main","after":"0123abc"}}'
mac=$(printf '%s' "$body" | openssl dgst -sha256 -hmac '{SECRET}' | sed 's/.*= *//')
curl -s -w '%{{http_code}}\n' 'http://{addr}/github' -d "$body" -H 'content-type: application/json' \
    -H "x-hub-signature-256: sha256=$mac""#
    );
    println!("# Serving until Ctrl-C.");

    let ctrl_c = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(ctrl_c)
        .await?;
    Ok(())
}

/// Reads from the body what happened: `X-GitHub-Event` is not covered by the signature.
async fn pushed(VerifiedJson(push): VerifiedJson<Push>) -> String {
    format!("handled {}: {}\n", push.r#ref, push.after)
}
