//! The parts that the servers of the command share.

mod connection;
mod ending;
mod first_bytes;
mod hops;
mod idle;
mod progress;
mod taken;

pub(crate) use connection::{ConnectionLimits, End};
pub(crate) use ending::Ending;
pub(crate) use hops::{OF_ONE_CONNECTION, host, join_cookies, named_by_connection, strip};
