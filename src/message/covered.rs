//! What a signed message says of its request: read from its bytes, part by part.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{
    part::Part,
    signed::{Message, Written},
};

/// The parts of a request that its signed message holds. Every value is read from the message; what
/// is not in the message is `None`.
pub(crate) struct Covered {
    bytes: Bytes,
    parts: Vec<Written>,
    method: Option<Method>,
    /// Each once.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Covered {
    /// Reads a message that is believed. A header of the request that is marked as sensitive stays so.
    pub(crate) fn new(message: Message, sent: &HeaderMap) -> Self {
        let mut headers: Vec<(HeaderName, HeaderValue)> =
            Vec::with_capacity(message.headers().count());
        let Message { bytes, parts, .. } = message;
        let bytes = Bytes::from(bytes);
        let mut method = None;
        for written in &parts {
            match &written.part {
                Part::Method => method = Method::from_bytes(written.value(&bytes)).ok(),
                Part::Header(name) if headers.iter().all(|(known, _)| known != name) => {
                    let value = match &written.value {
                        Some(value) => HeaderValue::from_bytes(value),
                        None => HeaderValue::from_maybe_shared(bytes.slice(written.place.clone())),
                    };
                    if let Ok(mut value) = value {
                        let mut lines = sent.get_all(name).iter();
                        value.set_sensitive(lines.any(HeaderValue::is_sensitive));
                        headers.push((name.clone(), value));
                    }
                }
                _ => {}
            }
        }
        Self {
            bytes,
            parts,
            method,
            headers,
        }
    }

    pub(crate) fn method(&self) -> Option<&Method> {
        self.method.as_ref()
    }

    pub(crate) fn authority(&self) -> Option<&str> {
        self.text(|part| *part == Part::Authority)
    }

    pub(crate) fn path(&self) -> Option<&str> {
        self.text(|part| *part == Part::Path)
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.text(|part| *part == Part::Query)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&HeaderValue> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known.as_str().eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn member(&self, name: &str, key: &str) -> Option<&str> {
        self.text(|part| match part {
            Part::Member(header, member) => {
                header.as_str().eq_ignore_ascii_case(name) && **member == *key
            }
            _ => false,
        })
    }

    pub(crate) fn query_param(&self, name: &str) -> Option<&str> {
        self.text(|part| matches!(part, Part::QueryParam(param) if **param == *name))
    }

    /// The covered headers, each once.
    pub(crate) fn headers(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.headers.iter()
    }

    fn text(&self, is_wanted: impl Fn(&Part) -> bool) -> Option<&str> {
        let written = self.parts.iter().find(|written| is_wanted(&written.part))?;
        str::from_utf8(written.value(&self.bytes)).ok()
    }
}
