//! The statements of a trusted proxy about a request, for servers that route by the authority.

use http::request::Parts;

use crate::{error::Rejection, message::Forwarded, routed::peer};

impl Forwarded {
    /// Returns the authority that a trusted proxy says the client asked for. `None` if the peer of the
    /// request is not trusted, or if the header is missing: then `Host` or `:authority` counts.
    ///
    /// The peer is the [`PeerAddr`](crate::request::PeerAddr) of the request. A verifier with
    /// [`forwarded`](crate::request::VerifierBuilder::forwarded) reads the same; a server that chooses
    /// a route by the authority calls this, so that both look at one.
    ///
    /// # Errors
    /// Returns an error if the value is not an authority.
    pub fn authority<'h>(&self, request: &'h Parts) -> Result<Option<&'h str>, Rejection> {
        self.said(request, peer(request)).map_err(Rejection::from)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::Request;

    use super::*;
    use crate::request::PeerAddr;

    #[test]
    fn a_trusted_peer_alone_says_which_authority_was_asked_for() {
        let forwarded = Forwarded::host("x-forwarded-host").unwrap();
        let forwarded = forwarded.trust_network("10.0.0.0/8").unwrap();
        let said = |peer: [u8; 4], value: &str| {
            let request = Request::get("/").header("x-forwarded-host", value);
            let (mut head, ()) = request.body(()).unwrap().into_parts();
            head.extensions
                .insert(PeerAddr::from(SocketAddr::from((peer, 9))));
            forwarded
                .authority(&head)
                .map(|said| said.map(str::to_owned))
        };
        let last = said([10, 0, 0, 1], "evil.example, a.example").unwrap();
        assert_eq!(last.as_deref(), Some("a.example"));
        assert_eq!(said([192, 0, 2, 1], "a.example").unwrap(), None);
        assert!(said([10, 0, 0, 1], "u@a.example").is_err());
    }
}
