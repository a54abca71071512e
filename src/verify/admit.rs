//! Second stage: is it fresh, is the key known, and where the head decides, does the MAC match?
//! All of it before any of the body is read.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_ENCODING};

use super::{Freshness, Parsed, Settings, Verifier, within};
use crate::{
    clock::{Clock, Timestamp},
    key::{KeySet, KeyStore},
    mac::MacKey,
    rejection::{Rejection, RejectionKind, malformed},
    scheme::{Candidate, Describe, Head, Parameters, Reading, SigningInput},
};

/// Signatures that are looked at; what goes beyond is refused.
const MAX_SIGNATURES: usize = 16;

/// Signatures under a known key that are verified; what goes beyond is refused.
const MAX_CANDIDATES: usize = 4;

/// A request that is fresh and names a known key. Where the head completes the signed message, its
/// MAC has passed.
#[derive(Debug)]
#[must_use]
pub struct Admitted<'h> {
    pub(super) verifier: &'h Verifier,
    pub(super) head: Head<'h>,
    /// Empty where the signature stands in the body.
    pub(super) signatures: Vec<Signature<'h>>,
}

/// What decides whether a signature counts, be it of a request or of a response.
#[derive(Clone, Copy)]
pub(super) struct Trust<'s> {
    pub(super) scheme: &'s dyn Describe,
    pub(super) keys: &'s dyn KeyStore,
    pub(super) clock: &'s dyn Clock,
    pub(super) freshness: &'s Freshness,
    /// How long a key look-up may take.
    pub(super) timeout: Duration,
}

impl Settings {
    fn trust(&self) -> Trust<'_> {
        Trust {
            scheme: &*self.scheme,
            keys: &*self.keys,
            clock: &*self.clock,
            freshness: &self.freshness,
            timeout: self.store_timeout,
        }
    }
}

/// A signature under a known key.
#[derive(Debug)]
pub(super) struct Signature<'h> {
    pub(super) candidate: Candidate<'h>,
    pub(super) keys: Arc<KeySet>,
    /// The secrets that count are those which were valid at this moment.
    admitted_at: Timestamp,
}

/// The key id of the first signature under a known key, for the log.
pub(super) fn first_key<'s>(signatures: &'s [Signature<'_>]) -> Option<&'s str> {
    signatures.first().map(|first| first.keys.id().as_str())
}

impl<'h> Parsed<'h> {
    /// Checks freshness, looks up the key, and compares the MAC where the head decides.
    ///
    /// # Errors
    /// When every signature is stale, dated ahead, or under an unknown key, when the key look-up
    /// gives no answer, or when the MAC does not match. Of several signatures, a bad one blocks
    /// nothing, and the first one's rejection is returned.
    ///
    /// # Panics
    /// When there is something to wait for, outside of a Tokio runtime with its timer.
    pub fn admit(self) -> impl Future<Output = Result<Admitted<'h>, Rejection>> {
        // An `async fn` would keep room for its arguments twice.
        let Self {
            verifier,
            head,
            reading,
        } = self;
        async move {
            let signatures = match reading {
                Reading::AfterBody => Vec::new(),
                Reading::Candidates(candidates) => {
                    let trust = verifier.settings.trust();
                    admit_candidates(&trust, head.headers, candidates).await?
                }
            };
            Ok(Admitted {
                verifier,
                head,
                signatures,
            })
        }
    }
}

/// For the schemes whose signature stands in the body.
pub(super) async fn admit_from_body(
    settings: &Settings,
    head: &Head<'_>,
    body: &Bytes,
) -> Result<Vec<Signature<'static>>, Rejection> {
    let Reading::Candidates(candidates) = settings.scheme.read(head, Some(body))? else {
        return Err(Rejection::new(
            RejectionKind::SignatureMissing,
            "no signature in the body",
        ));
    };
    let signatures = admit_candidates(&settings.trust(), head.headers, candidates).await?;
    Ok(signatures.into_iter().map(Signature::into_owned).collect())
}

