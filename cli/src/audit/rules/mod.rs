//! The rules: one table, and a function for each of its rows.

mod added;
mod counted;
mod defaults;
mod every;
mod fetched;
mod files;
mod house;
mod lock;
mod look;
mod memory;
mod mend;
mod message;
mod outcome;
mod presence;
mod secrets;
mod skipped;
mod sql;
mod state;
mod state_calls;
mod state_classes;
mod statement;
mod table;
mod time;
mod waits;
mod window;

pub(super) use every::{Finding, run};
pub(crate) use table::{TABLE, find};
