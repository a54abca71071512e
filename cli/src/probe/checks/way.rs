//! Ways in that ask for no signature.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};

use super::forged::with_target;
use crate::{
    exit::Failure,
    probe::{check::Case, lab::Lab},
};

/// Headers that some servers take for a sign that the request comes from their own side.
const INSIDE: [(&str, &str); 6] = [
    ("x-forwarded-for", "127.0.0.1"),
    ("x-real-ip", "127.0.0.1"),
    ("x-internal", "true"),
    ("x-internal-request", "1"),
    ("x-debug", "1"),
    ("authorization", "Bearer null"),
];

type Change = fn(Request<Bytes>) -> Option<Request<Bytes>>;

fn path_changed(request: &Request<Bytes>, change: fn(&str) -> String) -> Option<Request<Bytes>> {
    let query = request.uri().query().map(|query| format!("?{query}"));
    let path = change(request.uri().path());
    with_target(request, &format!("{path}{}", query.unwrap_or_default()))
}

const CHANGES: [(&str, Change); 6] = [
    ("with a slash more at the end of the path", |request| {
        path_changed(&request, |path| match path.strip_suffix('/') {
            Some(path) if !path.is_empty() => path.to_owned(),
            _ => format!("{path}/"),
        })
    }),
    ("with a slash more at the start of the path", |request| {
        path_changed(&request, |path| format!("/{path}"))
    }),
    ("with a dot segment in the path", |request| {
        path_changed(&request, |path| format!("/.{path}"))
    }),
    ("with a letter of the path percent-encoded", |request| {
        path_changed(&request, |path| match path.chars().last() {
            Some(last) if last.is_ascii_alphanumeric() => {
                let start = path.strip_suffix(last).unwrap_or(path);
                format!("{start}%{:02x}", u32::from(last))
            }
            _ => format!("{path}%20"),
        })
    }),
    ("as PUT", |mut request| {
        *request.method_mut() = Method::PUT;
        Some(request)
    }),
    ("as GET that overrides its method", |mut request| {
        let method = HeaderValue::from_str(request.method().as_str()).ok()?;
        *request.method_mut() = Method::GET;
        request
            .headers_mut()
            .insert("x-http-method-override", method);
        Some(request)
    }),
];

pub(super) fn unsigned(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let mut made = Vec::new();
    let bare = || {
        let fresh = lab.fresh()?;
        let request = lab.subject.template.request(&fresh.event, fresh.at).ok();
        Ok::<_, Failure>(request.map(|request| (fresh.event, request)))
    };
    for (name, value) in INSIDE {
        if let Some((event, mut request)) = bare()? {
            let header = HeaderName::from_static(name);
            request
                .headers_mut()
                .insert(header, HeaderValue::from_static(value));
            let what = format!("unsigned, with header {name}: {value}");
            made.push(Case::forged(what, &event, request));
        }
    }
    for (what, change) in CHANGES {
        if let Some((event, request)) = bare()?
            && let Some(request) = change(request)
        {
            made.push(Case::forged(format!("unsigned, {what}"), &event, request));
        }
    }
    Ok(made)
}