pub(super) async fn admit_candidates<'h>(
    trust: &Trust<'_>,
    headers: &HeaderMap,
    candidates: Vec<Candidate<'h>>,
) -> Result<Vec<Signature<'h>>, Rejection> {
    if candidates.len() > MAX_SIGNATURES {
        return Err(malformed(format!("more than {MAX_SIGNATURES} signatures")));
    }
    let now = trust.clock.now();
    let mut admitted = Vec::with_capacity(candidates.len().min(MAX_CANDIDATES));
    let mut first_rejection = None;
    let mut candidates = candidates.into_iter();
    // Each stays where it is until its key is there: what is held over a wait is moved around.
    while let Some(next) = candidates.as_slice().first() {
        let found = find_keys(trust, headers, next, now).await;
        let Some(candidate) = candidates.next() else {
            break;
        };
        let keys = match found {
            Ok(keys) => keys,
            // What is wrong with the store is not a matter of this one signature.
            Err(rejection) if rejection.kind().status().is_server_error() => return Err(rejection),
            Err(rejection) => {
                first_rejection.get_or_insert(rejection);
                continue;
            }
        };
        let signature = Signature {
            candidate,
            keys,
            admitted_at: now,
        };
        match signature.compare_with_head(trust.scheme) {
            Ok(()) if admitted.len() == MAX_CANDIDATES => {
                return Err(malformed(format!(
                    "more than {MAX_CANDIDATES} signatures under known keys"
                )));
            }
            Ok(()) => admitted.push(signature),
            Err(rejection) => {
                first_rejection.get_or_insert(rejection);
            }
        }
    }
    match first_rejection {
        Some(rejection) if admitted.is_empty() => Err(rejection),
        _ if admitted.is_empty() => Err(Rejection::new(
            RejectionKind::SignatureMissing,
            "no signature",
        )),
        _ => Ok(admitted),
    }
}

async fn find_keys(
    trust: &Trust<'_>,
    headers: &HeaderMap,
    candidate: &Candidate<'_>,
    now: Timestamp,
) -> Result<Arc<KeySet>, Rejection> {
    let parameters = &candidate.parameters;
    if headers.contains_key(CONTENT_ENCODING) && !candidate.coverage.has_header(&CONTENT_ENCODING) {
        return Err(Rejection::new(
            RejectionKind::SignatureInsufficient,
            "`content-encoding` changes what the body means, and is not covered",
        ));
    }
    trust
        .freshness
        .check(now, parameters.signed_at, parameters.expires_at)?;

    let found = within(trust.timeout, trust.keys.find(&parameters.key_id)).await?;
    let Some(keys) = found else {
        return Err(invalid(format!("no key `{}`", parameters.key_id)));
    };
    if keys.id().as_str() != parameters.key_id {
        return Err(invalid(format!(
            "asked for key `{}`, the key store answered with `{}`",
            parameters.key_id,
            keys.id()
        )));
    }
    Ok(keys)
}

impl Signature<'_> {
    /// Where the head completes the signed message, its MAC has to match.
    fn compare_with_head(&self, scheme: &dyn Describe) -> Result<(), Rejection> {
        if let SigningInput::Head { .. } = self.candidate.input
            && !self
                .secrets()
                .any(|secret| self.passes(scheme, secret, &[]))
        {
            return Err(self.mismatch(0));
        }
        Ok(())
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = &MacKey> {
        self.keys.valid_at(self.admitted_at)
    }

    /// Whether this secret makes this MAC over the message with this body.
    pub(super) fn passes(&self, scheme: &dyn Describe, secret: &MacKey, body: &[u8]) -> bool {
        let mut mac = scheme.start(secret, &self.candidate.parameters);
        self.candidate.input.feed(body, |bytes| mac.update(bytes));
        mac.verify(&self.candidate.mac)
    }

    /// The reason for the log. What was expected to be signed, which a developer needs to find the
    /// difference, is told at debug level alone: covered headers may be confidential.
    pub(super) fn mismatch(&self, body_len: usize) -> Rejection {
        const SHOWN: usize = 1024;
        let before = self.candidate.input.before_body();
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

    fn into_owned(self) -> Signature<'static> {
        let Self {
            candidate,
            keys,
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
                input: candidate.input,
                coverage: Cow::Owned(candidate.coverage.into_owned()),
            },
            keys,
            admitted_at,
        }
    }
}

pub(super) fn invalid(detail: String) -> Rejection {
    Rejection::new(RejectionKind::SignatureInvalid, detail)
}
