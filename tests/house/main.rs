//! The crate itself: how it is built, what it depends on, what must not compile, how long a
//! comparison takes, what a request costs, what its examples print, what all tests have said, where
//! the links of its pages lead, and how it is released.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may fail"
)]

#[path = "../common/mod.rs"]
mod common;

mod architecture;
mod cargo;
mod compile_fail;
mod constant_time;
mod counts;
mod dependencies;
mod examples;
mod licences;
mod pages;
mod release;
mod rows;
mod said;
