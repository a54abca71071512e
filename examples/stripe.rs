//! Webhooks of Stripe, each event handled once: run it, and paste what it prints.
//!
//! `cargo run --example stripe`, and Ctrl-C to end it.

#![allow(clippy::print_stdout, reason = "an example for people to read")]

use std::error::Error;

use axum::{Router, routing::post};
use countersign::{MemoryStore, VerifiedJson, VerifyLayer, webhooks::Stripe};
use serde::Deserialize;
use tokio::net::TcpListener;

const SECRET: &str = "whsec_an example is no place for a secret";

#[derive(Deserialize)]
struct Event {
    id: String,
    r#type: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;

    // After a restart, a retry of Stripe is handled again. In production, choose a store that
    // survives a restart, and give this service a `namespace` in it.
    let layer = VerifyLayer::builder(Stripe::new())
        .secret(SECRET)
        .store(MemoryStore::new().danger_assume_no_history())
        .build()?;
    let app = Router::new().route("/stripe", post(paid)).layer(layer);

    println!(
        "# Paste this. Then paste it again: a retry, signed again, is acknowledged and not handled."
    );
    println!("# Or change the body, `body='{{}}'`, and run only the last command: it is refused.");
    println!(
        r#"time=$(date +%s); body='{{"id":"evt_1","type":"invoice.paid"}}'
mac=$(printf '%s.%s' "$time" "$body" | openssl dgst -sha256 -hmac '{SECRET}' | sed 's/.*= *//')
curl -s -w '%{{http_code}}\n' 'http://{addr}/stripe' -d "$body" -H 'content-type: application/json' \
    -H "stripe-signature: t=$time,v1=$mac""#
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

/// An answer of 2xx makes the event final. After any other, Stripe sends it again, and it is handled
/// then.
async fn paid(VerifiedJson(event): VerifiedJson<Event>) -> String {
    format!("handled {}: {}\n", event.id, event.r#type)
}
