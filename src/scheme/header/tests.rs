//! That no description which is accepted lets two requests share a signed message, searched for
//! with real requests; that each refusal says why; and that what is signed verifies, and nothing
//! else does.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, request::Parts, uri};
use http_body_util::Full;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use super::{
    Coverage, Describe, Description, Element, Head, HeaderScheme, HeaderSchemeBuilder, KeyId,
    KeySource, Part, Profile, Reading, TimeUnit,
    builder::elements,
    decodable::{alphabet, is_never_empty, undelimited},
};
use crate::{
    Encoding, KeyRing, MacAlgorithm, ManualClock, MemoryStore, NonceKind, RejectionKind, Signer,
    Timestamp, VerifiedPayload, Verifier, rejection::Rejection, target::Origins,
};

/// The values of a request, covered or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Values {
    method: String,
    authority: String,
    path: String,
    query: Option<String>,
    a: String,
    b: String,
    time: String,
    nonce: String,
    key_id: String,
    body: Vec<u8>,
}

impl Values {
    fn plain() -> Self {
        Self {
            method: "POST".into(),
            authority: "a.example".into(),
            path: "/".into(),
            query: None,
            a: "a".into(),
            b: "b".into(),
            time: "1".into(),
            nonce: "n".into(),
            key_id: "k".into(),
            body: Vec::new(),
        }
    }

    /// A real request with these values; `None` where HTTP cannot carry them.
    fn request(&self) -> Option<Parts> {
        let query = self.query.iter().map(|query| format!("?{query}"));
        let target = format!("{}{}", self.path, query.collect::<String>());
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(target.parse::<Uri>().ok()?)
            .body(())
            .ok()?;
        // The parser drops a fragment; and with a `?` in its path, this would be another request than
        // the one that these values seem to describe.
        let uri = request.uri();
        let is_read = uri.path() == self.path && uri.query() == self.query.as_deref();
        if uri.to_string() != target || !is_read {
            return None;
        }
        let headers = [
            ("host", &self.authority),
            ("x-a", &self.a),
            ("x-b", &self.b),
            ("x-time", &self.time),
            ("x-nonce", &self.nonce),
            ("x-key-id", &self.key_id),
        ];
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
            request.headers_mut().insert(name, value);
        }
        request.headers_mut().insert("x-signature", no_mac());
        Some(request.into_parts().0)
    }

    /// The same with what stands for this part replaced.
    fn with(mut self, part: &Part, value: &[u8]) -> Option<Self> {
        let text = || std::str::from_utf8(value).ok().map(str::to_owned);
        match part {
            Part::Text(_) => {}
            Part::Method => self.method = text()?,
            Part::Authority => self.authority = text()?,
            Part::Path => self.path = text()?,
            Part::Query => self.query = text().map(|query| (!query.is_empty()).then_some(query))?,
            Part::PathAndQuery => {
                let text = text()?;
                let (path, query) = match text.split_once('?') {
                    Some((path, query)) => (path, Some(query.to_owned())),
                    None => (&*text, None),
                };
                (self.path, self.query) = (path.to_owned(), query);
            }
            Part::Header(name) if name == "x-a" => self.a = text()?,
            Part::Header(_) => self.b = text()?,
            Part::Time => self.time = text()?,
            Part::Nonce => self.nonce = text()?,
            Part::KeyId => self.key_id = text()?,
            Part::Body => self.body = value.to_vec(),
        }
        Some(self)
    }
}

/// What is named has to be covered, and the other way round.
fn builder(parts: &[Part]) -> HeaderSchemeBuilder {
    let mut builder = HeaderScheme::builder("x-signature").signs(parts.iter().cloned());
    builder = if parts.contains(&Part::KeyId) {
        builder.key_id("x-key-id")
    } else {
        builder.fixed_key_id("k")
    };
    builder = if parts.contains(&Part::Time) {
        builder.time("x-time")
    } else {
        builder.danger_without_time(Duration::from_secs(86_400))
    };
    if parts.contains(&Part::Nonce) {
        builder = builder.nonce("x-nonce");
    }
    builder
}

/// The same description, past every check.
fn unchecked(parts: &[Part]) -> HeaderScheme {
    let has = |part| parts.contains(&part);
    let name = HeaderName::from_static;
    let key = if has(Part::KeyId) {
        KeySource::Header(name("x-key-id"))
    } else {
        KeySource::Fixed(KeyId::new("k").unwrap())
    };
    HeaderScheme(Arc::new(Description {
        signature: name("x-signature"),
        encoding: Encoding::Hex,
        prefix: String::new(),
        key,
        time: has(Part::Time).then(|| (name("x-time"), TimeUnit::Seconds)),
        nonce: has(Part::Nonce).then(|| (name("x-nonce"), NonceKind::Covered)),
        elements: elements(parts).unwrap(),
        coverage: Coverage::default(),
        profile: Profile {
            algorithm: MacAlgorithm::HmacSha256,
            covers_authority: false,
            covers_place: false,
            untimed_retention: None,
            event_horizon: None,
            may_repeat: false,
            sender_retries: false,
        },
    }))
}

