//! Requests out of an OpenAPI document, 3.0 or 3.1, in JSON or YAML.
//!
//! The document may come from a stranger: it is bounded in size and depth, its references lead to
//! nothing outside of it, and what it names as a server falls under the rule of all hosts.

mod document;
mod example;
mod operation;

pub(crate) use document::{Document, MAX_LEN};
pub(crate) use operation::Operation;
