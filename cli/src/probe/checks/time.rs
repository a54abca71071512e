//! Times outside of the window, in another form, and none.

use std::time::Duration;

use countersign::Timestamp;

use super::{
    forged::{FORMS, replaced, shape, time_of},
    signature::signed_over_time,
};
use crate::{
    exit::Failure,
    probe::{
        check::Case,
        lab::Lab,
        subject::{now, shifted, with_header},
    },
};

/// How far from the edge of the window a time is that is tested.
const DISTANCE: Duration = Duration::from_secs(2);

/// A well signed request of another time.
fn signed(lab: &Lab, what: String, at: Timestamp) -> Result<Case, Failure> {
    let fresh = lab.subject.fresh_at(at)?;
    Ok(Case::forged(what, &fresh.event, fresh.request))
}

pub(super) fn stale(lab: &Lab) -> Result<Vec<Case>, Failure> {
    if !lab.covered.is_timed {
        return Ok(Vec::new());
    }
    let what = "signed more than a day ago".to_owned();
    let mut made = vec![signed(lab, what, shifted(now(), -lab.far()))?];
    if let Some(age) = lab.edge() {
        let edge = age.saturating_add(DISTANCE);
        let what = format!("signed {} s ago, outside of the window", edge.as_secs());
        made.push(signed(lab, what, now().saturating_sub(edge))?);
    }
    Ok(made)
}

pub(super) fn future(lab: &Lab) -> Result<Vec<Case>, Failure> {
    if !lab.covered.is_timed {
        return Ok(Vec::new());
    }
    let what = "signed for more than a day ahead".to_owned();
    let mut made = vec![signed(lab, what, shifted(now(), lab.far()))?];
    if let Some(age) = lab.edge() {
        let edge = age.saturating_add(DISTANCE);
        let what = format!(
            "signed for {} s ahead, outside of the window",
            edge.as_secs()
        );
        // Whole seconds are signed, and the distance is kept.
        let at = now().saturating_add(edge + Duration::from_secs(1));
        let enters = Timestamp::from_secs(at.as_secs()).map(|at| at.saturating_sub(age));
        made.push(signed(lab, what, at)?.until(enters));
    }
    Ok(made)
}

/// Well signed requests whose time is written in a form that the scheme does not have.
pub(super) fn malformed(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let mut made = Vec::new();
    for form in FORMS {
        let fresh = lab.fresh()?;
        let Some(text) = time_of(lab, &fresh) else {
            return Ok(Vec::new());
        };
        let other = form(&text);
        let request = replaced(lab, &fresh.request, &text, &other).and_then(|rewritten| {
            signed_over_time(lab, &fresh.request, &rewritten, (&text, &other))
        });
        if let Some(request) = request {
            let what = format!("signed with a time written as {}", shape(&text, &other));
            made.push(Case::forged(what, &fresh.event, request));
        }
    }
    Ok(made)
}

pub(super) fn missing(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let mut made = Vec::new();
    for is_empty in [false, true] {
        let fresh = lab.subject.fresh_at(shifted(now(), -lab.far()))?;
        let Some(text) = time_of(lab, &fresh) else {
            return Ok(Vec::new());
        };
        let own = &lab.subject.template.headers;
        let headers = fresh.request.headers();
        let name = headers.iter().find_map(|(name, value)| {
            let is_own = own.iter().any(|(own, _)| own == name);
            (!is_own && value.as_bytes() == text.as_bytes()).then(|| name.clone())
        });
        let Some(name) = name else {
            return Ok(Vec::new());
        };
        let (what, request) = match is_empty {
            true => (
                "an old request with an empty time",
                with_header(fresh.request, &name, ""),
            ),
            false => {
                let mut request = fresh.request;
                request.headers_mut().remove(&name);
                ("an old request without its time", Some(request))
            }
        };
        made.extend(request.map(|request| Case::forged(what, &fresh.event, request)));
    }
    Ok(made)
}
