//! Each way to sign, and one-time tokens, against those who do so too: published vectors, other
//! libraries, other languages.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test may fail"
)]

#[path = "../common/mod.rs"]
mod common;

#[allow(dead_code, reason = "each test takes what it needs")]
mod script;
#[cfg(feature = "axum")]
mod wire;

#[cfg(feature = "inspect")]
mod algorithms;
mod canonical_json;
mod header_scheme;
#[cfg(feature = "axum")]
mod http_message_signatures;
#[cfg(feature = "axum")]
mod languages;
#[cfg(feature = "axum")]
mod peers;
mod tokens;
mod vectors;
#[cfg(feature = "axum")]
mod webhooks;
