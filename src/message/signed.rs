//! The signed message: the bytes that go into the MAC, and which part of the request each came
//! from.

use std::{borrow::Cow, fmt, ops::Range};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::HeaderName;

use super::{
    body::{BodyDigest, BodyDigests, BodyForm, BodyPlace},
    canonical_json::JsonForm,
    digest::DigestAlgorithm,
    part::Part,
    query,
    time::read_time,
};
use crate::clock::Timestamp;

/// A signed message. A scheme writes it part by part, so that what it covers is known from what it
/// holds, and from nothing else.
#[derive(Default)]
pub(crate) struct Message {
    /// Without the body.
    pub(super) bytes: Vec<u8>,
    pub(super) parts: Vec<Written>,
    body: BodyPlace,
    /// A value that must be supplied is not known: the message is that of no request.
    is_open: bool,
}

/// A part, and its place in a message.
#[derive(PartialEq, Eq)]
pub(super) struct Written {
    pub(super) part: Part,
    pub(super) place: Range<usize>,
    /// The value, if the message holds it in another form.
    pub(super) value: Option<Box<[u8]>>,
}

impl Written {
    /// The value of the part, in a message of these bytes.
    pub(super) fn value<'m>(&'m self, bytes: &'m [u8]) -> &'m [u8] {
        let in_place = || bytes.get(self.place.clone()).unwrap_or_default();
        self.value.as_deref().unwrap_or_else(in_place)
    }
}

/// The parameters of the signature in a message.
#[derive(Default)]
pub(crate) struct CoveredParameters<'m> {
    pub(crate) signed_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) nonce: Option<&'m [u8]>,
    pub(crate) key_id: Option<&'m [u8]>,
}

impl<'m> CoveredParameters<'m> {
    /// Reads these parts of a text. Each is there at most once.
    pub(super) fn read(parts: &'m [Written], bytes: &'m [u8]) -> Self {
        let mut parameters = Self::default();
        for written in parts {
            let value = || written.value(bytes);
            match written.part {
                Part::Time(unit) => parameters.signed_at = read_time(value(), unit),
                Part::Expires(unit) => parameters.expires_at = read_time(value(), unit),
                Part::Nonce => parameters.nonce = Some(value()),
                Part::KeyId => parameters.key_id = Some(value()),
                _ => {}
            }
        }
        parameters
    }
}

/// Writing.
impl Message {
    /// A message of these parts, of which no body is known.
    pub(super) fn of(bytes: Vec<u8>, parts: Vec<Written>) -> Self {
        Self {
            bytes,
            parts,
            ..Self::default()
        }
    }

