//! For Axum: extractors that read what was verified, and answers where they cannot.

mod extract;
mod rejection;
mod resource;

pub use extract::{VerifiedForm, VerifiedJson, VerifiedPath, VerifiedQuery};
pub use rejection::ExtractRejection;
pub use resource::{InTarget, NamesResource, PendingResource, SameResource};
