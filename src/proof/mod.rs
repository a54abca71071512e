//! Who signed it: candidates, their keys and their freshness.

mod announced;
mod candidate;
mod freshness;
mod look_up;

pub(crate) use announced::{Announced, Build, Room};
pub(crate) use candidate::{Candidate, Parameters};
pub(crate) use freshness::Freshness;
pub(crate) use look_up::find_keys;
