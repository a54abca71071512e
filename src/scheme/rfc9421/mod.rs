//! `HttpMessageSignatures`: RFC 9421 with hmac-sha256, and the digest of RFC 9530 for the body.

mod accept;
mod base;
mod builder;
mod canonical;
mod component;
mod digest;
mod fields;
#[cfg(test)]
mod generated_tests;
#[cfg(test)]
mod grammar_tests;
mod input;
mod names;
#[cfg(test)]
mod readers_tests;
mod request;
mod response;
mod scheme;
mod signature;
#[cfg(test)]
mod tests;
mod usual;

pub use accept::AcceptSignature;
pub use builder::HttpMessageSignaturesBuilder;
pub use canonical::FieldType;
pub use component::Component;
pub(crate) use response::{Binding, has_body, received_another_body, stated};
pub use scheme::HttpMessageSignatures;
