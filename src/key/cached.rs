//! `CachedKeys`: a key store in front of a slower one.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use quick_cache::sync::Cache;
use tokio::{sync::Mutex as Queue, time::Instant};

use super::{
    id::KeyId,
    set::KeySet,
    store::{KeyFuture, KeyStore, KnownKeys},
};
use crate::{
    error::{ConfigError, KeyError, in_full},
    future::{StoreFuture, within},
    lock::lock,
};

/// A cache in front of a [`KeyStore`] that is slow, such as a table of a database (feature
/// `cached-keys`).
///
/// - It is bounded: at most [`capacity`](CachedKeysBuilder::capacity) keys are kept.
/// - A key is looked up again when its [`time_to_live`](CachedKeysBuilder::time_to_live) is over. A
///   key that was changed or removed is used until then, unless
///   [`invalidate`](CachedKeys::invalidate) is called.
/// - Unknown names are remembered in a cache of their own, for a shorter time, so that
///   strangers who invent names evict no key and cause few look-ups.
/// - One name is looked up once at a time. All requests that wait for it get the same answer.
/// - If the key store fails, requests are refused (503, `store_unavailable`), unless
///   [`danger_serve_stale_keys`](CachedKeysBuilder::danger_serve_stale_keys) is set.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use countersign::{
///     KeySet, KeyStore, Secret,
///     error::KeyError,
///     key::{CachedKeys, KeyFuture},
/// };
///
/// struct Table; // of a database
///
/// impl KeyStore for Table {
///     fn find<'a>(&'a self, key_id: &'a str) -> KeyFuture<'a> {
///         KeyFuture::new(async move {
///             // SELECT secret FROM keys WHERE id = …
///             let row = (key_id == "partner-1").then_some("the secret of partner 1");
///             let set = |secret| Ok::<_, countersign::ConfigError>(Arc::new(
///                 KeySet::new(key_id)?.with(Secret::new(secret)?),
///             ));
///             row.map(set).transpose().map_err(|error| {
///                 KeyError::unavailable("a row is not a key").with_source(error)
///             })
///         })
///     }
/// }
///
/// let keys = CachedKeys::builder(Table).time_to_live(Duration::from_secs(30)).build()?;
/// # Ok::<_, countersign::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct CachedKeys(Arc<Shared>);

struct Shared {
    /// In an `Arc`, whose place is its own also if the store has no fields.
    inner: Arc<dyn KeyStore>,
    settings: Settings,
    known: Cache<KeyId, Entry>,
    /// Unknown names, and when each look-up found no key.
    unknown: Cache<KeyId, Instant>,
    /// The look-ups that are under way: never more than requests in flight.
    flights: Mutex<HashMap<KeyId, Arc<Flight>>>,
}

#[derive(Clone)]
struct Entry {
    keys: Arc<KeySet>,
    since: Instant,
}

type Found = Result<Option<Arc<KeySet>>, KeyError>;

#[derive(Default)]
struct Flight {
    queue: Queue<()>,
    outcome: Mutex<Option<Found>>,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    capacity: usize,
    unknown_capacity: usize,
    time_to_live: Duration,
    unknown_time_to_live: Duration,
    look_up_timeout: Duration,
    stale: Duration,
}

/// Configures [`CachedKeys`].
#[must_use]
pub struct CachedKeysBuilder {
    /// In an `Arc`, whose place is its own also if the store has no fields.
    inner: Arc<dyn KeyStore>,
    settings: Settings,
}

impl CachedKeysBuilder {
    /// Sets how many keys are kept. Default: 10,000. Range: 1 to 10,000,000.
    pub fn capacity(mut self, keys: usize) -> Self {
        self.settings.capacity = keys;
        self
    }

    /// Sets how many unknown names are kept. Default: 10,000. Range: 1 to 10,000,000.
    pub fn unknown_capacity(mut self, names: usize) -> Self {
        self.settings.unknown_capacity = names;
        self
    }

    /// Sets for how long a key is used before it is looked up again. A revoked secret stays valid
    /// for at most this time. Default: 60 s. Range: 1 ms to 1 day.
    pub fn time_to_live(mut self, time: Duration) -> Self {
        self.settings.time_to_live = time;
        self
    }

    /// Sets for how long an unknown name is remembered. If a name was asked for before its key was
    /// added, the key is refused for at most this time. Default: 5 s. Range: 1 ms to 1 day.
    pub fn unknown_time_to_live(mut self, time: Duration) -> Self {
        self.settings.unknown_time_to_live = time;
        self
    }

    /// Sets how long one look-up may take. Default: 1 s. Range: 1 ms to 1 hour. A verifier waits
    /// for its [`store_timeout`](crate::request::VerifierBuilder::store_timeout), which should be
    /// longer.
    pub fn look_up_timeout(mut self, time: Duration) -> Self {
        self.settings.look_up_timeout = time;
        self
    }

    /// Uses an expired key for at most this much longer while the key store fails or is slow. A
    /// secret that is revoked during an outage stays valid for that time. Each use is logged at
    /// `WARN`. Default: 0, never. Range: at most 7 days.
    pub fn danger_serve_stale_keys(mut self, at_most: Duration) -> Self {
        self.settings.stale = at_most;
        self
    }

