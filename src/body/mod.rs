//! Bodies: read whole within a limit, or taken in part and passed on as they came.

mod read;
mod taken;

pub(crate) use read::{Arriving, BodyLimits, BoxError, read};
pub(crate) use taken::{Taken, TakenBody};
