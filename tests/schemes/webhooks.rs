//! The presets for webhooks, from outside: what each accepts, what it refuses, what becomes of a
//! redelivery, and how it answers a challenge. Each test runs against every preset that it concerns,
//! from one table; those named after a row of the attacks (`a01_…`) are its form for webhooks.
//!
//! A security test that could pass for nothing has a twin: something naive that it has to find.

mod coverage;
mod provider;
mod service;

mod batches;
mod challenges;
mod dropbox;
mod event_ids;
mod mailgun;
mod redelivery;
mod secrets;
mod senders;
mod tampering;
mod time;
mod twilio;
mod url_and_body;
mod vectors;
