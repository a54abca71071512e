//! A scheme: how a request carries its signature, and what it signs.

#[cfg(test)]
mod covered_tests;
mod describe;
mod fields;
pub(crate) mod header;
pub mod rfc9421;
pub mod webhooks;

#[doc(inline)]
pub use crate::{
    key::MacAlgorithm,
    message::{DigestAlgorithm, Encoding, JsonForm, PythonJson},
};
pub use describe::Scheme;
pub(crate) use describe::{Asked, Describe, Format, Profile, Reading, Signing, signs_under};
pub use header::{HeaderSchemeBuilder, JsonObject, WithoutBody};
