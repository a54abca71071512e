//! The settings that the tokens of one purpose have in common, and the rule by which a token
//! counts.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use bytes::Bytes;
use smallvec::smallvec;

use super::{
    jws,
    jws::{Claims, Sealed},
};
use crate::{
    clock::{Clock, Timestamp},
    error::{Fault, FaultKind, SignError, SignErrorKind},
    key::{KeyId, KeyStore},
    once::{Claim, Memory, NonceKind},
    proof::{
        Arrived, Compared, Fed, Freshness, Parameters, Several, Signatures, Trust, admit, look_up,
        prove,
    },
};

pub(super) struct Settings {
    pub(super) purpose: String,
    pub(super) memory: Memory,
    pub(super) keys: Arc<dyn KeyStore>,
    pub(super) issue_under: RwLock<KeyId>,
    pub(super) lifetime: Duration,
    /// Its margin is how much longer than it lives a token is remembered: for a claim that is on its
    /// way, and for clocks that differ.
    pub(super) freshness: Freshness,
    pub(super) clock: Box<dyn Clock>,
}

impl Settings {
    /// Returns whole seconds, as they are written. The time is not later than now, unless the store
    /// would refuse the token forever as one that it may have forgotten.
    pub(super) fn issued_at(&self, now: Timestamp) -> Result<Timestamp, SignError> {
        let issued_at = Timestamp::from_secs(now.as_secs()).unwrap_or(now);
        let refused = self.memory.refuses_until(self.freshness.max_skew);
        let refused = refused.map_err(Fault::from)?;
        let Some(refused) = refused.filter(|refused| *refused >= issued_at) else {
            return Ok(issued_at);
        };
        let later = Timestamp::from_secs(refused.as_secs() + 1);
        // A token that is dated further ahead would be refused as not yet valid for longer than a second.
        later
            .filter(|later| *later <= now.saturating_add(self.freshness.max_skew + Duration::from_secs(1)))
            .ok_or_else(|| {
                SignError::of_kind(SignErrorKind::Time, format!(
                    "the store refuses tokens that are issued until {refused}, and it is {now}; set \
                     the clock right, if it is behind"
                ))
            })
    }

    /// Proves a token, and tells what is to be recorded of it.
    pub(super) async fn prove(&self, token: &str) -> Result<(Claim, Claims), Fault> {
        let Sealed { candidate, payload } = Sealed::read(token)?;
        let trust = Trust {
            algorithm: jws::ALGORITHM,
            names_key: true,
            keys: &*self.keys,
            clock: &*self.clock,
            freshness: &self.freshness,
            timeout: self.memory.timeout(),
            whole: Compared::Token,
        };
        let mut candidates = smallvec![candidate];
        let keys = look_up(&trust, &mut candidates).await?;
        let (build, mut signatures) = (|message, _: &mut _| Ok(message), Signatures::new());
        admit(&trust, &mut candidates, keys, build, &mut signatures)?;
        let nothing = Bytes::new();
        let arrived = Arrived {
            fed: &Fed::NoBody,
            body: &nothing,
            signed: &nothing,
        };
        let read = |parameters: &mut Parameters<'_>| {
            let claims = Claims::read(payload)?;
            self.check(&claims)?;
            parameters.signed_at = Some(claims.issued_at);
            parameters.expires_at = Some(claims.expires_at);
            parameters.nonce = Some((NonceKind::Covered, claims.id.clone().into_bytes().into()));
            Ok(claims)
        };
        let (now, any) = (self.clock.now(), Several::Any);
        let (proven, claims) = prove(&mut signatures, &arrived, any, &self.freshness, now, read)?;
        let deadline = claims.expires_at.saturating_add(self.freshness.margin);
        let (key_id, nonce) = (proven.key_id().clone(), proven.nonce(&nothing));
        let claim = self.memory.claim(key_id, nonce, deadline);
        let claim = claim.signed(claims.issued_at, self.freshness.max_skew);
        Ok((claim, claims))
    }

    fn check(&self, claims: &Claims) -> Result<(), Fault> {
        let invalid = |why| Err(Fault::new(FaultKind::Invalid, why));
        if claims.purpose != self.purpose {
            return invalid(format!(
                "a token for {:?}, and this is {:?}",
                claims.purpose, self.purpose
            ));
        }
        if claims.expires_at.saturating_since(claims.issued_at) > self.lifetime {
            return invalid(format!(
                "it lives longer than {:?}; see `lifetime`",
                self.lifetime
            ));
        }
        Ok(())
    }
}
