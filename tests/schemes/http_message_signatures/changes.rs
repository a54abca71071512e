//! A valid request, and everything that is one step away from it: each such step is refused, but
//! for those that are named here.

use std::collections::BTreeSet;

use http::{HeaderName, HeaderValue, Method, Request};

use super::{BODY, builder_of, covering, sign, signer, verifier, verify, with};
use crate::common;

use countersign::{HttpMessageSignatures, Verifier};

/// A part of a request that is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Method,
    Path,
    Query,
    Header(&'static str),
    Body,
}

impl Part {
    const ALL: [Self; 9] = [
        Self::Method,
        Self::Path,
        Self::Query,
        Self::Header("host"),
        Self::Header("content-type"),
        Self::Header("content-digest"),
        Self::Header("signature-input"),
        Self::Header("signature"),
        Self::Body,
    ];

    fn get(self, request: &Request<String>) -> Vec<u8> {
        match self {
            Self::Method => request.method().as_str().into(),
            Self::Path => request.uri().path().into(),
            Self::Query => request.uri().query().unwrap_or_default().into(),
            Self::Header(name) => request.headers()[name].as_bytes().into(),
            Self::Body => request.body().as_bytes().into(),
        }
    }

    /// The request with another text here; `None` where HTTP has no such request.
    fn set(self, request: &Request<String>, text: &[u8]) -> Option<Request<String>> {
        let mut request = request.clone();
        let uri = |path: &str, query: Option<&str>| {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            format!("{path}{query}").parse::<http::Uri>().ok()
        };
        match self {
            Self::Method => *request.method_mut() = Method::from_bytes(text).ok()?,
            Self::Path => {
                let path = std::str::from_utf8(text).ok()?;
                *request.uri_mut() = uri(path, request.uri().query())?;
            }
            Self::Query => {
                let query = std::str::from_utf8(text).ok()?;
                *request.uri_mut() = uri(request.uri().path(), Some(query))?;
            }
            Self::Header(name) => {
                let value = HeaderValue::from_bytes(text).ok()?;
                request
                    .headers_mut()
                    .insert(HeaderName::from_static(name), value);
            }
            Self::Body => *request.body_mut() = String::from_utf8(text.to_vec()).ok()?,
        }
        Some(request)
    }
}

/// Every text that differs by one byte: another, one more, one less.
fn one_byte_away(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    // Bytes that mean something somewhere, and other forms of an ordinary letter.
    const BYTES: &[u8] = b"\x00\t\n \"#%&'()*+,-./019:;=?@AZ[\\]_aez{}~\x7f\x80\xff";
    (0..=text.len()).flat_map(move |at| {
        let here = text.get(at).copied();
        let replaced = here.into_iter().flat_map(move |byte| {
            let bits = (0..8).map(move |bit| byte ^ (1 << bit));
            let others = BYTES
                .iter()
                .copied()
                .chain(bits)
                .filter(move |b| *b != byte);
            others.map(move |other| splice(text, at, 1, &[other]))
        });
        let added = BYTES.iter().map(move |byte| splice(text, at, 0, &[*byte]));
        let removed = here.map(|_| splice(text, at, 1, &[]));
        replaced.chain(added).chain(removed)
    })
}

fn splice(text: &[u8], at: usize, len: usize, with: &[u8]) -> Vec<u8> {
    [&text[..at], with, &text[at + len..]].concat()
}

fn genuine(scheme: &HttpMessageSignatures) -> Request<String> {
    let request = common::request("POST", "/accounts/7%2F8?dry=no&n=1", BODY);
    // With this nonce, so that it is always the same MAC, whose last letter has a neighbour.
    signer(scheme).sign_with_nonce(request, "a8f1-8").unwrap()
}

/// Returns what is accepted with one byte changed in this part.
async fn accepted(
    verifier: &dyn Fn() -> Verifier,
    request: &Request<String>,
    part: Part,
) -> Vec<String> {
    let text = part.get(request);
    let mut accepted = Vec::new();
    let mut tried = verifier();
    for changed in one_byte_away(&text) {
        let Some(other) = part.set(request, &changed) else {
            continue;
        };
        // A fragment, say, is no part of a request.
        if part.get(&other) == text {
            continue;
        }
        if verify(&tried, &other).await.is_ok() {
            accepted.push(String::from_utf8_lossy(&changed).into_owned());
            tried = verifier();
        }
    }
    // No refused request has used the request up.
    verify(&tried, request).await.unwrap();
    accepted
}

