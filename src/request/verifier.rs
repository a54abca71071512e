//! The verifier: all that the stages share.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, request::Parts};
use tokio::sync::Semaphore;

use super::{
    budget::Budget,
    methods::Methods,
    processing::Processing,
    upgrade::{leave_websocket, remove_upgrade},
};
use crate::{
    body::BodyLimits,
    clock::Clock,
    error::Rejection,
    key::KeyStore,
    message::{Origins, offers_websocket},
    metrics::LiveNonces,
    once::Memory,
    proof::Freshness,
    routed::original_uri,
    scheme::{Asked, Describe},
};

/// Verifies requests. It knows nothing about Tower or Axum; [`VerifyLayer`](crate::VerifyLayer)
/// adapts it.
///
/// ```
/// # use countersign::{HeaderScheme, KeyRing, MemoryStore, Part, Signer, Verifier};
/// use http_body_util::Full;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// # let scheme = HeaderScheme::builder("x-signature")
/// #     .fixed_key_id("partner-1").time("x-timestamp").nonce("x-nonce")
/// #     .signs(Part::lines([Part::Method, Part::PathAndQuery, Part::Time, Part::Nonce, Part::Body]))
/// #     .build()?;
/// let secret = "the secret of partner 1";
/// let verifier = Verifier::builder(scheme.clone())
///     .keys(KeyRing::new().with("partner-1", secret)?)
///     .store(MemoryStore::new().danger_assume_no_history())
///     .build()?;
///
/// let request = http::Request::post("/transfer").body("{}")?;
/// let signer = Signer::new(scheme, "partner-1", secret)?;
/// let (head, body) = signer.sign(request)?.into_parts();
///
/// let verified = verifier.verify(&head, Full::<bytes::Bytes>::from(body)).await?;
/// assert_eq!(verified.payload().unwrap().bytes(), "{}");
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Verifier {
    pub(super) settings: Arc<Settings>,
}

/// All that a verification needs, checked against each other by the builder.
pub(crate) struct Settings {
    /// The name of the scheme in a payload.
    pub(super) name: Arc<str>,
    /// The headers that hold the signature of the scheme.
    pub(super) signature_headers: Vec<HeaderName>,
    /// Whether this scheme, or another of the layer, answers any unsigned request.
    pub(super) answers_unsigned: bool,
    /// Whether its messages hold values that this side must supply.
    pub(super) awaits_supply: bool,
    pub(super) scheme: Box<dyn Describe>,
    pub(super) keys: Arc<dyn KeyStore>,
    /// Without a store with [`Processing::InTransaction`], and if nothing is claimed.
    pub(super) memory: Arc<Memory>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) origins: Origins,
    /// Whether a WebSocket handshake passes.
    pub(super) websockets: bool,
    /// Whether signatures of several schemes are accepted that say nothing about each other.
    pub(super) unrelated_signatures: bool,
    pub(super) freshness: Freshness,
    /// `None` where any method may come, because the signature covers it.
    pub(super) methods: Option<Methods>,
    pub(super) body: BodyLimits,
    pub(super) budget: Arc<Budget>,
    pub(super) processing: Processing,
    /// A permit for each request in a handler whose MAC awaits a value that is supplied.
    pub(super) unproven: Arc<Semaphore>,
    /// A permit for each handler that may run under a lease.
    pub(super) running: Arc<Semaphore>,
    pub(super) readiness_timeout: Duration,
    pub(super) live: LiveNonces,
    /// Whose turn it is to read a long body whole.
    pub(super) long_bodies: Arc<Semaphore>,
    /// The verifiers of the other schemes, in their order, if a layer accepts several.
    pub(super) others: Vec<Verifier>,
}

impl Verifier {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
        }
    }

    /// Adds to a 401 the headers by which the scheme asks for a signature of this request:
    /// `WWW-Authenticate`, and with RFC 9421 also `Accept-Signature` (RFC 9421, section 5), which
    /// names all components that must be covered. The layer does so by itself.
    ///
    /// `Accept-Signature` cannot ask for a nonce or a key id without naming it: the client knows by
    /// the agreement that there must be one.
    pub fn challenge(&self, request: &HeaderMap, headers: &mut HeaderMap) {
        self.challenge_as_asked(self.asked(request), headers);
    }

    /// Returns what of a request decides what a 401 to it asks for.
    pub(crate) fn asked(&self, request: &HeaderMap) -> Asked {
        // One scheme at most asks for what depends on the request.
        self.each().fold(Asked::default(), |asked, verifier| {
            asked.or(verifier.settings.scheme.asked(request))
        })
    }

    pub(crate) fn challenge_as_asked(&self, asked: Asked, headers: &mut HeaderMap) {
        // The headers of the first scheme come last, and stay.
        for verifier in self.each().rev() {
            verifier.settings.scheme.challenge(asked, headers);
        }
    }

    /// Returns the answer to an unsigned request by which the sender asks whether this is the right
    /// place; `None` for every other request, and with a scheme that was not told to answer it. The
    /// layer does so by itself.
    #[must_use]
    pub fn handshake(&self, head: &Parts) -> Option<Response<Bytes>> {
        if !self.settings.answers_unsigned {
            return None;
        }
        let uri = original_uri(head);
        let mut each = self.each().map(|verifier| &verifier.settings.scheme);
        each.find_map(|scheme| scheme.answer_unsigned(&head.method, uri, &head.headers))
    }

    /// A rejection as the scheme wants it answered.
    pub(super) fn answered(&self, rejection: Rejection) -> Rejection {
        let profile = self.settings.scheme.profile();
        let rejection = match profile.malformed_is_unauthorized {
            true => rejection.malformed_as_unauthorized(),
            false => rejection,
        };
        match profile.bare_refusals {
            true => rejection.without_body(),
            false => rejection,
        }
    }

    /// Returns whether the sender retries until it is answered with success.
    pub(crate) fn sender_retries(&self) -> bool {
        self.each()
            .all(|verifier| verifier.settings.scheme.profile().sender_retries)
    }

    /// Takes out of a verified request whatever a handler could switch protocols with, unless it is
    /// a WebSocket handshake that was let pass.
    pub(crate) fn withdraw_upgrade(&self, head: &mut Parts) {
        // Only one that was let pass is here.
        if self.settings.websockets && offers_websocket(&head.headers) {
            leave_websocket(&mut head.headers);
        } else {
            remove_upgrade(head);
        }
    }

    /// Returns how requests are processed.
    #[must_use]
    pub fn processing(&self) -> Processing {
        self.settings.processing
    }

    /// Returns whether the MAC can be compared only once the handler has supplied a value.
    pub(super) fn awaits_supply(&self) -> bool {
        self.settings.awaits_supply
    }

    /// Returns how long the inner service of a layer may take to be ready.
    pub(crate) fn readiness_timeout(&self) -> Duration {
        self.settings.readiness_timeout
    }

    /// Returns how many bytes bodies may take up that were not verified.
    pub(crate) fn unverified_share(&self) -> usize {
        self.settings.budget.unverified_share()
    }

    /// The time in which a whole body must arrive.
    pub(crate) fn body_deadline(&self) -> Duration {
        self.settings.body.deadline
    }

    /// Returns what remembers its requests.
    pub(crate) fn memory(&self) -> &Memory {
        &self.settings.memory
    }

    pub(crate) fn store_timeout(&self) -> Duration {
        self.settings.memory.timeout()
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("scheme", &self.settings.scheme)
            .field("namespace", &self.settings.memory.namespace())
            .field("processing", &self.settings.processing)
            .finish_non_exhaustive()
    }
}
