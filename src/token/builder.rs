//! The settings of one-time tokens, checked against each other.

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, RwLock},
    time::Duration,
};

use super::{
    jws,
    one_time::OneTimeToken,
    pending::{InStore, InTransaction},
    settings::Settings,
};
use crate::{
    clock::{Clock, SystemClock},
    error::{ConfigError, ConfigErrorKind},
    key::{KeyId, KeyStore},
    once::{MemorySettings, NonceStore},
    proof::Freshness,
};

impl<T> OneTimeToken<T> {
    /// Configures tokens for a purpose, such as `confirm-address`: 1 to 128 bytes. A token for one
    /// purpose is refused for another, also under the same key.
    pub fn builder(purpose: impl Into<String>) -> OneTimeTokenBuilder<T> {
        OneTimeTokenBuilder::new(purpose.into())
    }
}

/// Configures a [`OneTimeToken`]; every setting states its default.
#[must_use]
pub struct OneTimeTokenBuilder<T, M = InStore> {
    purpose: String,
    keys: Option<Arc<dyn KeyStore>>,
    issue_under: Option<String>,
    lifetime: Duration,
    max_skew: Duration,
    memory: MemorySettings,
    clock: Box<dyn Clock>,
    types: PhantomData<fn(T, M) -> T>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl<T> OneTimeTokenBuilder<T> {
    fn new(purpose: String) -> Self {
        Self {
            memory: MemorySettings::new(format!("token:{purpose}")),
            purpose,
            keys: None,
            issue_under: None,
            lifetime: Duration::from_secs(60 * 60),
            max_skew: Duration::from_secs(5),
            clock: Box::new(SystemClock),
            types: PhantomData,
        }
    }

    /// Sets the store that remembers which tokens were redeemed. No default: either this, or
    /// [`in_transaction`](Self::in_transaction).
    pub fn store(mut self, store: impl NonceStore) -> Self {
        self.memory.store = Some(Arc::new(store));
        self
    }

    /// Tokens are redeemed in database transactions of the caller's own, with
    /// [`transact`](super::PendingToken::transact) or
    /// [`redeem_in`](super::PendingToken::redeem_in), and the database remembers them. Their type is
    /// `OneTimeToken<T, InTransaction>`, so that none is redeemed in a store by mistake.
    pub fn in_transaction(self) -> OneTimeTokenBuilder<T, InTransaction> {
        OneTimeTokenBuilder {
            purpose: self.purpose,
            keys: self.keys,
            issue_under: self.issue_under,
            lifetime: self.lifetime,
            max_skew: self.max_skew,
            memory: self.memory,
            clock: self.clock,
            types: PhantomData,
        }
    }

    /// Checks the configuration.
    ///
    /// # Errors
    /// Returns an error if something is missing, out of its range, or would not be safe; if other
    /// tokens of this process have the same store and namespace, and other secrets under a key id,
    /// or another lifetime.
    pub fn build(self) -> Result<OneTimeToken<T>, ConfigError> {
        let store = self.memory.store.clone().ok_or(ConfigErrorKind::Missing(
            "nothing remembers which tokens were redeemed; call `store` or `in_transaction`",
        ))?;
        self.remembered(InStore(store))
    }
}

impl<T> OneTimeTokenBuilder<T, InTransaction> {
    /// Checks the configuration.
    ///
    /// # Errors
    /// Returns an error if something is missing, out of its range, or would not be safe, such as a
    /// store beside the database; if other tokens of this process have the same namespace, and
    /// other secrets under a key id.
    pub fn build(self) -> Result<OneTimeToken<T, InTransaction>, ConfigError> {
        if self.memory.store.is_some() {
            let what = "with `in_transaction` the database remembers; a store beside it would be a \
                        second truth: leave out `store`";
            return Err(ConfigErrorKind::Processing(what).into());
        }
        self.remembered(InTransaction(()))
    }
}

impl<T, M> OneTimeTokenBuilder<T, M> {
    /// Sets where keys are looked up: a [`KeyRing`](crate::KeyRing), or a store of your own. No
    /// default.
    pub fn keys(mut self, keys: impl KeyStore) -> Self {
        self.keys = Some(Arc::new(keys));
        self
    }

    /// Sets the key id that tokens are issued under, with the first of its secrets that is valid.
    /// No default.
    pub fn issue_under(mut self, key_id: impl Into<String>) -> Self {
        self.issue_under = Some(key_id.into());
        self
    }

    /// Sets how long a token lives: between 1 second and 366 days, in whole seconds. A token of
    /// others that lives longer is refused. Default: 1 hour.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Sets how far ahead of the clock a token may have been issued: at most 1 hour. Default: 5
    /// seconds.
    pub fn max_skew(mut self, max_skew: Duration) -> Self {
        self.max_skew = max_skew;
        self
    }

    /// Sets by how much the clocks of servers and stores may differ: at most 1 hour. Default: 5
    /// seconds.
    pub fn clock_difference(mut self, difference: Duration) -> Self {
        self.memory.clock_difference = difference;
        self
    }

    /// Keeps these tokens apart from all else in a shared store: 1 to 256 bytes, none of them zero.
    /// Default: `token:` and the purpose.
    ///
    /// All servers of one service must have the same.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.memory.namespace = namespace.into();
        self
    }

    /// Sets how long a store, a database or a key look-up may take to answer: between 1 millisecond
    /// and 1 hour. Default: 2 seconds.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.memory.timeout = timeout;
        self
    }

    /// Sets the clock. Default: the [system's](SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    fn remembered(self, memory: M) -> Result<OneTimeToken<T, M>, ConfigError> {
        let missing = |what| ConfigError::from(ConfigErrorKind::Missing(what));
        ConfigError::unless(
            (1..=128).contains(&self.purpose.len()),
            "the purpose of a token must have between 1 and 128 bytes",
        )?;
        self.memory.check_ranges()?;
        ConfigError::unless(
            (Duration::from_secs(1)..=366 * DAY).contains(&self.lifetime)
                && self.lifetime.subsec_nanos() == 0,
            "`lifetime` must be between 1 second and 366 days, in whole seconds",
        )?;
        let hour = Duration::from_secs(60 * 60);
        ConfigError::unless(self.max_skew <= hour, "`max_skew` must be at most 1 hour")?;
        let issue_under = self
            .issue_under
            .ok_or_else(|| missing("no key id to issue under; call `issue_under`"))?;
        let keys = self
            .keys
            .ok_or_else(|| missing("no keys are given; call `keys`"))?;
        let issue_under = KeyId::new(issue_under)?;
        let known = keys.known_keys();
        known.check_algorithm(jws::ALGORITHM, None)?;
        known.check_has(issue_under.as_str())?;
        let margin = self.memory.margin();
        let retention = self.lifetime + self.max_skew + margin;
        let remembered = self.memory.remember(retention, [(None, Arc::clone(&keys))]);
        Ok(OneTimeToken {
            settings: Arc::new(Settings {
                purpose: self.purpose,
                memory: remembered?,
                keys,
                issue_under: RwLock::new(issue_under),
                lifetime: self.lifetime,
                freshness: Freshness {
                    max_age: self.lifetime,
                    max_skew: self.max_skew,
                    margin,
                    // RFC 7519, section 4.1.4: not on or after.
                    ends_before_expiry: true,
                    ..Freshness::default()
                },
                clock: self.clock,
            }),
            memory,
            payload: PhantomData,
        })
    }
}

impl<T, M> fmt::Debug for OneTimeTokenBuilder<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneTimeTokenBuilder")
            .field("purpose", &self.purpose)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}
