//! Times outside of the window, and none.

use crate::{
    exit::Failure,
    probe::{
        check::Case,
        lab::Lab,
        subject::{now, shifted, with_header},
    },
};

/// How far from the edge of the window a time is that is tested.
const DISTANCE: i64 = 2;

/// Well signed requests of other times.
fn signed(lab: &Lab, times: &[(String, i64)]) -> Result<Vec<Case>, Failure> {
    if !lab.covered.is_timed {
        return Ok(Vec::new());
    }
    let mut made = Vec::new();
    for (what, seconds) in times {
        let fresh = lab.subject.fresh_at(shifted(now(), *seconds))?;
        made.push(Case::forged(what, &fresh.event, fresh.request));
    }
    Ok(made)
}

fn edge(lab: &Lab) -> Option<i64> {
    let age = lab.subject.max_age?.as_secs();
    i64::try_from(age).ok()?.checked_add(DISTANCE)
}

pub(super) fn stale(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let mut times = vec![("signed more than a day ago".to_owned(), -lab.far())];
    if let Some(edge) = edge(lab) {
        times.push((format!("signed {edge} s ago, outside of the window"), -edge));
    }
    signed(lab, &times)
}

pub(super) fn future(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let mut times = vec![("signed for more than a day ahead".to_owned(), lab.far())];
    if let Some(edge) = edge(lab) {
        times.push((
            format!("signed for {edge} s ahead, outside of the window"),
            edge,
        ));
    }
    signed(lab, &times)
}

pub(super) fn missing(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let mut made = Vec::new();
    for is_empty in [false, true] {
        let fresh = lab.subject.fresh_at(shifted(now(), -lab.far()))?;
        let Some(text) = super::forged::time_of(lab, &fresh) else {
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
