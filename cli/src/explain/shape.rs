//! Where a scheme writes the MAC and the time: read off a request that it signed itself.

use std::ops::Range;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderName;

use crate::scheme::{Chosen, Example};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MacEncoding {
    Hex,
    Base64,
}

impl MacEncoding {
    pub(super) fn encode(self, mac: &[u8]) -> String {
        match self {
            Self::Hex => mac.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Base64 => STANDARD.encode(mac),
        }
    }
}

/// Where a scheme writes the MAC and the time.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// The header that holds the MAC.
    pub(super) header: HeaderName,
    pub(super) before: String,
    pub(super) after: String,
    pub(super) encoding: MacEncoding,
    pub(super) time: Option<TimePlace>,
}

/// Where a scheme writes the time: in a header of its own, or beside the MAC.
#[derive(Clone, Debug)]
pub(super) struct TimePlace {
    pub(super) header: HeaderName,
    /// The text right before the time.
    label: String,
    pub(super) is_millis: bool,
}

impl TimePlace {
    /// The place of the time in the value of its header, if it is written in digits.
    pub(super) fn in_value(&self, value: &str) -> Option<Range<usize>> {
        let is_time = |place: &Range<usize>| {
            let before = value.get(..place.start).unwrap_or_default();
            let time = value.get(place.clone()).unwrap_or_default();
            label(before) == self.label && time.bytes().all(|b| b.is_ascii_digit())
        };
        tokens(value).into_iter().find(is_time)
    }
}

impl Shape {
    /// The shape of a scheme; `None` if its signature is in the body.
    pub(crate) fn of(chosen: &Chosen) -> Option<Self> {
        let kinds = 0..Example::KINDS;
        let example = kinds
            .into_iter()
            .find_map(|kind| Example::of_kind(chosen, kind).ok())?;
        let (head, body) = example.request.into_parts();
        let signatures = chosen.inspector(None).inspect(&head, &body).ok()?;
        let mac = signatures.first()?.mac();
        let seconds = example.clock.0.as_secs().to_string();
        let millis = example.clock.0.as_millis().to_string();
        let time_in = |name: &HeaderName, value: &str| {
            tokens(value).into_iter().find_map(|place| {
                let text = value.get(place.clone())?;
                let is_millis = text == millis;
                (is_millis || text == seconds).then(|| TimePlace {
                    header: name.clone(),
                    label: label(value.get(..place.start).unwrap_or_default()).to_owned(),
                    is_millis,
                })
            })
        };
        let alone = head.headers.iter().find_map(|(name, value)| {
            let value = value.to_str().ok()?;
            time_in(name, value).filter(|_| value == seconds || value == millis)
        });
        head.headers.iter().find_map(|(name, value)| {
            let value = value.to_str().ok()?;
            [MacEncoding::Hex, MacEncoding::Base64]
                .into_iter()
                .find_map(|encoding| {
                    let (before, after) = value.split_once(&encoding.encode(mac))?;
                    Some(Self {
                        header: name.clone(),
                        before: before.to_owned(),
                        after: after.to_owned(),
                        encoding,
                        time: alone.clone().or_else(|| time_in(name, value)),
                    })
                })
        })
    }

    /// The header that holds the MAC.
    pub(crate) fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The text right before the MAC, which tells it from the other values of its header.
    pub(super) fn label(&self) -> &str {
        label(&self.before)
    }

    /// Returns whether the header holds only the MAC, behind a text that is always the same.
    pub(super) fn is_fixed(&self) -> bool {
        let digits = self.before.split(|c: char| !c.is_ascii_digit());
        digits.into_iter().all(|digits| digits.len() < 10)
    }
}

/// The last member of a list, with the delimiter before it if it is empty.
fn label(before: &str) -> &str {
    let inner = before.strip_suffix([' ', ',', ';']).unwrap_or(before);
    let start = inner.rfind([' ', ',', ';']).map_or(0, |at| at + 1);
    before.get(start..).unwrap_or_default()
}

/// The most places in the value of a header that are looked at.
const MAX_TOKENS: usize = 16;

/// The first places in the value of a header where a MAC can be.
pub(super) fn tokens(value: &str) -> Vec<Range<usize>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    for piece in value.split([' ', ',', ';', ':', '"']) {
        let end = start + piece.len();
        let name = piece.find('=').map(|at| at + 1);
        let is_padding = |at: usize| {
            piece
                .get(at..)
                .is_none_or(|rest| rest.trim_matches('=').is_empty())
        };
        let skipped = name.filter(|at| !is_padding(*at)).unwrap_or_default();
        if end > start + skipped {
            tokens.push(start + skipped..end);
            if tokens.len() == MAX_TOKENS {
                break;
            }
        }
        start = end + 1;
    }
    tokens
}
