//! No stage can be taken twice.

use bytes::Bytes;
use countersign::request::{Admitted, Authentic, Parsed, Received};
use http_body_util::Full;

async fn parsed(parsed: Parsed<'_>) {
    let _ = parsed.admit().await;
    let _ = parsed.admit().await;
}

async fn admitted(admitted: Admitted<'_>) {
    let _ = admitted.receive(Full::<Bytes>::default()).await;
    let _ = admitted.receive(Full::<Bytes>::default()).await;
}

fn received(received: Received<'_>) {
    let _ = received.authenticate();
    let _ = received.authenticate();
}

async fn authentic(authentic: Authentic) {
    let _ = authentic.claim().await;
    let _ = authentic.claim().await;
}

fn main() {}
