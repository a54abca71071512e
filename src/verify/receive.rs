//! Third stage: the body arrives, within its limits, and goes into the MAC frame by frame.

use std::error::Error as StdError;

use bytes::Bytes;
use http_body::Body;

use super::{
    Admitted, Settings, Verifier,
    admit::{Signature, admit_from_body},
    budget::Charge,
};
use crate::{
    body,
    mac::{DigestAlgorithm, RunningDigest, RunningMac},
    rejection::{Rejection, RejectionKind},
    scheme::{BodyForm, Head, SigningInput},
};

/// A request whose body has arrived whole.
#[must_use]
pub struct Received<'h> {
    pub(super) verifier: &'h Verifier,
    pub(super) head: Head<'h>,
    pub(super) signatures: Vec<Signature<'h>>,
    pub(super) body: Bytes,
    pub(super) fed: Fed,
    pub(super) charge: Charge,
}

/// What the frames of the body are fed to as they arrive.
pub(super) enum Fed {
    /// Nothing: the message is put together once the body is there.
    Nothing,
    /// The MAC of the first signature, under its first secret.
    Mac(RunningMac),
    /// The digests that stand in a covered part of some head.
    Digests(Vec<(DigestAlgorithm, RunningDigest)>),
    /// No signature covers a body: there must be none.
    NoBody,
}

/// Without the body, which may be confidential, and without what other keys use of the budget.
impl std::fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Received")
            .field("head", &self.head)
            .field("signatures", &self.signatures)
            .field("body", &self.body.len())
            .field("fed", &self.fed)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Fed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Mac(_) => "Mac",
            Self::Digests(_) => "Digests",
            Self::NoBody => "NoBody",
        })
    }
}

impl<'h> Admitted<'h> {
    /// Reads the body: within the limit, the deadline for the whole of it, and the budget. Trailers
    /// are dropped.
    ///
    /// A body of one frame is kept as it came; frames of a longer one are copied into one
    /// buffer, which grows with what arrives.
    ///
    /// # Errors
    /// When the body is too large, too slow, broken off, or not covered, or when no budget is left.
    ///
    /// # Panics
    /// When the body is not ready at once, outside of a Tokio runtime with its timer.
    pub fn receive<B>(self, body: B) -> impl Future<Output = Result<Received<'h>, Rejection>>
    where
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn StdError + Send + Sync>>>,
    {
        // An `async fn` would keep room for its arguments twice.
        let Self {
            verifier,
            head,
            mut signatures,
        } = self;
        async move {
            let settings = &verifier.settings;
            let mut fed = Fed::new(settings, &signatures);
            let mut charge = Charge::new(&settings.budget);
            let key = signatures
                .first()
                .map_or("", |signature| &signature.candidate.parameters.key_id);
            let body = body::read(body, &settings.body, |bytes, more| {
                charge.add(more, key)?;
                fed.update(bytes)
            })
            .await?;
            if signatures.is_empty() {
                // Boxed, so that what few schemes need makes the future no larger for all.
                signatures = Box::pin(admit_from_body(settings, &head, &body)).await?;
            }
            Ok(Received {
                verifier,
                head,
                signatures,
                body,
                fed,
                charge,
            })
        }
    }
}

impl Fed {
    fn new(settings: &Settings, signatures: &[Signature<'_>]) -> Self {
        let Some(first) = signatures.first() else {
            return Self::Nothing;
        };
        match &first.candidate.input {
            SigningInput::AroundBody {
                before,
                form: BodyForm::Raw,
                ..
            } => {
                let Some(key) = first.secrets().next() else {
                    return Self::Nothing;
                };
                let mut mac = settings.scheme.start(key, &first.candidate.parameters);
                mac.update(before);
                Self::Mac(mac)
            }
            SigningInput::AroundBody { .. } => Self::Nothing,
            SigningInput::Head { .. } | SigningInput::NestedDigest { .. } => {
                Self::digests(signatures)
            }
        }
    }

    /// The digests that the signatures name.
    pub(super) fn digests(signatures: &[Signature<'_>]) -> Self {
        let mut digests: Vec<(DigestAlgorithm, RunningDigest)> = Vec::new();
        let named = signatures
            .iter()
            .flat_map(|s| s.candidate.input.body_digests());
        for algorithm in named {
            if !digests.iter().any(|(known, _)| *known == algorithm) {
                digests.push((algorithm, RunningDigest::new(algorithm)));
            }
        }
        if digests.is_empty() {
            Self::NoBody
        } else {
            Self::Digests(digests)
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) -> Result<(), Rejection> {
        match self {
            Self::Nothing => {}
            Self::Mac(mac) => mac.update(bytes),
            Self::Digests(digests) => {
                for (_, digest) in digests {
                    digest.update(bytes);
                }
            }
            Self::NoBody if bytes.is_empty() => {}
            Self::NoBody => {
                return Err(body_not_covered());
            }
        }
        Ok(())
    }
}

pub(super) fn body_not_covered() -> Rejection {
    Rejection::new(
        RejectionKind::BodyNotCovered,
        "the signature covers no body, and there is one",
    )
}
