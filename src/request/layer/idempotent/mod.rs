//! `IdempotencyLayer` on requests that were verified.

mod collect;
mod duplicate;
mod going_on;
mod service;

pub(super) use collect::BegunBody;
pub use service::Idempotent;
