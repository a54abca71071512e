//! Where a request was sent, and where it was routed to, as the server's extensions say it.

use std::{net::IpAddr, sync::Arc};

use http::{Method, Uri, request::Parts};

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
    /// Looks up the address of the peer, which few schemes need.
    pub(crate) peer: fn(&Parts) -> Option<IpAddr>,
}

#[cfg(test)]
impl<'r> Routed<'r> {
    /// A request that no server and no router says more of.
    pub(crate) fn nowhere(parts: &'r Parts) -> Self {
        Self {
            uri: &parts.uri,
            route: None,
            place: None,
            peer: |_| None,
        }
    }
}
