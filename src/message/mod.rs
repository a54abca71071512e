//! The signed message: which bytes go into the MAC, and which part of a request each came from.

pub(crate) mod canonical_json;
mod coverage;
mod digest;
pub(crate) mod encoding;
mod head;
mod input;
pub(crate) mod json;
mod origin;
mod peer;
mod target;

pub use canonical_json::{JsonForm, PythonJson};
pub(crate) use coverage::{Coverage, CoveredPart};
pub use digest::DigestAlgorithm;
pub(crate) use digest::{HashOutput, MAX_LEN, RunningDigest};
pub use encoding::Encoding;
pub(crate) use head::Head;
pub(crate) use input::{BodyDigest, BodyForm, Formed, SigningInput};
pub use origin::Forwarded;
pub(crate) use origin::{Origin, Origins};
pub use peer::PeerAddr;
pub(crate) use peer::peer;
pub(crate) use target::{Target, original_uri, single};
