//! Requests and descriptions, made at random and by hand, that the tests of this folder share.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Request, Uri, request::Parts};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::super::{
    builder::HeaderSchemeBuilder,
    element::Element,
    part::{Part, elements},
    scheme::{Description, HeaderScheme, KeySource},
};
use crate::{
    key::MacAlgorithm,
    message::{Encoding, Origins, Routed, Supplied, TimeUnit},
    once::NonceKind,
    scheme::{Describe, Profile, Reading},
    testing::cases,
};

/// The values of a request, covered or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Values {
    pub(super) method: String,
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) a: String,
    pub(super) b: String,
    pub(super) time: String,
    pub(super) nonce: String,
    pub(super) key_id: String,
    /// The value that is supplied under the name `v`.
    pub(super) version: String,
    pub(super) body: Vec<u8>,
}

impl Values {
    pub(super) fn plain() -> Self {
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
            version: "7".into(),
            body: Vec::new(),
        }
    }

    /// A real request with these values; `None` where HTTP cannot carry them.
    pub(super) fn request(&self) -> Option<Parts> {
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
        let supplied = Supplied::new().with("v", &self.version);
        request.extensions_mut().insert(supplied);
        Some(request.into_parts().0)
    }

    /// The same request with another value of this part.
    pub(super) fn with(mut self, part: &Part, value: &[u8]) -> Option<Self> {
        let text = || std::str::from_utf8(value).ok().map(str::to_owned);
        match part {
            Part::Text(_) => {}
            Part::Method | Part::MethodOf(_) => self.method = text()?,
            Part::Authority => self.authority = text()?,
            Part::Path | Part::FixedPath(_) | Part::PathWithout(_) => self.path = text()?,
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
            Part::Supplied(_) => self.version = text()?,
            Part::Body | Part::CanonicalBody(_) => self.body = value.to_vec(),
            Part::Json(_) => return None,
        }
        Some(self)
    }
}

/// Returns whether a description covers this part, in whichever form.
pub(super) fn covers(parts: &[Part], part: Part) -> bool {
    let wanted = elements(&[part]).unwrap().remove(0);
    elements(parts).unwrap().iter().any(|element| {
        let is_body = wanted == Element::Body && element.body_form().is_some();
        *element.unquoted() == wanted || is_body
    })
}

/// Names exactly what is covered, because the builder refuses anything else.
pub(super) fn builder(parts: &[Part]) -> HeaderSchemeBuilder {
    let mut builder = HeaderScheme::builder("x-signature").signs(parts.iter().cloned());
    builder = if covers(parts, Part::KeyId) {
        builder.key_id("x-key-id")
    } else {
        builder.fixed_key_id("k")
    };
    builder = if covers(parts, Part::Time) {
        builder.time("x-time")
    } else {
        builder.danger_without_time(Duration::from_secs(86_400))
    };
    if covers(parts, Part::Nonce) {
        builder = builder.nonce("x-nonce");
    }
    builder
}

/// The same description, past every check.
pub(super) fn unchecked(parts: &[Part]) -> HeaderScheme {
    let has = |part| covers(parts, part);
    let name = HeaderName::from_static;
    let key = if has(Part::KeyId) {
        KeySource::Header(name("x-key-id"))
    } else {
        KeySource::Fixed("k".into())
    };
    HeaderScheme(Arc::new(Description {
        signature: name("x-signature"),
        encoding: Encoding::Hex,
        prefix: String::new(),
        key,
        time: has(Part::Time).then(|| (name("x-time"), TimeUnit::Seconds)),
        time_width: None,
        nonce: has(Part::Nonce).then(|| (name("x-nonce"), NonceKind::Covered)),
        elements: elements(parts).unwrap(),
        profile: Profile {
            algorithm: MacAlgorithm::HmacSha256,
            covers_authority: false,
            covers_place: false,
            covers_method: false,
            untimed_retention: None,
            event_horizon: None,
            retried_for: Duration::ZERO,
            may_repeat: false,
            key_id_is_own: false,
            max_age: None,
            sends_batches: false,
            sender_retries: false,
            signs_configured_url: false,
            malformed_is_unauthorized: false,
            bare_refusals: false,
        },
    }))
}

/// The signed message of a request, from the code that verifies.
pub(super) fn message_of(scheme: &HeaderScheme, parts: &Parts, body: &[u8]) -> Option<Vec<u8>> {
    let origins = Origins::default();
    let mut head = origins.head(parts, Routed::nowhere(parts)).ok()?;
    head.supplied = parts.extensions.get();
    let Ok(Reading::InHead(mut candidates)) = scheme.read(&head) else {
        return None;
    };
    let mut message = Vec::new();
    let signed = (candidates.remove(0).message)(&head, &mut crate::proof::Room::new()).ok()?;
    let formed = signed.rewrite_body(body).ok()?;
    let body = formed.as_deref().unwrap_or(body);
    signed.feed(body, |bytes| message.extend_from_slice(bytes));
    Some(message)
}

pub(super) fn message(scheme: &HeaderScheme, values: &Values) -> Option<Vec<u8>> {
    message_of(scheme, &values.request()?, &values.body)
}

pub(super) fn no_mac() -> HeaderValue {
    HeaderValue::from_str(&"0".repeat(64)).unwrap()
}

pub(super) fn any_values() -> impl Strategy<Value = Values> {
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
        "[1./A]{1,3}",
        "[\n1./?A: \t]{0,4}",
    );
    (head, rest).prop_map(
        |((method, authority, path, query, a, b), (time, nonce, key_id, version, body))| Values {
            method,
            authority,
            path,
            query,
            a,
            b,
            time,
            nonce,
            key_id,
            version,
            body: body.into(),
        },
    )
}

pub(super) fn any_part() -> impl Strategy<Value = Part> {
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
pub(super) fn any_parts() -> impl Strategy<Value = Vec<Part>> {
    any_parts_of(any_part())
}

pub(super) fn any_parts_of(part: impl Strategy<Value = Part>) -> impl Strategy<Value = Vec<Part>> {
    let delimiter = prop_oneof![
        6 => Just(Part::text("\n")),
        3 => "[\n./?1A \t]{1,2}".prop_map(Part::text),
        1 => Just(Part::text("")),
    ];
    let parts = prop::collection::vec((part, delimiter), 1..=7);
    (parts, any::<(bool, bool)>()).prop_map(|(parts, (leading, trailing))| {
        let mut joined = Vec::new();
        for (part, delimiter) in parts {
            // A header is named once, and so are a supplied value and the body.
            let once = matches!(part, Part::Header(_) | Part::Supplied(_) | Part::Body);
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

/// With this many cases, unless `tests/long.sh` asks for more.
pub(super) fn runner(usual: u32) -> TestRunner {
    TestRunner::new(Config {
        cases: cases(usual),
        ..Config::default()
    })
}