/// The signed message of a request, from the code that verifies.
fn message_of(scheme: &HeaderScheme, parts: &Parts, body: &[u8]) -> Option<Vec<u8>> {
    let origins = Origins::default();
    let head = Head {
        method: &parts.method,
        target: origins.resolve(parts).ok()?,
        headers: &parts.headers,
    };
    let Ok(Reading::Candidates(candidates)) = scheme.read(&head, None) else {
        return None;
    };
    let mut message = Vec::new();
    let input = &candidates[0].input;
    input.feed(body, |bytes| message.extend_from_slice(bytes));
    Some(message)
}

fn message(scheme: &HeaderScheme, values: &Values) -> Option<Vec<u8>> {
    message_of(scheme, &values.request()?, &values.body)
}

fn no_mac() -> HeaderValue {
    HeaderValue::from_str(&"0".repeat(64)).unwrap()
}

/// Another request with the same message: every way to take the message apart is tried, up to a
/// bound, with the values that are not covered left as they are.
fn collision(scheme: &HeaderScheme, parts: &[Part], values: &Values) -> Option<Values> {
    let message_of_values = message(scheme, values)?;
    let mut search = Search {
        parts,
        scheme,
        message: &message_of_values,
        original: values,
        left: 2000,
    };
    search.from(0, 0, values.clone())
}

struct Search<'s> {
    parts: &'s [Part],
    scheme: &'s HeaderScheme,
    message: &'s [u8],
    original: &'s Values,
    left: usize,
}

impl Search<'_> {
    fn from(&mut self, part: usize, at: usize, values: Values) -> Option<Values> {
        let rest = &self.message[at..];
        let Some(part_here) = self.parts.get(part) else {
            let other = rest.is_empty() && values != *self.original;
            if !other || self.left == 0 {
                return None;
            }
            self.left -= 1;
            let same = message(self.scheme, &values).as_deref() == Some(self.message);
            return same.then_some(values);
        };
        if let Part::Text(text) = part_here {
            return rest
                .starts_with(text.as_bytes())
                .then(|| self.from(part + 1, at + text.len(), values))?;
        }
        (0..=rest.len()).find_map(|len| {
            let value = &rest[..len];
            let values = plausible(part_here, value)
                .then(|| values.clone().with(part_here, value))
                .flatten()?;
            self.from(part + 1, at + len, values)
        })
    }
}

/// Keeps the search small; what is let through is still made into a real request.
fn plausible(part: &Part, value: &[u8]) -> bool {
    match part {
        Part::Method => Method::from_bytes(value).is_ok(),
        Part::Path | Part::PathAndQuery => value.starts_with(b"/"),
        Part::Time => !value.is_empty() && value.iter().all(u8::is_ascii_digit),
        Part::Nonce | Part::KeyId => !value.is_empty() && HeaderValue::from_bytes(value).is_ok(),
        Part::Header(_) | Part::Authority => HeaderValue::from_bytes(value).is_ok(),
        Part::Text(_) | Part::Query | Part::Body => true,
    }
}

fn any_values() -> impl Strategy<Value = Values> {
    let head = (
        "[A1.]{1,3}",
        "[a1.:]{1,3}",
        "/[1./a]{0,3}",
        proptest::option::of("[1./?a]{1,3}"),
        "[ \t1./?A:]{0,3}",
        "[ \t1./?A:]{0,3}",
    );
    let rest = (
        "[1-9][0-9]{0,2}",
        "[1./A]{1,3}",
        "[1./A]{1,3}",
        "[\n1./?A: \t]{0,4}",
    );
    (head, rest).prop_map(
        |((method, authority, path, query, a, b), (time, nonce, key_id, body))| Values {
            method,
            authority,
            path,
            query,
            a,
            b,
            time,
            nonce,
            key_id,
            body: body.into(),
        },
    )
}

fn any_part() -> impl Strategy<Value = Part> {
    prop_oneof![
        Just(Part::Method),
        Just(Part::Authority),
        Just(Part::Path),
        Just(Part::Query),
        Just(Part::PathAndQuery),
        Just(Part::header("x-a")),
        Just(Part::header("x-b")),
        Just(Part::Time),
        Just(Part::Nonce),
        Just(Part::KeyId),
        Just(Part::Body),
    ]
}

/// Up to seven parts; between them mostly a delimiter that is safe, and often enough one that is
/// not, or none.
fn any_parts() -> impl Strategy<Value = Vec<Part>> {
    let delimiter = prop_oneof![
        6 => Just(Part::text("\n")),
        3 => "[\n./?1A \t]{1,2}".prop_map(Part::text),
        1 => Just(Part::text("")),
    ];
    let parts = prop::collection::vec((any_part(), delimiter), 1..=7);
    (parts, any::<(bool, bool)>()).prop_map(|(parts, (leading, trailing))| {
        let mut joined = Vec::new();
        for (part, delimiter) in parts {
            // A header is named once, and so is the body.
            let once = matches!(part, Part::Header(_) | Part::Body);
            if !(once && joined.contains(&part)) {
                joined.push(part);
                joined.push(delimiter);
            }
        }
        if !trailing {
            joined.pop();
        }
        if leading {
            joined.rotate_right(1);
        }
        joined.retain(|part| *part != Part::text(""));
        joined
    })
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        ..Config::default()
    })
}

