//! The presets for webhooks, from outside: what each accepts, what it refuses, what becomes of a
//! redelivery, and how it answers a challenge. Each test runs against every preset that it concerns,
//! from one table; those named after a row of the attacks (`a01_…`) are its form for webhooks.
//!
//! A security test that could pass for nothing has a twin: something naive that it has to find.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    reason = "a test may fail"
)]

mod common;
mod log;
mod parts;

#[path = "webhooks/coverage.rs"]
mod coverage;
#[path = "webhooks/provider.rs"]
mod provider;
#[path = "peers/script.rs"]
mod script;
#[path = "webhooks/service.rs"]
mod service;
#[path = "peers/wire.rs"]
mod wire;

#[path = "webhooks/challenges.rs"]
mod challenges;
#[path = "webhooks/dropbox.rs"]
mod dropbox;
#[path = "webhooks/event_ids.rs"]
mod event_ids;
#[path = "webhooks/mailgun.rs"]
mod mailgun;
#[path = "webhooks/redelivery.rs"]
mod redelivery;
#[path = "webhooks/secrets.rs"]
mod secrets;
#[path = "webhooks/senders.rs"]
mod senders;
#[path = "webhooks/tampering.rs"]
mod tampering;
#[path = "webhooks/time.rs"]
mod time;
#[path = "webhooks/twilio.rs"]
mod twilio;
#[path = "webhooks/url_and_body.rs"]
mod url_and_body;
#[path = "webhooks/vectors.rs"]
mod vectors;