/// Why this is the same request: the name of an equivalence, of which there are no others.
fn equivalence(part: Part, text: &str, changed: &str) -> Option<&'static str> {
    let without = |remove: &[char], text: &str| text.replace(remove, "");
    match part {
        Part::Header("host") if changed.eq_ignore_ascii_case(text) => {
            Some("the case of the authority")
        }
        Part::Header("content-type" | "content-digest" | "signature-input" | "signature")
            if changed.trim_matches([' ', '\t']) == text =>
        {
            Some("white space around a field, which is no part of it")
        }
        Part::Header("signature-input") if without(&[' '], changed) == without(&[' '], text) => {
            Some("spaces between the members of a structured field")
        }
        Part::Header("signature-input") if changed.replace("=01700", "=1700") == text => {
            Some("a zero in front of a number")
        }
        Part::Header("signature")
            if changed.replace([':', '='], "") == text.replace([':', '='], "") =>
        {
            Some("the padding of a byte sequence")
        }
        Part::Header("signature") => {
            let last = |text: &str| text.trim_end_matches([':', '=']).len();
            let (end, other) = (last(text), last(changed));
            (end == other && text[..end - 1] == changed[..end - 1])
                .then_some("the unused bits of a byte sequence")
        }
        _ => None,
    }
}

#[tokio::test]
async fn no_byte_of_what_is_covered_can_be_changed() {
    let scheme = HttpMessageSignatures::default();
    let request = genuine(&scheme);
    let mut found = BTreeSet::new();
    for part in Part::ALL {
        let text = String::from_utf8(part.get(&request)).unwrap();
        for changed in accepted(&|| verifier(&scheme), &request, part).await {
            match equivalence(part, &text, &changed) {
                Some(name) => found.insert(name),
                None => panic!("{part:?}: `{changed}` was accepted for `{text}`"),
            };
        }
    }
    // Each of them is one that there is.
    let named = [
        "a zero in front of a number",
        "spaces between the members of a structured field",
        "the case of the authority",
        "the padding of a byte sequence",
        "the unused bits of a byte sequence",
        "white space around a field, which is no part of it",
    ];
    assert_eq!(found, BTreeSet::from(named));
}

#[tokio::test]
async fn twin_a_part_that_is_not_covered_is_found() {
    let all = ["@method", "@authority", "@path", "@query"];
    for (left_out, part) in [
        ("@method", Part::Method),
        ("@path", Part::Path),
        ("@query", Part::Query),
    ] {
        let components = all.iter().filter(|name| **name != left_out);
        let components = components.map(|name| format!("\"{name}\"").parse().unwrap());
        let builder = HttpMessageSignatures::builder().danger_require_only(components);
        let scheme = builder.build().unwrap();
        let request = genuine(&scheme);
        // One change of a byte makes this of `POST`, and no other known method.
        let near = Method::from_bytes(b"QOST").unwrap();
        let verifier = || {
            let verifier = builder_of(&scheme).methods([Method::POST, near.clone()]);
            verifier.build().unwrap()
        };
        for other in [Part::Method, Part::Path, Part::Query] {
            let found = accepted(&verifier, &request, other).await;
            assert_eq!(found.is_empty(), other != part, "{left_out}: {other:?}");
        }
    }
    // And a body that is bound by its digest alone, where the digest is none of it.
    let scheme = covering(&["\"x-more\""]).build().unwrap();
    let request = sign(
        &scheme,
        with(&common::request("POST", "/", ""), "x-more", "1"),
    );
    let part = Part::Header("x-other");
    let found = accepted(&|| verifier(&scheme), &with(&request, "x-other", "1"), part).await;
    assert!(!found.is_empty());
}

#[tokio::test]
async fn a_query_may_be_empty_or_absent() {
    let scheme = HttpMessageSignatures::default();
    for (signed, sent) in [("/x", "/x?"), ("/x?", "/x")] {
        let request = sign(&scheme, common::request("POST", signed, BODY));
        let payload = verify(&verifier(&scheme), &super::with_uri(&request, sent)).await;
        assert_eq!(payload.unwrap().query(), Some(""));
    }
}

