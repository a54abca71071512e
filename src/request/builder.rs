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
/// Keys and (but for [`Processing::InTransaction`]) a store have to be given, and, where the scheme
/// covers the authority, a public origin; everything else has a default that is safe.
#[must_use]
pub struct VerifierBuilder<T> {
    /// Keys that are given are those of the last.
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
    /// In the place of a budget of its own.
    pub(super) shared_budget: Option<BodyBudget>,
    /// Unless it is chosen, that of the scheme.
    pub(super) processing: Option<Processing>,
    pub(super) max_running: usize,
    pub(super) max_unproven: usize,
    pub(super) readiness_timeout: Duration,
    /// Makes what is configured of the verifier that was built.
    pub(super) finish: Box<dyn FnOnce(Verifier) -> Result<T, ConfigError> + Send + Sync>,
}

impl Verifier {
    /// Configures a verifier; every setting states its default.
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

    /// Adds a setting of what is made of the verifier.
    pub(super) fn then(self, set: impl FnOnce(T) -> T + Send + Sync + 'static) -> Self {
        self.then_if(|made| Ok(set(made)))
    }

    /// Adds a setting that may not fit.
    pub(super) fn then_if(
        mut self,
        set: impl FnOnce(T) -> Result<T, ConfigError> + Send + Sync + 'static,
    ) -> Self {
        let finish = self.finish;
        self.finish = Box::new(move |verifier| set(finish(verifier)?));
        self
    }

    /// Where keys are looked up: a [`KeyRing`](crate::KeyRing), or a store of your own. No default.
    ///
    /// If the scheme has a fixed key id, as presets have, a ring must have a secret under it when
    /// [`build`](Self::build) is called.
    pub fn keys(self, keys: impl KeyStore) -> Self {
        self.last(|accepted| accepted.keys = Some(Arc::new(keys)))
    }

    /// A secret of a scheme whose requests name no key, in the very form in which its provider
    /// shows it. May be said several times, while a secret is rotated: each is then valid. No
    /// default.
    ///
    /// It replaces [`keys`](Self::keys).
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

    /// Where clients reach this service, such as `https://api.example.com`. May be said several
    /// times, for several authorities. No default.
    ///
    /// `ws://`, `wss://`, and user information (`https://user:password@example.com`) are accepted
    /// with schemes that sign the URL as it was configured at the sender, as
    /// [`Twilio`](crate::webhooks::Twilio) does. Otherwise they are an error.
    ///
    /// A path, such as in `https://example.com/api`, is what a proxy takes off before it passes the
    /// request on; it is put back before the signature is verified. Requests for any other
    /// authority are answered with 421, also if the scheme does not cover the authority.
    pub fn public_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// Takes the authority from a header that a trusted proxy sets. Default: from `Host` or
    /// `:authority` only.
    ///
    /// It still has to be one of the public origins. If it is called several times, the last call
    /// counts.
    pub fn forwarded(mut self, forwarded: Forwarded) -> Self {
        self.forwarded = Some(forwarded);
        self
    }

    /// Serves whatever authority a request names. A request that was signed for another service
    /// with the same keys is then accepted here too.
    pub fn danger_any_authority(mut self) -> Self {
        self.any_authority = true;
        self
    }

    /// Lets a WebSocket handshake (`GET` with `Upgrade: websocket`) pass once it is verified, with
    /// all that it takes to switch. Default: it is refused (400, `body_not_covered`).
    ///
    /// The signature covers the handshake and nothing of what follows: whoever is between the
    /// parties may write every message. A captured handshake opens another connection, unless its
    /// scheme makes a claim.
    ///
    /// Every other offer of `Upgrade`, such as that of `h2c` by clients that speak HTTP/2, is taken
    /// out of a request that was verified, together with what a handler could take it up with.
    /// `CONNECT` is always refused, also the extended one of HTTP/2.
    pub fn danger_websocket_handshakes(mut self) -> Self {
        self.websockets = true;
        self
    }

    /// The methods that are let in: between 1 and 16. Requests with another method are answered
    /// with 405, `method_not_allowed`, before any of their body is read. Default: GET, HEAD,
    /// POST, PUT, PATCH and DELETE if the scheme leaves out the method; any method if the scheme
    /// covers it.
    ///
    /// If the scheme leaves it out, a captured request can be sent again with another method, and
    /// each makes a record of its own. Webhooks need `[Method::POST]` only.
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