#[test]
fn no_two_requests_share_a_message_under_a_description_that_is_accepted() {
    let accepted = Cell::new(0);
    let outcome = runner(4000).run(&(any_parts(), any_values()), |(parts, values)| {
        let Ok(scheme) = builder(&parts).build() else {
            return Ok(());
        };
        if message(&scheme, &values).is_some() {
            accepted.set(accepted.get() + 1);
        }
        let other = collision(&scheme, &parts, &values);
        prop_assert_eq!(other, None, "{:?}", parts);
        Ok(())
    });
    outcome.unwrap();
    assert!(accepted.get() > 500, "{} were searched", accepted.get());
}

/// The search of the test above finds what it looks for, where there is something to find.
#[test]
fn the_search_finds_collisions_under_descriptions_that_are_refused() {
    let mut runner = TestRunner::deterministic();
    let (mut refused, mut found) = (0, 0);
    while refused < 300 {
        let parts = any_parts().new_tree(&mut runner).unwrap().current();
        if undelimited(&elements(&parts).unwrap()).is_none() {
            continue;
        }
        refused += 1;
        let scheme = unchecked(&parts);
        found += usize::from((0..20).any(|_| {
            let values = any_values().new_tree(&mut runner).unwrap().current();
            collision(&scheme, &parts, &values).is_some()
        }));
    }
    assert!(found * 2 > refused, "{found} of {refused}");
}

#[test]
fn the_search_finds_the_collisions_that_are_well_known() {
    let cases = [
        vec![Part::Time, Part::Body],
        vec![
            Part::Nonce,
            Part::text("."),
            Part::Time,
            Part::text("."),
            Part::Body,
        ],
        vec![Part::Method, Part::PathAndQuery, Part::Body],
        vec![Part::Path, Part::Query],
        vec![Part::header("x-a"), Part::text(":"), Part::header("x-b")],
        vec![Part::Nonce, Part::KeyId, Part::text("\n")],
        vec![
            Part::Body,
            Part::text("\n"),
            Part::header("x-a"),
            Part::Time,
        ],
    ];
    for parts in cases {
        assert!(builder(&parts).build().is_err(), "{parts:?}");
        let scheme = unchecked(&parts);
        let mut runner = TestRunner::deterministic();
        let found = (0..2000).any(|_| {
            let values = any_values().new_tree(&mut runner).unwrap().current();
            collision(&scheme, &parts, &values).is_some()
        });
        assert!(found, "{parts:?}");
    }
}

/// A few values of each part, chosen so that they overlap with each other and with the delimiters.
fn tiny(part: &Part) -> &'static [&'static str] {
    match part {
        Part::Text(_) => &[""],
        Part::Method => &["A", "A1", "1", "1A", "A.A", "1.1", ".", "1."],
        Part::Authority => &["a", "a1", "1", "1.1", "a.a", "1."],
        Part::Path => &["/", "/1", "/1/1", "/.", "/1.1", "/a"],
        Part::Query => &["", "1", "/1", ".1", "1.1", "?", "/"],
        Part::PathAndQuery => &["/", "/1", "/1/1", "/?1", "/?/1", "/.", "/?"],
        Part::Header(_) => &["", "1", ".", "1.1", "/1", "A", "/1/1", " "],
        Part::Time => &["1", "11", "111"],
        Part::Nonce | Part::KeyId => &["1", "11", "1.1", "A", "/1", ".1", "/"],
        Part::Body => &["", "1", "\n", "1\n1", "1.1", "/1", ".1", "A"],
    }
}

const ALL: [fn() -> Part; 12] = [
    || Part::text("\n"),
    || Part::text("."),
    || Part::text("1"),
    || Part::Method,
    || Part::Authority,
    || Part::Path,
    || Part::Query,
    || Part::PathAndQuery,
    || Part::header("x-a"),
    || Part::Time,
    || Part::Nonce,
    || Part::Body,
];

/// All descriptions of up to `max` parts.
fn descriptions(max: usize) -> impl Iterator<Item = Vec<Part>> {
    (1..=max).flat_map(|len| {
        (0..ALL.len().pow(u32::try_from(len).unwrap())).map(move |mut number| {
            let mut part = || {
                let part = ALL[number % ALL.len()]();
                number /= ALL.len();
                part
            };
            (0..len).map(|_| part()).collect()
        })
    })
}

/// Whether two of the requests that the tiny values make share a message.
fn collides(scheme: &HeaderScheme, parts: &[Part]) -> bool {
    let mut all = vec![Values::plain()];
    for part in parts {
        all = all
            .iter()
            .flat_map(|values| {
                tiny(part)
                    .iter()
                    .map(|value| values.clone().with(part, value.as_bytes()))
            })
            .collect::<Option<_>>()
            .unwrap();
    }
    let distinct: HashSet<_> = all.into_iter().collect();
    let mut seen = HashMap::new();
    distinct.into_iter().any(|values| {
        let Some(message) = message(scheme, &values) else {
            return false;
        };
        seen.insert(message, values).is_some()
    })
}

#[test]
fn all_short_descriptions_that_are_accepted_are_free_of_collisions_among_tiny_values() {
    let mut accepted = 0;
    for parts in descriptions(3) {
        if let Ok(scheme) = builder(&parts).build() {
            accepted += 1;
            assert!(!collides(&scheme, &parts), "{parts:?}");
        }
    }
    assert!(accepted > 300, "{accepted}");
    assert!(collides(
        &unchecked(&[Part::Time, Part::Body]),
        &[Part::Time, Part::Body]
    ));
}

