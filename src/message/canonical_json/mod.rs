//! Canonical JSON: the one text of a document, as two parties agree to write it.

mod form;
mod number;
mod rewrite;

pub use form::{JsonForm, PythonJson};
