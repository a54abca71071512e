//! Any description of a `HeaderScheme`: it is refused, or what it signs is verified, and no two
//! requests that differ in a covered part share a signature.
#![no_main]

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use countersign::{
    HeaderScheme, KeyRing, MemoryStore, Part, Signer, Timestamp, VerifiedPayload, Verifier,
    scheme::{Encoding, JsonForm, JsonObject, MacAlgorithm, PythonJson},
    testing::ManualClock,
};
use countersign_fuzz::ready;
use http::{HeaderValue, Request};
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Description {
    signature: Option<String>,
    prefix: Option<String>,
    sha512: bool,
    base64: bool,
    millis: bool,
    event: bool,
    /// Whether key id, time and nonce are named. If this is missing, the covered ones are named.
    named: Option<[bool; 3]>,
    parts: Vec<Element>,
}

#[derive(Arbitrary, Debug, PartialEq)]
enum Element {
    LineFeed,
    Colon,
    Text(String),
    Method,
    Authority,
    Path,
    Query,
    PathAndQuery,
    HeaderA,
    HeaderB,
    Header(String),
    Time,
    Nonce,
    KeyId,
    Body,
    Document(Form),
    /// Each member with its name, and whether it is a string.
    Json(Form, Vec<(String, bool, Element)>),
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Form {
    Jcs,
    Python { compact: bool, ensure_ascii: bool },
}

/// The parts of a request, all as bytes, by [`Field`].
#[derive(Clone, Debug)]
struct Facts([Vec<u8>; 10]);

/// The value of a part that the fuzzer leaves alone.
const USUAL: [&str; 10] = [
    "POST",
    "a.example",
    "/b/c",
    "d=e",
    "f",
    "g",
    "1700000000",
    "h1",
    "i",
    "{}",
];

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Field {
    Method,
    Authority,
    Path,
    Query,
    HeaderA,
    HeaderB,
    Time,
    Nonce,
    KeyId,
    Body,
}

const SECRET: &str = "one secret for all keys";
const HEADERS: [&str; 5] = ["x-a", "x-b", "x-key-id", "x-time", "x-nonce"];

fuzz_target!(|input: (Description, Facts, Facts, Vec<u8>)| {
    let (description, one, other, bytes) = input;
    let Some(scheme) = description.build() else {
        return;
    };
    let signature = description.signature.as_deref().unwrap_or("x-signature");
    let fixed_key = !description.has(&Element::KeyId);
    let verified = |facts: &Facts| {
        let (head, payload) = facts.sign_and_verify(&scheme, description.millis, fixed_key)?;
        Some((head.headers[signature].clone(), covered(&payload)))
    };
    let compare = |one: &Facts, other: &Facts| {
        let (Some((mac, one)), Some((other_mac, other))) = (verified(one), verified(other)) else {
            return;
        };
        assert_eq!(mac == other_mac, one == other, "{one:?} and {other:?}");
    };

    compare(&one, &other);
    for (left, delimiter, right) in description.neighbours() {
        for bytes in [&bytes[..], b"", b"1", b"/"] {
            let (with_left, with_right) = one.with_between(left, &delimiter, right, bytes);
            compare(&with_left, &with_right);
        }
    }
});

/// Returns what a handler is told: what the signature covers, and nothing else.
fn covered(payload: &VerifiedPayload) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        payload.bytes().clone(),
        payload.key_id().clone(),
        payload.signed_at(),
        payload.nonce().cloned(),
        payload.method().cloned(),
        payload.authority().map(str::to_owned),
        payload.path().map(str::to_owned),
        payload.query().map(str::to_owned),
        HEADERS.map(|name| payload.header(name).cloned()),
    )
}

impl Description {
    fn has(&self, element: &Element) -> bool {
        self.parts.iter().any(|part| match part {
            Element::Json(_, members) => members.iter().any(|(_, _, part)| part == element),
            part => part == element,
        })
    }

