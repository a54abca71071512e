//! Other bodies: with another value, in another order, with a key twice.

use bytes::Bytes;
use countersign::inspect::Source;
use http::{Request, header::CONTENT_TYPE};
use serde_json::{Map, Value};

use crate::{
    exit::Failure,
    probe::{check::Case, lab::Lab, subject::Fresh},
};

pub(super) fn with_body(request: &Request<Bytes>, body: impl Into<Bytes>) -> Request<Bytes> {
    let mut request = request.clone();
    *request.body_mut() = body.into();
    request
}

fn members(fresh: &Fresh) -> Option<Map<String, Value>> {
    serde_json::from_slice(fresh.request.body()).ok()
}

/// Another value of the same kind.
fn other(value: &Value) -> Option<Value> {
    match value {
        Value::Number(number) => {
            let next = number.as_i64().map(|n| n.saturating_add(1).into());
            next.or_else(|| number.as_f64().map(|n| (n + 1.0).into()))
        }
        Value::String(text) => Some(format!("{text}x").into()),
        Value::Bool(is) => Some((!is).into()),
        _ => None,
    }
}

/// The member to change: rather a number that is no identifier, then any other.
fn chosen(lab: &Lab, fresh: &Fresh, members: &Map<String, Value>) -> Option<(String, Value)> {
    let candidates: Vec<(bool, bool, &String, Value)> = members
        .iter()
        .filter_map(|(name, value)| {
            let is_identifier = fresh.event.is_in(&value.to_string());
            Some((is_identifier, !value.is_number(), name, other(value)?))
        })
        .collect();
    let best = candidates.iter().map(|(a, b, ..)| (*a, *b)).min()?;
    let best: Vec<_> = candidates
        .into_iter()
        .filter(|(a, b, ..)| (*a, *b) == best)
        .collect();
    let (.., name, value) = best.get(lab.subject.events.choose(best.len()))?;
    Some(((*name).clone(), value.clone()))
}

/// The request with another body, and the signature as it was.
pub(super) fn altered(lab: &Lab, fresh: &Fresh) -> Option<Request<Bytes>> {
    if !lab.covers(&Source::Body) && !covers_digest(lab) {
        return None;
    }
    let body = fresh.request.body();
    if let Some(mut members) = members(fresh)
        && let Some((name, value)) = chosen(lab, fresh, &members)
    {
        members.insert(name, value);
        return serde_json::to_vec(&members)
            .ok()
            .map(|body| with_body(&fresh.request, body));
    }
    let mut bytes = body.to_vec();
    let is_form = fresh
        .request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| {
            value
                .as_bytes()
                .starts_with(b"application/x-www-form-urlencoded")
        });
    match (is_form, bytes.last_mut()) {
        (true, _) => bytes.extend_from_slice(b"&probe=1"),
        (false, Some(last)) => *last ^= 1,
        (false, None) => bytes.push(b'x'),
    }
    Some(with_body(&fresh.request, bytes))
}

/// Returns whether a header that digests the body is covered.
pub(super) fn covers_digest(lab: &Lab) -> bool {
    lab.covered.sources.iter().any(|source| match source {
        Source::Header(name) | Source::Member(name, _) => name.as_str().ends_with("digest"),
        _ => false,
    })
}

pub(super) fn other_value(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let fresh = lab.fresh()?;
    let altered = altered(lab, &fresh);
    Ok(altered
        .map(|request| Case::forged("another value in the body", &fresh.event, request))
        .into_iter()
        .collect())
}

pub(super) fn written_again(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let fresh = lab.fresh()?;
    let Some(members) = members(&fresh) else {
        return Ok(Vec::new());
    };
    let written: Vec<String> = members
        .iter()
        .rev()
        .map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())))
        .collect();
    let mut cases = Vec::new();
    if written.len() > 1 {
        let request = with_body(&fresh.request, format!("{{{}}}", written.join(",")));
        cases.push(Case::forged(
            "the keys of the JSON in another order",
            &fresh.event,
            request,
        ));
    }
    let fresh = lab.fresh()?;
    let spaced = [fresh.request.body().as_ref(), b" \n"].concat();
    let request = with_body(&fresh.request, spaced);
    cases.push(Case::forged(
        "white space behind the JSON",
        &fresh.event,
        request,
    ));
    Ok(cases)
}

pub(super) fn duplicate_keys(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let mut cases = Vec::new();
    for is_first in [true, false] {
        let fresh = lab.fresh()?;
        let Some(members) = members(&fresh) else {
            return Ok(Vec::new());
        };
        let Some((name, value)) = chosen(lab, &fresh, &members) else {
            return Ok(Vec::new());
        };
        let twice = format!("{}:{value}", Value::from(name.as_str()));
        let body = String::from_utf8_lossy(fresh.request.body()).into_owned();
        let (body, place) = match is_first {
            true => (body.replacen('{', &format!("{{{twice},"), 1), "before"),
            false => match body.rsplit_once('}') {
                Some((body, rest)) => (format!("{body},{twice}}}{rest}"), "behind"),
                None => continue,
            },
        };
        let what = format!("another value of `{name}` {place} the signed one, under the same key");
        cases.push(Case::forged(
            what,
            &fresh.event,
            with_body(&fresh.request, body),
        ));
    }
    Ok(cases)
}
