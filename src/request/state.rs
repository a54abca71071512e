//! The state that the stages of one request hand on: one box, so that each stage is as thin as a
//! pointer, and nothing large is moved from one to the next.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::{budget::Charge, verifier::Verifier};
use crate::{
    message::{Formed, Head},
    once::Report,
    proof::{Fed, Signature, Signatures},
};

/// The signatures that count.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is in the one box of the state, and nearly always the large variant"
)]
pub(super) enum Admission<'h> {
    /// The admitted signatures: at least one.
    Signed(Signatures<'h>),
    /// The signature is in the body, and is under this key id.
    AwaitsBody(Cow<'h, str>),
}

impl<'h> Admission<'h> {
    /// None while the body is awaited.
    pub(super) fn signatures(&self) -> &[Signature<'h>] {
        match self {
            Self::Signed(signatures) => signatures,
            Self::AwaitsBody(_) => &[],
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
    pub(super) formed: Option<Formed>,
    pub(super) fed: Fed,
    pub(super) charge: Charge,
    /// While the message awaits values that the handler supplies.
    pub(super) unproven: Option<OwnedSemaphorePermit>,
}

impl<'h> State<'h> {
    pub(super) fn new(verifier: &'h Verifier, head: Head<'h>, report: Option<Report>) -> Self {
        Self {
            verifier,
            head,
            report,
            admission: Admission::Signed(Signatures::new()),
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
