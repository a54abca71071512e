//! The statements of a signed message about its request: read from its bytes, part by part.

use std::{collections::HashMap, ops::Range, sync::OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use smallvec::SmallVec;

use super::{
    part::Part,
    query,
    signed::{CoveredParameters, Message, Written},
};

/// The parts of a request that its signed message holds. Every value is read from the message; what
/// is not in the message is `None`.
pub(crate) struct Covered {
    bytes: Vec<u8>,
    parts: Vec<Written>,
    method: Option<Method>,
    /// Headers of the request that are marked as sensitive, whether they are covered or not.
    sensitive: Vec<HeaderName>,
    /// Each once; made when the first is asked for, which is seldom.
    headers: OnceLock<Vec<(HeaderName, HeaderValue)>>,
    /// The parameters of the query, by their decoded names; made when the first is asked for.
    params: OnceLock<HashMap<Box<str>, Option<Box<str>>>>,
}

/// A part, and its place in a text.
pub(crate) struct Place {
    pub(crate) part: Part,
    pub(crate) range: Range<usize>,
    /// The value, if the text holds it in another form.
    pub(crate) value: Option<Box<[u8]>>,
    /// Whether it is a header that is marked as sensitive.
    pub(crate) is_sensitive: bool,
}

impl Covered {
    /// Reads a message that is believed. A header of the request that is marked as sensitive stays
    /// so.
    pub(crate) fn new(message: Message, sent: &HeaderMap) -> Self {
        let method = message.method();
        let mut sensitive = Vec::new();
        if sent.values().any(HeaderValue::is_sensitive) {
            let marked = sent.iter().filter(|(_, value)| value.is_sensitive());
            sensitive.extend(marked.map(|(name, _)| name.clone()));
        }
        Self {
            method: method.and_then(|method| Method::from_bytes(method).ok()),
            sensitive,
            headers: OnceLock::new(),
            params: OnceLock::new(),
            bytes: message.bytes,
            parts: message.parts,
        }
    }

    /// Makes it again from what [`bytes`](Self::bytes) and [`places`](Self::places) said.
    pub(crate) fn again(bytes: Vec<u8>, places: Vec<Place>) -> Self {
        let mut sensitive = Vec::new();
        let mut parts = Vec::with_capacity(places.len());
        for place in places {
            if place.is_sensitive
                && let Part::Header(name) = &place.part
            {
                sensitive.push(name.clone());
            }
            parts.push(Written {
                part: place.part,
                place: place.range,
                value: place.value,
            });
        }
        let message = Message::of(bytes, parts);
        Self {
            sensitive,
            ..Self::new(message, &HeaderMap::new())
        }
    }

    /// The signed message, without the body.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The parts of the text, in its order.
    pub(crate) fn places(&self) -> impl ExactSizeIterator<Item = Place> {
        self.parts.iter().map(|written| Place {
            is_sensitive: matches!(&written.part, Part::Header(name) if self.sensitive.contains(name)),
            part: written.part.clone(),
            range: written.place.clone(),
            value: written.value.clone(),
        })
    }

    /// Returns what the text says about its signature.
    pub(crate) fn parameters(&self) -> CoveredParameters<'_> {
        CoveredParameters::read(&self.parts, &self.bytes)
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
        let mut headers = self.headers().iter();
        headers
            .find(|(known, _)| known.as_str().eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn supplied(&self, name: &str) -> Option<&str> {
        self.text(|part| matches!(part, Part::Supplied(known) if **known == *name))
    }

    pub(crate) fn member(&self, name: &str, key: &str) -> Option<&str> {
        self.text(|part| match part {
            Part::Member(member) => {
                let (header, member) = &**member;
                header.as_str().eq_ignore_ascii_case(name) && **member == *key
            }
            _ => false,
        })
    }

    /// A parameter that is covered by itself, or as part of the whole query.
    pub(crate) fn query_param(&self, name: &str) -> Option<&str> {
        let by_itself = |part: &_| matches!(part, Part::QueryParam(param) if **param == *name);
        self.text(by_itself)
            .or_else(|| self.params().get(name)?.as_deref())
    }

    /// The parameters of the query, if all of it is covered. A parameter that occurs more than once, or is
    /// no UTF-8, has no value.
    fn params(&self) -> &HashMap<Box<str>, Option<Box<str>>> {
        self.params.get_or_init(|| {
            let mut params = HashMap::new();
            let pairs = self.query().unwrap_or_default().split('&');
            for pair in pairs.filter(|pair| !pair.is_empty()) {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let Some(name) = query::decode(name) else {
                    continue;
                };
                let value = query::decode(value).map(|value| (*value).into());
                params
                    .entry((*name).into())
                    .and_modify(|several| *several = None)
                    .or_insert(value);
            }
            params
        })
    }

    /// The covered headers, each once.
    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        self.headers.get_or_init(|| {
            let shared = Bytes::copy_from_slice(&self.bytes);
            let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
            for written in &self.parts {
                if let Part::Header(name) = &written.part
                    && headers.iter().all(|(known, _)| known != name)
                    && let Ok(mut value) = match &written.value {
                        Some(value) => HeaderValue::from_bytes(value),
                        None => HeaderValue::from_maybe_shared(shared.slice(written.place.clone())),
                    }
                {
                    value.set_sensitive(self.sensitive.contains(name));
                    headers.push((name.clone(), value));
                }
            }
            headers
        })
    }

    /// Returns what the message says, part by part, without what a signature says about itself: its
    /// time, its expiry, its nonce and its key id, also as the headers that hold them.
    pub(crate) fn content(&self) -> impl Iterator<Item = (&Part, &[u8])> {
        let of_signature = self.parts.iter().filter(|written| {
            matches!(
                written.part,
                Part::Time(_) | Part::Expires(_) | Part::Nonce | Part::KeyId
            )
        });
        let of_signature: SmallVec<[_; 4]> = of_signature.map(|written| &written.place).collect();
        let content = self.parts.iter();
        let content = content.filter(move |written| !of_signature.contains(&&written.place));
        content.map(|written| (&written.part, written.value(&self.bytes)))
    }

    /// The bytes of a covered header, without making the others.
    pub(crate) fn header_bytes(&self, name: &HeaderName) -> Option<&[u8]> {
        let mut parts = self.parts.iter();
        let written =
            parts.find(|written| matches!(&written.part, Part::Header(known) if known == name))?;
        Some(written.value(&self.bytes))
    }

    fn text(&self, is_wanted: impl Fn(&Part) -> bool) -> Option<&str> {
        let written = self.parts.iter().find(|written| is_wanted(&written.part))?;
        str::from_utf8(written.value(&self.bytes)).ok()
    }
}
