//! Takes back an offer to switch protocols, which nobody behind may take up.

use http::{
    HeaderName, HeaderValue,
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
    head.headers.remove(UPGRADE);
    head.headers.remove(HTTP2_SETTINGS);
    let is_offer = |name: &HeaderName| *name == UPGRADE || *name == HTTP2_SETTINGS;
    if !connection_options(&head.headers).any(|name| is_offer(&name)) {
        return;
    }
    let others = connection_options(&head.headers).filter(|name| !is_offer(name));
    let others: Vec<_> = others.map(|name| name.as_str().to_owned()).collect();
    head.headers.remove(CONNECTION);
    if !others.is_empty()
        && let Ok(value) = HeaderValue::try_from(others.join(", "))
    {
        head.headers.insert(CONNECTION, value);
    }
}
