//! `HeaderScheme`: a house format, described part by part.

mod builder;
mod decodable;
mod element;
mod part;
mod scheme;
#[cfg(test)]
mod tests;
mod without_body;

pub use builder::HeaderSchemeBuilder;
pub use part::{JsonObject, Part};
pub use scheme::HeaderScheme;
pub use without_body::WithoutBody;
