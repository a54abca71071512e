//! The meaning of a configuration: everything that can be wrong with it is found here, with its place in
//! the file.
//!
//! `whole` reads the file, and each table has a file of its own: `listeners`, `forwarders`, `limits`, `upstreams`,
//! `routes`, and `signs` for those that sign. The parts of a route are `place`, and of one that verifies `verified` with its `keys` and
//! `stores`. `apart` compares what was read with the rest of the file.

mod apart;
mod forwarders;
mod keys;
mod limits;
mod listeners;
mod place;
mod routes;
mod signs;
mod stores;
mod upstreams;
mod values;
mod verified;
mod whole;

pub(crate) use limits::Limits;
pub(crate) use listeners::Side;
pub(super) use listeners::{Entrance, Listen};
pub(super) use routes::Route;
pub(crate) use whole::{KIND, KnownUpstreams, Plan};
