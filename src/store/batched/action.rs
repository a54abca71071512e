//! The steps on a nonce, and what is answered to them.

use std::time::Duration;

use crate::{
    error::StoreError,
    once::{ClaimOutcome, LeaseOutcome, StepOutcome},
};

/// A question or order about a nonce.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Action {
    Claim,
    /// As a claim, within a transaction of somebody else's, and never queued.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    Consume,
    Lease(Duration),
    Renew(Duration),
    Complete,
    Release,
}

/// The answer to a step.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Answer {
    Claimed(ClaimOutcome),
    Leased(LeaseOutcome),
    Held(StepOutcome),
}

impl Action {
    /// Returns whether a record may be made.
    pub(in crate::store) fn may_add(self) -> bool {
        !matches!(self, Self::Renew(_) | Self::Complete | Self::Release)
    }
}

pub(in crate::store) fn unexpected(answer: Answer) -> StoreError {
    StoreError::unavailable(format!("the answer is to another question: {answer:?}"))
}
