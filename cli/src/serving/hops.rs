//! Heads that go on from one connection to another.

use http::{
    HeaderMap, HeaderName,
    header::{
        CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderValue, InvalidHeaderValue,
        PROXY_AUTHENTICATE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
    uri::Authority,
};

/// The fields that belong to one connection.
pub(crate) static OF_ONE_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Returns the fields that `Connection` names, which belong to the connection too. The length and
/// the host always belong to the message.
pub(crate) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let named = headers
        .get_all(CONNECTION)
        .iter()
        // As the library does: an option that is no name takes no other with it.
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| *name != CONTENT_LENGTH && *name != HOST);
    named.collect()
}

/// Takes out of a head what belongs to its connection.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let mut gone = named_by_connection(headers);
    let names = headers.keys();
    gone.extend(
        names
            .filter(|name| OF_ONE_CONNECTION.contains(name))
            .cloned(),
    );
    for name in gone {
        headers.remove(name);
    }
}

/// Joins the lines of `Cookie`. HTTP/2 may split cookies into lines, and HTTP/1.1 has one line
/// (RFC 9113, 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) -> Result<(), InvalidHeaderValue> {
    let crumbs: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() > 1 {
        let one = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))?;
        headers.insert(COOKIE, one);
    }
    Ok(())
}

/// Returns the field `Host` of HTTP/1.1 for what HTTP/2 has in the target.
pub(crate) fn host(authority: &Authority) -> Result<HeaderValue, InvalidHeaderValue> {
    HeaderValue::from_str(authority.as_str())
}
