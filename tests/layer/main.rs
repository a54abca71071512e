//! The way of a request through verifier and layer to its handler, and of what is signed on the way
//! back; and clients that sign.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::large_futures,
    unreachable_pub,
    reason = "a test may fail"
)]

#[path = "../common/mod.rs"]
mod common;

/// Counts what a test takes that is alone in its process.
#[cfg(feature = "fs")]
#[global_allocator]
static ALLOCATOR: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

mod protocol;

mod at_once;
mod body;
mod clients;
mod diagnosis;
mod ends;
#[cfg(feature = "sqlite")]
mod envelopes;
mod extractors;
#[cfg(feature = "fs")]
mod files;
mod idempotency;
#[cfg(all(feature = "postgres", feature = "sqlite"))]
mod in_transaction;
mod json_client;
mod keys;
#[cfg(feature = "metrics")]
mod observability;
mod observe;
mod panics;
mod places;
mod processing;
#[cfg(feature = "sqlite")]
mod reads;
mod rejections;
#[cfg(feature = "sqlite")]
mod resource;
mod responses;
mod signing;
#[cfg(feature = "sqlite")]
mod supplied;
mod tenants;
mod verifier;
mod version;
