//! How a configuration becomes a verifier: what is missing, out of its range or not safe is refused.

use std::{num::NonZero, sync::Arc, thread::available_parallelism, time::Duration};

use tokio::sync::Semaphore;

use super::{
    accepted::{self, Accepted, Accepting, Keyed},
    budget::{BodyBudget, Budget},
    builder::{DEFAULT_NAMESPACE, VerifierBuilder},
    methods::Methods,
    processing::Processing,
    verifier::{Settings, Verifier},
};
use crate::{
    clock::Clock,
    error::{ConfigError, ConfigErrorKind},
    key::KeyId,
    message::{Forwarded, Origin, Origins},
    metrics::LiveNonces,
    once::MemorySettings,
    proof::Freshness,
    scheme::{Describe, Profile},
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
        let accepted = self.accepted.try_map(Accepted::with_keys)?;
        accepted::check(&accepted, self.processing.is_none())?;
        let processing = processing(self.processing, &*accepted.first.scheme, &self.memory)?;
        check_names(&accepted, &self.memory, processing)?;
        let origins = origins(&accepted, &self.origins, self.any_authority, self.forwarded)?;
        warn(&accepted, &self.memory);

        let margin = self.memory.margin() + self.seals_for;
        let retentions =
            profiles(&accepted).map(|profile| retention(profile, &self.freshness, margin));
        let retention = retentions.max().unwrap_or_default();
        let mut keys_of = Vec::new();
        for Keyed { scheme, keys } in accepted.all() {
            let key_id = scheme.fixed_key_id().map(KeyId::new).transpose()?;
            keys_of.push((key_id, Arc::clone(keys)));
        }
        let may_repeat = accepted.first.scheme.profile().may_repeat;
        self.memory.may_repeat = may_repeat;
        let namespace = self.memory.namespace.clone();
        let memory = Arc::new(self.memory.remember(retention, keys_of)?);
        let mut freshness = Freshness {
            margin,
            ..self.freshness
        };
        if !may_repeat {
            let memory = Arc::clone(&memory);
            freshness.taken_until = Some(Arc::new(move |signed_at| memory.taken_until(signed_at)));
        }

        let clock: Arc<dyn Clock> = self.clock.into();
        let shared = self.shared_budget;
        let namespace = shared.is_some().then_some(namespace);
        let budget = shared.unwrap_or_else(|| BodyBudget::new(self.body_budget));
        let budget = Budget::new(budget, self.body.max_bytes, namespace.as_deref());
        let budget = Arc::new(budget);
        let running = Arc::new(Semaphore::new(self.max_running));
        let unproven = Arc::new(Semaphore::new(self.max_unproven));
        let processors = available_parallelism().map_or(1, NonZero::get);
        let long_bodies = Arc::new(Semaphore::new(processors));
        let settings = accepted.try_map(|Keyed { scheme, keys }| {
            let profile = scheme.profile();
            let methods = match &self.methods {
                Some(methods) => Some(Methods::new(methods)?),
                None => (!profile.covers_method && !profile.may_repeat).then(Methods::default),
            };
            Ok(Settings {
                name: scheme.name().into(),
                signature_headers: scheme.signature_headers(),
                answers_unsigned: scheme.answers_unsigned(),
                awaits_supply: scheme.awaits_supply(),
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
            })
        })?;
        let answers_unsigned = settings.all().any(|settings| settings.answers_unsigned);
        let others = settings.others.into_iter().map(Verifier::new).collect();
        (self.finish)(Verifier::new(Settings {
            answers_unsigned,
            others,
            ..settings.first
        }))
    }

    fn check_ranges(&self) -> Result<(), ConfigError> {
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(60 * 60);
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
        self.freshness.check_ranges()?;
        ConfigError::unless(
            self.seals_for <= YEAR,
            "`seals_for` must be at most 366 days",
        )?;
        self.body.check_ranges()?;
        let shared = self.shared_budget.as_ref();
        ConfigError::unless(
            self.body.max_bytes <= shared.map_or(self.body_budget / 2, BodyBudget::max_body),
            "`body_budget_bytes` must be at least twice `max_body_bytes`",
        )?;
        self.memory.check_ranges()?;
        ConfigError::unless(
            (1..=1_000_000).contains(&self.max_running),
            "`max_running` must be between 1 and 1,000,000",
        )?;
        ConfigError::unless(
            (1..=10_000).contains(&self.max_unproven),
            "`max_unproven` must be between 1 and 10,000",
        )?;
        ConfigError::unless_timeout(self.readiness_timeout, "readiness_timeout")?;
        for Accepted { scheme, .. } in self.accepted.all() {
            let profile = scheme.profile();
            ConfigError::unless(
                profile
                    .untimed_retention
                    .is_none_or(|r| (HOUR..=YEAR).contains(&r)),
                "without a signed time, requests must be remembered for between 1 hour and 1 year",
            )?;
            ConfigError::unless(
                profile
                    .event_horizon
                    .is_none_or(|h| (SECOND..=YEAR).contains(&h)),
                "an event horizon must be between 1 second and 1 year",
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
                "a lease must be between 1 second and 1 day",
            ),
            _ => Ok(()),
        }
    }
}

