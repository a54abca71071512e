//! Requests of which one part differs from what was signed.

use bytes::Bytes;
use countersign::inspect::Source;
use http::{HeaderName, Method, Request, Uri, uri::PathAndQuery};

use super::signature::Place;
use crate::{
    exit::Failure,
    probe::{
        check::Case,
        event::has_identifier,
        lab::Lab,
        subject::{Fresh, now, with_header},
    },
};

pub(super) fn with_target(request: &Request<Bytes>, target: &str) -> Option<Request<Bytes>> {
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    let mut request = request.clone();
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    Some(request)
}

fn target(request: &Request<Bytes>) -> (&str, Option<&str>) {
    (request.uri().path(), request.uri().query())
}

fn joined(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// The cases whose request could be made.
fn cases<const N: usize>(fresh: &Fresh, made: [(&str, Option<Request<Bytes>>); N]) -> Vec<Case> {
    made.into_iter()
        .filter_map(|(what, request)| Some(Case::forged(what, &fresh.event, request?)))
        .collect()
}

pub(super) fn method(lab: &Lab) -> Result<Vec<Case>, Failure> {
    if !lab.covers(&Source::Method) {
        return Ok(Vec::new());
    }
    let mut made = Vec::new();
    for method in [Method::PUT, Method::PATCH, Method::POST] {
        if method != lab.subject.template.method {
            let mut fresh = lab.fresh()?;
            *fresh.request.method_mut() = method.clone();
            let what = format!("method {method}");
            made.push(Case::forged(what, &fresh.event, fresh.request));
        }
    }
    Ok(made)
}

pub(super) fn path(lab: &Lab) -> Result<Vec<Case>, Failure> {
    if !lab.covers(&Source::Path) {
        return Ok(Vec::new());
    }
    let fresh = lab.fresh()?;
    let (path, query) = target(&fresh.request);
    let other = lab.subject.events.event();
    let other = lab.subject.template.request(&other, now()).ok();
    let other = other.filter(|other| other.uri().path() != path);
    let made = [
        (
            "another identifier in the path",
            other.and_then(|other| with_target(&fresh.request, &joined(other.uri().path(), query))),
        ),
        (
            "another path",
            with_target(&fresh.request, &joined(&format!("{path}x"), query)),
        ),
    ];
    Ok(cases(&fresh, made))
}

pub(super) fn query(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let covers = |source: &Source| matches!(source, Source::Query | Source::QueryParam(_));
    if !lab.covered.sources.iter().any(covers) {
        return Ok(Vec::new());
    }
    let fresh = lab.fresh()?;
    let (path, query) = target(&fresh.request);
    let more = match query {
        Some(query) if !query.is_empty() => format!("{path}?{query}&probe=1"),
        _ => format!("{path}?probe=1"),
    };
    let changed = query.and_then(|query| {
        let value = query.rsplit('=').next().filter(|value| !value.is_empty())?;
        let start = query.strip_suffix(value)?;
        with_target(&fresh.request, &format!("{path}?{start}x{value}"))
    });
    Ok(cases(
        &fresh,
        [
            (
                "a parameter more in the query",
                with_target(&fresh.request, &more),
            ),
            ("another value in the query", changed),
        ],
    ))
}

pub(super) fn authority(lab: &Lab) -> Result<Vec<Case>, Failure> {
    if !lab.covers(&Source::Authority) {
        return Ok(Vec::new());
    }
    let fresh = lab.fresh()?;
    let mut parts = fresh.request.uri().clone().into_parts();
    parts.authority = "other.example".parse().ok();
    let mut request = fresh.request.clone();
    let uri = Uri::from_parts(parts).ok();
    let request = uri.map(|uri| {
        *request.uri_mut() = uri;
        request.headers_mut().remove("host");
        request
    });
    Ok(cases(&fresh, [("another host", request)]))
}

/// Headers of the request that are covered, and are neither the time nor the nonce.
pub(super) fn header(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let mut made = Vec::new();
    let sample = lab.fresh()?;
    let covered = lab
        .covered
        .sources
        .iter()
        .filter_map(|source| match source {
            Source::Header(name) => Some(name),
            _ => None,
        });
    let time = time_of(lab, &sample).unwrap_or_default();
    let is_other = |name: &&HeaderName| {
        let value = sample.request.headers().get(*name);
        value.is_some_and(|value| value != time.as_str() && value != sample.nonce.as_str())
    };
    for name in covered.filter(is_other) {
        let fresh = lab.fresh()?;
        let value = fresh
            .request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok());
        let value = format!("{}x", value.unwrap_or_default());
        if let Some(request) = with_header(fresh.request.clone(), name, &value) {
            made.push(Case::forged(
                format!("another value of header {name}"),
                &fresh.event,
                request,
            ));
        }
        let fresh = lab.fresh()?;
        let mut request = fresh.request.clone();
        request.headers_mut().remove(name);
        made.push(Case::forged(
            format!("without header {name}"),
            &fresh.event,
            request,
        ));
    }
    Ok(made)
}