/// Decides, for values that are independent of each other, whether some message can be taken apart
/// in two ways: by running two parsers over all messages side by side.
struct Parsers<'e> {
    elements: &'e [Element],
}

/// Which element took the last byte, and how many bytes it has so far: at most two count, or the
/// length of a text.
type State = (usize, usize);

impl Parsers<'_> {
    /// The bytes that tell the alphabets and the texts of these tests apart.
    const BYTES: [u8; 14] = *b"\n\t .1A/?#@:,\x80\x00";

    fn takes(&self, (element, len): State, byte: u8) -> bool {
        match &self.elements[element] {
            Element::Text(text) => text.get(len) == Some(&byte),
            Element::Path | Element::PathAndQuery if len == 0 => byte == b'/',
            element => alphabet(element)(byte),
        }
    }

    fn is_done(&self, (element, len): State) -> bool {
        match &self.elements[element] {
            Element::Text(text) => len == text.len(),
            element => len > 0 || !is_never_empty(element),
        }
    }

    fn steps(&self, from: Option<State>, byte: u8) -> Vec<State> {
        let mut steps = Vec::new();
        let (mut element, mut len) = from.unwrap_or((0, 0));
        while element < self.elements.len() {
            if self.takes((element, len), byte) {
                let is_text = matches!(self.elements[element], Element::Text(_));
                steps.push((element, if is_text { len + 1 } else { 1 }));
            }
            if !self.is_done((element, len)) {
                break;
            }
            (element, len) = (element + 1, 0);
        }
        steps
    }

    fn can_end(&self, (element, len): State) -> bool {
        let mut rest = element + 1..self.elements.len();
        self.is_done((element, len)) && rest.all(|i| self.is_done((i, 0)))
    }

    fn find_two_ways(&self) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![(None, None, false)];
        while let Some((one, other, differ)) = open.pop() {
            for byte in Self::BYTES {
                for next_one in self.steps(one, byte) {
                    for next_other in self.steps(other, byte) {
                        let differ = differ || next_one != next_other;
                        if differ && self.can_end(next_one) && self.can_end(next_other) {
                            return true;
                        }
                        let next = (Some(next_one), Some(next_other), differ);
                        if seen.insert(next) {
                            open.push(next);
                        }
                    }
                }
            }
        }
        false
    }
}

/// Over all descriptions of up to four parts, in which no part stands twice: what is accepted can
/// be taken apart in one way only, and what is refused could have been, but for a few.
#[test]
fn the_check_is_exact_for_short_descriptions_but_for_a_few_that_it_refuses() {
    let (mut accepted, mut refused, mut strict) = (0, 0, Vec::new());
    for parts in descriptions(4) {
        let once = |part: &Part| {
            matches!(part, Part::Text(_))
                || parts.iter().filter(|other| *other == part).count() == 1
        };
        if !parts.iter().all(once) {
            continue;
        }
        let elements = elements(&parts).unwrap();
        let two_ways = Parsers {
            elements: &elements,
        }
        .find_two_ways();
        if undelimited(&elements).is_none() {
            accepted += 1;
            assert!(!two_ways, "{parts:?}");
        } else {
            refused += 1;
            if !two_ways {
                strict.push(elements);
            }
        }
    }
    println!(
        "{accepted} accepted, {refused} refused, {} of them without need",
        strict.len()
    );
    // Those in which two elements follow that only together tell where the one before them ends.
    assert_eq!(strict.len(), 10, "{strict:?}");
    assert!(accepted > 2500, "{accepted}");
}

/// The formats that are in use, by what stands between their parts.
#[test]
fn common_formats_are_accepted_where_they_are_safe() {
    let place = [Part::Method, Part::PathAndQuery];
    let place_and_time = [Part::Method, Part::PathAndQuery, Part::Time];
    let time_first = [Part::Time, Part::Method, Part::PathAndQuery];
    let body_last = [Part::Method, Part::Path, Part::Time, Part::Body];
    for (delimiter, parts, safe) in [
        ("\n", &body_last[..], true),
        ("\r\n", &body_last, true),
        (",\n", &body_last, true),
        ("", &place, true),
        (".", &place, true),
        ("|", &place, true),
        ("|", &place_and_time, true),
        (":", &place_and_time, true),
        (".", &time_first, true),
        // A path can hold all of these.
        ("", &body_last, false),
        (".", &body_last, false),
        ("|", &body_last, false),
        (":", &body_last, false),
        // A method can be `1GET`, and trade its digit with the time.
        ("", &time_first, false),
        ("-", &[Part::Method, Part::Nonce, Part::Body], false),
        (".", &[Part::Time, Part::Body], true),
        (".", &[Part::Nonce, Part::Time, Part::Body], false),
        (" ", &[Part::Nonce, Part::Time, Part::Body], true),
        (":", &[Part::header("x-a"), Part::Time], true),
        (":", &[Part::header("x-a"), Part::Time, Part::Body], false),
    ] {
        let parts = Part::joined(delimiter, parts.iter().cloned());
        assert_eq!(builder(&parts).build().is_ok(), safe, "{parts:?}");
    }
}

