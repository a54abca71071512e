//! A page in the browser that shows what `listen` hears, on a port of its own on loopback.
//!
//! The page shows bytes of strangers, so nothing of them is ever markup (`page`, `rows` and
//! `details` escape by type), and the page may run its own script alone. Requests of other sites
//! are refused (`guard`). A replay is a POST with a token (`actions`), and goes to the server that
//! `--forward` names. Records stay in memory up to a bound (`log`).

mod actions;
mod body;
mod details;
mod guard;
mod har;
mod log;
mod message;
mod page;
mod query;
mod rows;
mod server;
mod stream;
mod text;

pub(crate) use log::Log;
pub(crate) use server::{Inspector, Surroundings};
