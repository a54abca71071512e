//! What the stores in databases share: steps that are sent and awaited, many in one round trip; the
//! quota of each key; and the pace at which what has expired is dropped.

mod action;
mod gather;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod pace;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod queue;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod quota;
mod steps;

#[cfg(feature = "redis")]
pub(super) use self::gather::Asked;
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(super) use self::quota::{Exchange, Quota, RECORDS_OF_A_KEY, Report, put_together};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(super) use self::{
    action::unexpected,
    pace::Pace,
    queue::{Queue, Request},
};
pub(super) use self::{
    action::{Action, Answer},
    gather::{Taken, leave_out_given_up},
    steps::Steps,
};