/// Every byte, in every place of every value, as far as HTTP lets it through: what reaches the
/// message is of the alphabet that the check goes by.
#[test]
fn no_value_in_a_message_has_a_byte_outside_of_its_alphabet() {
    let mut let_through: HashMap<String, HashSet<u8>> = HashMap::new();
    for byte in 0..=u8::MAX {
        // A byte beyond ASCII is no text by itself; the character is, of which it is a part.
        for character in [vec![byte], char::from(byte).to_string().into()] {
            let c = &*character;
            for raw in [
                c,
                b"",
                &[c, b"a"].concat(),
                &[b"a", c].concat(),
                &[b"/", c].concat(),
            ] {
                for (element, message) in every_message(raw) {
                    assert!(
                        !message.is_empty() || !is_never_empty(&element),
                        "{element:?}"
                    );
                    for &byte in &message {
                        assert!(alphabet(&element)(byte), "{element:?} with {byte:#x}");
                    }
                    if matches!(element, Element::Path | Element::PathAndQuery) {
                        assert_eq!(message[0], b'/', "{element:?}");
                    }
                    let seen = let_through.entry(format!("{element:?}")).or_default();
                    seen.extend(message);
                }
            }
        }
    }
    for (element, part) in elements(&SINGLE.map(|part| part()))
        .unwrap()
        .iter()
        .zip(SINGLE)
    {
        let seen = &let_through[&format!("{element:?}")];
        let unseen = (0..=u8::MAX).filter(|&b| alphabet(element)(b) && !seen.contains(&b));
        let unseen: Vec<_> = unseen.collect();
        println!(
            "{:?}: allowed and never seen: `{}`",
            part(),
            unseen.escape_ascii()
        );
        // Those that no UTF-8 has, and some that the parser of URIs refuses.
        assert!(
            unseen.len() < 80,
            "the test lets through too little of {element:?}"
        );
    }
}

const SINGLE: [fn() -> Part; 9] = [
    || Part::Method,
    || Part::Authority,
    || Part::Path,
    || Part::Query,
    || Part::PathAndQuery,
    || Part::header("x-a"),
    || Part::Time,
    || Part::Nonce,
    || Part::KeyId,
];

/// What `raw` becomes in a message, in whichever place of a request it is accepted.
fn every_message(raw: &[u8]) -> Vec<(Element, Vec<u8>)> {
    let mut requests: Vec<Request<()>> = Vec::new();
    let uris = [
        raw,
        &[b"http://a.example", raw].concat(),
        &[b"http://", raw, b"/"].concat(),
        &[b"/?", raw].concat(),
    ];
    for uri in uris.into_iter().filter_map(|uri| Uri::try_from(uri).ok()) {
        requests.push(Request::builder().uri(uri).body(()).unwrap());
    }
    // As it comes with HTTP/2.
    if let Ok(path_and_query) = uri::PathAndQuery::try_from(raw) {
        let uri = Uri::builder()
            .path_and_query(path_and_query)
            .build()
            .unwrap();
        requests.push(Request::builder().uri(uri).body(()).unwrap());
    }
    if let Ok(method) = Method::from_bytes(raw) {
        requests.push(Request::builder().method(method).body(()).unwrap());
    }
    if let Ok(value) = HeaderValue::from_bytes(raw) {
        for name in ["host", "x-a", "x-time", "x-nonce", "x-key-id"] {
            requests.push(Request::builder().header(name, &value).body(()).unwrap());
        }
    }

    let mut messages = Vec::new();
    for request in requests {
        let mut parts = request.into_parts().0;
        parts.headers.insert("x-signature", no_mac());
        for part in SINGLE.map(|part| part()) {
            let scheme = unchecked(std::slice::from_ref(&part));
            if let Some(message) = message_of(&scheme, &parts, b"") {
                messages.push((elements(&[part]).unwrap().remove(0), message));
            }
        }
    }
    messages
}

/// `http` keeps the target of `http://a.example?x` without the slash that goes over the wire.
#[test]
fn an_empty_path_is_signed_as_the_slash_that_is_sent() {
    let scheme = builder(&[Part::PathAndQuery]).build().unwrap();
    let of = |uri: &str| {
        let request = Request::builder().uri(uri).header("x-signature", no_mac());
        let parts = request.body(()).unwrap().into_parts().0;
        String::from_utf8(message_of(&scheme, &parts, b"").unwrap()).unwrap()
    };
    assert_eq!(of("http://a.example?x=1"), "/?x=1");
    assert_eq!(of("http://a.example"), "/");
    assert_eq!(of("/?x=1"), "/?x=1");
    assert_eq!(of("/?"), "/?");
}

