//! Takes back an offer to switch protocols, which nobody behind may take up.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, UPGRADE},
    request::Parts,
};
use hyper::upgrade::OnUpgrade;

use crate::message::connection_options;

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Takes an offer to switch protocols out of a request: `Upgrade`, `HTTP2-Settings`, the options of
/// `Connection` that name them, and what hyper's server leaves in the extensions to switch with.
///
/// The layer does so by itself with every request that it lets through, because nothing covers what
/// would follow. Call this if you verify with a [`Verifier`](crate::Verifier) and pass the request
/// on.
///
/// ```
/// let request = http::Request::post("/")
///     .header("connection", "Upgrade, HTTP2-Settings, x-trace")
///     .header("upgrade", "h2c")
///     .header("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA")
///     .body(())?;
/// let (mut head, ()) = request.into_parts();
/// countersign::request::remove_upgrade(&mut head);
/// assert_eq!(head.headers.len(), 1);
/// assert_eq!(head.headers["connection"], "x-trace");
/// # Ok::<_, http::Error>(())
/// ```
pub fn remove_upgrade(head: &mut Parts) {
    head.extensions.remove::<OnUpgrade>();
    let offers =
        |name: &HeaderName| matches!(name.as_str(), "connection" | "http2-settings" | "upgrade");
    if head.headers.keys().any(offers) {
        remove(&mut head.headers, &[UPGRADE, HTTP2_SETTINGS]);
    }
}

/// Leaves of an offer nothing but the one to go on with WebSocket.
pub(super) fn leave_websocket(headers: &mut HeaderMap) {
    remove(headers, &[HTTP2_SETTINGS]);
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Removes these fields, and the options of `Connection` that name them.
fn remove(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        headers.remove(name);
    }
    let is_named = |option: &HeaderName| names.contains(option);
    if !connection_options(headers).any(|option| is_named(&option)) {
        return;
    }
    let others = connection_options(headers).filter(|option| !is_named(option));
    let others: Vec<_> = others.map(|name| name.as_str().to_owned()).collect();
    headers.remove(CONNECTION);
    if !others.is_empty()
        && let Ok(value) = HeaderValue::try_from(others.join(", "))
    {
        headers.insert(CONNECTION, value);
    }
}
