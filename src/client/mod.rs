//! Signing outgoing requests, and the responses of a server, from the same description that
//! verifies them.

mod again;
mod layer;
mod peeked;
#[cfg(feature = "reqwest")]
mod reqwest;
mod service;
mod signer;

pub use layer::{Repeatable, SignAgainLayer, SignLayer};
pub use peeked::PeekedBody;
pub(crate) use service::BoxError;
pub use service::{Sign, SignAgain, SignFuture};
pub use signer::Signer;
#[cfg(any(test, feature = "test-util"))]
pub(crate) use signer::new_nonce;
