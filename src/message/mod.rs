//! The signed message: which bytes go into the MAC, and which part of a request each came from.

mod body;
pub(crate) mod canonical_json;
mod covered;
mod digest;
pub(crate) mod encoding;
mod fields;
mod head;
pub(crate) mod json;
mod origin;
mod part;
#[cfg(feature = "inspect")]
mod pieces;
pub(crate) mod query;
mod routing;
mod signed;
mod supplied;
mod target;
mod time;

pub(crate) use body::{BodyDigest, BodyDigests, BodyForm, BodyPlace, EmptyForm, Formed};
pub use canonical_json::{JsonForm, PythonJson};
pub(crate) use covered::{Covered, Place};
pub use digest::DigestAlgorithm;
pub(crate) use digest::{HashOutput, MAX_LEN, RunningDigest, behind_length, length};
pub use encoding::Encoding;
pub(crate) use fields::{
    IDEMPOTENCY_KEY, connection_options, has_media_type, has_split_cookie, is_present,
    join_cookies, offers_websocket, remove_framing, single,
};
pub(crate) use head::Head;
pub use origin::Forwarded;
pub(crate) use origin::{Origin, Origins};
pub(crate) use part::Part;
pub use routing::MatchedPlace;
pub(crate) use routing::Routed;
pub(crate) use signed::Message;
pub use supplied::Supplied;
pub(crate) use target::{Target, default_port};
pub(crate) use time::{MAX_DIGITS, TimeUnit, read_time, write_time};
