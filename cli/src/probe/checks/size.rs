//! Bodies that are large or slow.

use super::body::with_body;
use crate::{
    exit::Failure,
    probe::{
        check::{Case, Step},
        lab::Lab,
        subject::with_header,
    },
};

/// Longer than a request that is signed needs to be.
const LARGE: usize = 8 * 1024 * 1024;

/// A large body without a signature: a server that answers before its end has not waited for it.
pub(super) fn large(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let fresh = lab.fresh()?;
    let unsigned = lab.subject.template.request(&fresh.event, fresh.at);
    let Ok(request) = unsigned else {
        return Ok(Vec::new());
    };
    let request = with_body(&request, vec![b' '; LARGE]);
    Ok(vec![Case {
        by_status: true,
        ..Case::again(
            "an unsigned body of 8 MiB",
            &fresh.event,
            Vec::new(),
            vec![Step::Patiently(request)],
            0,
        )
    }])
}

pub(super) fn slow(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let fresh = lab.fresh()?;
    let name = http::header::CONTENT_TYPE;
    let request = match fresh.request.headers().get(&name) {
        Some(_) => Some(fresh.request.clone()),
        None => with_header(fresh.request.clone(), &name, "application/json"),
    };
    let Some(request) = request else {
        return Ok(Vec::new());
    };
    let long = [request.body().as_ref(), &[b' '; 256]].concat();
    let probe = vec![Step::Slowly(with_body(&request, long), lab.patience)];
    let seconds = lab.patience.as_secs();
    let what = format!("a body of which a byte comes every second, for {seconds} s");
    Ok(vec![Case {
        by_status: true,
        ..Case::again(what, &fresh.event, Vec::new(), probe, 0)
    }])
}