/// The headers that hold this text and were written by signing, with the text replaced.
pub(super) fn replaced(
    lab: &Lab,
    request: &Request<Bytes>,
    text: &str,
    by: &str,
) -> Option<Request<Bytes>> {
    let own = &lab.subject.template.headers;
    let found = request.headers().iter().find_map(|(name, value)| {
        let value = value.to_str().ok()?;
        let is_own = own.iter().any(|(own, _)| own == name);
        (!is_own && value.contains(text)).then(|| (name.clone(), value.replacen(text, by, 1)))
    });
    let (name, value) = found?;
    with_header(request.clone(), &name, &value)
}

pub(super) fn nonce(lab: &Lab) -> Result<Vec<Case>, Failure> {
    if !lab.covers(&Source::Nonce) {
        return Ok(Vec::new());
    }
    let fresh = lab.fresh()?;
    let other = replaced(
        lab,
        &fresh.request,
        &fresh.nonce,
        &lab.subject.events.nonce(),
    );
    Ok(cases(&fresh, [("another nonce", other)]))
}

pub(super) fn key_id(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let fresh = lab.fresh()?;
    let key_id = lab
        .subject
        .signature(&fresh.request)
        .map(|s| s.key_id().to_owned());
    let other = key_id.as_deref().and_then(|key_id| {
        lab.subject.chosen.names_key().then_some(())?;
        replaced(lab, &fresh.request, key_id, &format!("{key_id}x"))
    });
    Ok(cases(&fresh, [("another key id", other)]))
}

/// The header that holds the signed time, and its text.
pub(super) fn time_of(lab: &Lab, fresh: &Fresh) -> Option<String> {
    let signature = lab.subject.signature(&fresh.request)?;
    let at = signature.signed_at()?;
    let texts = [at.as_millis().to_string(), at.as_secs().to_string()];
    texts
        .into_iter()
        .find(|text| replaced(lab, &fresh.request, text, "").is_some())
}

pub(super) fn time(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let mut made = Vec::new();
    for (what, distance) in [
        ("a time one second later", 1),
        ("a time one second earlier", -1),
    ] {
        let fresh = lab.fresh()?;
        let other = time_of(lab, &fresh).and_then(|text| {
            let number: i64 = text.parse().ok()?;
            let distance = if text.len() > 11 {
                1000 * distance
            } else {
                distance
            };
            replaced(lab, &fresh.request, &text, &(number + distance).to_string())
        });
        made.extend(cases(&fresh, [(what, other)]));
    }
    Ok(made)
}

/// The identifier in the path is another than in the signed body.
pub(super) fn path_against_body(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let url = &lab.subject.template.url;
    let body = std::str::from_utf8(&lab.subject.template.body).unwrap_or_default();
    let path = url.split('?').next().unwrap_or_default();
    if lab.covers(&Source::Path) || !has_identifier(path) || !has_identifier(body) {
        return Ok(Vec::new());
    }
    let (fresh, other) = (lab.fresh()?, lab.fresh()?);
    let (_, query) = target(&fresh.request);
    let request = with_target(&fresh.request, &joined(other.request.uri().path(), query));
    Ok(request
        .map(|request| Case {
            is_forged: false,
            needs_own_state: true,
            ..Case::forged(
                "the signed body of one resource, sent to the path of another",
                &other.event,
                request,
            )
        })
        .into_iter()
        .collect())
}

/// The same request in other spellings.
pub(super) fn spellings(lab: &Lab, fresh: &Fresh) -> Vec<(String, Request<Bytes>)> {
    let mut made: Vec<(String, Option<Request<Bytes>>)> = Vec::new();
    if let Some(place) = Place::of(lab, &fresh.request) {
        for (what, value) in place.spellings() {
            made.push((
                what.to_owned(),
                with_header(fresh.request.clone(), &place.name, &value),
            ));
        }
        let mut twice = fresh.request.clone();
        if let Some(value) = twice.headers().get(&place.name).cloned() {
            twice.headers_mut().append(&place.name, value);
        }
        made.push(("the header of the signature twice".to_owned(), Some(twice)));
    }
    if let Some(text) = time_of(lab, fresh) {
        for other in times(&text) {
            let request = replaced(lab, &fresh.request, &text, &other);
            made.push((
                format!("its time written as {}", shape(&text, &other)),
                request,
            ));
        }
    }
    let made = made.into_iter();
    made.filter_map(|(what, request)| Some((what, request?)))
        .collect()
}

type Form = fn(&str) -> String;

/// Other forms of a time: signed, a fraction, an exponent, and in the other unit.
pub(super) const FORMS: [Form; 4] = [
    |text| format!("+{text}"),
    |text| format!("{text}.0"),
    |text| format!("{text}e0"),
    |text| match text.len() > 11 {
        true => text.get(..text.len() - 3).unwrap_or(text).to_owned(),
        false => format!("{text}000"),
    },
];

/// Other spellings of a time.
fn times(text: &str) -> Vec<String> {
    let forms = FORMS.iter().map(|form| form(text));
    forms.chain([format!("0{text}")]).collect()
}

/// The spelling without the digits, so that it is the same each time.
pub(super) fn shape(text: &str, other: &str) -> String {
    match text.contains(other) {
        true => "seconds".to_owned(),
        false => match other.strip_prefix(text) {
            Some("000") => "milliseconds".to_owned(),
            _ => format!("`{}`", other.replacen(text, "T", 1)),
        },
    }
}
