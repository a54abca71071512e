//! The attacks and faults that a release must survive: each test is named after
//! its row (`a01_…` to `a53_…`), and is run against every scheme that the row concerns.
//!
//! A row is a table of requests, or a course of events, and an assertion that says what was broken
//! instead of failing at once. Each has a twin: a naive server or store with the fault that the
//! row is about, which the same assertion must find.
//!
//! They run on the memory store; `stores.rs` has what a store decides on the others. Row 3,
//! comparison in constant time, is in `house/constant_time.rs`; row 37, processing in a
//! transaction, in `layer/in_transaction.rs`; rows 26 and 27, stores that fail, with each store.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::large_futures,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test may fail"
)]

#[path = "../common/mod.rs"]
mod common;

mod naive;
mod parameter;
mod subject;

mod answers;
mod budget;
mod cost;
mod coverage;
mod delivery;
mod given_up;
mod handling;
mod handshake;
mod holders;
mod http_message_signatures;
mod json;
mod leases;
mod limits;
mod once;
mod place;
mod protocol;
mod readiness;
mod reading;
mod restart;
mod secrets;
mod several;
mod shared;
mod signature;
#[cfg(all(feature = "postgres", feature = "redis", feature = "sqlite"))]
mod stores;
mod time;
mod wire;
