//! No description which is accepted lets two requests share a signed message, searched for with
//! real requests; each refusal says why; what is signed verifies, and nothing else does.

mod alphabets;
mod collisions;
mod covered;
mod exhaustive;
mod refusals;
mod requests;
mod restricted;
mod verified;

use requests::{
    Values, any_part, any_parts, any_parts_of, any_values, builder, covers, message, message_of,
    no_mac, runner, unchecked,
};
