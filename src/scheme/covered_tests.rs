//! Everything that a payload hands out is in the signed message: if it changes, the message changes, and
//! what is not in the message reads as `None`. Tried for every scheme, with requests that it has
//! signed.

use std::{cell::Cell, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header::HOST, request::Parts,
};
use proptest::{
    prelude::*,
    sample::select,
    test_runner::{Config, TestCaseError, TestCaseResult, TestRunner},
};

use super::{
    Describe, Reading,
    header::{HeaderScheme, Part},
    rfc9421::{Component, FieldType, HttpMessageSignatures},
    webhooks::{Mailgun, Twilio},
};
use crate::{
    client::Signer,
    clock::Timestamp,
    message::{BodyPlace, Covered, Message, Origin, Origins, Routed, RunningDigest},
    once::NonceKind,
    proof::{Parameters, Room},
    testing::{ManualClock, cases},
};

pub(super) const NOW: u64 = 1_700_000_000;
const SECRET: &str = "the secret of the tests";

/// Its members are what the presets look for.
const BODY: &str = r#"{"id":"evt-1","event_id":"evt-2","webhookTimestamp":1700000000000}"#;

/// Everything that a payload can hand out.
#[derive(Debug, PartialEq)]
pub(super) struct Facts {
    method: Option<Method>,
    authority: Option<String>,
    path: Option<String>,
    query: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    member: Option<String>,
    params: [Option<String>; 2],
    key_id: String,
    signed_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    nonce: Option<(NonceKind, Vec<u8>)>,
    body: Bytes,
}

impl Facts {
    fn of(covered: &Covered, parameters: &Parameters<'_>, body: Bytes) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            method: covered.method().cloned(),
            authority: owned(covered.authority()),
            path: owned(covered.path()),
            query: owned(covered.query()),
            headers: covered.headers().to_vec(),
            member: owned(covered.member("x-list", "a")),
            params: ["p", "a b"].map(|name| owned(covered.query_param(name))),
            key_id: parameters.key_id.clone().into_owned(),
            signed_at: parameters.signed_at,
            expires_at: parameters.expires_at,
            nonce: (parameters.nonce.clone()).map(|(kind, nonce)| (kind, nonce.into_owned())),
            body,
        }
    }
}

/// The signed message of a request, and what a payload would hand out if its MAC passed.
pub(super) struct Said {
    message: Vec<u8>,
    facts: Facts,
}

fn origins() -> Origins {
    let mut origins = Origins::default();
    origins.allow_any();
    for host in ["https://a.example", "https://b.example:8443"] {
        origins.add(Origin::parse(host).unwrap()).unwrap();
    }
    origins
}

/// Returns what every signature of a request says; nothing of a request that is refused before its
/// MAC counts.
fn said(scheme: &dyn Describe, parts: &Parts, body: &Bytes) -> Vec<Said> {
    let origins = origins();
    let Ok(head) = origins.head(parts, Routed::nowhere(parts)) else {
        return Vec::new();
    };
    let candidates = match scheme.read(&head) {
        Ok(Reading::InHead(candidates)) => candidates.into_vec(),
        Ok(Reading::AfterBody(key_id)) => {
            let read = scheme.read_body(key_id.into_owned(), body);
            read.unwrap_or_default()
        }
        Err(_) => Vec::new(),
    };
    let names_key = scheme.names_key();
    let described = candidates.into_iter().filter_map(|candidate| {
        let message = (candidate.message)(&head, &mut Room::new()).ok()?;
        candidate.parameters.check(&message, names_key).ok()?;
        Some((candidate.parameters, message))
    });
    described
        .filter_map(|described| of_candidate(scheme, described, &parts.headers, body))
        .collect()
}

