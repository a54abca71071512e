//! The presets, verified in process beside the hashing that each needs; and Standard Webhooks beside
//! the `standardwebhooks` crate and the layer of `webhook-verify`.
//!
//! Twilio's forms are sorted before they are hashed, and Mailgun's hash is shorter than what must
//! be read for it: these two have no row.

use countersign::{
    scheme::Scheme,
    webhooks::{
        Dropbox, GitHub, HubSpot, Linear, Meta, Paddle, Shopify, Slack, Square, StandardWebhooks,
        Stripe, Zoom,
    },
};
use countersign_benches::{
    Must, layer, measure,
    requests::{event, events},
    row, verify,
};

/// The share of the hashing that a preset may take if its event id is in the JSON of the body.
const WITH_EVENT_ID: f64 = 3.0;

const URL: &str = "https://api.example.com/transfer?account=7";
const METHOD_AND_URL: &str = "POSThttps://api.example.com/transfer?account=71795000000000";

fn main() {
    beside_hashing(
        "Standard Webhooks",
        StandardWebhooks::new(),
        event,
        "msg_01234567890123456789.1795000000.",
        false,
        2.0,
    );
    beside_hashing(
        "Stripe",
        Stripe::new(),
        event,
        "1795000000.",
        false,
        WITH_EVENT_ID,
    );
    beside_hashing("GitHub", GitHub::new(), event, "", true, 2.0);
    beside_hashing(
        "Slack",
        Slack::new(),
        event,
        "v0:1795000000:",
        false,
        WITH_EVENT_ID,
    );
    beside_hashing("Shopify", Shopify::new(), event, "", true, 2.0);
    beside_hashing("Zoom", Zoom::new(), event, "v0:1795000000:", true, 2.0);
    beside_hashing("Square", Square::new(), event, URL, false, WITH_EVENT_ID);
    beside_hashing(
        "Paddle",
        Paddle::new(),
        event,
        "1795000000:",
        false,
        WITH_EVENT_ID,
    );
    beside_hashing("Linear", Linear::new(), event, "", true, 2.0);
    beside_hashing(
        "HubSpot",
        HubSpot::new(),
        events,
        METHOD_AND_URL,
        false,
        WITH_EVENT_ID,
    );
    beside_hashing("Dropbox", Dropbox::new(), event, "", false, 2.0);
    beside_hashing("Meta", Meta::new(), event, "", true, 2.0);

    let what = "Standard Webhooks, 1 KiB";
    let contenders = [
        verify::preset_standard_webhooks(1024),
        verify::standardwebhooks(1024),
    ];
    let [ours, peer] = measure(what, 2000, contenders).map(|time| time.min);
    row(what, ours, ("standardwebhooks", peer), Must::AtMost(0.4));

    let what = "Standard Webhooks, layer, 1 KiB";
    let contenders = [layer::preset_standard_webhooks(), layer::webhook_verify()];
    let [ours, peer] = measure(what, 2000, contenders).map(|time| time.min);
    row(what, ours, ("webhook-verify", peer), Must::Ahead);
}

fn beside_hashing(
    name: &str,
    scheme: impl Scheme + Clone,
    event: fn(u64) -> String,
    before: &'static str,
    is_told_apart: bool,
    most: f64,
) {
    let what = format!("{name}, 1 KiB");
    let contenders = [
        verify::preset(scheme.clone(), event),
        verify::bare_event(scheme, event, before, is_told_apart),
    ];
    let [ours, hashing] = measure(&what, 1000, contenders).map(|time| time.min);
    row(what, ours, ("bare hashing", hashing), Must::AtMost(most));
}
