//! The whole layer with an Axum router, above what hashing and the router cost, and beside the
//! layer of `webhook-verify`.

use countersign_benches::{
    Must,
    layer::{bare_hmac, countersign, countersign_for_webhooks, webhook_verify, without_layer},
    measure, row,
};

fn main() {
    let contenders = [
        countersign(),
        without_layer(),
        bare_hmac(),
        countersign_for_webhooks(),
        webhook_verify(),
    ];
    let [ours, router, hmac, around, peer] =
        measure("layer, 1 KiB", 2000, contenders).map(|time| time.min);
    row(
        "layer, 1 KiB, above hashing and the router",
        ours - router - hmac,
        ("limit", 1500.0),
        Must::AtMost(1.0),
    );
    row(
        "layer for webhooks, 1 KiB",
        around,
        ("webhook-verify", peer),
        Must::Ahead,
    );
}
