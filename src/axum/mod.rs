//! For Axum: extractors that read what was verified, and answers where they cannot.

mod extract;
mod rejection;

pub use extract::{VerifiedForm, VerifiedJson, VerifiedPath, VerifiedQuery};
pub use rejection::ExtractRejection;
