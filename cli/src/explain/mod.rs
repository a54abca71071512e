//! Why a signature does not match: a search for the change that makes it match.
//!
//! The hypotheses are the rows of one [table](table::TABLE). Each row is tried alone, and then each
//! pair. A hypothesis counts only if the library finds that at least 16 bytes of the MAC agree: 128
//! bits do not agree by chance. The library builds every message and compares every MAC; nothing
//! here knows a scheme, and nothing here computes a MAC that could be printed.

mod body;
#[cfg(test)]
mod bounds_tests;
mod json;
mod message;
#[cfg(test)]
mod planted_tests;
mod reading;
mod search;
mod secret;
mod shape;
mod structure;
mod table;
#[cfg(test)]
mod table_tests;
mod url;

pub(crate) use search::{Found, Input, Limits, Outcome, search};
pub(crate) use shape::Shape;
pub(crate) use table::Row;
