//! The same request, or the same event, again.

use std::{iter, time::Duration};

use http::{HeaderName, header::HeaderValue};

use super::{body, forged::spellings};
use crate::{
    exit::Failure,
    probe::{
        check::{Case, Step, send},
        lab::Lab,
    },
};

/// How long before its signature expires a request is sent again: the clocks differ.
const BEFORE_THE_END: Duration = Duration::from_secs(2);

/// How often a request is sent again: one of several workers may remember it.
const TIMES: usize = 4;

pub(super) fn again(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let fresh = lab.fresh()?;
    let probe = iter::repeat_n(send(&fresh), TIMES).collect();
    let what = "the same bytes again, after the first answer";
    Ok(vec![Case::again(
        what,
        &fresh.event,
        vec![send(&fresh)],
        probe,
        0,
    )])
}

pub(super) fn at_once(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let fresh = lab.fresh()?;
    let copies = vec![fresh.request.clone(); lab.copies.into()];
    let what = format!("{} copies of the same bytes at the same moment", lab.copies);
    let probe = vec![Step::Together(copies)];
    Ok(vec![Case::again(what, &fresh.event, Vec::new(), probe, 1)])
}

pub(super) fn after_an_error(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let mut cases = Vec::new();
    let fresh = lab.fresh()?;
    let cut = Step::HangUp(fresh.request.clone());
    let probe = vec![cut, send(&fresh), send(&fresh)];
    let what = "the same bytes again, after the client hung up before the first answer";
    cases.push(Case::again(what, &fresh.event, Vec::new(), probe, 1));
    let fresh = lab.fresh()?;
    if let Some(altered) = body::altered(lab, &fresh) {
        let setup = vec![send(&fresh), Step::Send(altered)];
        let what = "the same bytes again, after a copy with a wrong signature was refused";
        cases.push(Case::again(
            what,
            &fresh.event,
            setup,
            vec![send(&fresh)],
            0,
        ));
    }
    Ok(cases)
}

pub(super) fn after_others(lab: &Lab) -> Result<Vec<Case>, Failure> {
    if lab.others == 0 {
        return Ok(Vec::new());
    }
    let fresh = lab.fresh()?;
    let setup = vec![send(&fresh), Step::Others(lab.others)];
    let what = format!("the same bytes again, after {} other requests", lab.others);
    let case = Case::again(what, &fresh.event, setup, vec![send(&fresh)], 0);
    Ok(vec![case.until(lab.expires(fresh.at))])
}

pub(super) fn after_most_of_the_window(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let fresh = lab.fresh()?;
    let Some(expires) = lab.expires(fresh.at) else {
        return Ok(Vec::new());
    };
    let until = expires.saturating_sub(BEFORE_THE_END);
    if until <= fresh.at {
        return Ok(Vec::new());
    }
    let setup = vec![send(&fresh), Step::WaitUntil(until)];
    let age = until.saturating_since(fresh.at).as_secs();
    let what = format!("the same bytes again, {age} s after they were signed");
    let case = Case::again(what, &fresh.event, setup, vec![send(&fresh)], 0);
    Ok(vec![case.until(Some(expires))])
}

/// The same request in another spelling of its signature or time.
pub(super) fn respelled(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let mut cases = Vec::new();
    let sample = lab.fresh()?;
    for (at, (what, _)) in spellings(lab, &sample).into_iter().enumerate() {
        let fresh = lab.fresh()?;
        if let Some((_, request)) = spellings(lab, &fresh).into_iter().nth(at) {
            let what = format!("the same request again, with {what}");
            let probe = vec![Step::Send(request)];
            cases.push(Case::again(
                what,
                &fresh.event,
                vec![send(&fresh)],
                probe,
                0,
            ));
        }
    }
    // Headers that nobody signs, and by which some servers tell requests apart.
    let fresh = lab.fresh()?;
    let mut request = fresh.request.clone();
    let id = HeaderValue::from_static("countersign-probe");
    for name in ["x-request-id", "idempotency-key"] {
        let name = HeaderName::from_static(name);
        if !request.headers().contains_key(&name) {
            request.headers_mut().insert(name, id.clone());
        }
    }
    let what = "the same request again, with other unsigned headers";
    let probe = vec![Step::Send(request)];
    cases.push(Case::again(
        what,
        &fresh.event,
        vec![send(&fresh)],
        probe,
        0,
    ));
    Ok(cases)
}

pub(super) fn event_signed_again(lab: &Lab) -> Result<Vec<Case>, Failure> {
    if !lab.has_event_id() {
        return Ok(Vec::new());
    }
    let fresh = lab.fresh()?;
    let again = lab.again(&fresh, 1)?;
    let what = "the same event, signed again with another time, as a sender does for a retry";
    Ok(vec![Case::again(
        what,
        &fresh.event,
        vec![send(&fresh)],
        vec![send(&again)],
        0,
    )])
}

pub(super) fn nonce_reused(lab: &Lab) -> Result<Vec<Case>, Failure> {
    if !lab.has_nonce() {
        return Ok(Vec::new());
    }
    let (fresh, other) = (lab.fresh()?, lab.fresh()?);
    let other = lab
        .subject
        .signed(other.event, fresh.nonce.clone(), other.at)?;
    if other.request.body() == fresh.request.body() && other.request.uri() == fresh.request.uri() {
        return Ok(Vec::new());
    }
    let what = "another request, well signed under a nonce that was used";
    Ok(vec![Case::again(
        what,
        &other.event,
        vec![send(&fresh)],
        vec![send(&other)],
        0,
    )])
}

/// One event, each copy signed by itself.
pub(super) fn event_at_once(lab: &Lab) -> Result<Vec<Case>, Failure> {
    if !lab.subject.template.has_identifier() {
        return Ok(Vec::new());
    }
    let fresh = lab.fresh()?;
    let again = lab.again(&fresh, 1)?;
    let control = "the same event signed again, after the first answer";
    let control = Case::again(
        control,
        &fresh.event,
        vec![send(&fresh)],
        vec![send(&again)],
        0,
    );
    let fresh = lab.fresh()?;
    let copies: Result<Vec<_>, _> = (0..lab.copies)
        .map(|number| lab.again(&fresh, number).map(|fresh| fresh.request))
        .collect();
    let what = format!(
        "{} requests for one event, each signed by itself, at the same moment",
        lab.copies
    );
    let probe = vec![Step::Together(copies?)];
    Ok(vec![
        control,
        Case::again(what, &fresh.event, Vec::new(), probe, 1),
    ])
}
