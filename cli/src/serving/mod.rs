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
pub(crate) use hops::{host, join_cookies, of_one_connection, strip};
