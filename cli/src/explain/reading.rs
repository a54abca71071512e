//! The signatures of a request, also where a verifier cannot read them: each with the rows that
//! make it readable.

use std::rc::Rc;

use base64::Engine as _;
use bytes::Bytes;
use countersign::{
    inspect::{Inspected, Inspector, Source},
    scheme::MacAlgorithm,
};
use http::{HeaderMap, HeaderValue, request::Parts};

use super::{
    message::{Message, Part},
    secret::{BASE64, hex},
    shape::{MacEncoding, Shape, tokens},
    table::{Change, PrefixFault, Row, TABLE},
};

/// Fewer than 128 bits explain nothing.
pub(super) const LEAST_MAC: usize = 16;

/// The most headers of a signature that are looked at.
const MAX_HEADERS: usize = 4;

/// One MAC, and the message that it is compared with.
pub(super) struct Reading {
    /// The changes without which a verifier cannot read the signature.
    pub(super) rows: Vec<&'static Row>,
    pub(super) message: Message,
    pub(super) mac: Vec<u8>,
    pub(super) algorithm: MacAlgorithm,
    pub(super) inspected: Rc<Inspected>,
}

/// All readings of a request, and how long a MAC was that is too short to tell anything.
pub(super) fn readings(
    inspector: &Inspector,
    shape: Option<&Shape>,
    head: &Parts,
    body: &Bytes,
    is_over: &dyn Fn() -> bool,
) -> (Vec<Reading>, Option<usize>) {
    let mut found = Vec::new();
    for inspected in inspector.inspect(head, body).unwrap_or_default() {
        let (mac, algorithm) = (inspected.mac().to_vec(), inspector.algorithm());
        found.push(Reading::new(Vec::new(), inspected, mac, algorithm, body));
    }
    let mut too_short = None;
    if let Some(shape) = shape {
        for (time, head) in times(shape, head) {
            let repair = Repair {
                inspector,
                shape,
                body,
                time: time.as_ref(),
                has_plain: !found.is_empty(),
                is_over,
            };
            repair.all(&head, &mut found, &mut too_short);
        }
    }
    let is_unread = found.is_empty();
    (found, too_short.filter(|_| is_unread))
}

impl Reading {
    fn new(
        rows: Vec<&'static Row>,
        inspected: Inspected,
        mac: Vec<u8>,
        algorithm: MacAlgorithm,
        body: &Bytes,
    ) -> Self {
        let pieces = inspected.pieces();
        let message = pieces.iter().map(|piece| Part {
            sources: piece.sources().to_vec(),
            // Readings are many, and share the body.
            bytes: match piece.bytes() == body {
                true => body.clone(),
                false => Bytes::copy_from_slice(piece.bytes()),
            },
        });
        Self {
            rows,
            message: message.collect(),
            mac,
            algorithm,
            inspected: Rc::new(inspected),
        }
    }

    /// The same with this text as the signed time.
    fn with_time(&self, text: &str) -> Self {
        let mut message = self.message.clone();
        for part in message
            .iter_mut()
            .filter(|part| part.sources.contains(&Source::Time))
        {
            part.bytes = Bytes::copy_from_slice(text.as_bytes());
        }
        Self {
            rows: self.rows.clone(),
            message,
            mac: self.mac.clone(),
            algorithm: self.algorithm,
            inspected: Rc::clone(&self.inspected),
        }
    }
}

fn row_where(is_wanted: impl Fn(&Change) -> bool) -> Option<&'static Row> {
    TABLE.iter().find(|row| is_wanted(&row.change))
}

/// The time in the other unit: the text that was there.
struct OtherUnit {
    row: &'static Row,
    text: String,
}

/// The head as it is, and with its time in the unit of the scheme.
fn times(shape: &Shape, head: &Parts) -> Vec<(Option<OtherUnit>, Parts)> {
    let mut all = vec![(None, head.clone())];
    all.extend(shape.time.as_ref().and_then(|time| {
        let value = head.headers.get(&time.header)?.to_str().ok()?;
        let place = time.in_value(value)?;
        let (before, after) = (value.get(..place.start)?, value.get(place.end..)?);
        let text = value.get(place)?;
        let repaired = match (time.is_millis, text.len()) {
            (false, 13) => text.get(..10)?.to_owned(),
            (true, 10) => format!("{text}000"),
            _ => return None,
        };
        let row = row_where(|change| matches!(change, Change::TimeHeader))?;
        let mut other = head.clone();
        let value = format!("{before}{repaired}{after}").parse().ok()?;
        other.headers.insert(&time.header, value);
        let text = text.to_owned();
        Some((Some(OtherUnit { row, text }), other))
    }));
    all
}

/// Reads a MAC that is written otherwise than the scheme says.
struct Repair<'r> {
    inspector: &'r Inspector,
    shape: &'r Shape,
    body: &'r Bytes,
    time: Option<&'r OtherUnit>,
    has_plain: bool,
    is_over: &'r dyn Fn() -> bool,
}

