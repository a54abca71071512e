//! Fourth stage: does the MAC or the digest match what arrived? From here on the request is
//! believed.

use std::{ptr, sync::Arc};

use bytes::Bytes;

use super::{
    Received, Settings, Verifier,
    admit::{Signature, invalid},
    payload::Snapshot,
    receive::Fed,
};
use crate::{
    clock::Timestamp,
    mac::{DigestAlgorithm, MacKey, RunningDigest},
    nonce::{Claim, Nonce, NonceKind},
    rejection::{Rejection, RejectionKind},
    scheme::{Parameters, SigningInput, malformed},
};

/// A request that is authentic and fresh, and not yet known to be new.
#[must_use]
pub struct Authentic {
    pub(super) verifier: Verifier,
    pub(super) snapshot: Snapshot,
    pub(super) claim: Claim,
}

impl std::fmt::Debug for Authentic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authentic")
            .field("claim", &self.claim)
            .finish_non_exhaustive()
    }
}

impl Received<'_> {
    /// Compares the MAC, or the digests that its message holds, in constant time.
    ///
    /// # Errors
    /// When none of the signatures matches, two match under different keys, or the time in which
    /// the request is fresh ended while its body arrived.
    pub fn authenticate(self) -> Result<Authentic, Rejection> {
        let Self {
            verifier,
            head,
            signatures,
            body,
            mut fed,
            charge,
        } = self;
        let settings = &*verifier.settings;
        let now = settings.clock.now();

        let mut matching: Option<(Signature<'_>, Bytes)> = None;
        let mut mismatch = None;
        for (index, signature) in signatures.into_iter().enumerate() {
            let fed = if index == 0 || matches!(fed, Fed::Digests(_)) {
                fed.take_for(index)
            } else {
                Fed::Nothing
            };
            match matches(settings, &signature, &body, fed, now) {
                Err(rejection) => {
                    mismatch.get_or_insert(rejection);
                }
                Ok(formed) => match &matching {
                    Some((other, _)) if other.keys.id() != signature.keys.id() => {
                        return Err(malformed(format!(
                            "valid signatures under two keys, `{}` and `{}`: with either left \
                             out, it would be a second request",
                            other.keys.id(),
                            signature.keys.id()
                        )));
                    }
                    Some(_) => {}
                    None => matching = Some((signature, formed)),
                },
            }
        }
        let Some((signature, body)) = matching else {
            return Err(mismatch.unwrap_or_else(|| invalid("no signature to verify".into())));
        };

        let Signature { candidate, keys } = signature;
        let mut parameters = candidate.parameters;
        settings.scheme.read_covered_body(&mut parameters, &body)?;
        settings
            .freshness
            .check(now, parameters.signed_at, parameters.expires_at)?;

        let nonce = match &parameters.nonce {
            Some((kind, bytes)) => Nonce::new(*kind, Bytes::copy_from_slice(bytes)),
            None => Nonce::new(NonceKind::Digest, message_digest(&candidate.input, &body)),
        };
        let mut claim = settings.claim(&parameters, keys.id(), &nonce, now);
        if !settings.scheme.profile().covers_place {
            claim = claim.at_place(head.method.clone(), head.target.path());
        }
        let snapshot = Snapshot::new(
            &head,
            &parameters,
            &candidate.coverage,
            keys.id().clone(),
            nonce,
            (body, charge),
        );
        Ok(Authentic {
            verifier: verifier.clone(),
            snapshot,
            claim,
        })
    }
}

impl Fed {
    /// The running MAC serves the first signature alone; digests serve them all.
    fn take_for(&mut self, index: usize) -> Self {
        match self {
            Self::Digests(digests) => Self::Digests(digests.clone()),
            _ if index == 0 => std::mem::replace(self, Self::Nothing),
            _ => Self::Nothing,
        }
    }
}

