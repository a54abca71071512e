//! Refuses a verified request before its nonce is claimed, for what the request itself shows.

use countersign::{VerifiedPayload, request::MatchedPlace};
use http::{
    HeaderMap, HeaderName, Method,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
    request::Parts,
};

use super::{answer::Refused, identity::Identity, place::Place, running::Handled};

/// The targets that a route takes, beside the signed parts.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) place: Place,
    pub(super) takes: Unsigned,
    /// Whether the proxy signs what is forwarded.
    pub(super) signs: bool,
}

/// Parts of a target that a route takes though nobody signed them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unsigned {
    pub(super) method: bool,
    pub(super) path: bool,
    pub(super) query: bool,
}

impl Gate {
    /// Why a verified request is refused, if it is. From here on its key is known to the log.
    pub(super) fn refuses(&self, head: &Parts, payload: &VerifiedPayload) -> Option<Refused> {
        if let Some(handled) = head.extensions.get::<Handled>() {
            handled.verified_as(payload.key_id().as_str());
        }
        if !self.takes_target(head, payload) {
            return Some(Refused::Unsigned);
        }
        if self.signs && !is_signable(&head.headers) {
            return Some(Refused::Unwritable);
        }
        // A refusal when the request is forwarded would have used it up.
        let identity = Identity::of(payload);
        identity.err().map(|_| Refused::Unwritable)
    }

    /// Returns whether all of the target is signed, or as the configuration says.
    fn takes_target(&self, head: &Parts, payload: &VerifiedPayload) -> bool {
        let is_named = !self.place.methods.is_empty() || head.method == Method::POST;
        let takes_method = payload.method().is_some() || is_named || self.takes.method;
        let is_spelled_so = || self.place.is_spelled_so(head.uri.path());
        let takes_path = payload.path().is_some() || self.takes.path || is_spelled_so();
        let has_query = head.uri.query().is_some();
        let takes_query = payload.query().is_some() || self.takes.query || !has_query;
        takes_method && takes_path && takes_query
    }
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Returns whether all fields of a client that the signature of the proxy covers are ASCII.
fn is_signable(headers: &HeaderMap) -> bool {
    let covered = [CONTENT_TYPE, CONTENT_ENCODING, IDEMPOTENCY_KEY];
    let mut values = covered.iter().flat_map(|name| headers.get_all(name));
    values.all(|value| value.to_str().is_ok())
}

/// The one place of a route, whose namespace is its own: a message that leaves out method and path
/// is used once on the route, in whatever spelling of its path, and after its path was changed.
pub(super) fn the_place() -> MatchedPlace {
    MatchedPlace::new(Method::POST, "/")
}