    /// How old a signed time may be: between 1 second and 1 day. Default: 300 seconds, but for those
    /// presets that say otherwise, because their senders deliver one delivery again for hours. With
    /// several schemes, the default is that of the first.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.freshness.max_age = max_age;
        self
    }

    /// The longest `max_age` of any server that clients reach under this origin and namespace:
    /// between `max_age` and 1 day. Default: 1 day, or less if the store knows it.
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

    /// For how long after a request has ceased to be fresh a worker may record its nonce, because the
    /// request was [left to the worker](crate::PendingPayload::leave) in an
    /// [envelope](crate::envelope): at most 366 days. Default: zero.
    ///
    /// Nonces are remembered for so much longer, whoever records them. All layers of a namespace must
    /// have the same.
    pub fn seals_for(mut self, longest: Duration) -> Self {
        self.seals_for = longest;
        self
    }

    /// How far ahead of the clock a signed time may be: at most `max_age`. Default: 5 seconds.
    pub fn max_skew(mut self, max_skew: Duration) -> Self {
        self.freshness.max_skew = max_skew;
        self
    }

    /// By how much the clocks of servers and stores may differ: at most 1 hour. Default: 5 seconds.
    ///
    /// Requests are remembered for longer by this, and by the [store's
    /// timeout](Self::store_timeout).
    pub fn clock_difference(mut self, difference: Duration) -> Self {
        self.memory.clock_difference = difference;
        self
    }

    /// The greatest length of a body, in bytes: at most half of the
    /// [budget](Self::body_budget_bytes). Default: 1 MiB.
    pub fn max_body_bytes(mut self, max: usize) -> Self {
        self.body.max_bytes = max;
        self
    }

    /// The time in which the whole body has to arrive: between 1 millisecond and 1 hour. Default:
    /// 10 seconds.
    pub fn body_deadline(mut self, deadline: Duration) -> Self {
        self.body.deadline = deadline;
        self
    }

    /// The bytes that bodies in flight, and their canonical forms, may take up all together, from
    /// their arrival until the payload is dropped. Default: 64 MiB. At least twice the greatest
    /// body.
    ///
    /// Anybody who names a known key can send a body before its MAC can be checked. So half of the
    /// budget is for bodies that have to be waited for, and one key gets half of that, or one
    /// greatest body. Where no room is left, the body that has been incomplete longest is refused
    /// (`body_budget_exhausted`), in favour of the new one. Three quarters of that half are for
    /// bodies whose MAC has passed over the head, as with RFC 9421: strangers never displace them,
    /// nor do duplicates of one head, of which one body counts so.
    /// A genuine body of another scheme is lost only if strangers send more than this share while
    /// it arrives. The other half is for verified bodies, of which one key gets three quarters;
    /// where it is used up, a body that had to be waited for is refused, unless it is the only one.
    ///
    /// A body that is complete when it is first asked for, as most webhooks are, counts and is
    /// never refused. Limit how many of them are handled at one time with a concurrency limit. But
    /// where such a body has to wait itself, it has to be waited for like others: if it has a
    /// canonical form, is longer than 64 KiB, and as many such bodies as there are processors are
    /// before it; or if it holds its own signature, and the key store has to be waited for.
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

    /// Keeps this service apart from others that share its store: a request used in one namespace
    /// is new in another. 1 to 256 bytes, none of them zero. Default: `default`.
    ///
    /// All servers of one service must have the same. With a preset for webhooks, a store that
    /// others may have too needs a namespace of this service's own, or the preset's `key_id`: all
    /// who take the preset's own key id and `default` would use up each other's webhooks.
    /// [`build`](Self::build) says so.
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
    /// client. Beyond the bound, a request is refused with 503, `handlers_exhausted`, and no lease
    /// is taken. The bound is shared by all keys, and by all services that are made from one layer.
    /// A handler that may hang needs a timeout inside the layer.
    pub fn max_running(mut self, max: usize) -> Self {
        self.max_running = max;
        self
    }

    /// Bounds how many requests are in handlers whose MAC is not compared yet, because the handler
    /// has to supply a signed value ([`Part::supplied`](crate::Part::supplied)). Default: 16. Range:
    /// 1 to 10,000. With other schemes it has no effect.
    ///
    /// Each of them may hold a transaction and a row's lock, and anybody who knows a key id can make
    /// one: keep the bound below the connections of the pool.
    /// [`UnprovenPayload`](crate::request::UnprovenPayload#cost) says more.
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