fn profiles(accepted: &Accepting<Keyed>) -> impl Iterator<Item = &Profile> {
    accepted.all().map(|keyed| keyed.scheme.profile())
}

/// The processing that was chosen, or that of the first scheme, if what remembers requests can give
/// it.
fn processing(
    chosen: Option<Processing>,
    first: &dyn Describe,
    memory: &MemorySettings,
) -> Result<Processing, ConfigError> {
    let profile = first.profile();
    let processing = chosen.unwrap_or(if profile.sender_retries {
        Processing::Retryable { lease: LEASE }
    } else {
        Processing::AtMostOnce
    });
    let refuse = |what| Err(ConfigErrorKind::Processing(what).into());
    match (processing, &memory.store) {
        (Processing::InTransaction, _) if profile.may_repeat => refuse(
            "requests of this scheme may be alike, and none is claimed: there is no nonce for a \
             transaction to record",
        ),
        (Processing::InTransaction, Some(_)) => refuse(
            "with `Processing::InTransaction` the handler's database remembers; a store beside it \
             would be a second truth: leave out `store`",
        ),
        (Processing::InTransaction, None) => Ok(processing),
        _ if first.awaits_supply() => refuse(
            "the scheme signs a value that is not sent, and that only the handler can take from its \
             own locked row: call `processing` with `Processing::InTransaction`, and take an \
             `UnprovenPayload`",
        ),
        (_, None) if !profile.may_repeat => {
            Err(ConfigErrorKind::Missing("no store is given; call `store`").into())
        }
        (Processing::Retryable { .. }, Some(store)) if store.leases().is_none() => {
            refuse("this store has no leases; use another, or `Processing::AtMostOnce`")
        }
        _ => Ok(processing),
    }
}

/// Refuses names that nobody chose where others may have them too.
fn check_names(
    accepted: &Accepting<Keyed>,
    memory: &MemorySettings,
    processing: Processing,
) -> Result<(), ConfigError> {
    // A database in whose transactions nonces are recorded is as open to others as a store is.
    let is_shared = match &memory.store {
        Some(store) => store.sharing().is_shared(),
        None => processing == Processing::InTransaction,
    };
    if !is_shared || memory.namespace != DEFAULT_NAMESPACE {
        return Ok(());
    }
    for Keyed { scheme, .. } in accepted.all() {
        let profile = scheme.profile();
        if let Some(id) = scheme.fixed_key_id()
            && profile.key_id_is_own
            && !profile.may_repeat
        {
            return Err(ConfigErrorKind::UnchosenNames(id.to_owned()).into());
        }
    }
    Ok(())
}

fn origins(
    accepted: &Accepting<Keyed>,
    given: &[String],
    any_authority: bool,
    forwarded: Option<Forwarded>,
) -> Result<Origins, ConfigError> {
    let mut origins = Origins::default();
    let read = if profiles(accepted).all(|profile| profile.signs_configured_url) {
        Origin::parse_url
    } else {
        Origin::parse
    };
    for origin in given {
        origins.add(read(origin)?)?;
    }
    if any_authority {
        origins.allow_any();
    }
    if let Some(forwarded) = forwarded {
        origins.trust(forwarded)?;
    }
    if profiles(accepted).any(|profile| profile.covers_authority) && !origins.are_known() {
        let what = "the scheme covers the authority, and no public origin is given; call \
                    `public_origin` with what clients see, such as `https://api.example.com`";
        return Err(ConfigErrorKind::Missing(what).into());
    }
    Ok(origins)
}

/// Warns of what may happen again with these schemes and this store.
fn warn(accepted: &Accepting<Keyed>, memory: &MemorySettings) {
    let namespace = &*memory.namespace;
    let forgets = memory
        .store
        .as_ref()
        .is_some_and(|store| !store.survives_restart());
    let outlives = |p: &Profile| p.untimed_retention.is_some() || p.event_horizon.is_some();
    if forgets && profiles(accepted).any(outlives) {
        tracing::warn!(
            namespace,
            "the store forgets on restart, and the scheme has event ids or covers no time: what was \
             handled before a restart can be handled again after it; use a store that survives \
             restarts"
        );
    }
    if profiles(accepted).any(|profile| profile.sends_batches) {
        tracing::warn!(
            namespace,
            "a request of this sender may hold several events, and is used once as a whole: an \
             event can come again in another request; let the handler ask `VerifiedPayload::once` \
             for each event"
        );
    }
    if forgets && profiles(accepted).any(|profile| profile.max_age.is_some()) {
        tracing::warn!(
            namespace,
            "the store forgets on restart, and the sender may deliver again for hours what it has \
             dated before: after a restart such a delivery is refused (`sign_again`), and may never \
             come signed again; use a store that survives restarts, or keep a `high_watermark`, with \
             which only what was dated up to the mark is refused"
        );
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
