//! The configuration of a verifier, with its defaults.

use std::{fmt, sync::Arc, time::Duration};

use http::Method;

use super::{
    accepted::{Accepted, Accepting},
    budget::BodyBudget,
    processing::Processing,
    verifier::Verifier,
};
use crate::{
    body::BodyLimits,
    clock::{Clock, SystemClock},
    error::ConfigError,
    key::KeyStore,
    message::Forwarded,
    once::{MemorySettings, NonceStore},
    proof::Freshness,
    scheme::{Describe as _, Scheme},
};

pub(super) const DEFAULT_NAMESPACE: &str = "default";

/// Configures a [`Verifier`], or a [`VerifyLayer`](crate::VerifyLayer) around one.
///
/// Keys are required, and so is a store, except with [`Processing::InTransaction`]. If the scheme
/// covers the authority, a public origin is required too. Every other setting has a safe default.
#[must_use]
pub struct VerifierBuilder<T> {
    /// [`keys`](Self::keys) and [`secret`](Self::secret) are for the scheme that was added last.
    pub(super) accepted: Accepting<Accepted>,
    pub(super) memory: MemorySettings,
    pub(super) clock: Box<dyn Clock>,
    pub(super) origins: Vec<String>,
    pub(super) forwarded: Option<Forwarded>,
    pub(super) any_authority: bool,
    pub(super) websockets: bool,
    pub(super) unrelated_signatures: bool,
    pub(super) methods: Option<Vec<Method>>,
    pub(super) freshness: Freshness,
    pub(super) seals_for: Duration,
    pub(super) body: BodyLimits,
    pub(super) body_budget: usize,
    /// The shared budget that replaces the verifier's own.
    pub(super) shared_budget: Option<BodyBudget>,
    /// `None` means the default of the scheme.
    pub(super) processing: Option<Processing>,
    pub(super) max_running: usize,
    pub(super) max_unproven: usize,
    pub(super) readiness_timeout: Duration,
    /// Makes the configured value from the verifier.
    pub(super) finish: Box<dyn FnOnce(Verifier) -> Result<T, ConfigError> + Send + Sync>,
}

impl Verifier {
    /// Returns a builder of a verifier.
    pub fn builder(scheme: impl Scheme) -> VerifierBuilder<Self> {
        VerifierBuilder::new(scheme, |verifier| verifier)
    }
}

