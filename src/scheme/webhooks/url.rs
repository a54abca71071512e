//! A URL in the signed message.

use std::borrow::Cow;

use http::{request::Parts, uri::Scheme};

use crate::{
    error::{Fault, SignError, malformed},
    message::{self, Message, Target},
};

/// Beside a URL, a body begins with one of these bytes, and no path and no query has one: so that
/// there is one place only where the one can end and the other begin. Of a time after the body, no
/// digit can move: with one more or less it is of another century, and never fresh.
const BEGINNINGS: &[char] = &['{', '['];

/// Appends a URL as it is respelled.
pub(super) fn push_url(
    to: &mut Message,
    target: &Target<'_>,
    respell: fn(&str) -> Cow<'_, str>,
) -> Result<(), Fault> {
    if target.path_and_query.as_str().contains(BEGINNINGS) {
        return Err(malformed("the URL has a byte with which a body begins"));
    }
    push_url_scheme(to, target);
    match respell(&target.authority) {
        Cow::Borrowed(authority) => to.part(message::Part::Authority, authority),
        Cow::Owned(changed) => to.text(changed),
    }
    match respell(target.path_and_query.as_str()) {
        Cow::Borrowed(_) => to.path_and_query(target.path(), target.query()),
        Cow::Owned(changed) => push_changed(to, target, &changed),
    }
    Ok(())
}

/// Appends path and query as they are respelled. The query that is covered is the one of this text,
/// whichever of its spellings was sent: behind the first `?`. The path is covered if it stands there
/// as it was sent.
fn push_changed(to: &mut Message, target: &Target<'_>, text: &str) {
    let path_end = text.find('?').unwrap_or(text.len());
    let query = text.len().min(path_end + 1)..text.len();
    let path = text.get(..path_end).filter(|path| *path == target.path());
    let path = path.map(|_| (message::Part::Path, 0..path_end, None));
    let query = (message::Part::Query, query, None);
    to.text_with(text, path.into_iter().chain([query]));
}

/// Appends what a URL begins with.
pub(super) fn push_url_scheme(to: &mut Message, target: &Target<'_>) {
    to.text(target.scheme.unwrap_or(&Scheme::HTTPS).as_str());
    to.text("://");
}

/// The target of a request that is to be signed with its URL.
pub(super) fn outgoing_target(parts: &Parts) -> Result<Target<'_>, SignError> {
    let target = Target::of_outgoing(&parts.uri, &parts.headers)?;
    if target.authority.is_empty() {
        return Err(SignError::new(
            "the request names no authority, in its URI or in `Host`",
        ));
    }
    Ok(target)
}

/// A body beside a URL begins where the URL ends.
pub(super) fn check_boundary(body: &[u8]) -> Result<(), Fault> {
    match body.first() {
        None | Some(b'{' | b'[') => Ok(()),
        Some(_) => Err(malformed(
            "the body is neither empty nor a JSON object or array from its first byte",
        )),
    }
}
