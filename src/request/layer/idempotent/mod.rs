//! `IdempotencyLayer` on requests that were verified.

mod collect;
mod duplicate;
mod service;

pub use service::Idempotent;
