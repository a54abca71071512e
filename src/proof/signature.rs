//! A signature under a known key: whether its MAC is that of the message.

use std::{borrow::Cow, fmt, sync::Arc};

use tracing::Span;

use super::{
    announced::Room,
    candidate::{Candidate, Parameters},
};
use crate::{
    clock::Timestamp,
    error::{Fault, FaultKind, malformed},
    key::{KeySet, MacAlgorithm, MacKey, RunningMac},
    message::BodyPlace,
};

/// The name of the span of a verification.
pub(crate) const SPAN: &str = "countersign.verify";

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
    pub(super) fn passes_over_head(&self, room: &mut Room) -> Result<bool, Fault> {
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
    pub(crate) fn mismatch(&self, compared: Compared) -> Fault {
        let id = self.keys.id();
        // A refusal over the head comes before the span is told the key.
        let span = Span::current();
        if matches!(compared, Compared::Head)
            && span.metadata().is_some_and(|span| span.name() == SPAN)
        {
            span.record("key_id", id.as_str());
        }
        if self.secrets().next().is_none() {
            return invalid(match self.keys.len() {
                0 => format!("key `{id}` has no secret"),
                all => format!(
                    "none of the {all} secrets of key `{id}` is valid at {}: each has expired or \
                     is not valid yet; the MAC was not compared",
                    self.admitted_at
                ),
            });
        }
        const SHOWN: usize = 1024;
        let shown = |text: &[u8]| {
            let text = text.get(..SHOWN).unwrap_or(text);
            text.escape_ascii().to_string()
        };
        let message = &self.candidate.message;
        let (before, after) = (message.before_body(), message.after_body());
        tracing::debug!(
            key_id = %id,
            message = shown(before),
            message_len = before.len(),
            after_body = (!after.is_empty()).then(|| shown(after)),
            "the message that was expected to be signed"
        );
        invalid(format!(
            "no secret of key `{id}` makes this MAC over {compared}; at debug level the log shows \
             the message that was expected"
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

/// What a MAC was compared over, for the reason of a mismatch.
#[derive(Clone, Copy)]
pub(crate) enum Compared {
    /// The head completes the message: the body was not read.
    Head,
    /// The body is part of the message, in the form in which it is signed.
    Body { arrived: usize, signed: usize },
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Head => f.write_str("the head that arrived (no body was read)"),
            Self::Body { arrived, signed } if arrived == signed => {
                write!(f, "what arrived, with a body of {arrived} bytes")
            }
            Self::Body { arrived, signed } => write!(
                f,
                "what arrived, with a body of {arrived} bytes, which is signed as {signed} bytes"
            ),
        }
    }
}

pub(crate) fn invalid(detail: String) -> Fault {
    Fault::new(FaultKind::Invalid, detail)
}
