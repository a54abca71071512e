//! The bytes of an envelope, version 1. Their pieces are written as `pieces` says.
//!
//! ```text
//! ce fe  version  tag: 4  key id: length, bytes          the frame, which anybody can read
//! flags: 2  sealed at: 6  deadline  kept until  [signed at]  [skew  retention]  [id: 16]  [place]
//! scheme  [signed at]  [expires at]  [key id]  [nonce]
//! parts: count, each kind, place, [value]  text: length  text  body  MAC: 32
//! ```

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Method;

use super::pieces::{Reader, Writer};
use crate::{
    clock::{Timestamp, millis},
    key::KeyId,
    message::Covered,
    once::{Claim, Nonce, NonceKind},
    proof::{Lasts, Proven},
};

/// No text begins so.
const MAGIC: &[u8] = b"\xce\xfe";
pub(super) const VERSION: u8 = 1;
pub(super) const MAC_LEN: usize = 32;
pub(super) const TAG_LEN: usize = 4;

/// The greatest length of an envelope, in bytes.
pub(super) const MAX_LEN: usize = 64 * 1024 * 1024;

/// The head of an envelope, before everything that only the opener reads.
pub(super) struct Frame<'e> {
    pub(super) version: u8,
    pub(super) tag: &'e [u8],
    pub(super) key_id: &'e str,
    /// The bytes that the MAC covers.
    pub(super) signed: &'e [u8],
    pub(super) mac: &'e [u8],
    rest: &'e [u8],
}

/// The fields of an envelope, besides the snapshot.
pub(super) struct Terms {
    /// When the request was first sealed, for whichever purpose.
    pub(super) sealed_at: Timestamp,
    pub(super) deadline: Timestamp,
    /// Until when the record of its use must be kept.
    pub(super) kept_until: Timestamp,
    /// The signed time that a store goes by.
    pub(super) signed_at: Option<Timestamp>,
    /// Makes the envelope of a request without a nonce unique.
    pub(super) id: Option<[u8; 16]>,
    /// The rest of the claim, if the nonce of the request was left to the worker.
    pub(super) left: Option<Left>,
}

#[derive(Clone)]
pub(super) struct Left {
    pub(super) max_skew: Duration,
    pub(super) retention: Duration,
    /// The method, the path, and whether there are any number of such places.
    pub(super) place: Option<(Method, Box<str>, bool)>,
}

impl Left {
    pub(super) fn of(claim: &Claim) -> Self {
        let place = claim.place();
        Self {
            max_skew: claim.max_skew(),
            retention: claim.retention(),
            place: place.map(|(method, path, is_open)| (method.clone(), path.into(), is_open)),
        }
    }
}

mod flag {
    pub(super) const TERMS_SIGNED: u64 = 1;
    pub(super) const ID: u64 = 1 << 1;
    pub(super) const LEFT: u64 = 1 << 2;
    pub(super) const PLACE: u64 = 1 << 3;
    pub(super) const OPEN_PLACE: u64 = 1 << 4;
    pub(super) const SIGNED: u64 = 1 << 5;
    pub(super) const SIGNED_IN_TEXT: u64 = 1 << 6;
    pub(super) const EXPIRES: u64 = 1 << 7;
    pub(super) const EXPIRES_IN_TEXT: u64 = 1 << 8;
    pub(super) const KEY_IN_TEXT: u64 = 1 << 9;
    pub(super) const NONCE: u64 = 1 << 10;
    pub(super) const NONCE_IN_TEXT: u64 = 1 << 11;
    pub(super) const NONCE_IN_BODY: u64 = 1 << 12;
    pub(super) const NONCE_IS_EVENT: u64 = 1 << 13;
    pub(super) const NONCE_IS_DIGEST: u64 = 1 << 14;
}