/// The parameters of a signature, and every one of them changed in every way.
fn changed_parameters(input: &str) -> Vec<(String, String)> {
    let (list, parameters) = input.split_once(')').unwrap();
    let (label, list) = list.split_once("=(").unwrap();
    let components: Vec<_> = list.split(' ').map(str::to_owned).collect();
    let parameters: Vec<_> = parameters[1..].split(';').map(str::to_owned).collect();
    let whole = |components: &[String], parameters: &[String]| {
        format!(
            "{label}=({});{}",
            components.join(" "),
            parameters.join(";")
        )
    };
    let mut changed = Vec::new();
    let lists = [(&components, true), (&parameters, false)];
    for (list, is_component) in lists {
        for (i, own) in list.iter().enumerate() {
            let mut put = |what: &str, other: Vec<String>| {
                let text = if is_component {
                    whole(&other, &parameters)
                } else {
                    whole(&components, &other)
                };
                changed.push((format!("{own} {what}"), text));
            };
            let replaced = |with: String| {
                let mut other = list.clone();
                other[i] = with;
                other
            };
            let mut removed = list.clone();
            removed.remove(i);
            put("removed", removed.clone());
            put("twice", [&list[..=i], &list[i..]].concat());
            for (to, other) in list.iter().enumerate().filter(|(to, _)| *to != i) {
                let mut moved = removed.clone();
                moved.insert(to, own.clone());
                put("moved", moved);
                put("in the place of another", replaced(other.clone()));
            }
            for suffix in [
                ";x",
                ";x=1",
                ";sf",
                ";bs",
                ";req",
                ";tr",
                ";key=\"a\"",
                ";name=\"a\"",
            ] {
                put("with another behind it", replaced(format!("{own}{suffix}")));
            }
            let (name, value) = own.split_once('=').unwrap_or((own, ""));
            let values = match value {
                "" => vec![],
                value => {
                    let inner = value.trim_matches('"');
                    vec![
                        String::new(),
                        "=".into(),
                        "=1".into(),
                        "=-1".into(),
                        "=1.0".into(),
                        "=token".into(),
                        "=?0".into(),
                        "=?1".into(),
                        "=\"\"".into(),
                        "=@1700000000".into(),
                        "=%\"a\"".into(),
                        "=()".into(),
                        format!("=({value})"),
                        format!("={inner}"),
                        format!("=\"{inner}\"").replace(value, &format!("{value} ")),
                        format!("=\"x{inner}\""),
                        format!("=\"{inner}x\""),
                        format!("=\"{}\"", inner.to_uppercase()),
                        format!("={value}.0"),
                        format!("=:{inner}:"),
                        format!("=%{value}"),
                        format!("=@{value}"),
                    ]
                }
            };
            for other in values {
                if other != format!("={value}") {
                    put(&other, replaced(format!("{name}{other}")));
                }
            }
            for other in [
                "x", "Created", "created", "expires", "nonce", "alg", "keyid", "tag", "*",
            ] {
                let renamed = own.replacen(name.trim_matches('"'), other, 1);
                if renamed != *own {
                    put(other, replaced(renamed));
                }
            }
        }
    }
    for extra in [
        "expires=1900000000",
        "expires=1",
        "tag=\"a\"",
        "x",
        "x=1",
        "created",
        "nonce",
        "*",
    ] {
        for at in 0..=parameters.len() {
            let mut more = parameters.clone();
            more.insert(at, extra.to_owned());
            changed.push((format!("{extra} added"), whole(&components, &more)));
        }
    }
    for extra in [
        "\"host\"",
        "\"x-absent\"",
        "\"@scheme\"",
        "\"@target-uri\"",
        "host",
        "1",
    ] {
        for at in 0..=components.len() {
            let mut more = components.clone();
            more.insert(at, extra.to_owned());
            changed.push((format!("{extra} added"), whole(&more, &parameters)));
        }
    }
    changed
}

#[tokio::test]
async fn no_parameter_of_a_signature_can_be_changed() {
    let builder = HttpMessageSignatures::builder()
        .tag("a")
        .expires_after(std::time::Duration::from_secs(60));
    for scheme in [HttpMessageSignatures::default(), builder.build().unwrap()] {
        let request = genuine(&scheme);
        let input = request.headers()["signature-input"].to_str().unwrap();
        let verifier = verifier(&scheme);
        let changes = changed_parameters(input);
        assert!(changes.len() > 400, "{}", changes.len());
        // Space at the end is none of the field.
        for (what, changed) in changes
            .iter()
            .filter(|(_, changed)| changed.trim() == changed)
        {
            assert_ne!(changed, input, "{what}");
            let other = with(&request, "signature-input", changed);
            let refused = verify(&verifier, &other).await;
            assert!(refused.is_err(), "{what}: `{changed}` was accepted");
        }
        verify(&verifier, &request).await.unwrap();
    }
}

#[tokio::test]
async fn twin_a_parameter_that_is_not_covered_is_found() {
    // The label is signed by nobody.
    let scheme = HttpMessageSignatures::default();
    let request = genuine(&scheme);
    let renamed = |request: &Request<String>, name| {
        let text = request.headers()[name]
            .to_str()
            .unwrap()
            .replacen("sig1", "sig2", 1);
        with(request, name, text)
    };
    let both = renamed(&renamed(&request, "signature"), "signature-input");
    verify(&verifier(&scheme), &both).await.unwrap();
}
