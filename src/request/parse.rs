//! First stage: the scheme reads the head. Bounded, and without I/O.

use http::{
    Method,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};

use super::{state::State, verifier::Verifier};
use crate::{
    error::{Rejection, RejectionKind, malformed},
    message::{Supplied, offers_websocket},
    routed::routed,
};

/// A request whose signature was read, and nothing of it believed.
#[derive(Debug)]
#[must_use]
pub struct Parsed<'h> {
    pub(super) state: Box<State<'h>>,
}

impl Verifier {
    /// Reads the head of a request.
    ///
    /// Several lines of `Cookie`, as HTTP/2 may send them, are one value that is joined by `; `.
    /// [`verify`](Self::verify) and the layer join them; before this stage, that is the caller's
    /// part.
    ///
    /// # Errors
    /// Returns an error if the request has no signature, one that cannot be read or can be read
    /// twice, a method that is not let in, or an authority that is not served; or if it asks for a
    /// tunnel.
    ///
    /// # Security
    /// An offer of `Upgrade` to anything but WebSocket does not refuse a request, and nothing
    /// covers what would follow: do not take it up. The layer takes it out; without the layer,
    /// [`remove_upgrade`](crate::request::remove_upgrade) does.
    pub fn parse<'h>(&'h self, head: &'h Parts) -> Result<Parsed<'h>, Rejection> {
        let parsed = self.read_head(head, None);
        parsed.map_err(|rejection| self.answered(rejection))
    }

    /// Refuses two statements of where the body ends, of which another server may believe the other,
    /// and a switch of protocols, because no signature covers what follows it. Other offers of
    /// `Upgrade` are optional: nobody behind is given the chance to take them up.
    fn check_end(&self, head: &Parts) -> Result<(), Rejection> {
        let refuse = |detail| Err(Rejection::new(RejectionKind::BodyNotCovered, detail));
        if head.method == Method::CONNECT {
            return refuse("`CONNECT`: what follows could not be verified");
        }
        let headers = &head.headers;
        // One look over all names costs less than a search for each, and nearly always neither is there.
        let mut names = headers.keys();
        if !names.any(|name| *name == TRANSFER_ENCODING || *name == UPGRADE) {
            return Ok(());
        }
        if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
            return Err(malformed("both `content-length` and `transfer-encoding`").into());
        }
        if !offers_websocket(headers) {
            return Ok(());
        }
        if !self.settings.websockets {
            return refuse(
                "a WebSocket handshake, after which nothing could be verified; \
                 `danger_websocket_handshakes` lets it pass",
            );
        }
        if head.method == Method::GET {
            Ok(())
        } else {
            refuse("a WebSocket handshake with another method than `GET`")
        }
    }

    /// Reads the head, with the values that were supplied for what is signed and not sent.
    pub(super) fn read_head<'h>(
        &'h self,
        head: &'h Parts,
        supplied: Option<&'h Supplied>,
    ) -> Result<Parsed<'h>, Rejection> {
        self.check_end(head)?;
        // Nobody learns the fate of a request that is proven late.
        let report = head.extensions.get().cloned();
        let report = report.filter(|_| !self.awaits_supply());
        let mut head = self.settings.origins.head(head, routed(head))?;
        head.supplied = supplied;
        let reading = self.settings.scheme.read(&head)?;
        if let Some(methods) = &self.settings.methods {
            methods.check(head.method)?;
        }
        Ok(Parsed {
            state: Box::new(State::new(self, head, report, reading)),
        })
    }
}
