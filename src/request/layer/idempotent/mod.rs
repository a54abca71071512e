//! `IdempotencyLayer` on requests that were verified.

mod collect;
mod duplicate;
mod service;

pub(super) use collect::BegunBody;
pub use service::Idempotent;
