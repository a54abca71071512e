//! A signature under a known key: whether its MAC is that of the message.

use std::{borrow::Cow, sync::Arc};

use super::{
    announced::Room,
    candidate::{Candidate, Parameters},
};
use crate::{
    clock::Timestamp,
    error::{Rejection, RejectionKind, malformed},
    key::{KeySet, MacAlgorithm, MacKey, RunningMac},
    message::BodyPlace,
};

/// A signature under a known key.
#[derive(Debug)]
pub(crate) struct Signature<'h> {
    pub(crate) candidate: Candidate<'h>,
    pub(crate) keys: Arc<KeySet>,
    pub(super) algorithm: MacAlgorithm,
    /// The secrets that count are those which were valid at this moment.
    pub(super) admitted_at: Timestamp,
}

/// The key id of the first signature under a known key, for the log.
pub(crate) fn first_key<'s>(signatures: &'s [Signature<'_>]) -> Option<&'s str> {
    signatures.first().map(|first| first.keys.id().as_str())
}

impl Signature<'_> {
    /// Whether the MAC matches, where the head completes the signed message. Where the body is
    /// still missing, this takes the room that the head needs, and the MAC is compared later.
    pub(super) fn passes_over_head(&self, room: &mut Room) -> Result<bool, Rejection> {
        let message = &self.candidate.message;
        let is_whole = matches!(message.body_place(), BodyPlace::Digests(_));
        for secret in self.secrets() {
            room.authenticate(message.head_len()).map_err(malformed)?;
            if is_whole && self.passes(secret, &[]) {
                return Ok(true);
            }
        }
        Ok(!is_whole)
    }

    pub(crate) fn secrets(&self) -> impl Iterator<Item = &MacKey> {
        self.keys.valid_at(self.admitted_at)
    }

    /// A MAC over this message under this secret, up to the body.
    pub(super) fn start(&self, secret: &MacKey) -> RunningMac {
        let mut mac = secret.start(self.algorithm);
        mac.update(self.candidate.message.before_body());
        mac
    }

    /// Whether this secret makes this MAC over the message with this body.
    pub(crate) fn passes(&self, secret: &MacKey, body: &[u8]) -> bool {
        let mut mac = secret.start(self.algorithm);
        self.candidate.message.feed(body, |bytes| mac.update(bytes));
        mac.verify(&self.candidate.mac)
    }

    /// The reason for the log. What was expected to be signed, which a developer needs to find the
    /// difference, is told at debug level alone: covered headers may be confidential.
    pub(crate) fn mismatch(&self, body_len: usize) -> Rejection {
        const SHOWN: usize = 1024;
        let before = self.candidate.message.before_body();
        tracing::debug!(
            key_id = %self.keys.id(),
            message = %before.get(..SHOWN).unwrap_or(before).escape_ascii(),
            message_len = before.len(),
            body_len,
            "the message that was expected to be signed, up to the body"
        );
        invalid(format!(
            "no secret of key `{}` makes this MAC over what arrived, with a body of {body_len} \
             bytes; at debug level the log shows the message that was expected",
            self.keys.id(),
        ))
    }

    /// Whether two signatures of one request lead to the same claim, and for as long.
    pub(crate) fn is_one_claim(&self, other: &Self, signed_body: &[u8]) -> bool {
        let (one, two) = (&self.candidate, &other.candidate);
        self.keys.id() == other.keys.id()
            && one.parameters.signed_at == two.parameters.signed_at
            && one.nonce(signed_body) == two.nonce(signed_body)
    }

    pub(crate) fn into_owned(self) -> Signature<'static> {
        let Self {
            candidate,
            keys,
            algorithm,
            admitted_at,
        } = self;
        let parameters = candidate.parameters;
        Signature {
            candidate: Candidate {
                parameters: Parameters {
                    key_id: Cow::Owned(parameters.key_id.into_owned()),
                    signed_at: parameters.signed_at,
                    expires_at: parameters.expires_at,
                    nonce: parameters
                        .nonce
                        .map(|(kind, n)| (kind, Cow::Owned(n.into_owned()))),
                },
                mac: candidate.mac,
                message: candidate.message,
            },
            keys,
            algorithm,
            admitted_at,
        }
    }
}

pub(crate) fn invalid(detail: String) -> Rejection {
    Rejection::new(RejectionKind::SignatureInvalid, detail)
}
