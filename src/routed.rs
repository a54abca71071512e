//! Facts that a server and a router add to a request: the one place that reads their extensions.

use std::net::{IpAddr, SocketAddr};

use http::{Uri, request::Parts};

use crate::message::Routed;

/// The address of the peer that a connection was accepted from, as an extension of the request.
///
/// With Axum's `into_make_service_with_connect_info::<SocketAddr>()` it is not needed. Other
/// servers insert it, for [forwarded headers](crate::request::Forwarded) to be trusted:
///
/// ```
/// use countersign::request::PeerAddr;
/// # let (mut request, addr) = (http::Request::new(()), "10.0.0.1:9".parse::<std::net::SocketAddr>()?);
/// request.extensions_mut().insert(PeerAddr::from(addr));
/// # Ok::<_, std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub(crate) SocketAddr);

impl From<SocketAddr> for PeerAddr {
    fn from(addr: SocketAddr) -> Self {
        Self(addr)
    }
}

/// Returns where the request was sent, and where it was routed to.
pub(crate) fn routed(parts: &Parts) -> Routed<'_> {
    Routed {
        uri: original_uri(parts),
        route: route(parts),
        place: parts.extensions.get(),
        peer,
    }
}

/// Returns the URI before a router took off the prefix under which it is nested.
pub(crate) fn original_uri(parts: &Parts) -> &Uri {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::OriginalUri(uri)) = parts.extensions.get() {
        return uri;
    }
    &parts.uri
}

#[cfg_attr(not(feature = "axum"), expect(unused_variables, reason = "for Axum"))]
fn route(parts: &Parts) -> Option<&str> {
    #[cfg(feature = "axum")]
    let route = parts
        .extensions
        .get()
        .map(axum::extract::MatchedPath::as_str);
    #[cfg(not(feature = "axum"))]
    let route = None;
    route
}

/// Returns the address of the peer of the connection.
pub(crate) fn peer(parts: &Parts) -> Option<IpAddr> {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(addr)) = parts.extensions.get() {
        let addr: &SocketAddr = addr;
        return Some(addr.ip());
    }
    parts.extensions.get::<PeerAddr>().map(|peer| peer.0.ip())
}
