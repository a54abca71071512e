//! One signature, with the message that it claims to sign.

use std::{borrow::Cow, fmt};

use crate::{
    clock::Timestamp,
    error::{Rejection, RejectionKind},
    message::{HashOutput, Message, Part},
    once::NonceKind,
};

/// One signature, with the message that it claims to sign.
pub(crate) struct Candidate<'h> {
    pub(crate) parameters: Parameters<'h>,
    pub(crate) mac: HashOutput,
    pub(crate) message: Message,
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
    /// Checks that the message says the same: time, nonce and key id count only if they are covered.
    ///
    /// # Errors
    /// 401, `signature_insufficient`.
    pub(super) fn check(&self, message: &Message, names_key: bool) -> Result<(), Rejection> {
        let key_id = message.value_of(&Part::KeyId);
        let nonce = self.nonce.as_ref().map(|(_, nonce)| &**nonce);
        let differs = if message.signed_at() != self.signed_at {
            "signed time"
        } else if message.expires_at() != self.expires_at {
            "time of expiry"
        } else if message.value_of(&Part::Nonce) != nonce {
            "nonce"
        } else if key_id.map_or(names_key, |key_id| key_id != self.key_id.as_bytes()) {
            "key id"
        } else {
            return Ok(());
        };
        Err(Rejection::new(
            RejectionKind::SignatureInsufficient,
            format!("the {differs} is not covered"),
        ))
    }
}