fn of_candidate(
    scheme: &dyn Describe,
    (mut parameters, signed): (Parameters<'_>, Message),
    headers: &HeaderMap,
    body: &Bytes,
) -> Option<Said> {
    if let BodyPlace::Digests(digests) = signed.body_place() {
        let all = digests.iter().all(|digest| {
            let mut running = RunningDigest::new(digest.algorithm);
            running.update(body);
            running.verify(&digest.claimed)
        });
        if !all || (digests.is_empty() && !body.is_empty()) {
            return None;
        }
    }
    let formed = match signed.body_form() {
        Some(form) => form.rewrite(body).ok()?,
        None => None,
    };
    let (in_message, given) = match &formed {
        Some(formed) => (&formed.signed, &formed.given),
        None => (body, body),
    };
    let mut message = Vec::new();
    signed.feed(in_message, |bytes| message.extend_from_slice(bytes));
    scheme.read_covered_body(&mut parameters, given).ok()?;
    let covered = Covered::new(signed, headers);
    Some(Said {
        message,
        facts: Facts::of(&covered, &parameters, given.clone()),
    })
}

/// A change of a request in one place.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Method(&'static str),
    Host(&'static str),
    Path(String),
    Query(Option<String>),
    Header(&'static str, Option<String>),
    /// A header of the request, whichever it has in this place.
    HeaderAt(usize, String),
    Body(String),
    /// One byte of the body.
    BodyAt(usize, u8),
}

pub(super) fn any_change() -> impl Strategy<Value = Change> {
    let name = select(vec![
        "x-a",
        "x-b",
        "x-list",
        "content-type",
        "x-time",
        "x-nonce",
        "x-key-id",
    ]);
    prop_oneof![
        1 => select(vec!["GET", "POST", "PUT", "post"]).prop_map(Change::Method),
        1 => select(vec![
            "a.example",
            "A.example:443",
            "b.example:8443",
            "c.example"
        ])
        .prop_map(Change::Host),
        1 => "/[a-z%2F.~]{0,6}".prop_map(Change::Path),
        1 => proptest::option::of("(p|a%20b|a\\+b|%70|q)=[a-z%2F+]{0,4}(&q=1)?").prop_map(Change::Query),
        1 => (name, proptest::option::of("[ \"-~]{0,8}|a=[1-9](, b=2)?"))
            .prop_map(|(name, value)| Change::Header(name, value)),
        1 => (0..12_usize, "[0-9a-zA-Z.]{1,12}").prop_map(|(at, value)| Change::HeaderAt(at, value)),
        1 => prop_oneof![
            Just(BODY.replace("evt", "evd")),
            Just(BODY.replace("17000", "17001")),
            "(a=[a-z]{0,2}&){0,1}b=1",
            "[ -~]{0,8}",
        ]
        .prop_map(Change::Body),
        3 => (any::<prop::sample::Index>(), b'0'..=b'9')
            .prop_map(|(at, byte)| Change::BodyAt(at.index(200), byte)),
    ]
}

impl Change {
    /// `None` if HTTP has no such request.
    pub(super) fn make(&self, request: &Request<Bytes>) -> Option<Request<Bytes>> {
        let mut changed = request.clone();
        match self {
            Self::Method(method) => *changed.method_mut() = method.parse().ok()?,
            Self::Host(host) => {
                changed
                    .headers_mut()
                    .insert(HOST, HeaderValue::from_static(host));
            }
            Self::Path(path) => {
                let query = request.uri().query();
                *changed.uri_mut() = target(path, query)?;
            }
            Self::Query(query) => {
                *changed.uri_mut() = target(request.uri().path(), query.as_deref())?;
            }
            Self::Header(name, Some(value)) => {
                changed.headers_mut().insert(*name, value.parse().ok()?);
            }
            Self::Header(name, None) => {
                changed.headers_mut().remove(*name)?;
            }
            Self::HeaderAt(at, value) => {
                let value = value.parse().ok()?;
                *changed.headers_mut().iter_mut().nth(*at)?.1 = value;
            }
            Self::Body(body) => *changed.body_mut() = body.clone().into(),
            Self::BodyAt(at, byte) => {
                let mut body = request.body().to_vec();
                *body.get_mut(*at)? = *byte;
                *changed.body_mut() = body.into();
            }
        }
        Some(changed)
    }
}

fn target(path: &str, query: Option<&str>) -> Option<Uri> {
    match query {
        Some(query) => format!("{path}?{query}").parse().ok(),
        None => path.parse().ok(),
    }
}

/// Two requests that hand out different things have different messages.
fn compare(one: &Said, other: &Said) -> TestCaseResult {
    if one.message == other.message {
        prop_assert_eq!(&one.facts, &other.facts);
    }
    Ok(())
}

/// How often a change altered what is handed out, and how often it altered nothing.
#[derive(Debug, Default)]
struct Seen {
    altered: Cell<u32>,
    without_effect: Cell<u32>,
}

fn count(counter: &Cell<u32>) {
    counter.set(counter.get() + 1);
}

fn try_change<S: Describe + Clone>(
    scheme: &S,
    request: Request<Bytes>,
    change: &Change,
    seen: &Seen,
) -> TestCaseResult {
    let key_id = scheme.fixed_key_id().unwrap_or("k").to_owned();
    let clock = ManualClock::at(Timestamp::from_secs(NOW).unwrap());
    let signer = Signer::new(scheme.clone(), key_id, SECRET).unwrap();
    let signed = signer.clock(clock).sign_body(request, "nonce-1");
    let signed = signed.map_err(|error| TestCaseError::reject(error.to_string()))?;
    let Some(changed) = change.make(&signed) else {
        return Ok(());
    };
    let of = |request: Request<Bytes>| {
        let (parts, body) = request.into_parts();
        said(scheme, &parts, &body)
    };
    let before = of(signed);
    prop_assert!(!before.is_empty(), "what is signed can be read");
    let after = of(changed);
    for (one, other) in before.iter().zip(&after) {
        compare(one, other)?;
        if one.facts == other.facts {
            count(&seen.without_effect);
        } else {
            count(&seen.altered);
        }
    }
    Ok(())
}

/// Tries changes of requests, each under a scheme of its own.
pub(super) fn holds<S: Describe + Clone>(
    usual: u32,
    schemes_and_requests: impl Strategy<Value = (S, Request<Bytes>)>,
) {
    let seen = Seen::default();
    let mut runner = TestRunner::new(Config {
        cases: cases(usual),
        max_global_rejects: 16 * cases(usual),
        ..Config::default()
    });
    let strategy = (schemes_and_requests, any_change());
    let outcome = runner.run(&strategy, |((scheme, request), change)| {
        try_change(&scheme, request, &change, &seen)
    });
    outcome.unwrap();
    // Enough to know that changes are tried that matter, and few enough for every seed.
    let least = usual / 1000;
    assert!(
        seen.altered.get() > least && seen.without_effect.get() > least,
        "{seen:?}"
    );
}

/// A request that most schemes can sign.
pub(super) fn any_request() -> impl Strategy<Value = Request<Bytes>> {
    let method = select(vec!["GET", "POST", "PUT"]);
    let target = "/[a-z]{0,3}\\?p=[a-z]{0,3}&a%20b=%2F";
    (method, target, "[!-~]{1,4}", "a=[1-9], b;x").prop_map(|(method, target, a, list)| {
        Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, "a.example")
            .header("x-a", a)
            .header("x-list", list)
            .body(Bytes::from(BODY))
            .unwrap()
    })
}

/// The same under one scheme.
pub(super) fn requests_of<S: Describe + Clone>(
    scheme: S,
) -> impl Strategy<Value = (S, Request<Bytes>)> {
    (Just(scheme), any_request())
}

fn component(text: &str) -> Component {
    text.parse().unwrap()
}

/// Profiles that require any of the components of a request, in each form.
fn any_profile() -> impl Strategy<Value = HttpMessageSignatures> {
    const COMPONENTS: [&str; 16] = [
        r#""@method""#,
        r#""@authority""#,
        r#""@path""#,
        r#""@query""#,
        r#""@scheme""#,
        r#""@target-uri""#,
        r#""@request-target""#,
        r#""@query-param";name="p""#,
        r#""@query-param";name="a%20b""#,
        r#""x-a""#,
        r#""x-a";bs"#,
        r#""x-list""#,
        r#""x-list";sf"#,
        r#""x-list";bs"#,
        r#""x-list";key="a""#,
        r#""content-digest";key="sha-256""#,
    ];
    let chosen = prop::collection::vec(select(COMPONENTS.to_vec()), 0..6);
    (chosen, any::<[bool; 2]>()).prop_map(|(chosen, [expires, has_nonce])| {
        let mut builder = HttpMessageSignatures::builder()
            .structured_field("x-list", FieldType::Dictionary)
            .danger_require_only(chosen.into_iter().map(component));
        if expires {
            builder = builder.expires_after(Duration::from_secs(60));
        }
        if !has_nonce {
            builder = builder.danger_without_nonce();
        }
        builder.build().unwrap()
    })
}

#[test]
fn of_rfc_9421_whatever_is_handed_out_is_in_the_message() {
    let absolute = |request: Request<Bytes>| {
        // The signer takes the scheme of the URL from the URI.
        let (mut parts, body) = request.into_parts();
        parts.uri = format!("https://a.example{}", parts.uri).parse().unwrap();
        parts.version = http::Version::HTTP_2;
        Request::from_parts(parts, body)
    };
    holds(2000, (any_profile(), any_request().prop_map(absolute)));
}

#[test]
fn of_mailgun_and_twilio_whatever_is_handed_out_is_in_the_message() {
    holds(400, requests_of(Mailgun::new()));
    let form = any_request().prop_map(|mut request| {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert("content-type", form);
        *request.body_mut() = Bytes::from("b=1&a=2");
        request
    });
    holds(400, (Just(Twilio::new()), form));
    let json = any_request().prop_map(|mut request| {
        *request.uri_mut() = Uri::from_static("/hook?p=1");
        request
    });
    holds(400, (Just(Twilio::json_at("/hook?p=1").unwrap()), json));
}

/// A reader that hands out what the request says, and not what its message holds, is found.
#[test]
fn twin_a_value_that_is_read_from_the_request_is_found() {
    let scheme = HeaderScheme::builder("x-signature")
        .fixed_key_id("k")
        .time("x-time")
        .signs(Part::lines([Part::Time, Part::Body]))
        .build()
        .unwrap();
    let with = |a: &'static str| {
        let request = Request::post("/").header(HOST, "a.example");
        let request = request.header("x-a", a).header("x-time", "17");
        let request = request.header("x-signature", "0".repeat(64));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let mut said = said(&scheme, &parts, &Bytes::new()).remove(0);
        let of_request = (HeaderName::from_static("x-a"), parts.headers["x-a"].clone());
        said.facts.headers.push(of_request);
        said
    };
    assert!(compare(&with("1"), &with("1")).is_ok());
    assert!(compare(&with("1"), &with("2")).is_err());
}
