//! How a configuration becomes a verifier: what is missing, out of its range or not safe is refused.

use std::{num::NonZero, sync::Arc, thread::available_parallelism, time::Duration};

use tokio::sync::Semaphore;

use super::{
    budget::Budget,
    builder::{DEFAULT_NAMESPACE, VerifierBuilder},
    methods::Methods,
    processing::Processing,
    several::{self, Accepted},
    verifier::{Settings, Verifier},
};
use crate::{
    clock::Clock,
    error::{ConfigError, ConfigErrorKind},
    key::KeyId,
    message::{Origin, Origins},
    metrics::LiveNonces,
    proof::Freshness,
    scheme::Profile,
};

/// How long a lease holds where the sender retries: longer than most handlers, and not so long that
/// a crash delays the next attempt by much.
const LEASE: Duration = Duration::from_secs(30);

impl<T> VerifierBuilder<T> {
    /// Checks the configuration.
    ///
    /// Logs a warning where a store that forgets on restart meets a scheme in which that matters.
    ///
    /// # Errors
    /// Returns an error if something is missing, out of its range, or would not be safe; if another
    /// layer of this process has the same store and namespace, and other secrets under a key id, or
    /// another retention; if a secret is one of envelopes of this process.
    pub fn build(mut self) -> Result<T, ConfigError> {
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
        for (scheme, keys) in &accepted {
            let key_id = scheme.fixed_key_id().map(KeyId::new).transpose()?;
            keys_of.push((key_id, Arc::clone(keys)));
        }
        self.memory.may_repeat = profile.may_repeat;
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
        (self.finish)(Verifier {
            settings: Arc::new(first),
        })
    }

    fn check_ranges(&self) -> Result<(), ConfigError> {
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
        ConfigError::unless_timeout(
            self.readiness_timeout,
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
            let remembered = profile.untimed_retention.or(profile.event_horizon);
            ConfigError::unless(
                remembered.is_none_or(|remembered| remembered >= profile.retried_for),
                "a delivery is remembered for at least as long as its sender delivers it again",
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
    let untimed = profile.untimed_retention.map(|untimed| untimed + margin);
    untimed.unwrap_or_default().max(timed)
}
