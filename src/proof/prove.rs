//! The one signature that is proven, of those that were admitted: its MAC or its digests are those
//! of what arrived, and it is fresh still.

use std::mem;

use bytes::Bytes;

use super::{
    admit::{Refused, TooOld},
    candidate::Parameters,
    fed::Arrived,
    freshness::Freshness,
    signature::{Signature, invalid},
};
use crate::{
    clock::Timestamp,
    error::{Fault, malformed},
    key::{KeyId, MacKey},
    message::{HashOutput, Message},
    once::Nonce,
};

/// The treatment of several signatures that hold.
#[derive(Clone, Copy)]
pub(crate) enum Several {
    /// They must lead to one claim. With either of two left out, the other would be a second
    /// request.
    OneClaim,
    /// The first one that is fresh counts.
    Any,
}

/// A signature that was proven. Only [`prove`] can make one.
#[derive(Debug)]
pub(crate) struct ProvenSignature<'s, 'h>(&'s mut Signature<'h>);

/// Proves one of these signatures, over what arrived. `read` takes parameters from a body or a text
/// that was proven, and may refuse it; the times that it finds decide whether it is fresh.
pub(crate) fn prove<'s, 'h, T>(
    signatures: &'s mut [Signature<'h>],
    arrived: &Arrived<'_>,
    several: Several,
    freshness: &Freshness,
    now: Timestamp,
    read: impl FnOnce(&mut Parameters<'h>) -> Result<T, Fault>,
) -> Result<(ProvenSignature<'s, 'h>, T), Refused> {
    let fresh = |parameters: &Parameters<'_>| {
        freshness.check(now, parameters.signed_at, parameters.expires_at)
    };
    let mut proven: Option<(usize, &Signature<'h>)> = None;
    let mut first_fault = None;
    for (index, signature) in signatures.iter().enumerate() {
        let checked = arrived.check(index, signature);
        let checked = match several {
            Several::OneClaim => checked,
            Several::Any => checked.and_then(|()| fresh(&signature.parameters)),
        };
        match (checked, proven) {
            (Err(fault), _) => {
                first_fault.get_or_insert(fault);
            }
            (Ok(()), Some((_, other))) if !other.is_one_claim(signature, arrived.signed) => {
                return Err(malformed(format!(
                    "two valid signatures, under key `{}` and under key `{}`, that differ in key, \
                     nonce or time: with either left out, the other would be a second request",
                    other.key_id(),
                    signature.key_id()
                ))
                .into());
            }
            (Ok(()), Some(_)) => {}
            (Ok(()), None) => proven = Some((index, signature)),
        }
        if matches!(several, Several::Any) && proven.is_some() {
            break;
        }
    }
    let proven = proven.map(|(index, _)| index);
    let Some(signature) = proven.and_then(|index| signatures.get_mut(index)) else {
        let none = || invalid("no signature to verify".into());
        return Err(first_fault.unwrap_or_else(none).into());
    };
    let found = read(&mut signature.parameters)?;
    fresh(&signature.parameters).map_err(|fault| {
        // A message that covers no time is not recorded for good, and is never too old.
        let is_timed = signature.parameters.signed_at.is_some();
        let since = fault.final_since().filter(|_| is_timed);
        let mac = signature.mac;
        let too_old = since.map(|since| Box::new(TooOld { since, mac }));
        Refused { fault, too_old }
    })?;
    Ok((ProvenSignature(signature), found))
}

impl<'h> ProvenSignature<'_, 'h> {
    pub(crate) fn key_id(&self) -> &KeyId {
        self.0.key_id()
    }

    pub(crate) fn parameters(&self) -> &Parameters<'h> {
        &self.0.parameters
    }

    pub(crate) fn message(&self) -> &Message {
        &self.0.message
    }

    pub(crate) fn into_message(self) -> Message {
        mem::take(&mut self.0.message)
    }

    /// The MAC that names this signature in a head. If several were claimed for one message
    /// with a body in it, this is the first.
    pub(crate) fn mac(&self) -> &HashOutput {
        &self.0.mac
    }

    /// The covered nonce or event id, or else the digest of the signed message.
    pub(crate) fn nonce(&self, signed_body: &[u8]) -> Nonce {
        self.0.nonce(signed_body)
    }

    /// The secrets that make a MAC which was claimed, found as they are asked for.
    pub(crate) fn secrets(&self, signed_body: &Bytes) -> impl Iterator<Item = &MacKey> {
        let secrets = self.0.secrets();
        secrets.filter(|secret| self.0.passes(secret, signed_body))
    }
}
