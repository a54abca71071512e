//! Each store, and what it must survive: copies at once, floods, clocks that step, crashes, damage,
//! servers that fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unreachable,
    unreachable_pub,
    reason = "a test may fail"
)]

#[path = "../common/mod.rs"]
mod common;

#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
mod claims;
#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
mod history;
#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
mod race;

mod answers;
#[cfg(all(feature = "axum", feature = "postgres", feature = "sqlite"))]
mod answers_crash;
mod answers_faulty;
#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
mod answers_history;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod answers_line;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod answers_rule;
mod answers_steps;
mod conformance;
#[cfg(all(feature = "axum", feature = "postgres", feature = "sqlite"))]
mod crash;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod envelopes;
mod high_watermark;
mod memory;
mod memory_model;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
mod remembered;
#[cfg(feature = "sqlite")]
mod sqlite;