impl<T: 'static> VerifierBuilder<T> {
    pub(super) fn new(
        scheme: impl Scheme,
        finish: impl FnOnce(Verifier) -> T + Send + Sync + 'static,
    ) -> Self {
        let scheme = scheme.format();
        let mut freshness = Freshness::default();
        if let Some(max_age) = scheme.profile().max_age {
            freshness.max_age = max_age;
        }
        Self {
            accepted: Accepting::one(Accepted::new(scheme)),
            memory: MemorySettings::new(DEFAULT_NAMESPACE.into()),
            clock: Box::new(SystemClock),
            origins: Vec::new(),
            forwarded: None,
            any_authority: false,
            websockets: false,
            unrelated_signatures: false,
            methods: None,
            freshness,
            seals_for: Duration::ZERO,
            body: BodyLimits::default(),
            body_budget: 64 * 1024 * 1024,
            shared_budget: None,
            processing: None,
            max_running: 1024,
            max_unproven: 16,
            readiness_timeout: Duration::from_secs(5),
            finish: Box::new(|verifier| Ok(finish(verifier))),
        }
    }

    /// Changes the scheme that was given last.
    fn last(mut self, change: impl FnOnce(&mut Accepted)) -> Self {
        change(self.accepted.last());
        self
    }

    /// Adds a scheme, for a layer that accepts several.
    pub(super) fn accept(mut self, scheme: impl Scheme) -> Self {
        self.accepted.others.push(Accepted::new(scheme));
        self
    }

    pub(super) fn accept_unrelated_signatures(mut self) -> Self {
        self.unrelated_signatures = true;
        self
    }

    /// Adds a setting of the value that is made from the verifier.
    pub(super) fn then(self, set: impl FnOnce(T) -> T + Send + Sync + 'static) -> Self {
        self.then_if(|made| Ok(set(made)))
    }

    /// Adds a setting that may fail.
    pub(super) fn then_if(
        mut self,
        set: impl FnOnce(T) -> Result<T, ConfigError> + Send + Sync + 'static,
    ) -> Self {
        let finish = self.finish;
        self.finish = Box::new(move |verifier| set(finish(verifier)?));
        self
    }

    /// Sets where keys are looked up: a [`KeyRing`](crate::KeyRing), or your own [`KeyStore`]. No
    /// default.
    ///
    /// If the scheme has a fixed key id, as presets have, a `KeyRing` must have a secret under it
    /// when [`build`](Self::build) is called.
    pub fn keys(self, keys: impl KeyStore) -> Self {
        self.last(|accepted| accepted.keys = Some(Arc::new(keys)))
    }

    /// Adds a secret of a scheme whose requests name no key, exactly as its provider shows it. No
    /// default.
    ///
    /// Each call adds a secret, and all of them are valid: call it twice while a secret is rotated.
    /// Use it instead of [`keys`](Self::keys).
    pub fn secret(self, secret: impl AsRef<str>) -> Self {
        self.last(|accepted| {
            let secret = accepted.scheme.read_secret(secret.as_ref());
            accepted.secrets.push(secret);
        })
    }

    /// Sets the store that remembers which requests were used. No default.
    ///
    /// With [`Processing::InTransaction`] the handler's database remembers, and a store beside it
    /// is a mistake that [`build`](Self::build) reports.
    pub fn store(mut self, store: impl NonceStore) -> Self {
        self.memory.store = Some(Arc::new(store));
        self
    }

    /// Adds a URL at which clients reach this service, such as `https://api.example.com`. Call it
    /// once for each authority. No default.
    ///
    /// `ws://`, `wss://`, and user information (`https://user:password@example.com`) are accepted
    /// with schemes that sign the URL as it was configured at the sender, as
    /// [`Twilio`](crate::webhooks::Twilio) does. Otherwise they are an error.
    ///
    /// A path, such as `/api` in `https://example.com/api`, is a prefix that a proxy removes before
    /// it forwards the request. It is added again before the signature is verified. Requests for
    /// any other authority are answered with 421, even if the scheme does not cover the authority.
    pub fn public_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// Takes the authority from a header that a trusted proxy sets. Default: from `Host` or
    /// `:authority` only.
    ///
    /// The authority must still be one of the public origins. If it is called several times, the
    /// last call counts.
    pub fn forwarded(mut self, forwarded: Forwarded) -> Self {
        self.forwarded = Some(forwarded);
        self
    }

    /// Accepts any authority. A request that was signed for another service with the same keys is
    /// then accepted here too. Default: only the [public origins](Self::public_origin).
    pub fn danger_any_authority(mut self) -> Self {
        self.any_authority = true;
        self
    }

    /// Lets a verified WebSocket handshake (`GET` with `Upgrade: websocket`) through, so that the
    /// handler can switch protocols. Default: it is refused (400, `body_not_covered`).
    ///
    /// The signature covers only the handshake: anybody between the two sides can write every
    /// message after it. A captured handshake opens another connection, unless its scheme makes a
    /// claim.
    ///
    /// Every other `Upgrade`, such as the `h2c` that clients of HTTP/2 offer, is removed from a
    /// verified request, and no handler can accept it. `CONNECT` is always refused, also the
    /// extended `CONNECT` of HTTP/2.
    pub fn danger_websocket_handshakes(mut self) -> Self {
        self.websockets = true;
        self
    }

    /// Sets the methods that are accepted. Default: any method if the scheme covers the method;
    /// otherwise GET, HEAD, POST, PUT, PATCH and DELETE. Range: 1 to 16 methods.
    ///
    /// Requests with another method are answered with 405, `method_not_allowed`, before their body
    /// is read. If the scheme does not cover the method, a captured request can be sent again with
    /// another method, and each method makes a record. Webhooks need only `[Method::POST]`.
    ///
    /// ```
    /// use countersign::{VerifyLayer, webhooks};
    /// use http::Method;
    ///
    /// # fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// let layer = VerifyLayer::builder(webhooks::Stripe::new()).methods([Method::POST]);
    /// # Ok(()) }
    /// ```
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = Some(methods.into_iter().collect());
        self
    }

    /// Sets how old a signed time may be. Default: 300 seconds, unless the preset says otherwise,
    /// because its sender retries a delivery for hours. With several schemes, the default is that
    /// of the first. Range: 1 second to 1 day.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.freshness.max_age = max_age;
        self
    }

    /// Sets the longest `max_age` of any server that clients reach under this origin and namespace.
    /// Default: 1 day, or less if the store knows it. Range: `max_age` to 1 day.
    ///
    /// A signed response says [`Never`](crate::response::Outcome::Never) of a request only if the
    /// request is too old for all servers, so that its client can sign the order again. A store
    /// remembers a namespace for a stated time, and refuses a server whose `max_age` needs longer: a
    /// store that [can tell](crate::store::NonceStore::taken_until) bounds the age without this
    /// setting. With [`Processing::InTransaction`] there is no store to ask.
    ///
    /// Before you raise `max_age`, set this on all servers to the new value, and wait until none
    /// runs without it.
    pub fn longest_max_age(mut self, longest: Duration) -> Self {
        self.freshness.longest_age = longest;
        self
    }

    /// Sets for how long a worker may record the nonce of a request that is no longer fresh,
    /// because the request was [left to the worker](crate::PendingPayload::leave) in an
    /// [envelope](crate::envelope). Default: 0. Range: 0 to 366 days.
    ///
    /// All nonces of the namespace are remembered longer by this time. All layers of a namespace
    /// must have the same value.
    pub fn seals_for(mut self, longest: Duration) -> Self {
        self.seals_for = longest;
        self
    }

    /// Sets how far ahead of the clock a signed time may be. Default: 5 seconds. Range: 0 to
    /// `max_age`.
    pub fn max_skew(mut self, max_skew: Duration) -> Self {
        self.freshness.max_skew = max_skew;
        self
    }

    /// Sets by how much the clocks of servers and stores may differ. Default: 5 seconds. Range: 0
    /// to 1 hour.
    ///
    /// Requests are remembered longer by this time, and by the
    /// [`store_timeout`](Self::store_timeout).
    pub fn clock_difference(mut self, difference: Duration) -> Self {
        self.memory.clock_difference = difference;
        self
    }

    /// Sets the greatest length of a body, in bytes. Default: 1 MiB. At most half of the
    /// [budget](Self::body_budget_bytes).
    pub fn max_body_bytes(mut self, max: usize) -> Self {
        self.body.max_bytes = max;
        self
    }

    /// Sets the time in which the whole body must arrive. Default: 10 seconds. Range: 1 millisecond
    /// to 1 hour.
    pub fn body_deadline(mut self, deadline: Duration) -> Self {
        self.body.deadline = deadline;
        self
    }

    /// Sets the bytes that all bodies in flight, and their canonical forms, may take up together,
    /// from their arrival until their payload is dropped. Default: 64 MiB. At least twice the
    /// greatest body.
    ///
    /// Anybody who names a known key can send a body before its MAC can be checked. The budget has
    /// two halves:
    ///
    /// - **For bodies that are still arriving.** One key gets half of this half, or one greatest
    ///   body. If there is no room, the body that has been incomplete longest is refused
    ///   (`body_budget_exhausted`), in favour of the new one. Three quarters of this half are for
    ///   bodies whose MAC has passed over the head, as with RFC 9421. Neither strangers nor
    ///   duplicates displace them: for one head, only one body has this protection. A genuine body
    ///   of another scheme is lost only if strangers send more than this share while it arrives.
    /// - **For verified bodies.** One key gets three quarters of this half. If it is used up, a
    ///   body that was still arriving when it was first read is refused, unless it is the only one.
    ///
    /// A body that is complete when it is first read, as most webhooks are, counts and is never
    /// refused: bound the number of running handlers with a concurrency limit. There are two
    /// exceptions, in which such a body waits and counts as still arriving: if it has a canonical
    /// form, is longer than 64 KiB, and waits for its turn behind as many such bodies as there are
    /// processors; and if it holds its own signature, and the look-up of its key is not ready.
    pub fn body_budget_bytes(mut self, budget: usize) -> Self {
        self.body_budget = budget;
        self
    }

    /// Takes the room for bodies from a budget that other verifiers share, instead of one of its own.
    /// Default: a budget of [`body_budget_bytes`](Self::body_budget_bytes), which is then ignored.
    ///
    /// The limits there for one key hold for one key of one [namespace](Self::namespace).
    ///
    /// ```
    /// use countersign::{MemoryStore, VerifyLayer, request::BodyBudget, webhooks};
    ///
    /// # fn f() -> Result<(), countersign::ConfigError> {
    /// let budget = BodyBudget::new(64 * 1024 * 1024);
    /// let github = VerifyLayer::builder(webhooks::GitHub::new())
    ///     .secret("the secret of our hooks at GitHub")
    ///     .namespace("github")
    ///     .body_budget(&budget)
    ///     .store(MemoryStore::new());
    /// let stripe = VerifyLayer::builder(webhooks::Stripe::new())
    ///     .secret("whsec_the_secret_of_our_endpoint_at_stripe")
    ///     .namespace("stripe")
    ///     .body_budget(&budget)
    ///     .store(MemoryStore::new());
    /// # github.build()?;
    /// # stripe.build()?;
    /// # Ok(()) }
    /// ```
    pub fn body_budget(mut self, budget: &BodyBudget) -> Self {
        self.shared_budget = Some(budget.clone());
        self
    }

    /// Sets the namespace, which keeps this service apart from others that share its store: a
    /// request that was used in one namespace is new in another. Default: `default`. Range: 1 to
    /// 256 bytes, none of them zero.
    ///
    /// All servers of one service must have the same namespace. On a store that other services can
    /// share, a preset for webhooks needs a namespace, or a `key_id`, that you choose: services
    /// with the preset's own key id and the namespace `default` would use up each other's webhooks.
    /// Otherwise [`build`](Self::build) returns an error.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.memory.namespace = namespace.into();
        self
    }

    /// Sets what is guaranteed about handling. Default: [`Processing::AtMostOnce`]; with the
    /// [presets for webhooks](crate::scheme::webhooks), [`Processing::Retryable`] under a lease of
    /// 30 seconds.
    pub fn processing(mut self, processing: Processing) -> Self {
        self.processing = Some(processing);
        self
    }

    /// Bounds how many handlers run at once with [`Processing::Retryable`]. Default: 1024. Range: 1
    /// to 1,000,000.
    ///
    /// These handlers outlive their connections, so a limit in front of the layer does not bound
    /// them. A handler counts from before its lease is taken until its response leaves for the
    /// client. So a duplicate counts while the store is asked, and a retry counts while it waits for
    /// its turn in an [`IdempotencyLayer`](crate::idempotency::IdempotencyLayer), for at most the
    /// `store_timeout` of that layer. Beyond the bound, a request is refused with 503,
    /// `handlers_exhausted`, and no lease is taken: a handler that runs is not affected. The bound is shared by all keys, and by all services that are made from one layer.
    /// A handler that may hang needs a timeout inside the layer.
    pub fn max_running(mut self, max: usize) -> Self {
        self.max_running = max;
        self
    }

    /// Bounds how many requests are in handlers whose MAC is not compared yet, because the handler
    /// must supply a signed value ([`Part::supplied`](crate::Part::supplied)). Default: 16. Range:
    /// 1 to 10,000. With other schemes it has no effect.
    ///
    /// Each of them may hold a transaction and the lock of a row, and anybody who knows a key id
    /// can cause one. Keep the bound below the number of connections of your pool.
    /// [`UnprovenPayload`](crate::request::UnprovenPayload#cost) has the costs.
    pub fn max_unproven(mut self, max: usize) -> Self {
        self.max_unproven = max;
        self
    }

    /// Bounds how long a store or a key look-up may take to answer. After that the request is
    /// refused with 503. Default: 2 seconds. Range: 1 millisecond to 1 hour.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.memory.timeout = timeout;
        self
    }

    /// Bounds how long a verified request waits for the inner service of a layer to be ready. After
    /// that the request is refused with 503, `service_not_ready`, and nothing is claimed. Default:
    /// 5 seconds. Range: 1 millisecond to 1 hour.
    pub fn readiness_timeout(mut self, timeout: Duration) -> Self {
        self.readiness_timeout = timeout;
        self
    }

    /// Sets the clock. Default: the [system's](SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }
}

impl<T> fmt::Debug for VerifierBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierBuilder")
            .field("schemes", &self.accepted)
            .finish_non_exhaustive()
    }
}
