//! A URL in the signed message.

use std::borrow::Cow;

use http::{request::Parts, uri::Scheme};

use crate::{
    error::{Fault, SignError, malformed},
    message::{self, Message, Target},
};

/// On which side of the body the URL is signed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Before,
    After,
}

/// After a URL, a body begins with one of these bytes, and no path and no query has one. So there
/// is only one place where the URL can end and the body begin. No digit of a time after the body
/// can move: with one more or less, the time is in another century, and never fresh.
const BEGINNINGS: &[char] = &['{', '['];

/// The bytes with which a body ends in front of a URL.
const ENDS: &[char] = &['}', ']'];

/// Appends a URL as it is respelled.
pub(super) fn push_url(
    to: &mut Message,
    target: &Target<'_>,
    respell: fn(&str) -> Cow<'_, str>,
    side: Side,
) -> Result<(), Fault> {
    let text = target.path_and_query.as_str();
    match side {
        Side::Before if text.contains(BEGINNINGS) => {
            return Err(malformed("the URL has a byte with which a body begins"));
        }
        Side::After if text.contains(ENDS) => {
            return Err(malformed("the URL has a byte with which a body ends"));
        }
        Side::Before | Side::After => {}
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
/// whichever of its spellings was sent: behind the first `?`. The path is covered if the message
/// has it as it was sent.
fn push_changed(to: &mut Message, target: &Target<'_>, text: &str) {
    let path_end = text.find('?').unwrap_or(text.len());
    let query = text.len().min(path_end + 1)..text.len();
    let path = text.get(..path_end).filter(|path| *path == target.path());
    let path = path.map(|_| (message::Part::Path, 0..path_end, None));
    let query = (message::Part::Query, query, None);
    to.text_with(text, path.into_iter().chain([query]));
}

/// Appends path and query as these functions respell them. No two spellings are equal, so that both
/// are covered as they were sent.
pub(super) fn push_target(
    to: &mut Message,
    target: &Target<'_>,
    path: fn(&str) -> Cow<'_, str>,
    query: fn(&str) -> Cow<'_, str>,
) -> Result<(), Fault> {
    let sent = target.query().unwrap_or_default();
    if sent.contains('?') {
        return Err(malformed(
            "the URL has a second `?`, and the sender signs nothing behind it",
        ));
    }
    push_respelled(to, message::Part::Path, target.path(), path);
    if !sent.is_empty() {
        to.text("?");
    }
    push_respelled(to, message::Part::Query, sent, query);
    Ok(())
}

fn push_respelled(
    to: &mut Message,
    part: message::Part,
    sent: &str,
    respell: fn(&str) -> Cow<'_, str>,
) {
    let respelled = respell(sent);
    let value = (*respelled != *sent).then(|| sent.as_bytes().into());
    to.text_with(&respelled, [(part, 0..respelled.len(), value)]);
}

/// Appends what a URL begins with.
pub(super) fn push_url_scheme(to: &mut Message, target: &Target<'_>) {
    to.text(target.scheme.unwrap_or(&Scheme::HTTPS).as_str());
    to.text("://");
}

/// The target of a request that is to be signed with its URL.
pub(super) fn outgoing_target(parts: &Parts) -> Result<Target<'_>, SignError> {
    let target = Target::of_outgoing(&parts.uri, &parts.headers)?;
    target.named_authority().map_err(SignError::new)?;
    Ok(target)
}

/// A body beside a URL begins where the URL ends, or ends where it begins.
pub(super) fn check_boundary(body: &[u8], side: Side) -> Result<(), Fault> {
    match (side, body.first(), body.last()) {
        (_, None, _)
        | (Side::Before, Some(b'{' | b'['), _)
        | (Side::After, _, Some(b'}' | b']')) => Ok(()),
        (Side::Before, ..) => Err(malformed(
            "the body is neither empty nor a JSON object or array from its first byte",
        )),
        (Side::After, ..) => Err(malformed(
            "the body is neither empty nor a JSON object or array up to its last byte",
        )),
    }
}
