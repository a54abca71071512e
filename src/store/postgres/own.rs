//! The newest record that a store knows to be committed. If it is gone, an older state of the
//! database was put back, and other records may be gone with it.

use std::sync::Mutex;

use super::{step::Step, time::at};
use crate::{
    lock::lock,
    once::{ClaimOutcome, StepOutcome},
    store::batched::{Action, Answer},
};

/// A record, and the time of the database's clock at which it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) digest: [u8; 32],
    pub(super) attempt: [u8; 16],
    pub(super) deadline_ms: i64,
    pub(super) recorded_ms: i64,
}

/// Shared by the writers of one store.
#[derive(Debug, Default)]
pub(super) struct Newest(Mutex<Option<Own>>);

impl Newest {
    pub(super) fn get(&self) -> Option<Own> {
        *lock(&self.0)
    }

    pub(super) fn learn(&self, own: Own) {
        *lock(&self.0) = Some(own);
    }
}

impl Own {
    /// Returns the record that this step has made, if it is final: a lease that is held is not.
    pub(super) fn made_by(step: &Step<'_>, answer: Answer, recorded_ms: i64) -> Option<Self> {
        let made = matches!(
            (step.action, answer),
            (_, Answer::Claimed(ClaimOutcome::New))
                | (Action::Complete, Answer::Held(StepOutcome::Done))
        );
        made.then(|| Self {
            digest: step.digest,
            attempt: step.claim.attempt().to_bytes(),
            deadline_ms: at(step.claim.deadline()),
            recorded_ms,
        })
    }
}
