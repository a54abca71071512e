//! A signature under a known key: whether its MAC is that of the message.

use std::{borrow::Cow, fmt, sync::Arc};

use smallvec::SmallVec;
use tracing::Span;

use super::{candidate::Parameters, room::Room};
use crate::{
    clock::Timestamp,
    error::{Fault, FaultKind, malformed},
    key::{KeyId, KeySet, MacAlgorithm, MacKey, RunningMac},
    message::{BodyPlace, DigestAlgorithm, HashOutput, Message, RunningDigest},
    once::{Nonce, NonceKind},
};

/// The name of the span of a verification.
pub(crate) const SPAN: &str = "countersign.verify";

/// A signature under a known key, with the message that it claims to sign.
pub(crate) struct Signature<'h> {
    pub(super) parameters: Parameters<'h>,
    pub(super) message: Message,
    pub(super) mac: HashOutput,
    /// Further MACs that are claimed for this very message under this key. One of all is enough.
    pub(super) other_macs: Vec<HashOutput>,
    pub(super) keys: Arc<KeySet>,
    pub(super) algorithm: MacAlgorithm,
    /// The secrets that count are those which were valid at this moment.
    pub(super) admitted_at: Timestamp,
}

/// Nearly always there is one.
pub(crate) type Signatures<'h> = SmallVec<[Signature<'h>; 1]>;

/// The key id of the first signature under a known key, for the log.
pub(crate) fn first_key<'s>(signatures: &'s [Signature<'_>]) -> Option<&'s str> {
    signatures.first().map(|first| first.key_id().as_str())
}

impl Signature<'_> {
    /// Returns whether the MAC matches, where the head completes the signed message. If the body or
    /// a supplied value is still missing, this takes the room that the head needs, and the MAC is
    /// compared later.
    pub(super) fn passes_over_head(&self, room: &mut Room) -> Result<bool, Fault> {
        let message = &self.message;
        let is_whole = self.is_whole();
        for secret in self.secrets() {
            room.authenticate(message.head_len()).map_err(malformed)?;
            if is_whole && self.passes(secret, &[]) {
                return Ok(true);
            }
        }
        Ok(!is_whole)
    }

    /// Whether the head completes the signed message. Then the MAC of a signature that was admitted has
    /// passed.
    pub(crate) fn is_whole(&self) -> bool {
        let message = &self.message;
        matches!(message.body_place(), BodyPlace::Digests(_)) && !message.is_open()
    }

    pub(crate) fn key_id(&self) -> &KeyId {
        self.keys.id()
    }

    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = &MacKey> {
        self.keys.valid_at(self.admitted_at)
    }

    /// A MAC over this message under this secret, up to the body.
    pub(super) fn start(&self, secret: &MacKey) -> RunningMac {
        let mut mac = secret.start(self.algorithm);
        mac.update(self.message.before_body());
        mac
    }

    /// Returns whether this is the MAC of the whole message.
    pub(super) fn is(&self, mac: RunningMac) -> bool {
        if self.message.is_open() {
            return false;
        }
        self.other_macs
            .iter()
            .any(|other| mac.clone().verify(other))
            || mac.verify(&self.mac)
    }

    /// Returns whether this secret makes this MAC over the message with this body.
    pub(super) fn passes(&self, secret: &MacKey, body: &[u8]) -> bool {
        let mut mac = secret.start(self.algorithm);
        self.message.feed(body, |bytes| mac.update(bytes));
        self.is(mac)
    }

    /// The covered nonce or event id, or else the digest of the signed message.
    pub(super) fn nonce(&self, signed_body: &[u8]) -> Nonce {
        if let Some((kind, bytes)) = &self.parameters.nonce {
            return Nonce::new(*kind, bytes);
        }
        let mut digest = RunningDigest::new(DigestAlgorithm::Sha256);
        self.message.feed(signed_body, |bytes| digest.update(bytes));
        let digest = digest.finish();
        let Some(id) = &self.parameters.delivery_id else {
            return Nonce::new(NonceKind::Digest, digest);
        };
        let mut with_id = RunningDigest::new(DigestAlgorithm::Sha256);
        with_id.update(digest.as_ref());
        with_id.update(id);
        Nonce::new(NonceKind::Digest, with_id.finish())
    }

    /// The reason for the log. The expected message, which a developer needs to find the
    /// difference, is told at debug level alone: covered headers may be confidential.
    pub(super) fn mismatch(&self, compared: Compared) -> Fault {
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
        // Anybody can cause this text, without a secret: `format!` would cost several times as much.
        let over = compared.text();
        let wrong_mac = [
            "no secret of key `",
            id.as_str(),
            "` makes this MAC over ",
            &over,
        ]
        .concat();
        if matches!(compared, Compared::Token) {
            return invalid(wrong_mac);
        }
        const SHOWN: usize = 1024;
        let shown = |text: &[u8]| {
            let text = text.get(..SHOWN).unwrap_or(text);
            text.escape_ascii().to_string()
        };
        let message = &self.message;
        let (before, after) = (message.before_body(), message.after_body());
        tracing::debug!(
            key_id = %id,
            message = shown(before),
            message_len = before.len(),
            after_body = (!after.is_empty()).then(|| shown(after)),
            "the message that was expected to be signed"
        );
        invalid(wrong_mac)
    }

    /// Returns whether two signatures of one request lead to the same claim, and for as long.
    pub(super) fn is_one_claim(&self, other: &Self, signed_body: &[u8]) -> bool {
        self.key_id() == other.key_id()
            && self.parameters.signed_at == other.parameters.signed_at
            && self.nonce(signed_body) == other.nonce(signed_body)
    }

    pub(crate) fn into_owned(self) -> Signature<'static> {
        Signature {
            parameters: self.parameters.into_owned(),
            message: self.message,
            mac: self.mac,
            other_macs: self.other_macs,
            keys: self.keys,
            algorithm: self.algorithm,
            admitted_at: self.admitted_at,
        }
    }
}

impl fmt::Debug for Signature<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signature")
            .field("parameters", &self.parameters)
            .field("message", &self.message)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// The bytes that a MAC was compared over, for the reason of a mismatch.
#[derive(Clone, Copy)]
pub(crate) enum Compared {
    /// The head completes the message: the body was not read.
    Head,
    /// A token. The log never shows its text, because anybody who has a token can use it.
    Token,
    /// The body is part of the message, in the form in which it is signed.
    Body { arrived: usize, signed: usize },
}

impl Compared {
    fn text(self) -> Cow<'static, str> {
        match self {
            Self::Head => "the head that arrived (no body was read)".into(),
            Self::Token => "the token".into(),
            Self::Body { arrived, signed } if arrived == signed => {
                format!("what arrived, with a body of {arrived} bytes").into()
            }
            Self::Body { arrived, signed } => format!(
                "what arrived, with a body of {arrived} bytes, which is signed as {signed} bytes"
            )
            .into(),
        }
    }
}

pub(crate) fn invalid(detail: String) -> Fault {
    Fault::new(FaultKind::Invalid, detail)
}