#[track_caller]
fn is_refused(builder: HeaderSchemeBuilder, why: &str) {
    let error = builder.build().expect_err(why).to_string();
    assert!(error.contains(why), "`{error}` does not say `{why}`");
}

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn what_is_named_has_to_be_covered_and_the_other_way_round() {
    let of = |parts: &[Part]| {
        HeaderScheme::builder("x-signature").signs(Part::lines(parts.iter().cloned()))
    };
    let timed = || of(&[Part::Time, Part::Body]).time("x-time");
    let fixed = || timed().fixed_key_id("k");
    assert!(fixed().build().is_ok());

    is_refused(
        timed().key_id("x-key-id"),
        "the key id is not covered; add `Part::KeyId`",
    );
    is_refused(timed(), "name the header of the key id");
    is_refused(fixed().key_id("x-key-id"), "but not both");
    let covered = || of(&[Part::KeyId, Part::Time, Part::Body]).time("x-time");
    assert!(covered().key_id("x-key-id").build().is_ok());
    is_refused(covered().fixed_key_id("k"), "but not both");
    is_refused(covered(), "name the header of the key id");

    is_refused(
        fixed().signs([Part::Body]),
        "the Time is not covered; add `Part::Time`",
    );
    let untimed = || of(&[Part::Body]).fixed_key_id("k");
    let unnamed = of(&[Part::Time]).fixed_key_id("k");
    is_refused(
        unnamed,
        "`Part::Time` is in the message, and no header is named that holds it",
    );
    is_refused(untimed(), "or say `danger_without_time`");
    assert!(untimed().danger_without_time(DAY).build().is_ok());
    is_refused(fixed().danger_without_time(DAY), "but not both");
    let uncovered = untimed().danger_without_time(DAY).time_millis("x-time");
    is_refused(uncovered, "the Time is not covered; add `Part::Time`");

    is_refused(
        fixed().nonce("x-nonce"),
        "the Nonce is not covered; add `Part::Nonce`",
    );
    is_refused(
        fixed().event_id("x-nonce"),
        "the Nonce is not covered; add `Part::Nonce`",
    );
    let nonce = of(&[Part::Time, Part::Nonce, Part::Body])
        .time("x-time")
        .fixed_key_id("k");
    is_refused(
        nonce.clone(),
        "`Part::Nonce` is in the message, and no header is named",
    );
    assert!(nonce.event_id("x-nonce").build().is_ok());
}

#[test]
fn names_have_to_be_valid_and_stand_for_one_thing_each() {
    let signs = |name: &str| {
        Part::lines([
            Part::KeyId,
            Part::Time,
            Part::Nonce,
            Part::header(name),
            Part::Body,
        ])
    };
    let of = |signature: &str, key: &str, time: &str, nonce: &str| {
        let builder = HeaderScheme::builder(signature)
            .key_id(key)
            .time(time)
            .nonce(nonce);
        builder.signs(signs("x-a"))
    };
    assert!(of("s", "k", "t", "n").build().is_ok());
    for bad in ["", "a b", "a:", "\u{e9}", "a\n"] {
        let why = format!("`{bad}` is not the name of a header");
        is_refused(of(bad, "k", "t", "n"), &why);
        is_refused(of("s", bad, "t", "n"), &why);
        is_refused(of("s", "k", bad, "n"), &why);
        is_refused(of("s", "k", "t", bad), &why);
        is_refused(of("s", "k", "t", "n").signs(signs(bad)), &why);
    }
    for [signature, key, time, nonce] in [
        ["k", "k", "t", "n"],
        ["T", "k", "t", "n"],
        ["s", "n", "t", "N"],
        ["s", "k", "k", "n"],
        ["x-a", "k", "t", "n"],
        ["s", "X-A", "t", "n"],
        ["s", "k", "t", "x-a"],
    ] {
        is_refused(of(signature, key, time, nonce), "is named twice");
    }
    let mut twice = signs("x-a");
    twice.extend([Part::text("\n"), Part::header("X-A")]);
    is_refused(
        of("s", "k", "t", "n").signs(twice),
        "header `x-a` is named twice",
    );

    let host = of("s", "k", "t", "n").signs(signs("Host"));
    is_refused(host, "cover `Part::Authority` instead of `host`");
    let hop = of("s", "k", "t", "n").signs(signs("transfer-encoding"));
    is_refused(hop, "`transfer-encoding` changes from one hop to the next");
    for prefix in ["a b", "v1,\t", "\u{e9}", "\n"] {
        is_refused(
            of("s", "k", "t", "n").prefix(prefix),
            "the prefix is not visible ASCII",
        );
    }
    for id in ["", "a b", &"k".repeat(129)] {
        let builder = HeaderScheme::builder("s")
            .fixed_key_id(id)
            .danger_without_time(DAY);
        is_refused(
            builder.signs([Part::Body]),
            "a key id is 1 to 128 visible ASCII characters",
        );
    }
}

#[test]
fn a_message_has_parts_of_the_request_and_the_body_once() {
    for parts in [
        &[][..],
        &[Part::text("")],
        &[Part::text("v0"), Part::text(":")],
    ] {
        is_refused(builder(parts), "the message has no part of the request");
    }
    for parts in [
        &[Part::Body, Part::Body][..],
        &[Part::Body, Part::text("\n"), Part::Body],
    ] {
        is_refused(builder(parts), "the body is in the message twice");
    }
    let bare = builder(&[Part::Time, Part::Body]);
    is_refused(
        bare,
        "bytes could move between Time and what stands beside it",
    );
    let colon = Part::joined(":", [Part::Method, Part::header("x-a"), Part::Body]);
    is_refused(builder(&colon), "bytes could move between Header(\"x-a\")");
}

fn run<F: Future>(future: F) -> F::Output {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

const SECRET: &str = "the secret of the tests";

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_secs(1_700_000_000).unwrap())
}

