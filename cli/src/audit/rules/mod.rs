//! The rules: one table, and a function for each of its rows.

mod files;
mod house;
mod look;
mod memory;
mod mend;
mod message;
mod outcome;
mod secrets;
mod sql;
mod state;
mod state_calls;
mod state_classes;
mod statement;
mod table;
mod time;

pub(super) use look::run;
pub(crate) use table::{Rule, TABLE, find};