/// Everything but the MAC.
pub(super) fn write(tag: [u8; TAG_LEN], key_id: &KeyId, terms: &Terms, proven: &Proven) -> Vec<u8> {
    let text = proven.covered.bytes();
    let mut to = Writer(Vec::with_capacity(text.len() + proven.body.len() + 256));
    to.0.extend_from_slice(MAGIC);
    to.0.push(VERSION);
    to.0.extend_from_slice(&tag);
    to.bytes(key_id.as_str().as_bytes());

    let said = proven.covered.parameters();
    let nonce = proven.nonce.as_ref();
    let in_body = nonce
        .filter(|nonce| said.nonce != Some(nonce.as_bytes()))
        .and_then(|nonce| memchr::memmem::find(&proven.body, nonce.as_bytes()));
    let place = terms.left.as_ref().and_then(|left| left.place.as_ref());
    let kind = nonce.map(Nonce::kind);
    let flags = [
        (flag::TERMS_SIGNED, terms.signed_at.is_some()),
        (flag::ID, terms.id.is_some()),
        (flag::LEFT, terms.left.is_some()),
        (flag::PLACE, place.is_some()),
        (
            flag::OPEN_PLACE,
            place.is_some_and(|(_, _, is_open)| *is_open),
        ),
        (flag::SIGNED, proven.signed_at.is_some()),
        (flag::SIGNED_IN_TEXT, said.signed_at == proven.signed_at),
        (flag::EXPIRES, proven.expires_at.is_some()),
        (flag::EXPIRES_IN_TEXT, said.expires_at == proven.expires_at),
        (
            flag::KEY_IN_TEXT,
            said.key_id == Some(proven.key_id.as_str().as_bytes()),
        ),
        (flag::NONCE, nonce.is_some()),
        (
            flag::NONCE_IN_TEXT,
            nonce.is_some_and(|nonce| said.nonce == Some(nonce.as_bytes())),
        ),
        (flag::NONCE_IN_BODY, in_body.is_some()),
        (flag::NONCE_IS_EVENT, kind == Some(NonceKind::Event)),
        (flag::NONCE_IS_DIGEST, kind == Some(NonceKind::Digest)),
    ];
    let flags = flags.into_iter().filter(|(_, is_set)| *is_set);
    let flags = flags.fold(0, |all, (flag, _)| all | flag);
    let has = |flag| flags & flag != 0;
    to.fixed(flags, 2);

    let at = terms.sealed_at;
    to.fixed(at.as_millis(), 6);
    to.time(at, terms.deadline);
    to.time(at, terms.kept_until);
    if let Some(signed_at) = terms.signed_at {
        to.time(at, signed_at);
    }
    if let Some(left) = &terms.left {
        to.number(millis(left.max_skew));
        to.number(millis(left.retention));
    }
    if let Some(id) = &terms.id {
        to.0.extend_from_slice(id);
    }
    if let Some((method, path, _)) = place {
        to.bytes(method.as_str().as_bytes());
        to.bytes(path.as_bytes());
    }

    to.name(&proven.scheme);
    if let Some(signed_at) = proven.signed_at.filter(|_| !has(flag::SIGNED_IN_TEXT)) {
        to.time(at, signed_at);
    }
    if let Some(expires_at) = proven.expires_at.filter(|_| !has(flag::EXPIRES_IN_TEXT)) {
        to.time(at, expires_at);
    }
    if !has(flag::KEY_IN_TEXT) {
        to.name(proven.key_id.as_str());
    }
    match (nonce, in_body) {
        (Some(nonce), Some(place)) => {
            to.number(place as u64);
            to.number(nonce.as_bytes().len() as u64);
        }
        (Some(nonce), None) if !has(flag::NONCE_IN_TEXT) => to.bytes(nonce.as_bytes()),
        _ => {}
    }

    let places = proven.covered.places();
    to.number(places.len() as u64);
    let mut end = 0;
    for place in places {
        to.part(&place, end);
        end = place.range.end;
    }
    to.bytes(text);
    to.0.extend_from_slice(&proven.body);
    to.0
}

impl<'e> Frame<'e> {
    /// Returns `None` if this is not an envelope, and only the version if the version is a later
    /// one.
    pub(super) fn read(envelope: &'e [u8]) -> Option<Self> {
        if envelope.len() > MAX_LEN {
            return None;
        }
        let (signed, mac) = envelope.split_at_checked(envelope.len().checked_sub(MAC_LEN)?)?;
        let mut from = Reader(signed.strip_prefix(MAGIC)?);
        let version = *from.take(1)?.first()?;
        let mut frame = Self {
            version,
            tag: &[],
            key_id: "",
            signed,
            mac,
            rest: &[],
        };
        if version == VERSION {
            frame.tag = from.take(TAG_LEN)?;
            frame.key_id = str::from_utf8(from.bytes()?).ok()?;
            frame.rest = from.0;
        }
        Some(frame)
    }