fn verifier(scheme: &HeaderScheme, key_id: &str) -> Verifier {
    let store = MemoryStore::builder().clock(clock()).assume_no_history();
    Verifier::builder(scheme.clone())
        .danger_any_authority()
        .keys(KeyRing::new().with(key_id, SECRET).unwrap())
        .store(store.build().unwrap())
        .clock(clock())
        .build()
        .unwrap()
}

fn sign(scheme: &HeaderScheme, key_id: &str, values: &Values) -> Request<Vec<u8>> {
    let mut parts = values.request().unwrap();
    for name in ["x-signature", "x-time", "x-nonce", "x-key-id"] {
        parts.headers.remove(name);
    }
    let signer = Signer::new(scheme.clone(), key_id, SECRET)
        .unwrap()
        .clock(clock());
    let request = Request::from_parts(parts, values.body.clone());
    signer.sign_with_nonce(request, &values.nonce).unwrap()
}

fn verify(verifier: &Verifier, request: &Request<Vec<u8>>) -> Result<VerifiedPayload, Rejection> {
    let (parts, body) = request.clone().into_parts();
    let verified = run(verifier.verify(&parts, Full::new(Bytes::from(body))))?;
    Ok(verified.payload().unwrap().clone())
}

/// What is covered is there, as it was sent, and nothing else is.
fn check_payload(payload: &VerifiedPayload, parts: &[Part], values: &Values) {
    let has = |part| parts.contains(&part);
    let path = has(Part::Path) || has(Part::PathAndQuery);
    let query = has(Part::Query) || has(Part::PathAndQuery);
    let text = |name: &str| payload.header(name).map(HeaderValue::as_bytes);
    let expected = |covered: bool, value: &str| covered.then(|| value.to_owned());
    let found = |value: Option<&str>| value.map(str::to_owned);

    assert_eq!(payload.bytes(), &values.body);
    assert_eq!(
        found(payload.method().map(Method::as_str)),
        expected(has(Part::Method), &values.method)
    );
    assert_eq!(
        found(payload.authority()),
        expected(has(Part::Authority), &values.authority)
    );
    assert_eq!(found(payload.path()), expected(path, &values.path));
    let value = values.query.as_deref().unwrap_or_default();
    assert_eq!(found(payload.query()), expected(query, value));
    assert_eq!(
        text("x-a"),
        has(Part::header("x-a")).then_some(values.a.as_bytes())
    );
    assert_eq!(
        text("X-B"),
        has(Part::header("x-b")).then_some(values.b.as_bytes())
    );
    assert_eq!(payload.signed_at().is_some(), has(Part::Time));
    assert_eq!(text("x-time").is_some(), has(Part::Time));
    assert_eq!(
        text("x-key-id"),
        has(Part::KeyId).then_some(values.key_id.as_bytes())
    );
    assert_eq!(
        text("x-nonce"),
        has(Part::Nonce).then_some(values.nonce.as_bytes())
    );
    let nonce = payload.nonce().unwrap();
    if has(Part::Nonce) {
        assert_eq!(nonce.as_bytes(), values.nonce.as_bytes());
    } else {
        assert_eq!(
            (nonce.kind(), nonce.as_bytes().len()),
            (NonceKind::Digest, 32)
        );
    }
    assert_eq!(payload.header("host"), None);
    assert_eq!(payload.header("x-signature"), None);
}

#[test]
fn what_is_signed_verifies_once_whatever_the_description() {
    let settings = (
        prop_oneof![
            Just(MacAlgorithm::HmacSha256),
            Just(MacAlgorithm::HmacSha512)
        ],
        prop_oneof![Just(Encoding::Hex), Just(Encoding::Base64)],
        "[!-~]{0,8}",
        any::<bool>(),
    );
    let tried = Cell::new(0);
    let strategy = (any_parts(), any_values(), settings);
    let outcome = runner(800).run(&strategy, |(parts, mut values, settings)| {
        let (algorithm, encoding, prefix, millis) = settings;
        let mut builder = builder(&parts)
            .algorithm(algorithm)
            .encoding(encoding)
            .prefix(prefix);
        if millis && parts.contains(&Part::Time) {
            builder = builder.time_millis("x-time");
        }
        let Ok(scheme) = builder.build() else {
            return Ok(());
        };
        if !parts.contains(&Part::Body) {
            values.body.clear();
        }
        let key_id = if parts.contains(&Part::KeyId) {
            &values.key_id
        } else {
            "k"
        };
        let request = sign(&scheme, key_id, &values);
        let verifier = verifier(&scheme, key_id);
        check_payload(&verify(&verifier, &request).unwrap(), &parts, &values);
        let again = verify(&verifier, &request).map_err(|rejection| rejection.kind());
        prop_assert_eq!(again.err(), Some(RejectionKind::RequestReplayed));
        tried.set(tried.get() + 1);
        Ok(())
    });
    outcome.unwrap();
    assert!(tried.get() > 200, "{} were signed", tried.get());
}

/// Every text that one byte makes of this one: changed, left out, or said twice.
fn one_byte_off(text: &[u8]) -> Vec<Vec<u8>> {
    let mut changes = Vec::new();
    for i in 0..text.len() {
        for bit in 0..8 {
            let mut changed = text.to_vec();
            changed[i] ^= 1 << bit;
            changes.push(changed);
        }
        let mut shorter = text.to_vec();
        shorter.remove(i);
        let mut longer = text.to_vec();
        longer.insert(i, text[i]);
        changes.extend([shorter, longer]);
    }
    changes.retain(|changed| changed != text);
    changes
}

