//! Why something is refused: configurations, key look-ups, stores, signing, responses, requests.

mod chain;
mod config;
mod fault;
mod key;
mod kind;
mod open;
mod rejection;
mod response;
mod sign;
mod store;

pub(crate) use chain::in_full;
pub use config::{ConfigError, ConfigErrorKind};
pub(crate) use fault::{Fault, FaultKind, malformed};
pub use key::KeyError;
pub use kind::RejectionKind;
pub use open::OpenError;
pub use rejection::Rejection;
#[cfg(feature = "axum")]
pub(crate) use rejection::problem;
pub use response::{ResponseError, ResponseErrorKind};
pub use sign::{SignError, SignErrorKind};
pub use store::{StoreError, StoreErrorKind};
