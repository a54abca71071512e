//! Who signed it: candidates, their keys and their freshness, their MACs and digests of bodies.

mod admit;
mod announced;
mod candidate;
mod fed;
mod freshness;
mod look_up;
mod signature;

pub(crate) use admit::{Refused, Trust, admit};
pub(crate) use announced::{Announced, Build, Room};
pub(crate) use candidate::{Candidate, Parameters};
pub(crate) use fed::Fed;
pub(crate) use freshness::Freshness;
pub(crate) use look_up::find_keys;
pub(crate) use signature::{SPAN, Signature, first_key, invalid};
