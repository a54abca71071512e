//! The state that the stages of one request hand on: one box, so that each stage is as thin as a
//! pointer, and nothing large is moved from one to the next.

use std::fmt;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::{budget::Charge, verifier::Verifier};
use crate::{
    message::{Formed, Head},
    once::Report,
    proof::{Fed, Signatures},
    scheme::Reading,
};

pub(super) struct State<'h> {
    pub(super) verifier: &'h Verifier,
    pub(super) head: Head<'h>,
    pub(super) report: Option<Report>,
    pub(super) reading: Reading<'h>,
    /// Empty until they are admitted.
    pub(super) signatures: Signatures<'h>,
    /// Empty until it is received.
    pub(super) body: Bytes,
    /// The body in the form in which it is signed, where that is not the one in which it arrived.
    pub(super) formed: Option<Box<Formed>>,
    pub(super) fed: Fed,
    pub(super) charge: Charge,
    /// While the message awaits values that the handler supplies.
    pub(super) unproven: Option<OwnedSemaphorePermit>,
}

impl<'h> State<'h> {
    pub(super) fn new(
        verifier: &'h Verifier,
        head: Head<'h>,
        report: Option<Report>,
        reading: Reading<'h>,
    ) -> Self {
        Self {
            verifier,
            head,
            report,
            reading,
            signatures: Signatures::new(),
            body: Bytes::new(),
            formed: None,
            fed: Fed::Nothing,
            charge: Charge::new(&verifier.settings.budget),
            unproven: None,
        }
    }
}

/// Without the body, which may be confidential, and without what other keys use of the budget.
impl fmt::Debug for State<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("head", &self.head)
            .field("reading", &self.reading)
            .field("signatures", &self.signatures)
            .field("body", &self.body.len())
            .field("fed", &self.fed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::State;

    /// The allocator of the C library keeps blocks up to this size at hand for each thread. Each
    /// larger one costs several times as much.
    #[test]
    fn the_state_of_a_request_is_small() {
        assert!(size_of::<State<'_>>() <= 1032);
    }
}
