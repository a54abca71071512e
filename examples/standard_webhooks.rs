//! Standard Webhooks, each message handled once: run it, and paste what it prints.
//!
//! `cargo run --example standard_webhooks`, and Ctrl-C to end it.

#![allow(clippy::print_stdout, reason = "an example for people to read")]

use std::error::Error;

use axum::{Router, routing::post};
use countersign::{MemoryStore, VerifiedJson, VerifyLayer, webhooks::StandardWebhooks};
use serde::Deserialize;
use tokio::net::TcpListener;

const SECRET: &str = "whsec_YW4gZXhhbXBsZSBpcyBubyBwbGFjZSBmb3IgYSBzZWNyZXQ=";

#[derive(Deserialize)]
struct Message {
    r#type: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;

    // A retry after a restart is handled again: in production, take a store that survives one,
    // and give this service a `namespace` in it.
    let layer = VerifyLayer::builder(StandardWebhooks::new())
        .secret(SECRET)
        .store(MemoryStore::new().danger_assume_no_history())
        .build()?;
    let app = Router::new().route("/hook", post(hook)).layer(layer);

    println!(
        "# Paste this. Then paste it again: a retry, signed again under its id, is acknowledged and not handled."
    );
    println!("# Or change the body, `body='{{}}'`, and run only the last command: it is refused.");
    println!(
        r#"id=msg_1; time=$(date +%s); body='{{"type":"contact.created"}}'
key=$(printf '%s' '{SECRET}' | sed 's/^whsec_//' | base64 -d | od -An -vtx1 | tr -d ' \n')
mac=$(printf '%s.%s.%s' "$id" "$time" "$body" \
    | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)
curl -s -w '%{{http_code}}\n' 'http://{addr}/hook' -d "$body" -H 'content-type: application/json' \
    -H "webhook-id: $id" -H "webhook-timestamp: $time" -H "webhook-signature: v1,$mac""#
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

/// An answer of 2xx makes the message final. After any other, the sender sends it again, and it is
/// handled then.
async fn hook(VerifiedJson(message): VerifiedJson<Message>) -> String {
    format!("handled {}\n", message.r#type)
}
