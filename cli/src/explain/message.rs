//! Other messages that a sender may have signed in place of the one that the scheme describes.

use bytes::Bytes;
use countersign::{Timestamp, inspect::Source};

use crate::time;

/// A piece of a signed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) sources: Vec<Source>,
    pub(super) bytes: Bytes,
}

pub(super) type Message = Vec<Part>;

impl Part {
    pub(super) fn text(text: &[u8]) -> Self {
        Self {
            sources: Vec::new(),
            bytes: Bytes::copy_from_slice(text),
        }
    }

    pub(super) fn is(&self, source: &Source) -> bool {
        self.sources.contains(source)
    }

    pub(super) fn is_text(&self) -> bool {
        self.sources.is_empty()
    }

    /// Text between parts: no letter and no digit.
    pub(super) fn is_delimiter(&self) -> bool {
        self.is_text() && !self.bytes.iter().any(u8::is_ascii_alphanumeric)
    }
}

/// The message with this part replaced, by each of these.
pub(super) fn replaced(
    message: &[Part],
    at: usize,
    by: impl IntoIterator<Item = Vec<u8>>,
) -> Vec<Message> {
    let mut all = Vec::new();
    for bytes in by {
        let mut other = message.to_vec();
        if let Some(part) = other.get_mut(at)
            && part.bytes != bytes
        {
            part.bytes = bytes.into();
            all.push(other);
        }
    }
    all
}

/// The message with each part of this source replaced, by what the function makes of it.
pub(super) fn edited<I: IntoIterator<Item = Vec<u8>>>(
    message: &[Part],
    is_wanted: impl Fn(&Part) -> bool,
    edit: impl Fn(&[u8]) -> I,
) -> Vec<Message> {
    let wanted = message
        .iter()
        .enumerate()
        .filter(|(_, part)| is_wanted(part));
    wanted
        .flat_map(|(at, part)| replaced(message, at, edit(&part.bytes)))
        .collect()
}

/// Parts at these places left out.
pub(super) fn without(message: &[Part], places: &[usize]) -> Message {
    let kept = message
        .iter()
        .enumerate()
        .filter(|(at, _)| !places.contains(at));
    kept.map(|(_, part)| part.clone()).collect()
}

pub(super) fn lower_method(message: &[Part]) -> Vec<Message> {
    edited(
        message,
        |part| part.is(&Source::Method),
        |method| [method.to_ascii_lowercase()],
    )
}

/// The values of headers, except those that are time, nonce or key id.
fn is_header(part: &Part) -> bool {
    part.sources
        .iter()
        .all(|source| matches!(source, Source::Header(_)))
        && !part.is_text()
}

pub(super) fn spaced_header(message: &[Part]) -> Vec<Message> {
    edited(message, is_header, |value| {
        [
            [b" ", value].concat(),
            [value, b" "].concat(),
            [b" ", value, b" "].concat(),
        ]
    })
}

pub(super) fn joined_header(message: &[Part]) -> Vec<Message> {
    edited(message, is_header, |value| {
        let text = String::from_utf8_lossy(value);
        let words: Vec<&str> = text.split_whitespace().collect();
        let tight = text.split(',').map(str::trim).collect::<Vec<_>>();
        [tight.join(","), tight.join(", "), words.join(" ")].map(String::into_bytes)
    })
}

pub(super) fn lower_header(message: &[Part]) -> Vec<Message> {
    edited(message, is_header, |value| [value.to_ascii_lowercase()])
}

fn is_time(part: &Part) -> bool {
    part.is(&Source::Time)
}

pub(super) fn in_millis(message: &[Part]) -> Vec<Message> {
    edited(
        message,
        |part| is_time(part) && part.bytes.len() <= 10,
        |time| [[time, b"000"].concat()],
    )
}

pub(super) fn in_seconds(message: &[Part]) -> Vec<Message> {
    edited(
        message,
        |part| is_time(part) && part.bytes.len() > 10,
        |time| time.get(..time.len().saturating_sub(3)).map(<[u8]>::to_vec),
    )
}

pub(super) fn as_date(message: &[Part]) -> Vec<Message> {
    edited(message, is_time, |time| {
        let number = std::str::from_utf8(time)
            .ok()
            .and_then(|time| time.parse::<u64>().ok());
        let time = match number {
            Some(number) if time.len() > 10 => Timestamp::from_millis(number),
            number => number.and_then(Timestamp::from_secs),
        };
        time.map(|time| time::show(time).into_bytes())
    })
}
