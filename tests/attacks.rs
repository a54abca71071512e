//! That the attacks and faults which a release must survive are survived: each test is named after
//! its row (`a01_…` to `a53_…`), and is run against every scheme that the row concerns.
//!
//! A row is a table of requests, or a course of events, and an assertion that says what was broken
//! instead of failing at once. Each has a twin: a naive server or store with the very fault that the
//! row is about, which the same assertion has to find.
//!
//! They run on the memory store; `attacks/stores.rs` has what a store decides on the others. Row 3,
//! comparison in constant time, has a test of its own. Row 37, processing in a transaction, stands in
//! `in_transaction.rs`; rows 26 and 27, stores that fail, with each store.

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

mod common;
#[cfg(all(feature = "postgres", feature = "redis", feature = "sqlite"))]
mod database;
mod log;
mod parts;

#[path = "log/forms.rs"]
mod forms;
#[path = "attacks/naive.rs"]
mod naive;
#[path = "attacks/parameter.rs"]
mod parameter;
#[cfg(all(feature = "postgres", feature = "redis", feature = "sqlite"))]
#[path = "redis/server.rs"]
#[allow(dead_code, reason = "its other tests take more of it")]
mod redis_server;
#[path = "attacks/subject.rs"]
mod subject;

#[path = "attacks/answers.rs"]
mod answers;
#[path = "attacks/budget.rs"]
mod budget;
#[path = "attacks/cost.rs"]
mod cost;
#[path = "attacks/coverage.rs"]
mod coverage;
#[path = "attacks/delivery.rs"]
mod delivery;
#[path = "attacks/given_up.rs"]
mod given_up;
#[path = "attacks/handling.rs"]
mod handling;
#[path = "attacks/handshake.rs"]
mod handshake;
#[path = "attacks/holders.rs"]
mod holders;
#[path = "attacks/http_message_signatures.rs"]
mod http_message_signatures;
#[path = "attacks/json.rs"]
mod json;
#[path = "attacks/leases.rs"]
mod leases;
#[path = "attacks/limits.rs"]
mod limits;
#[path = "attacks/once.rs"]
mod once;
#[path = "attacks/place.rs"]
mod place;
#[path = "attacks/readiness.rs"]
mod readiness;
#[path = "attacks/reading.rs"]
mod reading;
#[path = "attacks/restart.rs"]
mod restart;
#[path = "attacks/secrets.rs"]
mod secrets;
#[path = "attacks/shared.rs"]
mod shared;
#[path = "attacks/signature.rs"]
mod signature;
#[cfg(all(feature = "postgres", feature = "redis", feature = "sqlite"))]
#[path = "attacks/stores.rs"]
mod stores;
#[path = "attacks/time.rs"]
mod time;
#[path = "attacks/wire.rs"]
mod wire;
