//! The address of whoever opened the connection.

use std::net::{IpAddr, SocketAddr};

use http::request::Parts;

/// The address of the peer that a connection was accepted from, as an extension of the request.
///
/// With Axum's `into_make_service_with_connect_info::<SocketAddr>()` it is not needed. Other
/// servers insert it, for [forwarded headers](crate::Forwarded) to be trusted:
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

pub(crate) fn peer(parts: &Parts) -> Option<IpAddr> {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(addr)) = parts.extensions.get() {
        let addr: &std::net::SocketAddr = addr;
        return Some(addr.ip());
    }
    parts.extensions.get::<PeerAddr>().map(|peer| peer.0.ip())
}
