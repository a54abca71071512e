//! A payload that was proven, and is left to somebody else to use.

use std::fmt;

use super::proven::Proven;
use crate::once::Claim;

/// A verified payload whose nonce is not recorded yet. Nobody can read it before that.
///
/// A handler gets it by [`PendingPayload::leave`](crate::PendingPayload::leave), and seals it for a
/// worker, who records the nonce, with
/// [`Envelopes::seal_unrecorded`](crate::envelope::Envelopes::seal_unrecorded).
#[must_use = "what is left to nobody is lost"]
pub struct Unrecorded {
    pub(crate) payload: Box<dyn AsRef<Proven> + Send + Sync>,
    pub(crate) claim: Claim,
}

impl fmt::Debug for Unrecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unrecorded")
            .field("claim", &self.claim)
            .finish_non_exhaustive()
    }
}
