//! The presets for webhooks, from outside: what each accepts, what it refuses, what happens to a
//! redelivery, and how it answers a challenge. Each test runs against every preset that it
//! concerns, from one table; those named after a row of the attacks (`a01_…`) are its form for
//! webhooks.
//!
//! A security test that could pass for nothing has a twin: something naive that it must find.

mod coverage;
mod provider;
mod rows;
mod service;

mod batches;
mod challenges;
mod contentful;
mod dates;
mod dropbox;
mod event_ids;
mod further_headers;
mod mailgun;
mod published;
mod redelivery;
mod registrations;
mod secrets;
mod senders;
mod tampering;
mod time;
mod trello;
mod twilio;
mod url_and_body;
mod vectors;