    /// Each varying part and the next, with the delimiter between them.
    fn neighbours(&self) -> Vec<(Field, Vec<u8>, Field)> {
        let mut neighbours = Vec::new();
        let (mut left, mut delimiter) = (None, Vec::new());
        for element in &self.parts {
            if let Element::Json(_, members) = element {
                neighbours.extend(Self::members(members));
            }
            let (begins, ends) = match element {
                Element::LineFeed => {
                    delimiter.push(b'\n');
                    continue;
                }
                Element::Colon => {
                    delimiter.push(b':');
                    continue;
                }
                Element::Text(text) => {
                    delimiter.extend(text.bytes());
                    continue;
                }
                element => match element.fields() {
                    Some(fields) => fields,
                    None => {
                        left = None;
                        continue;
                    }
                },
            };
            let delimiter = std::mem::take(&mut delimiter);
            if let Some(left) = left.replace(ends) {
                neighbours.push((left, delimiter, begins));
            }
        }
        neighbours
    }

    /// Members of an object, with the texts between them.
    fn members(members: &[(String, bool, Element)]) -> Vec<(Field, Vec<u8>, Field)> {
        let pairs = members
            .iter()
            .flat_map(|left| members.iter().map(move |right| (left, right)));
        let neighbours = pairs.filter_map(|((_, _, left), (name, _, right))| {
            let delimiter = format!("\", \"{name}\": \"").into_bytes();
            Some((left.fields()?.1, delimiter, right.fields()?.0))
        });
        neighbours.collect()
    }

    fn build(&self) -> Option<HeaderScheme> {
        let covered = [Element::KeyId, Element::Time, Element::Nonce].map(|part| self.has(&part));
        let [key_id, time, nonce] = self.named.unwrap_or(covered);
        let mut scheme = HeaderScheme::builder(self.signature.as_deref().unwrap_or("x-signature"))
            .prefix(self.prefix.as_deref().unwrap_or_default())
            .signs(self.parts.iter().map(Element::part));
        if self.sha512 {
            scheme = scheme.algorithm(MacAlgorithm::HmacSha512);
        }
        if self.base64 {
            scheme = scheme.encoding(Encoding::Base64);
        }
        scheme = if key_id {
            scheme.key_id("x-key-id")
        } else {
            scheme.fixed_key_id("fixed")
        };
        scheme = match (time, self.millis) {
            (false, _) => scheme.danger_without_time(Duration::from_secs(3600)),
            (true, false) => scheme.time("x-time"),
            (true, true) => scheme.time_millis("x-time"),
        };
        scheme = match (nonce, self.event) {
            (false, _) => scheme,
            (true, false) => scheme.nonce("x-nonce"),
            (true, true) => scheme.event_id("x-nonce"),
        };
        scheme.build().ok()
    }
}

impl Element {
    /// Returns where it begins and ends in a request; `None` for what is not ours to set.
    fn fields(&self) -> Option<(Field, Field)> {
        let field = match self {
            Self::LineFeed | Self::Colon | Self::Text(_) | Self::Header(_) | Self::Json(..) => {
                return None;
            }
            Self::PathAndQuery => return Some((Field::Path, Field::Query)),
            Self::Method => Field::Method,
            Self::Authority => Field::Authority,
            Self::Path => Field::Path,
            Self::Query => Field::Query,
            Self::HeaderA => Field::HeaderA,
            Self::HeaderB => Field::HeaderB,
            Self::Time => Field::Time,
            Self::Nonce => Field::Nonce,
            Self::KeyId => Field::KeyId,
            Self::Body | Self::Document(_) => Field::Body,
        };
        Some((field, field))
    }

    fn part(&self) -> Part {
        match self {
            Self::LineFeed => Part::text("\n"),
            Self::Colon => Part::text(":"),
            Self::Text(text) => Part::text(text),
            Self::Method => Part::Method,
            Self::Authority => Part::Authority,
            Self::Path => Part::Path,
            Self::Query => Part::Query,
            Self::PathAndQuery => Part::PathAndQuery,
            Self::HeaderA => Part::header("x-a"),
            Self::HeaderB => Part::header("x-b"),
            Self::Header(name) => Part::header(name),
            Self::Time => Part::Time,
            Self::Nonce => Part::Nonce,
            Self::KeyId => Part::KeyId,
            Self::Body => Part::Body,
            Self::Document(form) => Part::canonical_body(form.form()),
            Self::Json(form, members) => {
                let mut object = JsonObject::new(form.form());
                for (name, is_string, part) in members {
                    object = if *is_string {
                        object.string(name, part.part())
                    } else {
                        object.value(name, part.part())
                    };
                }
                Part::Json(object)
            }
        }
    }
}

