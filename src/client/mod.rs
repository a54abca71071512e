//! Signing outgoing requests, from the same description that verifies them.

mod again;
mod layer;
mod peeked;
#[cfg(feature = "reqwest")]
mod reqwest;
mod service;
mod signer;

pub use crate::future::ResponseFuture;
pub use layer::{SignAgainLayer, SignLayer};
pub use peeked::PeekedBody;
pub use service::{Repeatable, Sign, SignAgain};
pub use signer::Signer;
#[cfg(any(test, feature = "test-util"))]
pub(crate) use signer::new_nonce;
