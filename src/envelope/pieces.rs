//! The pieces that an envelope is made of. Numbers are LEB128; a time is milliseconds after the moment
//! of sealing, zigzag-encoded; a name is its place in [`NAMES`] plus one, or zero, its length and
//! its bytes.

use std::{ops::Range, time::Duration};

use http::HeaderName;

use crate::{
    clock::Timestamp,
    message::{Part, Place, TimeUnit},
};

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

/// Appends pieces.
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    /// Writes a number as `len` bytes, the most significant first.
    pub(super) fn fixed(&mut self, number: u64, len: usize) {
        let bytes = number.to_be_bytes();
        self.0.extend(bytes.iter().skip(bytes.len() - len));
    }

    pub(super) fn difference(&mut self, difference: i64) {
        self.number((difference << 1 ^ difference >> 63).cast_unsigned());
    }

    pub(super) fn time(&mut self, from: Timestamp, to: Timestamp) {
        let [from, to] = [from, to].map(|time| time.as_millis().cast_signed());
        self.difference(to - from);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn name(&mut self, name: &str) {
        match NAMES.iter().position(|known| *known == name) {
            Some(place) => self.number(place as u64 + 1),
            None => {
                self.number(0);
                self.bytes(name.as_bytes());
            }
        }
    }

    /// A part behind one that ended there.
    pub(super) fn part(&mut self, place: &Place, end: usize) {
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

/// Takes pieces from the front. Each method returns `None` if the front is not such a piece.
pub(super) struct Reader<'e>(pub(super) &'e [u8]);

impl<'e> Reader<'e> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'e [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// Reads something that is there or not. The outer `None` says that it cannot be read.
    pub(super) fn when<T>(
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

    pub(super) fn number(&mut self) -> Option<u64> {
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

    pub(super) fn len(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    pub(super) fn fixed(&mut self, len: usize) -> Option<u64> {
        let bytes = self.take(len)?.iter();
        Some(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub(super) fn difference(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(super) fn time(&mut self, from: Timestamp) -> Option<Timestamp> {
        let millis = from.as_millis().checked_add_signed(self.difference()?)?;
        Timestamp::from_millis(millis)
    }

    pub(super) fn duration(&mut self) -> Option<Duration> {
        self.number().map(Duration::from_millis)
    }

    pub(super) fn bytes(&mut self) -> Option<&'e [u8]> {
        let len = self.len()?;
        self.take(len)
    }

    pub(super) fn text(&mut self) -> Option<&'e str> {
        str::from_utf8(self.bytes()?).ok()
    }

    pub(super) fn name(&mut self) -> Option<&'e str> {
        match self.len()?.checked_sub(1) {
            Some(place) => NAMES.get(place).copied(),
            None => self.text(),
        }
    }

    pub(super) fn header(&mut self) -> Option<HeaderName> {
        HeaderName::from_bytes(self.name()?.as_bytes()).ok()
    }

    pub(super) fn part(&mut self, end: usize) -> Option<Place> {
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