impl Repair<'_> {
    fn all(&self, head: &Parts, found: &mut Vec<Reading>, too_short: &mut Option<usize>) {
        let values = head.headers.get_all(&self.shape.header);
        let values = values.iter().take(MAX_HEADERS);
        for value in values.filter_map(|value| value.to_str().ok()) {
            let places = tokens(value);
            for place in &places {
                let before = value.get(..place.start).unwrap_or_default();
                let is_mac = places.len() == 1 || before.ends_with(self.shape.label());
                let token = value.get(place.clone()).unwrap_or_default();
                if (self.is_over)() {
                    return;
                }
                for (form, mac) in self.decoded(token) {
                    if is_mac && (1..LEAST_MAC).contains(&mac.len()) && form.is_none() {
                        *too_short = (*too_short).max(Some(mac.len()));
                    }
                    for (length, algorithm) in self.lengths(&mac) {
                        let rows: Vec<_> = [form, length].into_iter().flatten().collect();
                        self.read(head, value, place, &rows, &mac, algorithm, found);
                    }
                }
            }
        }
    }

    /// The token as a MAC: in the form of the scheme, and in each other form.
    fn decoded(&self, token: &str) -> Vec<(Option<&'static Row>, Vec<u8>)> {
        let plain = match self.shape.encoding {
            MacEncoding::Hex => hex(token.as_bytes()),
            MacEncoding::Base64 => BASE64
                .decode(token)
                .ok()
                .filter(|_| token.len().is_multiple_of(4)),
        };
        let is_plain = plain.is_some();
        let mut all: Vec<_> = plain.map(|mac| (None, mac)).into_iter().collect();
        for row in TABLE {
            if let Change::Mac(form) = &row.change
                && let Some(mac) = (form.read)(token)
            {
                let is_own = is_plain && all.first().is_some_and(|(_, plain)| *plain == mac);
                if !is_own {
                    all.push((Some(row), mac));
                }
            }
        }
        all
    }

    /// The algorithms that a MAC of this length can be of.
    fn lengths(&self, mac: &[u8]) -> Vec<(Option<&'static Row>, MacAlgorithm)> {
        let own = self.inspector.algorithm();
        if mac.len() == own.mac_len() {
            return vec![(None, own)];
        }
        let mut all = Vec::new();
        for row in TABLE {
            match row.change {
                Change::Algorithm(algorithm) if mac.len() == algorithm.mac_len() => {
                    all.push((Some(row), algorithm));
                }
                Change::CutOff if (LEAST_MAC..own.mac_len()).contains(&mac.len()) => {
                    all.push((Some(row), own));
                }
                _ => {}
            }
        }
        all
    }

    #[expect(clippy::too_many_arguments, reason = "all that is known of one MAC")]
    fn read(
        &self,
        head: &Parts,
        value: &str,
        place: &std::ops::Range<usize>,
        rows: &[&'static Row],
        mac: &[u8],
        algorithm: MacAlgorithm,
        found: &mut Vec<Reading>,
    ) {
        if self.has_plain && self.time.is_none() && rows.is_empty() {
            return;
        }
        let own = self.inspector.algorithm();
        let zeros = vec![0; own.mac_len()];
        let shown = if mac.len() == own.mac_len() {
            mac
        } else {
            &zeros
        };
        let canonical = self.shape.encoding.encode(shown);
        let (before, after) = (value.get(..place.start), value.get(place.end..));
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        let in_place = format!("{before}{canonical}{after}");
        let mut rows = rows.to_vec();
        let mut inspected = self.inspect(head, &in_place);
        if inspected.is_empty() && self.shape.is_fixed() {
            let fault = if place.start == 0 {
                PrefixFault::Missing
            } else {
                PrefixFault::Other
            };
            let whole = format!("{}{canonical}{}", self.shape.before, self.shape.after);
            inspected = self.inspect(head, &whole);
            rows.extend(row_where(
                |change| matches!(change, Change::Prefix(f) if *f == fault),
            ));
        }
        // Among several signatures, only the current one counts.
        inspected.retain(|inspected| inspected.mac() == shown);
        for inspected in inspected {
            let mut rows = rows.clone();
            rows.extend(self.time.map(|time| time.row));
            let reading = Reading::new(rows, inspected, mac.to_vec(), algorithm, self.body);
            if let Some(time) = self.time {
                found.push(reading.with_time(&time.text));
            }
            found.push(reading);
        }
    }

    fn inspect(&self, head: &Parts, value: &str) -> Vec<Inspected> {
        let Ok(value) = value.parse::<HeaderValue>() else {
            return Vec::new();
        };
        let mut head = head.clone();
        let mut headers: HeaderMap = head.headers.clone();
        headers.insert(&self.shape.header, value);
        head.headers = headers;
        self.inspector.inspect(&head, self.body).unwrap_or_default()
    }
}
