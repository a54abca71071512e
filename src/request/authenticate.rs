//! Fourth stage: does the MAC or the digest match what arrived? From here on the request is
//! believed.

use std::{sync::Arc, time::Duration};

use super::{
    admit::refuse,
    payload::{Events, Snapshot, VerifiedPayload},
    receive::Received,
    state::State,
    usable::Usable,
    verifier::{Settings, Verifier},
};
use crate::{
    clock::Timestamp,
    error::{Fault, FaultKind, Rejection},
    key::KeyId,
    once::{Claim, Nonce, NonceKind, Subject},
    proof::{Arrived, Lasts, Parameters, Proven, Several, prove},
};

/// A request that is authentic and fresh, and not yet known to be new.
#[must_use]
pub struct Authentic {
    pub(super) verifier: Verifier,
    pub(super) usable: Usable,
}

impl std::fmt::Debug for Authentic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authentic")
            .field("claim", &self.usable.claim())
            .finish_non_exhaustive()
    }
}

impl Received<'_> {
    /// Compares the MAC, or the digests that its message holds, in constant time.
    ///
    /// # Errors
    /// Returns an error if no signature matches; if two match that differ in key, nonce or signed
    /// time; if the request ceased to be fresh while its body arrived; or if the body was still
    /// arriving when it was first read, and the bodies of running handlers leave no room for it.
    pub fn authenticate(self) -> Result<Authentic, Rejection> {
        let verifier = self.state.verifier;
        let authentic = self.compare();
        authentic.map_err(|rejection| verifier.answered(rejection))
    }

    fn compare(mut self) -> Result<Authentic, Rejection> {
        let State {
            verifier,
            ref head,
            ref mut signatures,
            report,
            body,
            formed,
            ref fed,
            mut charge,
            ..
        } = *self.state;
        let settings = &*verifier.settings;
        if verifier.awaits_supply() && head.supplied.is_none() {
            return Err(Fault::new(
                FaultKind::NotSupplied,
                "the signed message holds a value that this side must supply: take the request \
                 through `verify`, or through the layer, and supply the value in the handler",
            )
            .into());
        }
        let now = settings.clock.now();
        let arrived = Arrived {
            fed,
            body: &body,
            signed: formed.as_ref().map_or(&body, |formed| &formed.signed),
        };
        let given = formed.as_ref().map_or(&body, |formed| &formed.given);
        let proven = prove(
            signatures,
            &arrived,
            Several::OneClaim,
            &settings.freshness,
            now,
            |parameters| settings.scheme.read_covered_body(parameters, given),
        );
        let (proven, ()) = proven.map_err(|refused| refuse(refused, report.as_ref()))?;
        let (parameters, signed) = (proven.parameters(), arrived.signed);
        let answer = {
            let path = head.target.routed_path();
            let mut secrets = proven.secrets(signed);
            settings.scheme.answer_verified(path, given, &mut secrets)
        };
        // A request that covers no time is not recorded for good, and is never too old.
        let report = report.filter(|_| parameters.signed_at.is_some());
        let subject = Subject::new(report.as_ref(), *proven.mac());

        charge.verified(proven.key_id().as_str())?;
        let profile = settings.scheme.profile();
        let nonce = (!profile.may_repeat).then(|| proven.nonce(signed));
        let claim = nonce.as_ref().map(|nonce| {
            let claim = settings.claim(parameters, proven.key_id(), nonce, now);
            if profile.covers_place {
                return claim;
            }
            let target = &head.target;
            let (method, path, is_open) = match target.place {
                Some(place) => (&place.method, &*place.path, false),
                None => (head.method, target.routed_path(), !target.is_known_route()),
            };
            claim.at(method.clone(), path, is_open)
        });
        let (bytes, uncovered) = match formed {
            None => (body, None),
            Some(formed) => (formed.given, formed.uncovered),
        };
        let name = Arc::clone(&settings.name);
        let (signed_at, expires_at) = (parameters.signed_at, parameters.expires_at);
        let lasts = Lasts {
            fresh_until: settings.freshness.until(signed_at, expires_at),
            claimed_until: claim.as_ref().map(Claim::deadline),
            repeats_for: nonce.as_ref().map_or(Duration::ZERO, |nonce| {
                settings.repeats_for(parameters, nonce)
            }),
            sealed_at: None,
            signed_from: signed_at.map(|at| at.saturating_sub(settings.freshness.max_skew)),
        };
        let events = claim
            .as_ref()
            .filter(|_| profile.sends_batches)
            .map(|terms| {
                let store = settings.memory.store().cloned();
                Box::new(Events {
                    terms: terms.clone(),
                    store,
                    timeout: settings.memory.timeout(),
                })
            });
        let payload = VerifiedPayload::new(Arc::new(Snapshot {
            proven: Proven::new(proven, head.headers, name, nonce, bytes, lasts),
            verifier: verifier.clone(),
            answer: answer.map(Box::new),
            uncovered,
            prefix_len: head.target.prefix_len,
            events,
            charge,
        }));
        Ok(Authentic {
            verifier: verifier.clone(),
            usable: Usable::new(payload, claim, subject),
        })
    }
}

impl Settings {
    /// Returns what must be recorded, and for how long: at least while the request would be fresh
    /// on any server that shares the store.
    fn claim(
        &self,
        parameters: &Parameters<'_>,
        key_id: &KeyId,
        nonce: &Nonce,
        now: Timestamp,
    ) -> Claim {
        // By the signed time wherever there is one, so that a copy never has a later deadline than
        // the record that was made of it: a store that has dropped the one refuses the other.
        let fresh_until = match parameters.signed_at {
            Some(signed_at) => signed_at.saturating_add(self.freshness.max_age),
            None => now,
        };
        let repeats_for = self.repeats_for(parameters, nonce);
        let deadline = fresh_until.saturating_add(self.freshness.margin + repeats_for);
        let claim = self.memory.claim(key_id.clone(), nonce.clone(), deadline);
        match parameters.signed_at {
            Some(signed_at) => claim.signed(signed_at, self.freshness.max_skew),
            None => claim,
        }
    }

    /// For how long after its freshness a sender may repeat the request, or sign its event again.
    fn repeats_for(&self, parameters: &Parameters<'_>, nonce: &Nonce) -> Duration {
        let profile = self.scheme.profile();
        let horizon = profile
            .event_horizon
            .filter(|_| nonce.kind() == NonceKind::Event)
            .unwrap_or_default();
        match parameters.signed_at {
            Some(_) => horizon,
            None => profile.untimed_retention.unwrap_or_default().max(horizon),
        }
    }
}
