//! The proof of who signed a request: candidates, their keys and their freshness, their MACs and
//! digests of bodies.

mod admit;
mod candidate;
mod fed;
mod freshness;
mod prove;
mod proven;
mod room;
mod signature;
mod unrecorded;

pub(crate) use admit::{Keys, Refused, Trust, admit, admit_over_head, look_up};
pub(crate) use candidate::{Build, Candidate, Candidates, Parameters, Unsigned};
pub(crate) use fed::{Arrived, Fed};
pub(crate) use freshness::Freshness;
pub(crate) use prove::{ProvenSignature, Several, prove};
pub(crate) use proven::Lasts;
pub use proven::Proven;
pub(crate) use room::Room;
pub(crate) use signature::{Compared, SPAN, Signature, Signatures, first_key, invalid};
pub use unrecorded::Unrecorded;