/// Whether the signature accounts for this body; if so, the body in the form that was signed.
fn matches(
    settings: &Settings,
    signature: &Signature<'_>,
    body: &Bytes,
    fed: Fed,
    now: Timestamp,
) -> Result<Bytes, Rejection> {
    let input = &signature.candidate.input;
    match (input, fed) {
        // The MAC has passed over the head; what is left is that the body is the one it names.
        (SigningInput::Head { body: claimed, .. }, fed) => {
            let digests = if let Fed::Digests(digests) = fed {
                digests
            } else {
                Vec::new()
            };
            if claimed.is_empty() && !body.is_empty() {
                return Err(Rejection::new(
                    RejectionKind::BodyNotCovered,
                    "the signature covers no body, and there is one",
                ));
            }
            for claim in claimed {
                let digest = digests
                    .iter()
                    .find(|(algorithm, _)| *algorithm == claim.algorithm)
                    .map(|(_, digest)| digest.clone());
                if !digest.is_some_and(|digest| digest.verify(&claim.claimed)) {
                    return Err(invalid(format!(
                        "the covered {:?} digest is not that of the body of {} bytes",
                        claim.algorithm,
                        body.len()
                    )));
                }
            }
            Ok(body.clone())
        }
        (SigningInput::NestedDigest { .. }, Fed::Digests(digests)) => {
            let digest = digests
                .into_iter()
                .find(|(a, _)| *a == DigestAlgorithm::Sha256);
            let Some((_, digest)) = digest else {
                return Err(signature.mismatch(body.len()));
            };
            let passes = signature.keys.valid_at(now).any(|key| {
                let mut mac = settings.scheme.start(key, &signature.candidate.parameters);
                input.feed_nested(digest.clone(), |bytes| mac.update(bytes));
                mac.verify(&signature.candidate.mac)
            });
            if passes {
                Ok(body.clone())
            } else {
                Err(signature.mismatch(body.len()))
            }
        }
        // The first secret is in the running MAC, unless it has ended since. Then all are tried.
        (SigningInput::AroundBody { after, .. }, Fed::Mac { mut mac, started }) => {
            mac.update(after);
            let is_valid =
                |first: &MacKey| signature.keys.valid_at(now).any(|key| ptr::eq(key, first));
            let fed_is_valid = signature
                .keys
                .valid_at(started)
                .next()
                .is_some_and(is_valid);
            let others = || signature.passes(settings, body, now);
            if (fed_is_valid && mac.verify(&signature.candidate.mac)) || others() {
                Ok(body.clone())
            } else {
                Err(signature.mismatch(body.len()))
            }
        }
        _ => {
            let formed = input.form_body(body.clone()).map_err(malformed)?;
            if signature.passes(settings, &formed, now) {
                Ok(formed)
            } else {
                Err(signature.mismatch(formed.len()))
            }
        }
    }
}

fn message_digest(input: &SigningInput, body: &[u8]) -> Vec<u8> {
    let mut digest = RunningDigest::new(DigestAlgorithm::Sha256);
    input.feed(body, |bytes| digest.update(bytes));
    digest.finish().as_ref().to_vec()
}

impl Settings {
    /// What has to be recorded, and for how long: at least while the request would be fresh on any
    /// server that shares the store.
    fn claim(
        &self,
        parameters: &Parameters<'_>,
        key_id: &crate::key::KeyId,
        nonce: &Nonce,
        now: Timestamp,
    ) -> Claim {
        let profile = self.scheme.profile();
        let window = self.freshness.max_age + self.margin;
        let untimed = profile.untimed_retention.unwrap_or_default();
        let horizon = profile
            .event_horizon
            .filter(|_| nonce.kind() == NonceKind::Event)
            .unwrap_or_default();
        // By the signed time wherever there is one, so that a copy never has a later deadline than
        // the record that was made of it: a store that has dropped the one refuses the other.
        let (deadline, retention) = match parameters.signed_at {
            Some(signed_at) => (
                signed_at.plus(window + horizon),
                window + horizon + self.freshness.max_skew,
            ),
            None => (now.plus(untimed.max(horizon)), untimed.max(horizon)),
        };
        let claim = Claim::new(
            Arc::clone(&self.namespace),
            key_id.clone(),
            nonce.clone(),
            deadline,
        )
        .with_retention(retention);
        match parameters.signed_at {
            Some(signed_at) => claim.signed(signed_at, self.freshness.max_skew),
            None => claim,
        }
    }
}
