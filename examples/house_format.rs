//! A house format, and the shell commands that sign in it: run it, and paste what it prints.
//!
//! `cargo run --example house_format`, and Ctrl-C to end it.

#![allow(clippy::print_stdout, reason = "an example for people to read")]

use std::error::Error;

use axum::{Router, routing::post};
use countersign::{HeaderScheme, KeyRing, MemoryStore, Part, VerifiedPayload, VerifyLayer};
use tokio::net::TcpListener;

const SECRET: &str = "an example is no place for a secret";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;

    // `v1=` and the HMAC-SHA256, in hexadecimal, of five lines: method, path and query, time,
    // nonce, body.
    let scheme = HeaderScheme::builder("x-acme-signature")
        .prefix("v1=")
        .fixed_key_id("acme")
        .time("x-acme-time")
        .nonce("x-acme-nonce")
        .signs(Part::lines([
            Part::Method,
            Part::PathAndQuery,
            Part::Time,
            Part::Nonce,
            Part::Body,
        ]))
        .build()?;

    let layer = VerifyLayer::builder(scheme)
        .keys(KeyRing::new().with("acme", SECRET)?)
        // The example starts once, and nothing was accepted before.
        .store(MemoryStore::new().danger_assume_no_history())
        .build()?;

    let order = async |payload: VerifiedPayload| {
        format!("verified: {}\n", String::from_utf8_lossy(payload.bytes()))
    };
    let app = Router::new().route("/orders", post(order)).layer(layer);

    println!(
        "# Paste this. Then run only the last command again, also with another body: both are refused."
    );
    println!(
        r#"time=$(date +%s); nonce=$(openssl rand -hex 16); body='{{"item":"anvil","count":3}}'
mac=$(printf 'POST\n/orders?express=1\n%s\n%s\n%s' "$time" "$nonce" "$body" \
    | openssl dgst -sha256 -hmac '{SECRET}' | sed 's/.*= *//')
curl -s 'http://{addr}/orders?express=1' -d "$body" -H 'content-type: application/json' \
    -H "x-acme-time: $time" -H "x-acme-nonce: $nonce" -H "x-acme-signature: v1=$mac""#
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
