//! Fourth stage: does the MAC or the digest match what arrived? From here on the request is
//! believed.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use super::{
    Received, Settings, Verifier,
    admit::{Signature, invalid},
    payload::Snapshot,
    receive::{Fed, body_not_covered},
};
use crate::{
    clock::Timestamp,
    key::KeyId,
    mac::{DigestAlgorithm, RunningDigest},
    nonce::{Claim, Nonce, NonceKind},
    rejection::{Rejection, malformed},
    scheme::{Candidate, Formed, Parameters, SigningInput},
};

/// A request that is authentic and fresh, and not yet known to be new.
#[must_use]
pub struct Authentic {
    pub(super) verifier: Verifier,
    pub(super) snapshot: Arc<Snapshot>,
    /// `None` where requests may be alike.
    pub(super) claim: Option<Claim>,
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
    /// When none of the signatures matches, when two match that differ in key, nonce or signed time,
    /// or when the request ceased to be fresh while its body arrived.
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

        let mut matching: Option<(Signature<'_>, Formed)> = None;
        let mut mismatch = None;
        for (index, signature) in signatures.into_iter().enumerate() {
            match matches(settings, &signature, &body, fed.take_for(index)) {
                Err(rejection) => {
                    mismatch.get_or_insert(rejection);
                }
                Ok(formed) => match &matching {
                    Some((other, used)) if !is_one_claim(other, used, &signature, &formed) => {
                        return Err(malformed(format!(
                            "two valid signatures, under key `{}` and under key `{}`, that differ \
                             in key, nonce or time: with either left out, the other would be a \
                             second request",
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

        let answer = settings.answer(&signature, &body);
        let Signature {
            mut candidate,
            keys,
            ..
        } = signature;
        settings
            .scheme
            .read_covered_body(&mut candidate.parameters, &body.given)?;
        let parameters = &candidate.parameters;
        settings
            .freshness
            .check(now, parameters.signed_at, parameters.expires_at)?;

        let profile = settings.scheme.profile();
        let nonce = (!profile.may_repeat).then(|| nonce(&candidate, &body));
        let claim = nonce.as_ref().map(|nonce| {
            let claim = settings.claim(parameters, keys.id(), nonce, now);
            if profile.covers_place {
                claim
            } else {
                claim.at_place(head.method.clone(), head.target.routed_path())
            }
        });
        let snapshot = Snapshot::new(
            &head,
            &candidate,
            keys.id().clone(),
            nonce,
            answer,
            body,
            charge,
        );
        Ok(Authentic {
            verifier: verifier.clone(),
            snapshot: Arc::new(snapshot),
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

/// Whether the signature accounts for this body; if so, the body in its form.
fn matches(
    settings: &Settings,
    signature: &Signature<'_>,
    body: &Bytes,
    fed: Fed,
) -> Result<Formed, Rejection> {
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
                return Err(body_not_covered());
            }
            for covered in claimed {
                let digest = digests
                    .iter()
                    .find(|(algorithm, _)| *algorithm == covered.algorithm)
                    .map(|(_, digest)| digest.clone());
                if !digest.is_some_and(|digest| digest.verify(&covered.claimed)) {
                    return Err(invalid(format!(
                        "the covered {:?} digest is not that of the body of {} bytes",
                        covered.algorithm,
                        body.len()
                    )));
                }
            }
            Ok(body.clone().into())
        }
        (SigningInput::NestedDigest { .. }, Fed::Digests(digests)) => {
            let digest = digests
                .into_iter()
                .find(|(a, _)| *a == DigestAlgorithm::Sha256);
            let Some((_, digest)) = digest else {
                return Err(signature.mismatch(body.len()));
            };
            let passes = signature.secrets().any(|secret| {
                let mut mac = settings
                    .scheme
                    .start(secret, &signature.candidate.parameters);
                input.feed_nested(digest.clone(), |bytes| mac.update(bytes));
                mac.verify(&signature.candidate.mac)
            });
            if passes {
                Ok(body.clone().into())
            } else {
                Err(signature.mismatch(body.len()))
            }
        }
        // The running MAC is that of the first secret.
        (SigningInput::AroundBody { after, .. }, Fed::Mac(mut mac)) => {
            mac.update(after);
            let mut others = signature.secrets().skip(1);
            if mac.verify(&signature.candidate.mac)
                || others.any(|secret| signature.passes(settings, secret, body))
            {
                Ok(body.clone().into())
            } else {
                Err(signature.mismatch(body.len()))
            }
        }
        _ => {
            let formed = input.form_body(body.clone()).map_err(malformed)?;
            if signature
                .secrets()
                .any(|secret| signature.passes(settings, secret, &formed.signed))
            {
                Ok(formed)
            } else {
                Err(signature.mismatch(formed.signed.len()))
            }
        }
    }
}

/// Whether two signatures of one request lead to the same claim, and for as long.
fn is_one_claim(
    one: &Signature<'_>,
    one_body: &Formed,
    other: &Signature<'_>,
    other_body: &Formed,
) -> bool {
    one.keys.id() == other.keys.id()
        && one.candidate.parameters.signed_at == other.candidate.parameters.signed_at
        && nonce(&one.candidate, one_body) == nonce(&other.candidate, other_body)
}

/// The covered nonce or event id, or else the digest of the signed message.
fn nonce(candidate: &Candidate<'_>, body: &Formed) -> Nonce {
    if let Some((kind, bytes)) = &candidate.parameters.nonce {
        return Nonce::new(*kind, Bytes::copy_from_slice(bytes));
    }
    let mut digest = RunningDigest::new(DigestAlgorithm::Sha256);
    let input = &candidate.input;
    input.feed(&body.signed, |bytes| digest.update(bytes));
    Nonce::new(NonceKind::Digest, digest.finish())
}

impl Settings {
    /// What the scheme answers by itself.
    fn answer(&self, signature: &Signature<'_>, body: &Formed) -> Option<Response<Bytes>> {
        let secrets = signature.secrets();
        let mut used = secrets.filter(|secret| signature.passes(self, secret, &body.signed));
        self.scheme.answer_verified(&body.given, &mut used)
    }

    /// What has to be recorded, and for how long: at least while the request would be fresh on any
    /// server that shares the store.
    fn claim(
        &self,
        parameters: &Parameters<'_>,
        key_id: &KeyId,
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
