//! The configuration of a verifier, with its defaults and with what it refuses.

use std::{fmt, num::NonZero, sync::Arc, thread::available_parallelism, time::Duration};

use http::Method;
use tokio::sync::Semaphore;

use super::{
    budget::Budget,
    methods::Methods,
    processing::Processing,
    several::{self, Accepted},
    verifier::{Settings, Verifier},
};
use crate::{
    body::BodyLimits,
    clock::{Clock, SystemClock},
    error::{ConfigError, ConfigErrorKind},
    key::{KeyId, KeyStore},
    message::{Forwarded, Origin, Origins},
    metrics::LiveNonces,
    once::{MemorySettings, NonceStore},
    proof::Freshness,
    scheme::{Describe as _, Profile, Scheme},
};

/// How long a lease holds where the sender retries: longer than most handlers, and not so long that
/// a crash delays the next attempt by much.
const LEASE: Duration = Duration::from_secs(30);

const DEFAULT_NAMESPACE: &str = "default";

/// Configures a [`Verifier`], or a [`VerifyLayer`](crate::VerifyLayer) around one.
///
/// Keys and (but for [`Processing::InTransaction`]) a store have to be given, and, where the scheme
/// covers the authority, a public origin; everything else has a default that is safe.
#[must_use]
pub struct VerifierBuilder<T> {
    /// In their order; keys that are given are those of the last.
    accepted: Vec<Accepted>,
    memory: MemorySettings,
    clock: Box<dyn Clock>,
    origins: Vec<String>,
    forwarded: Option<Forwarded>,
    any_authority: bool,
    websockets: bool,
    unrelated_signatures: bool,
    methods: Option<Vec<Method>>,
    freshness: Freshness,
    body: BodyLimits,
    body_budget: usize,
    /// Unless it is chosen, that of the scheme.
    processing: Option<Processing>,
    max_running: usize,
    max_unproven: usize,
    readiness_timeout: Duration,
    /// Makes what is configured of the verifier that was built.
    finish: Box<dyn FnOnce(Verifier) -> T + Send + Sync>,
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
            accepted: vec![Accepted::new(scheme)],
            memory: MemorySettings::new(DEFAULT_NAMESPACE.into()),
            clock: Box::new(SystemClock),
            origins: Vec::new(),
            forwarded: None,
            any_authority: false,
            websockets: false,
            unrelated_signatures: false,
            methods: None,
            freshness,
            body: BodyLimits::default(),
            body_budget: 64 * 1024 * 1024,
            processing: None,
            max_running: 1024,
            max_unproven: 16,
            readiness_timeout: Duration::from_secs(5),
            finish: Box::new(finish),
        }
    }

    /// Changes the scheme that was given last.
    fn last(mut self, change: impl FnOnce(&mut Accepted)) -> Self {
        if let Some(last) = self.accepted.last_mut() {
            change(last);
        }
        self
    }

    /// Adds a scheme, for a layer that accepts several.
    pub(super) fn accept(mut self, scheme: impl Scheme) -> Self {
        self.accepted.push(Accepted::new(scheme));
        self
    }

    pub(super) fn accept_unrelated_signatures(mut self) -> Self {
        self.unrelated_signatures = true;
        self
    }

    /// Adds a setting of what is made of the verifier.
    pub(super) fn then(mut self, set: impl FnOnce(T) -> T + Send + Sync + 'static) -> Self {
        let finish = self.finish;
        self.finish = Box::new(move |verifier| set(finish(verifier)));
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
    /// It stands in place of [`keys`](Self::keys).
    pub fn secret(self, secret: impl AsRef<str>) -> Self {
        self.last(|accepted| {
            let secret = accepted.scheme.read_secret(secret.as_ref());
            accepted.secrets.push(secret);
        })
    }

    /// What remembers which requests were used. No default.
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
    /// It still has to be one of the public origins. Of several calls the last one counts.
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
        self.freshness.margin = longest;
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
    /// (`body_budget_exhausted`), in favour of the new one. A genuine body is lost only if
    /// strangers send more than this share while it arrives. The other half is for verified bodies,
    /// of which one key gets three quarters; where it is used up, a body that had to be waited for
    /// is refused, unless it is the only one.
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

    /// What is guaranteed about handling. Default: [`Processing::AtMostOnce`]; with the [presets
    /// for webhooks](crate::scheme::webhooks), [`Processing::Retryable`] under a lease of 30
    /// seconds.
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
    /// [`UnprovenPayload`](crate::request::UnprovenPayload#what-this-costs) says more.
    pub fn max_unproven(mut self, max: usize) -> Self {
        self.max_unproven = max;
        self
    }

    /// How long a store or a key look-up may take to answer: between 1 millisecond and 1 hour.
    /// After that the request is refused with 503. Default: 2 seconds.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.memory.timeout = timeout;
        self
    }

    /// How long a verified request waits for the inner service of a layer to be ready: between 1
    /// millisecond and 1 hour. Default: 5 seconds. After that the request is refused with 503,
    /// `service_not_ready`, and nothing is claimed.
    pub fn readiness_timeout(mut self, timeout: Duration) -> Self {
        self.readiness_timeout = timeout;
        self
    }

    /// The clock. Default: the [system's](SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Checks the configuration.
    ///
    /// Logs a warning where a store that forgets on restart meets a scheme in which that matters.
    ///
    /// # Errors
    /// When something is missing, out of its range, or would not be safe; when another layer of
    /// this process has the same store and namespace, and other secrets under a key id, or another
    /// retention.
    pub fn build(self) -> Result<T, ConfigError> {
        self.check_ranges()?;
        let missing = |what| ConfigError::from(ConfigErrorKind::Missing(what));
        let accepted = self.accepted.into_iter().map(Accepted::with_keys);
        let accepted = accepted.collect::<Result<Vec<_>, _>>()?;
        let profiles = || accepted.iter().map(|(scheme, _)| scheme.profile());
        several::check(&accepted, self.processing.is_none())?;
        let Some((first, _)) = accepted.first() else {
            return Err(missing("no scheme is given"));
        };
        let profile = first.profile().clone();
        let processing = self.processing.unwrap_or(if profile.sender_retries {
            Processing::Retryable { lease: LEASE }
        } else {
            Processing::AtMostOnce
        });
        let in_transaction = processing == Processing::InTransaction;
        if in_transaction && profile.may_repeat {
            let what = "requests of this scheme may be alike, and none is claimed: there is no \
                        nonce for a transaction to record";
            return Err(ConfigErrorKind::Processing(what).into());
        }
        if !in_transaction && first.awaits_supply() {
            let what = "the scheme signs a value that is not sent, and that only the handler can \
                        take from its own locked row: call `processing` with \
                        `Processing::InTransaction`, and take an `UnprovenPayload`";
            return Err(ConfigErrorKind::Processing(what).into());
        }
        if self.memory.store.is_none() && !in_transaction && !profile.may_repeat {
            return Err(missing("no store is given; call `store`"));
        }
        if self.memory.store.is_some() && in_transaction {
            let what = "with `Processing::InTransaction` the handler's database remembers; a store \
                        beside it would be a second truth: leave out `store`";
            return Err(ConfigErrorKind::Processing(what).into());
        }

        let store = &self.memory.store;
        // A database in whose transactions nonces are recorded is as open to others as a store is.
        let is_shared = match store {
            Some(store) => store.sharing().is_shared(),
            None => in_transaction,
        };
        for (scheme, _) in &accepted {
            let profile = scheme.profile();
            if let Some(id) = scheme.fixed_key_id()
                && profile.key_id_is_own
                && self.memory.namespace == DEFAULT_NAMESPACE
                && is_shared
                && !profile.may_repeat
            {
                return Err(ConfigErrorKind::UnchosenNames(id.to_owned()).into());
            }
        }

        let mut origins = Origins::default();
        for origin in &self.origins {
            let read = if profiles().all(|profile| profile.signs_configured_url) {
                Origin::parse_url
            } else {
                Origin::parse
            };
            origins.add(read(origin)?)?;
        }
        if self.any_authority {
            origins.allow_any();
        }
        if let Some(forwarded) = self.forwarded {
            if forwarded.trusts_nobody() {
                let what = "no network is trusted; name the proxies with `trust_network`";
                return Err(ConfigErrorKind::Forwarded(what.into()).into());
            }
            origins.trust(forwarded);
        }
        if profiles().any(|profile| profile.covers_authority) && !origins.are_known() {
            return Err(missing(
                "the scheme covers the authority, and no public origin is given; call \
                 `public_origin` with what clients see, such as `https://api.example.com`",
            ));
        }

        let margin = self.memory.margin() + self.freshness.margin;
        let freshness = &self.freshness;
        let retention = profiles().map(|profile| retention(profile, freshness, margin));
        let retention = retention.max().unwrap_or_default();
        let budget = Budget::new(self.body_budget, self.body.max_bytes);
        let processors = available_parallelism().map_or(1, NonZero::get);
        ConfigError::unless(
            self.body.max_bytes <= self.body_budget / 2,
            "`body_budget_bytes` is at least twice `max_body_bytes`",
        )?;
        if matches!(processing, Processing::Retryable { .. })
            && store.as_ref().is_some_and(|s| s.leases().is_none())
        {
            let what = "this store has no leases; use another, or `Processing::AtMostOnce`";
            return Err(ConfigErrorKind::Processing(what).into());
        }
        let outlives = |p: &Profile| p.untimed_retention.is_some() || p.event_horizon.is_some();
        if store.as_ref().is_some_and(|s| !s.survives_restart()) && profiles().any(outlives) {
            tracing::warn!(
                namespace = self.memory.namespace,
                "the store forgets on restart, and the scheme has event ids or covers no time: \
                 what was handled before a restart can be handled again after it; use a store that \
                 survives restarts"
            );
        }
        if profiles().any(|profile| profile.sends_batches) {
            tracing::warn!(
                namespace = self.memory.namespace,
                "a request of this sender may hold several events, and is used once as a whole: an \
                 event can come again in another request; let the handler ask \
                 `VerifiedPayload::once` for each event"
            );
        }
        if store.as_ref().is_some_and(|s| !s.survives_restart())
            && profiles().any(|profile| profile.max_age.is_some())
        {
            tracing::warn!(
                namespace = self.memory.namespace,
                "the store forgets on restart, and the sender may deliver again for hours what it \
                 has dated before: after a restart such a delivery is refused (`sign_again`), and \
                 may never come signed anew; use a store that survives restarts, or keep a \
                 `high_watermark`, with which only what was dated up to the mark is refused"
            );
        }

        let mut keys_of = Vec::new();
        for (scheme, keys) in accepted.iter().filter(|_| !profile.may_repeat) {
            let key_id = scheme.fixed_key_id().map(KeyId::new).transpose()?;
            keys_of.push((key_id, Arc::clone(keys)));
        }
        let memory = Arc::new(self.memory.remember(retention, keys_of)?);
        let mut freshness = Freshness {
            margin,
            ..self.freshness
        };
        if !profile.may_repeat {
            let memory = Arc::clone(&memory);
            freshness.taken_until = Some(Arc::new(move |signed_at| memory.taken_until(signed_at)));
        }
        let clock: Arc<dyn Clock> = self.clock.into();
        let budget = Arc::new(budget);
        let running = Arc::new(Semaphore::new(self.max_running));
        let unproven = Arc::new(Semaphore::new(self.max_unproven));
        let long_bodies = Arc::new(Semaphore::new(processors));
        let mut verifiers = Vec::with_capacity(accepted.len());
        for (scheme, keys) in accepted {
            let profile = scheme.profile();
            let methods = match &self.methods {
                Some(methods) => Some(Methods::new(methods)?),
                None => (!profile.covers_method && !profile.may_repeat).then(Methods::default),
            };
            verifiers.push(Settings {
                name: scheme.name().into(),
                signature_headers: scheme.signature_headers(),
                scheme,
                keys,
                memory: Arc::clone(&memory),
                clock: Arc::clone(&clock),
                origins: origins.clone(),
                websockets: self.websockets,
                unrelated_signatures: self.unrelated_signatures,
                freshness: freshness.clone(),
                methods,
                body: self.body,
                budget: Arc::clone(&budget),
                processing,
                running: Arc::clone(&running),
                unproven: Arc::clone(&unproven),
                readiness_timeout: self.readiness_timeout,
                live: LiveNonces::default(),
                long_bodies: Arc::clone(&long_bodies),
                others: Vec::new(),
            });
        }
        let mut verifiers = verifiers.into_iter();
        let Some(mut first) = verifiers.next() else {
            return Err(missing("no scheme is given"));
        };
        first.others = verifiers
            .map(|settings| Verifier {
                settings: Arc::new(settings),
            })
            .collect();
        Ok((self.finish)(Verifier {
            settings: Arc::new(first),
        }))
    }

    fn check_ranges(&self) -> Result<(), ConfigError> {
        const MILLISECOND: Duration = Duration::from_millis(1);
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(60 * 60);
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
        self.freshness.check_ranges()?;
        ConfigError::unless(
            self.freshness.margin <= YEAR,
            "`seals_for` is at most 366 days",
        )?;
        self.body.check_ranges()?;
        self.memory.check_ranges()?;
        ConfigError::unless(
            (1..=1_000_000).contains(&self.max_running),
            "`max_running` is between 1 and 1,000,000",
        )?;
        ConfigError::unless(
            (1..=10_000).contains(&self.max_unproven),
            "`max_unproven` is between 1 and 10,000",
        )?;
        ConfigError::unless(
            (MILLISECOND..=HOUR).contains(&self.readiness_timeout),
            "`readiness_timeout` is between 1 millisecond and 1 hour",
        )?;
        for profile in self
            .accepted
            .iter()
            .map(|accepted| accepted.scheme.profile())
        {
            ConfigError::unless(
                profile
                    .untimed_retention
                    .is_none_or(|r| (HOUR..=YEAR).contains(&r)),
                "without a signed time, requests are remembered for between 1 hour and 1 year",
            )?;
            ConfigError::unless(
                profile
                    .event_horizon
                    .is_none_or(|h| (SECOND..=YEAR).contains(&h)),
                "an event horizon is between 1 second and 1 year",
            )?;
        }
        match self.processing {
            Some(Processing::Retryable { lease }) => ConfigError::unless(
                (SECOND..=DAY).contains(&lease),
                "a lease is between 1 second and 1 day",
            ),
            _ => Ok(()),
        }
    }
}

/// One for all claims of a layer, whether or not a request has an event id or a signed time: a
/// store has one for a namespace.
fn retention(profile: &Profile, freshness: &Freshness, margin: Duration) -> Duration {
    let horizon = profile.event_horizon.unwrap_or_default();
    let timed = freshness.max_age + margin + horizon + freshness.max_skew;
    profile.untimed_retention.unwrap_or_default().max(timed)
}

impl<T> fmt::Debug for VerifierBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierBuilder")
            .field("schemes", &self.accepted)
            .finish_non_exhaustive()
    }
}
