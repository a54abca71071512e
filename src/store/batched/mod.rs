//! The parts that the stores in databases share: steps that are sent and awaited, many in one round
//! trip; the quota of each key; and the task that drops what has expired.

mod action;
pub(super) mod answers;
mod gather;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod line;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod queue;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod quota;
mod retentions;
mod steps;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sweep;

#[cfg(feature = "redis")]
pub(super) use self::gather::Asked;
#[cfg(feature = "sqlite")]
pub(super) use self::gather::leave_out_given_up;
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(super) use self::quota::{
    Exchange, Quota, RECORDS_OF_A_KEY, Report, check_quota, put_together,
};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(super) use self::{
    action::unexpected,
    line::Line,
    queue::{Queue, Request},
    sweep::{Sweep, sweep},
};
pub(super) use self::{
    action::{Action, Answer},
    gather::{Taken, Work, gather},
    retentions::Retentions,
    steps::Steps,
};
