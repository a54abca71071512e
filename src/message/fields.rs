//! Header fields whose meaning is not their presence or their lines.

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{CONNECTION, CONTENT_ENCODING, COOKIE, TRAILER, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};

use crate::error::{Fault, malformed};

/// The field in which a sender names its intention.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The value of a header that must not appear twice.
pub(crate) fn single<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h HeaderValue>, Fault> {
    // Nearly always no name has a second line, which is known without a look at any.
    if headers.len() == headers.keys_len() {
        return Ok(headers.get(name));
    }
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(malformed(format!("header `{name}` appears more than once")));
    }
    Ok(first)
}

/// Returns whether the value of a `Content-Type` names this media type, with or without parameters.
pub(crate) fn has_media_type(value: &HeaderValue, name: &str) -> bool {
    let essence = value.as_bytes().split(|b| *b == b';').next();
    let essence = essence.unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(name.as_bytes())
}

/// Returns whether a field is there, by what it means: `Content-Encoding: identity` names no coding
/// (RFC 9110, section 8.4.1), and is as if it were absent.
pub(crate) fn is_present(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.contains_key(name)
        && (*name != CONTENT_ENCODING || !headers.get_all(name).iter().all(names_no_coding))
}

fn names_no_coding(line: &HeaderValue) -> bool {
    let mut codings = line.as_bytes().split(|b| *b == b',');
    codings.all(|coding| {
        let coding = coding.trim_ascii();
        coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
    })
}

/// Removes what says how a body comes in pieces: the body is whole now, and has no trailers. Returns
/// whether it was sent in chunks.
pub(crate) fn remove_framing(headers: &mut HeaderMap) -> bool {
    headers.remove(TRAILER);
    headers.remove(TRANSFER_ENCODING).is_some()
}

/// Returns whether `Cookie` arrived in several lines, as HTTP/2 and HTTP/3 allow for their
/// compression.
pub(crate) fn has_split_cookie(head: &Parts) -> bool {
    head.version >= Version::HTTP_2 && head.headers.get_all(COOKIE).iter().nth(1).is_some()
}

/// Joins the lines of `Cookie` by `; ` (RFC 9113, section 8.2.3), which makes the one line that
/// everybody else reads. A single line stays as it is.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else {
        return;
    };
    let mut is_sensitive = first.is_sensitive() || second.is_sensitive();
    let mut joined = [first.as_bytes(), second.as_bytes()].join(&b"; "[..]);
    for line in lines {
        is_sensitive |= line.is_sensitive();
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    // A value can be made of the bytes of values.
    if let Ok(mut joined) = HeaderValue::from_bytes(&joined) {
        joined.set_sensitive(is_sensitive);
        headers.insert(COOKIE, joined);
    }
}

/// The fields that `Connection` nominates, and its other options, as far as they are names.
pub(crate) fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let lines = headers.get_all(CONNECTION).iter();
    let options = lines.flat_map(|line| line.as_bytes().split(|b| *b == b','));
    options.filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
}

/// Returns whether `Upgrade` offers to go on with WebSocket.
pub(crate) fn offers_websocket(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(UPGRADE).iter();
    let mut protocols = lines.flat_map(|line| line.as_bytes().split(|b| *b == b','));
    protocols.any(|protocol| {
        let name = protocol.split(|b| *b == b'/').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"websocket")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_identity_is_no_coding() {
        let is_coded = |lines: &[&'static str]| {
            let lines = lines.iter().copied().map(HeaderValue::from_static);
            let headers = lines.map(|line| (CONTENT_ENCODING, line)).collect();
            is_present(&headers, &CONTENT_ENCODING)
        };
        for lines in [
            &[][..],
            &["identity"],
            &["Identity"],
            &[" IDENTITY\t"],
            &["identity", "identity"],
            &["identity, identity"],
            &[""],
            &[" , "],
        ] {
            assert!(!is_coded(lines), "{lines:?}");
        }
        for lines in [
            &["gzip"][..],
            &["identity, gzip"],
            &["identity", "br"],
            &["identity;q=1"],
            &["identityx"],
            &["identity gzip"],
        ] {
            assert!(is_coded(lines), "{lines:?}");
        }
    }

    #[test]
    fn a_media_type_is_its_whole_name() {
        let is_text = |value| has_media_type(&HeaderValue::from_static(value), "text/plain");
        for value in ["text/plain", "Text/Plain ; charset=utf-8", "text/plain;"] {
            assert!(is_text(value), "{value}");
        }
        for value in [
            "",
            "text/plainx",
            "text/plain,text/html",
            "text",
            "x;text/plain",
        ] {
            assert!(!is_text(value), "{value}");
        }
    }

    #[test]
    fn the_lines_of_a_cookie_become_one() {
        let mut headers = HeaderMap::new();
        join_cookies(&mut headers);
        assert!(headers.is_empty());
        for line in ["a=1", "b=2", "c=3"] {
            headers.append(COOKIE, HeaderValue::from_static(line));
        }
        headers.append("x-other", HeaderValue::from_static("1"));
        headers.append("x-other", HeaderValue::from_static("2"));
        join_cookies(&mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().count(), 1);
        assert_eq!(headers[COOKIE], "a=1; b=2; c=3");
        assert_eq!(headers.get_all("x-other").iter().count(), 2);
    }
}