    /// An empty message, with room for this many bytes and parts.
    pub(crate) fn with_room(bytes: usize, parts: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            parts: Vec::with_capacity(parts),
            body: BodyPlace::default(),
            is_open: false,
        }
    }

    /// Appends what covers nothing: fixed text, or a part that others could read in another way.
    #[inline]
    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) {
        self.bytes.extend_from_slice(text.as_ref());
    }

    /// Appends a part, as it is in the request.
    pub(crate) fn part(&mut self, part: Part, value: impl AsRef<[u8]>) {
        self.write(part, None, |bytes| bytes.extend_from_slice(value.as_ref()));
    }

    /// Says that the part which was appended last is this one too.
    pub(crate) fn also(&mut self, part: Part) {
        if let Some(last) = self.parts.last() {
            let (place, value) = (last.place.clone(), last.value.clone());
            self.parts.push(Written { part, place, value });
        }
    }

    /// Appends path and query as they are in the target.
    pub(crate) fn path_and_query(&mut self, path: &str, query: Option<&str>) {
        self.part(Part::Path, path);
        if query.is_some() {
            self.text("?");
        }
        self.part(Part::Query, query.unwrap_or_default());
    }

    /// Appends text, and notes the place of each part in it, with the part's value if it differs.
    pub(crate) fn text_with(
        &mut self,
        text: &str,
        parts: impl IntoIterator<Item = (Part, Range<usize>, Option<Box<[u8]>>)>,
    ) {
        let start = self.bytes.len();
        self.text(text);
        for (part, place, value) in parts {
            let place = start + place.start..start + place.end;
            self.parts.push(Written { part, place, value });
        }
    }

    /// Appends a parameter of the query, given by its encoded name, in the one encoding of RFC
    /// 9421.
    pub(crate) fn query_param(&mut self, name: &str, value: &str) {
        let name = query::decode(name).unwrap_or_default();
        let encoded = query::encode(value);
        let rewritten = (encoded != value).then(|| value.as_bytes().into());
        self.write(Part::QueryParam((*name).into()), rewritten, |bytes| {
            bytes.extend_from_slice(encoded.as_bytes());
        });
    }

    /// Appends a header as a list of byte sequences (RFC 9421, section 2.1.3), one for each line.
    pub(crate) fn byte_sequences<'l>(
        &mut self,
        name: HeaderName,
        lines: impl Iterator<Item = &'l [u8]>,
    ) {
        let (mut value, mut sequences) = (Vec::new(), String::new());
        for (index, line) in lines.enumerate() {
            if index > 0 {
                value.extend_from_slice(b", ");
                sequences.push_str(", ");
            }
            value.extend_from_slice(line);
            sequences.push(':');
            STANDARD.encode_string(line, &mut sequences);
            sequences.push(':');
        }
        self.write(Part::Header(name), Some(value.into()), |bytes| {
            bytes.extend_from_slice(sequences.as_bytes());
        });
    }

    /// Appends all that another message holds, as one string in a document of this form; `None` if
    /// it is not ASCII, which is written in one way alone.
    pub(crate) fn quoted(&mut self, form: JsonForm, other: Self) -> Option<()> {
        self.is_open |= other.is_open;
        let text = str::from_utf8(&other.bytes).ok()?;
        if !text.is_ascii() {
            return None;
        }
        let string = form.string(text);
        let begin = self.bytes.len();
        self.text(&string);
        let is_plain = string.get(1..=text.len()) == Some(text.as_bytes());
        self.parts.extend(other.parts.into_iter().map(|written| {
            let Range { start, end } = written.place;
            let (place, value) = if is_plain {
                (begin + 1 + start..begin + 1 + end, written.value)
            } else {
                let value = written.value(&other.bytes).into();
                (begin..begin + string.len(), Some(value))
            };
            Written {
                part: written.part,
                place,
                value,
            }
        }));
        Some(())
    }

    /// Appends what is part of another message than the one that is signed: it covers nothing here.
    pub(crate) fn of_another<R>(&mut self, write: impl FnOnce(&mut Self) -> R) -> R {
        let own = self.parts.len();
        let written = write(self);
        self.parts.truncate(own);
        written
    }

    /// Puts the body here.
    pub(crate) fn body(&mut self, form: BodyForm) {
        let offset = self.bytes.len();
        self.body = BodyPlace::At { offset, form };
    }

    /// Says which digests of the body the message holds.
    pub(crate) fn digests(&mut self, digests: impl Into<BodyDigests>) {
        self.body = BodyPlace::Digests(digests.into());
    }

    /// Says that a value is missing here, which must be supplied.
    pub(crate) fn leave_open(&mut self) {
        self.is_open = true;
    }

    fn write(&mut self, part: Part, value: Option<Box<[u8]>>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let place = start..self.bytes.len();
        self.parts.push(Written { part, place, value });
    }
}

/// The covered parts.
impl Message {
    pub(crate) fn covers(&self, part: &Part) -> bool {
        self.parts.iter().any(|written| written.part == *part)
    }

    pub(crate) fn covers_header(&self, name: &HeaderName) -> bool {
        self.headers().any(|covered| covered == name)
    }

    pub(crate) fn covers_member(&self, name: &HeaderName, key: &str) -> bool {
        self.parts.iter().any(|written| match &written.part {
            Part::Member(member) => member.0 == *name && *member.1 == *key,
            _ => false,
        })
    }

    /// Returns whether this header is covered, or a member of it.
    pub(crate) fn covers_any_of(&self, name: &HeaderName) -> bool {
        self.parts.iter().any(|written| match &written.part {
            Part::Header(covered) => covered == name,
            Part::Member(member) => member.0 == *name,
            _ => false,
        })
    }

