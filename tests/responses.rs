//! Signed responses: bound to the very request, over real sockets and byte by byte.

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

#[path = "responses/world.rs"]
mod world;

#[path = "responses/again.rs"]
mod again;
#[path = "responses/binding.rs"]
mod binding;
#[path = "responses/limits.rs"]
mod limits;
#[path = "responses/profile.rs"]
mod profile;
#[path = "responses/wire.rs"]
mod wire;