    /// Makes the key store.
    ///
    /// # Errors
    /// Returns an error if a setting is out of its range.
    pub fn build(self) -> Result<CachedKeys, ConfigError> {
        const MILLISECOND: Duration = Duration::from_millis(1);
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        const MOST: usize = 10_000_000;
        let settings = self.settings;
        let lives = [settings.time_to_live, settings.unknown_time_to_live];
        ConfigError::unless(
            (1..=MOST).contains(&settings.capacity)
                && (1..=MOST).contains(&settings.unknown_capacity),
            "`capacity` and `unknown_capacity` must be between 1 and 10,000,000",
        )?;
        ConfigError::unless(
            lives.iter().all(|time| (MILLISECOND..=DAY).contains(time)),
            "`time_to_live` and `unknown_time_to_live` must be between 1 millisecond and 1 day",
        )?;
        ConfigError::unless_timeout(settings.look_up_timeout, "look_up_timeout")?;
        ConfigError::unless(
            settings.stale <= 7 * DAY,
            "`danger_serve_stale_keys` must be at most 7 days",
        )?;
        Ok(CachedKeys(Arc::new(Shared {
            inner: self.inner,
            settings,
            known: Cache::new(settings.capacity),
            unknown: Cache::new(settings.unknown_capacity),
            flights: Mutex::default(),
        })))
    }
}

impl CachedKeys {
    /// Configures a cache in front of this key store; every setting states its default.
    pub fn builder(inner: impl KeyStore) -> CachedKeysBuilder {
        CachedKeysBuilder {
            inner: Arc::new(inner),
            settings: Settings {
                capacity: 10_000,
                unknown_capacity: 10_000,
                time_to_live: Duration::from_secs(60),
                unknown_time_to_live: Duration::from_secs(5),
                look_up_timeout: Duration::from_secs(1),
                stale: Duration::ZERO,
            },
        }
    }

    /// Forgets this name: it is looked up when it is asked for next. To be called after a key was
    /// changed, added or revoked. A look-up that is under way may still bring the former answer.
    pub fn invalidate(&self, key_id: &str) {
        self.0.known.remove(key_id);
        self.0.unknown.remove(key_id);
    }
}

impl Shared {
    /// An answer that has not expired.
    fn cached(&self, key_id: &str) -> Option<Option<Arc<KeySet>>> {
        let Settings {
            time_to_live,
            unknown_time_to_live,
            ..
        } = self.settings;
        if let Some(entry) = self.known.get(key_id)
            && entry.since.elapsed() < time_to_live
        {
            return Some(Some(entry.keys));
        }
        let since = self.unknown.get(key_id)?;
        (since.elapsed() < unknown_time_to_live).then_some(None)
    }

    /// The answer of the one look-up of this name that is under way, or of a new one.
    async fn find(&self, id: KeyId) -> Found {
        let place = Place::new(self, id);
        let _turn = place.flight.queue.lock().await;
        if let Some(outcome) = &*lock(&place.flight.outcome) {
            return outcome.clone();
        }
        let found = self.look_up(&place.id).await;
        *lock(&place.flight.outcome) = Some(found.clone());
        found
    }

    async fn look_up(&self, id: &KeyId) -> Found {
        // Counted from before it is asked: what is changed meanwhile is not kept for longer.
        let since = Instant::now();
        let limit = self.settings.look_up_timeout;
        match within(limit, || self.inner.find(id.as_str())).await {
            Ok(Some(keys)) => {
                let entry = Entry {
                    keys: Arc::clone(&keys),
                    since,
                };
                self.known.insert(id.clone(), entry);
                self.unknown.remove(id);
                Ok(Some(keys))
            }
            Ok(None) => {
                self.known.remove(id);
                self.unknown.insert(id.clone(), since);
                Ok(None)
            }
            Err(error) => self.stale(id, error),
        }
    }

    /// Returns what there is of a key that cannot be looked up.
    fn stale(&self, id: &KeyId, error: KeyError) -> Found {
        let Settings {
            time_to_live,
            stale,
            ..
        } = self.settings;
        match self.known.get(id) {
            Some(entry) if entry.since.elapsed() < time_to_live + stale => {
                let error = in_full(&error);
                tracing::warn!(key_id = %id, error, "a key that may have been revoked is still used");
                Ok(Some(entry.keys))
            }
            _ => Err(error),
        }
    }
}

/// In line for one name. The last to leave takes the line down.
struct Place<'s> {
    shared: &'s Shared,
    id: KeyId,
    flight: Arc<Flight>,
}

impl<'s> Place<'s> {
    fn new(shared: &'s Shared, id: KeyId) -> Self {
        let mut flights = lock(&shared.flights);
        let flight = Arc::clone(flights.entry(id.clone()).or_default());
        // Callers that waited get the result of the look-up.
        let flight = if lock(&flight.outcome).is_some() {
            let next = Arc::new(Flight::default());
            flights.insert(id.clone(), Arc::clone(&next));
            next
        } else {
            flight
        };
        Self { shared, id, flight }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut flights = lock(&self.shared.flights);
        let is_own = |flight: &Arc<Flight>| Arc::ptr_eq(flight, &self.flight);
        // Its own, and that of the map.
        if Arc::strong_count(&self.flight) == 2 && flights.get(&self.id).is_some_and(is_own) {
            flights.remove(&self.id);
        }
    }
}

impl KeyStore for CachedKeys {
    fn find<'a>(&'a self, key_id: &'a str) -> KeyFuture<'a> {
        if let Some(answer) = self.0.cached(key_id) {
            return StoreFuture::ready(Ok(answer));
        }
        // No key has another name.
        let Ok(id) = KeyId::new(key_id) else {
            return StoreFuture::ready(Ok(None));
        };
        StoreFuture::new(self.0.find(id))
    }

    fn known_keys(&self) -> KnownKeys {
        self.0.inner.known_keys()
    }
}

impl fmt::Debug for CachedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedKeys")
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CachedKeysBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedKeysBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "cached_tests.rs"]
mod tests;