/// Where in a request a value stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    Method,
    Target,
    Header(&'static str),
    Body,
}

fn change(request: &Request<Vec<u8>>, place: Place) -> Vec<Request<Vec<u8>>> {
    let value = match place {
        Place::Method => request.method().as_str().as_bytes().to_vec(),
        Place::Target => request.uri().to_string().into_bytes(),
        Place::Header(name) => request.headers()[name].as_bytes().to_vec(),
        Place::Body => request.body().clone(),
    };
    let changes = one_byte_off(&value).into_iter().filter_map(|value| {
        let mut changed = request.clone();
        match place {
            Place::Method => *changed.method_mut() = Method::from_bytes(&value).ok()?,
            // What HTTP drops on the way, such as a fragment, is no change that arrives.
            Place::Target => {
                let uri = Uri::try_from(&*value).ok()?;
                (uri.to_string().as_bytes() == value).then(|| *changed.uri_mut() = uri)?;
            }
            Place::Header(name) => {
                let value = HeaderValue::from_bytes(&value).ok()?;
                changed.headers_mut().insert(name, value);
            }
            Place::Body => *changed.body_mut() = value,
        }
        Some(changed)
    });
    changes.collect()
}

/// Equal by their own rules: hexadecimal digits and authorities, whatever their case.
fn means_the_same(one: &Request<Vec<u8>>, other: &Request<Vec<u8>>, place: Place) -> bool {
    match place {
        Place::Header("host") => one.headers()["host"]
            .as_bytes()
            .eq_ignore_ascii_case(other.headers()["host"].as_bytes()),
        Place::Header("x-signature") => {
            let mac = |request: &Request<Vec<u8>>| {
                let value = request.headers()["x-signature"].as_bytes();
                value.strip_prefix(b"v1=").map(<[u8]>::to_ascii_lowercase)
            };
            mac(one).is_some() && mac(one) == mac(other)
        }
        _ => false,
    }
}

#[test]
fn every_change_of_one_byte_is_refused_where_it_is_covered_and_answers_none_where_it_is_not() {
    const PLACES: [Place; 10] = [
        Place::Method,
        Place::Target,
        Place::Header("host"),
        Place::Header("x-a"),
        Place::Header("x-b"),
        Place::Header("x-key-id"),
        Place::Header("x-time"),
        Place::Header("x-nonce"),
        Place::Header("x-signature"),
        Place::Body,
    ];
    let values = Values {
        path: "/orders/%41;x".into(),
        query: Some("amount=100&to=%2F".into()),
        body: b"{\"amount\":100}".to_vec(),
        nonce: "nonce-1".into(),
        key_id: "partner-1".into(),
        ..Values::plain()
    };
    let everything = Part::lines([
        Part::Method,
        Part::Authority,
        Part::PathAndQuery,
        Part::header("x-a"),
        Part::KeyId,
        Part::Time,
        Part::Nonce,
        Part::Body,
    ]);
    let little = vec![Part::Time, Part::text("."), Part::Body];
    let untimed = vec![Part::Body];
    for parts in [everything, little, untimed] {
        let has = |part| parts.contains(&part);
        let scheme = builder(&parts).prefix("v1=").build().unwrap();
        let key_id = if has(Part::KeyId) { "partner-1" } else { "k" };
        let mut request = sign(&scheme, key_id, &values);
        for name in ["x-key-id", "x-time", "x-nonce"] {
            let value = HeaderValue::from_static("17");
            request.headers_mut().entry(name).or_insert(value);
        }
        assert!(verify(&verifier(&scheme, key_id), &request).is_ok());

        // It sees nothing that is accepted, and so serves for all that is refused.
        let refusing = verifier(&scheme, key_id);
        for place in PLACES {
            let covered = match place {
                Place::Method => has(Part::Method),
                Place::Target => has(Part::PathAndQuery),
                Place::Header("host") => has(Part::Authority),
                Place::Header("x-key-id") => has(Part::KeyId),
                Place::Header("x-time") => has(Part::Time),
                Place::Header("x-nonce") => has(Part::Nonce),
                Place::Header("x-signature") => true,
                Place::Header(name) => has(Part::header(name)),
                Place::Body => has(Part::Body),
            };
            let changes = change(&request, place);
            assert!(changes.len() > 5, "{place:?}");
            for changed in changes {
                if covered && !means_the_same(&request, &changed, place) {
                    let verdict = verify(&refusing, &changed);
                    assert!(verdict.is_err(), "{parts:?}: {place:?} became {changed:?}");
                    continue;
                }
                let verdict = verify(&verifier(&scheme, key_id), &changed);
                if let Ok(payload) = verdict {
                    check_payload(&payload, &parts, &values);
                } else {
                    // A host that cannot be read, or a path that is none.
                    let kind = verdict.unwrap_err().kind();
                    assert_eq!(kind, RejectionKind::SignatureMalformed, "{changed:?}");
                    assert!(
                        matches!(place, Place::Target | Place::Header("host")),
                        "{changed:?}"
                    );
                }
            }
        }
    }
}
