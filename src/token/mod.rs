//! One-time tokens: signed, expiring, with a payload of the caller's type, and good for one use.

mod builder;
mod fault;
mod jws;
mod one_time;
mod pending;
mod settings;

pub use builder::OneTimeTokenBuilder;
pub use one_time::OneTimeToken;
pub use pending::{InStore, InTransaction, PendingToken};
