//! One step of a batch.

use crate::{once::Claim, store::batched::Action};

/// One step of a batch, of which no two are on the same nonce, except those of two holders.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'a> {
    pub(super) claim: &'a Claim,
    pub(super) digest: [u8; 32],
    pub(super) action: Action,
}
