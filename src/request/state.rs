//! The state that the stages of one request hand on: one box, so that each stage is as thin as a
//! pointer, and nothing large is moved from one to the next.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::{budget::Charge, verifier::Verifier};
use crate::{
    message::{Formed, Head},
    once::Report,
    proof::{Candidates, Fed, Signature, Signatures},
    scheme::Reading,
};

/// The signatures that count.
#[derive(Debug)]
pub(super) enum Admission<'h> {
    /// The signatures that the head claims: at least one, and none counts yet.
    Claimed(Candidates<'h>),
    /// The admitted signatures: at least one.
    Signed(Signatures<'h>),
    /// The signature is in the body, and is under this key id.
    AwaitsBody(Cow<'h, str>),
}

impl<'h> Admission<'h> {
    /// None before they are admitted.
    pub(super) fn signatures(&self) -> &[Signature<'h>] {
        match self {
            Self::Signed(signatures) => signatures,
            Self::Claimed(_) | Self::AwaitsBody(_) => &[],
        }
    }
}

pub(super) struct State<'h> {
    pub(super) verifier: &'h Verifier,
    pub(super) head: Head<'h>,
    pub(super) report: Option<Report>,
    pub(super) admission: Admission<'h>,
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
            admission: match reading {
                Reading::InHead(candidates) => Admission::Claimed(candidates),
                Reading::AfterBody(key_id) => Admission::AwaitsBody(key_id),
            },
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
            .field("admission", &self.admission)
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
