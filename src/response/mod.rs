//! Signing the responses of a server, and verifying them.

mod builder;
mod kept;
mod sign_layer;
mod sign_service;
mod signer;
mod verifier;
mod verify_layer;

pub use crate::{future::ResponseFuture, once::Outcome};
pub use builder::ResponseVerifierBuilder;
pub use sign_layer::SignResponseLayer;
pub use sign_service::SignResponse;
pub use signer::ResponseSigner;
pub use verifier::{ResponseVerifier, SignedBy};
pub use verify_layer::{VerifyResponse, VerifyResponseLayer};
