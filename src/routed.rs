//! Facts that a server and a router add to a request: the one place that reads their extensions.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{Method, Uri, request::Parts};

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

/// The place that a request was routed to, as an extension of the request.
///
/// If a scheme leaves out method and path, a request is used once at each place. Axum's `MatchedPath`
/// says the place if the route has no parameter. Another server, or a router of your own, inserts
/// this type before the layer: the request is then claimed at this place, whatever its own method
/// and path. So all requests of one place, in every spelling of its path, use a message once.
///
/// It has no effect with a scheme that covers method and path.
///
/// # Security
/// Take a method and a path from your own configuration, never from a request: otherwise a captured
/// request could be used at any number of places.
///
/// ```
/// use countersign::request::MatchedPlace;
/// use http::Method;
/// # let mut request = http::Request::new(());
/// let place = MatchedPlace::new(Method::POST, "/hooks/github");
/// request.extensions_mut().insert(place);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedPlace {
    pub(crate) method: Method,
    pub(crate) path: Arc<str>,
}

impl MatchedPlace {
    /// Names a place of a known set, such as the routes of a configuration.
    pub fn new(method: Method, path: impl Into<Arc<str>>) -> Self {
        Self {
            method,
            path: path.into(),
        }
    }
}

/// Where a request was sent, and where it was routed to.
#[derive(Clone, Copy)]
pub(crate) struct Routed<'r> {
    /// The URI before a router took off the prefix under which it is nested.
    pub(crate) uri: &'r Uri,
    /// The route that a router took the request for, with the names of its parameters.
    pub(crate) route: Option<&'r str>,
    /// The place that a server says it was routed to.
    pub(crate) place: Option<&'r MatchedPlace>,
}

impl<'r> Routed<'r> {
    pub(crate) fn of(parts: &'r Parts) -> Self {
        Self {
            uri: original_uri(parts),
            route: route(parts),
            place: parts.extensions.get(),
        }
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

/// Returns the address of whoever opened the connection.
pub(crate) fn peer(parts: &Parts) -> Option<IpAddr> {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(addr)) = parts.extensions.get() {
        let addr: &SocketAddr = addr;
        return Some(addr.ip());
    }
    parts.extensions.get::<PeerAddr>().map(|peer| peer.0.ip())
}