    /// The headers that are covered, in the order of the message.
    pub(crate) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.parts.iter().filter_map(|written| match &written.part {
            Part::Header(name) => Some(name),
            _ => None,
        })
    }

    /// The method, if it is covered.
    pub(super) fn method(&self) -> Option<&[u8]> {
        let mut parts = self.parts.iter();
        let written = parts.find(|written| matches!(written.part, Part::Method))?;
        Some(written.value(&self.bytes))
    }

    /// The value of this part.
    pub(crate) fn value_of(&self, wanted: &Part) -> Option<&[u8]> {
        let mut parts = self.parts.iter();
        let written = parts.find(|written| written.part == *wanted)?;
        Some(written.value(&self.bytes))
    }

    /// Returns what the message says about its signature. Each is there at most once.
    pub(crate) fn parameters(&self) -> CoveredParameters<'_> {
        CoveredParameters::read(&self.parts, &self.bytes)
    }
}

/// The bytes, and the body among them.
impl Message {
    pub(crate) fn body_place(&self) -> &BodyPlace {
        &self.body
    }

    /// Returns whether a value that must be supplied is missing. No MAC is that of such a message.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// The bytes before the body, or the whole message if the head completes it.
    pub(crate) fn before_body(&self) -> &[u8] {
        self.around_body().0
    }

    pub(crate) fn after_body(&self) -> &[u8] {
        self.around_body().1
    }

    fn around_body(&self) -> (&[u8], &[u8]) {
        match self.body {
            BodyPlace::At { offset, .. } => self.bytes.split_at_checked(offset).unwrap_or_default(),
            BodyPlace::Digests(_) => (&self.bytes, &[]),
        }
    }

    /// Returns whether both hold a body at the same place, and beside it the same bytes from the
    /// same parts: with one body, they are one message.
    pub(crate) fn is_same_around_body(&self, other: &Self) -> bool {
        match (&self.body, &other.body) {
            (BodyPlace::At { offset: one, .. }, BodyPlace::At { offset: two, .. }) => {
                one == two && self.bytes == other.bytes && self.parts == other.parts
            }
            _ => false,
        }
    }

    /// The digests of the body that decide whether it is the one that was signed.
    pub(crate) fn body_digests(&self) -> &[BodyDigest] {
        match &self.body {
            BodyPlace::Digests(digests) => digests,
            BodyPlace::At { .. } => &[],
        }
    }

    /// The algorithms of those digests.
    pub(crate) fn digest_algorithms(&self) -> impl Iterator<Item = DigestAlgorithm> {
        self.body_digests().iter().map(|digest| digest.algorithm)
    }

    /// The form of the body, if that is not the one in which it was received.
    pub(crate) fn body_form(&self) -> Option<&BodyForm> {
        match &self.body {
            BodyPlace::Digests(_)
            | BodyPlace::At {
                form: BodyForm::Raw,
                ..
            } => None,
            BodyPlace::At { form, .. } => Some(form),
        }
    }

    /// Returns how long the message is without the body.
    pub(crate) fn head_len(&self) -> usize {
        self.bytes.len()
    }

    /// The body in the form in which it is signed, if that is not the one in which it is sent.
    pub(crate) fn rewrite_body(&self, body: &[u8]) -> Result<Option<Bytes>, Cow<'static, str>> {
        let Some(form) = self.body_form() else {
            return Ok(None);
        };
        let formed = form.rewrite(&Bytes::copy_from_slice(body))?;
        Ok(formed.map(|formed| formed.signed))
    }

    /// Feeds the signed message to `sink`; `body` is in the form in which it is signed.
    pub(crate) fn feed(&self, body: &[u8], mut sink: impl FnMut(&[u8])) {
        match self.body {
            BodyPlace::Digests(_) => sink(&self.bytes),
            BodyPlace::At { .. } => {
                sink(self.before_body());
                sink(body);
                sink(self.after_body());
            }
        }
    }
}

/// Without the bytes: covered headers may be confidential.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.iter().map(|written| &written.part);
        f.debug_struct("Message")
            .field("len", &self.bytes.len())
            .field("parts", &parts.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
