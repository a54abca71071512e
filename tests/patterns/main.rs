//! The pages of `guide::patterns`: the code that a page shows is run here, by 32 clients at once, on
//! PostgreSQL and on SQLite.
//!
//! Each page is a module, which is compiled once for each database. It has a twin: a handler behind
//! the same verification, with the fault that the page is about. A [`Gap`](harness::Gap) keeps each
//! client of the twin between its check and its use until all of them are there, so that an effect is
//! doubled or lost in every round, whatever the machine. Nothing holds up the page's own handler.
//!
//! A page `name` is made of:
//! - `src/guide/patterns/name.md`: the fault, the answer, its cost and its limits;
//! - `src/guide/patterns/name.rs`: the code of the answer, with `use super::{Failure, Pool}`; both are
//!   shown by two lines in `src/guide/patterns/mod.rs`;
//! - `tests/patterns/name.rs`: what the page promises, and its twin;
//! - a `mod name` at the end of `postgres.rs` and of `sqlite.rs`; a page without a database has its
//!   `mod name` here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::duplicate_mod,
    unreachable_pub,
    reason = "a test may fail, and each page is compiled for two databases"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../../src/guide/patterns/failure.rs"]
mod failure;
mod harness;

mod cache;
#[cfg(feature = "fs")]
mod file;
mod postgres;
mod sqlite;
