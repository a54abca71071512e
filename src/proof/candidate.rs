//! One signature, with the message that it claims to sign.

use std::{borrow::Cow, fmt};

use crate::{
    clock::Timestamp,
    message::{Coverage, HashOutput, SigningInput},
    once::NonceKind,
};

/// One signature, with the message that it claims to sign.
pub(crate) struct Candidate<'h> {
    pub(crate) parameters: Parameters<'h>,
    pub(crate) mac: HashOutput,
    pub(crate) input: SigningInput,
    pub(crate) coverage: Cow<'h, Coverage>,
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("parameters", &self.parameters)
            .field("input", &self.input)
            .field("coverage", &self.coverage)
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
