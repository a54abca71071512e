//! A client that signs, over real sockets: bodies of every kind, rotation, signing anew, reqwest.

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

#[path = "signing/server.rs"]
mod server;

#[path = "signing/again.rs"]
mod again;
#[path = "signing/layer.rs"]
mod layer;
#[cfg(feature = "reqwest")]
#[path = "signing/reqwest.rs"]
mod reqwest;
#[path = "signing/rotation.rs"]
mod rotation;