    /// Reads what the frame holds. Only to be called once the MAC has been compared.
    pub(super) fn open(&self) -> Option<(Terms, Proven)> {
        let mut from = Reader(self.rest);
        let flags = from.fixed(2)?;
        let has = |flag| flags & flag != 0;
        let at = Timestamp::from_millis(from.fixed(6)?)?;
        let deadline = from.time(at)?;
        let kept_until = from.time(at)?;
        let signed_at = from.when(has(flag::TERMS_SIGNED), |from| from.time(at))?;
        let left = from.when(has(flag::LEFT), |from| {
            Some((from.duration()?, from.duration()?))
        })?;
        let id = from.when(has(flag::ID), |from| from.take(16)?.try_into().ok())?;
        let place = from.when(has(flag::PLACE), |from| {
            let method = Method::from_bytes(from.bytes()?).ok()?;
            Some((method, from.text()?.into(), has(flag::OPEN_PLACE)))
        })?;
        let terms = Terms {
            sealed_at: at,
            deadline,
            kept_until,
            signed_at,
            id,
            left: left.map(|(max_skew, retention)| Left {
                max_skew,
                retention,
                place,
            }),
        };

        let scheme: Arc<str> = from.name()?.into();
        let explicit = |is_there, in_text| has(is_there) && !has(in_text);
        let signed_at = from.when(explicit(flag::SIGNED, flag::SIGNED_IN_TEXT), |from| {
            from.time(at)
        })?;
        let expires_at = from.when(explicit(flag::EXPIRES, flag::EXPIRES_IN_TEXT), |from| {
            from.time(at)
        })?;
        let key_id = from.when(!has(flag::KEY_IN_TEXT), |from| {
            KeyId::new(from.name()?).ok()
        })?;
        let in_body = from.when(has(flag::NONCE_IN_BODY), |from| {
            let start = from.len()?;
            Some(start..start.checked_add(from.len()?)?)
        })?;
        let is_elsewhere = has(flag::NONCE_IN_TEXT) || has(flag::NONCE_IN_BODY);
        let nonce = from.when(has(flag::NONCE) && !is_elsewhere, Reader::bytes)?;

        let count = from.len()?;
        let mut places = Vec::new();
        let mut end = 0;
        for _ in 0..count {
            let place = from.part(end)?;
            end = place.range.end;
            places.push(place);
        }
        let text = from.bytes()?;
        if places.iter().any(|place| place.range.end > text.len()) {
            return None;
        }
        let covered = Covered::again(text.to_vec(), places);
        let body = from.0;
        let said = covered.parameters();
        let signed_at = if has(flag::SIGNED_IN_TEXT) {
            said.signed_at
        } else {
            signed_at
        };
        let expires_at = if has(flag::EXPIRES_IN_TEXT) {
            said.expires_at
        } else {
            expires_at
        };
        let key_id = match key_id {
            Some(key_id) => key_id,
            None => KeyId::new(str::from_utf8(said.key_id?).ok()?).ok()?,
        };
        let nonce = match in_body {
            Some(range) => Some(body.get(range)?),
            None if has(flag::NONCE_IN_TEXT) => Some(said.nonce?),
            None => nonce,
        };
        let kind = match (has(flag::NONCE_IS_EVENT), has(flag::NONCE_IS_DIGEST)) {
            (false, false) => NonceKind::Covered,
            (true, false) => NonceKind::Event,
            (false, true) => NonceKind::Digest,
            (true, true) => return None,
        };
        let proven = Proven {
            scheme,
            key_id,
            signed_at,
            expires_at,
            nonce: nonce.map(|nonce| Nonce::new(kind, nonce)),
            body: Bytes::copy_from_slice(body),
            covered,
            // With `Deadline::freshness`, what is sealed once more lives no longer than the envelope
            // that it came in.
            lasts: Lasts {
                fresh_until: Some(deadline),
                claimed_until: Some(kept_until),
                repeats_for: Duration::ZERO,
                sealed_at: Some(at),
                signed_from: signed_from(&terms),
            },
        };
        Some((terms, proven))
    }
}

/// The earliest that a request can have been accepted that says it was signed then.
fn signed_from(terms: &Terms) -> Option<Timestamp> {
    let max_skew = terms
        .left
        .as_ref()
        .map_or(Duration::ZERO, |left| left.max_skew);
    Some(terms.signed_at?.saturating_sub(max_skew))
}