impl Form {
    fn form(self) -> JsonForm {
        match self {
            Self::Jcs => JsonForm::Jcs,
            Self::Python {
                compact,
                ensure_ascii,
            } => {
                let form = PythonJson::sorted().ensure_ascii(ensure_ascii);
                if compact { form.compact() } else { form }.into()
            }
        }
    }
}

impl<'a> Arbitrary<'a> for Facts {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let mut facts = USUAL.map(|usual| usual.as_bytes().to_vec());
        for (field, bytes) in bytes.arbitrary::<Vec<(Field, Vec<u8>)>>()? {
            facts[field as usize] = bytes;
        }
        Ok(Self(facts))
    }
}

impl Facts {
    fn get(&self, field: Field) -> &[u8] {
        &self.0[field as usize]
    }

    /// Two requests that make one sequence of bytes from `left` to `right`: the end of the one, or
    /// the beginning of the other, holds some bytes and a delimiter more.
    fn with_between(
        &self,
        left: Field,
        delimiter: &[u8],
        right: Field,
        bytes: &[u8],
    ) -> (Self, Self) {
        let (mut with_left, mut with_right) = (self.clone(), self.clone());
        with_left.0[left as usize].extend([delimiter, bytes].concat());
        with_right.0[right as usize].splice(0..0, [bytes, delimiter].concat());
        (with_left, with_right)
    }

    /// `None` where this makes no HTTP request, or one that cannot be signed.
    fn request(&self) -> Option<Request<Vec<u8>>> {
        let mut target = self.get(Field::Path).to_vec();
        if !self.get(Field::Query).is_empty() {
            target.push(b'?');
            target.extend(self.get(Field::Query));
        }
        let mut request = Request::builder()
            .method(self.get(Field::Method))
            .uri(&target[..]);
        for (name, field) in [("x-a", Field::HeaderA), ("x-b", Field::HeaderB)] {
            request = request.header(name, HeaderValue::from_bytes(self.get(field)).ok()?);
        }
        if !self.get(Field::Authority).is_empty() {
            request = request.header("host", self.get(Field::Authority));
        }
        request.body(self.get(Field::Body).to_vec()).ok()
    }

    fn sign_and_verify(
        &self,
        scheme: &HeaderScheme,
        millis: bool,
        fixed_key: bool,
    ) -> Option<(http::request::Parts, VerifiedPayload)> {
        let time: u64 = str::from_utf8(self.get(Field::Time)).ok()?.parse().ok()?;
        let now = if millis {
            Timestamp::from_millis(time)?
        } else {
            Timestamp::from_secs(time)?
        };
        let clock = ManualClock::at(now);
        let key_id = if fixed_key {
            "fixed"
        } else {
            str::from_utf8(self.get(Field::KeyId)).ok()?
        };
        let nonce = str::from_utf8(self.get(Field::Nonce)).ok()?;
        let signer = Signer::new(scheme.clone(), key_id, SECRET)
            .ok()?
            .clock(clock.clone());
        let signed = signer.sign_with_nonce(self.request()?, nonce).ok()?;

        let (head, body) = signed.into_parts();
        let store = MemoryStore::builder()
            .capacity_bytes(64 * 1024)
            .clock(clock.clone());
        let verifier = Verifier::builder(scheme.clone())
            .danger_any_authority()
            .methods([head.method.clone()])
            .keys(
                KeyRing::new()
                    .with(key_id, SECRET)
                    .expect("valid, as the signer found"),
            )
            .store(
                store
                    .danger_assume_no_history()
                    .build()
                    .expect("a valid capacity"),
            )
            .clock(clock)
            .build()
            .expect("a configuration that is valid for every scheme");
        let verified = ready(verifier.verify(&head, Full::new(Bytes::from(body))));
        let verified = verified.expect("what was signed is verified");
        let payload = verified.payload().expect("it is claimed");
        Some((head, payload.clone()))
    }
}
