//! Changes that mend a finding: one file for each kind.

mod compare;
mod import;
mod once;
mod open;
mod sum;
mod verify_slice;

pub(super) use compare::in_constant_time;
pub(super) use once::recorded_in_one_step;
pub(super) use open::without_links;
pub(super) use sum::in_the_database;
pub(super) use verify_slice::with_verify_slice;
