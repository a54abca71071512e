//! One signature, with the message that it claims to sign.

use std::{borrow::Cow, fmt};

use crate::{
    clock::Timestamp,
    error::{Fault, FaultKind},
    message::{DigestAlgorithm, HashOutput, Message, RunningDigest},
    once::{Nonce, NonceKind},
};

/// One signature, with the message that it claims to sign.
pub(crate) struct Candidate<'h> {
    pub(crate) parameters: Parameters<'h>,
    pub(crate) mac: HashOutput,
    pub(crate) message: Message,
}

impl Candidate<'_> {
    /// The covered nonce or event id, or else the digest of the signed message.
    pub(crate) fn nonce(&self, signed_body: &[u8]) -> Nonce {
        if let Some((kind, bytes)) = &self.parameters.nonce {
            return Nonce::new(*kind, bytes);
        }
        let mut digest = RunningDigest::new(DigestAlgorithm::Sha256);
        self.message.feed(signed_body, |bytes| digest.update(bytes));
        Nonce::new(NonceKind::Digest, digest.finish())
    }
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("parameters", &self.parameters)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

/// What a signature says about itself.
#[derive(Clone, Debug)]
pub(crate) struct Parameters<'h> {
    pub(crate) key_id: Cow<'h, str>,
    pub(crate) signed_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) nonce: Option<(NonceKind, Cow<'h, [u8]>)>,
}

impl Parameters<'_> {
    /// Checks that the message says the same: time, nonce and key id count only if they are
    /// covered.
    ///
    /// # Errors
    /// 401, `signature_insufficient`.
    pub(super) fn check(&self, message: &Message, names_key: bool) -> Result<(), Fault> {
        let covered = message.parameters();
        let nonce = self.nonce.as_ref().map(|(_, nonce)| &**nonce);
        let is_own = |key_id: &[u8]| key_id == self.key_id.as_bytes();
        let differs = if covered.signed_at != self.signed_at {
            "signed time"
        } else if covered.expires_at != self.expires_at {
            "time of expiry"
        } else if covered.nonce != nonce {
            "nonce"
        } else if !covered.key_id.map_or(!names_key, is_own) {
            "key id"
        } else {
            return Ok(());
        };
        Err(Fault::new(
            FaultKind::Insufficient,
            format!("the {differs} is not covered"),
        ))
    }
}
