//! The bytes of an envelope, version 1. Numbers are LEB128; a time is milliseconds after the moment
//! of sealing, zigzag-encoded; a name is its place in [`NAMES`] plus one, or zero, its length and
//! its bytes.
//!
//! ```text
//! ce fe  version  tag: 4  key id: length, bytes          the frame, which anybody can read
//! flags: 2  sealed at: 6  deadline  kept until  [signed at]  [skew  retention]  [id: 16]  [place]
//! scheme  [signed at]  [expires at]  [key id]  [nonce]
//! parts: count, each kind, place, [value]  text: length  text  body  MAC: 32
//! ```

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, Method};

use crate::{
    clock::{Timestamp, millis},
    key::KeyId,
    message::{Covered, Part, Place, TimeUnit},
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

/// Names that cost one byte. Their places are part of the format: more can only be added to the
/// end.
const NAMES: [&str; 24] = [
    "http-message-signatures",
    "standard-webhooks",
    "stripe",
    "github",
    "slack",
    "shopify",
    "x-signature",
    "content-type",
    "content-digest",
    "content-encoding",
    "content-length",
    "date",
    "digest",
    "host",
    "idempotency-key",
    "if-match",
    "x-request-id",
    "x-timestamp",
    "x-nonce",
    "x-key-id",
    "webhook-id",
    "webhook-timestamp",
    "accept",
    "authorization",
];

/// What stands before everything that only the opener reads.
pub(super) struct Frame<'e> {
    pub(super) version: u8,
    pub(super) tag: &'e [u8],
    pub(super) key_id: &'e str,
    /// What the MAC is over.
    pub(super) signed: &'e [u8],
    pub(super) mac: &'e [u8],
    rest: &'e [u8],
}

/// What an envelope says, besides the snapshot.
pub(super) struct Terms {
    /// When the request was first sealed, for whichever purpose.
    pub(super) sealed_at: Timestamp,
    pub(super) deadline: Timestamp,
    /// Until when the record of its use has to be kept.
    pub(super) kept_until: Timestamp,
    /// The signed time that a store goes by.
    pub(super) signed_at: Option<Timestamp>,
    /// Of a request without a nonce: what makes the envelope unique.
    pub(super) id: Option<[u8; 16]>,
    /// Of a request whose nonce was left to the worker: what else its claim says.
    pub(super) left: Option<Left>,
}

#[derive(Clone)]
pub(super) struct Left {
    pub(super) max_skew: Duration,
    pub(super) retention: Duration,
    /// Whether there is no end of such places is said last.
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
    /// `None` if this is no envelope. That of a later version says no more than its version.
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

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    /// So many bytes, of which the first is the greatest.
    fn fixed(&mut self, number: u64, len: usize) {
        let bytes = number.to_be_bytes();
        self.0.extend(bytes.iter().skip(bytes.len() - len));
    }

    fn difference(&mut self, difference: i64) {
        self.number((difference << 1 ^ difference >> 63).cast_unsigned());
    }

    fn time(&mut self, from: Timestamp, to: Timestamp) {
        let [from, to] = [from, to].map(|time| time.as_millis().cast_signed());
        self.difference(to - from);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn name(&mut self, name: &str) {
        match NAMES.iter().position(|known| *known == name) {
            Some(place) => self.number(place as u64 + 1),
            None => {
                self.number(0);
                self.bytes(name.as_bytes());
            }
        }
    }

    /// A part behind one that ended there.
    fn part(&mut self, place: &Place, end: usize) {
        let kind = match &place.part {
            Part::Method => 0,
            Part::Authority => 1,
            Part::Path => 2,
            Part::Query => 3,
            Part::Header(_) if place.is_sensitive => 5,
            Part::Header(_) => 4,
            Part::Member(_) => 6,
            Part::QueryParam(_) => 7,
            Part::Time(TimeUnit::Seconds) => 8,
            Part::Time(TimeUnit::Millis) => 9,
            Part::Expires(TimeUnit::Seconds) => 10,
            Part::Expires(TimeUnit::Millis) => 11,
            Part::Nonce => 12,
            Part::KeyId => 13,
            Part::Supplied(_) => 14,
            Part::Time(TimeUnit::Rfc3339) => 15,
            Part::Expires(TimeUnit::Rfc3339) => 16,
        };
        let has_value = u64::from(place.value.is_some()) << 6;
        self.number(kind | has_value);
        match &place.part {
            Part::Header(name) => self.name(name.as_str()),
            Part::Member(member) => {
                self.name(member.0.as_str());
                self.name(&member.1);
            }
            Part::QueryParam(name) | Part::Supplied(name) => self.name(name),
            _ => {}
        }
        self.difference(place.range.start as i64 - end as i64);
        self.number(place.range.len() as u64);
        if let Some(value) = &place.value {
            self.bytes(value);
        }
    }
}

struct Reader<'e>(&'e [u8]);

impl<'e> Reader<'e> {
    fn take(&mut self, len: usize) -> Option<&'e [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// Reads something that is there or not. The outer `None` says that it cannot be read.
    fn when<T>(
        &mut self,
        is_there: bool,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if is_there {
            read(self).map(Some)
        } else {
            Some(None)
        }
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn len(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn fixed(&mut self, len: usize) -> Option<u64> {
        let bytes = self.take(len)?.iter();
        Some(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn difference(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn time(&mut self, from: Timestamp) -> Option<Timestamp> {
        let millis = from.as_millis().checked_add_signed(self.difference()?)?;
        Timestamp::from_millis(millis)
    }

    fn duration(&mut self) -> Option<Duration> {
        self.number().map(Duration::from_millis)
    }

    fn bytes(&mut self) -> Option<&'e [u8]> {
        let len = self.len()?;
        self.take(len)
    }

    fn text(&mut self) -> Option<&'e str> {
        str::from_utf8(self.bytes()?).ok()
    }

    fn name(&mut self) -> Option<&'e str> {
        match self.len()?.checked_sub(1) {
            Some(place) => NAMES.get(place).copied(),
            None => self.text(),
        }
    }

    fn header(&mut self) -> Option<HeaderName> {
        HeaderName::from_bytes(self.name()?.as_bytes()).ok()
    }

    fn part(&mut self, end: usize) -> Option<Place> {
        let kind = self.number()?;
        let part = match kind & 0x3f {
            0 => Part::Method,
            1 => Part::Authority,
            2 => Part::Path,
            3 => Part::Query,
            4 | 5 => Part::Header(self.header()?),
            6 => Part::Member(Box::new((self.header()?, self.name()?.into()))),
            7 => Part::QueryParam(self.name()?.into()),
            8 => Part::Time(TimeUnit::Seconds),
            9 => Part::Time(TimeUnit::Millis),
            10 => Part::Expires(TimeUnit::Seconds),
            11 => Part::Expires(TimeUnit::Millis),
            12 => Part::Nonce,
            13 => Part::KeyId,
            14 => Part::Supplied(self.name()?.into()),
            15 => Part::Time(TimeUnit::Rfc3339),
            16 => Part::Expires(TimeUnit::Rfc3339),
            _ => return None,
        };
        let start = end.checked_add_signed(isize::try_from(self.difference()?).ok()?)?;
        let range = Range {
            start,
            end: start.checked_add(self.len()?)?,
        };
        let value = self.when(kind & 1 << 6 != 0, |from| Some(from.bytes()?.into()))?;
        Some(Place {
            part,
            range,
            value,
            is_sensitive: kind & 0x3f == 5,
        })
    }
}
