//! The checks: the table, and what its rows send.

mod body;
mod forged;
mod open;
mod replay;
mod signature;
mod size;
mod table;
mod time;
mod way;

pub(crate) use table::{CHECKS, VALID};
