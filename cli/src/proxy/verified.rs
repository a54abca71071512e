//! How a route verifies: its settings, and the layer that they make.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use countersign::{
    ConfigError, OnDuplicate, Processing, VerifyLayer,
    layer::{BufferedLayer, ObserveLayer},
    request::BodyBudget,
    store::NonceStore,
};

use super::{
    gate::Gate,
    keys::{Keys, Loaded, Owners, Place, Source, entries},
    words::in_file_words,
};
use crate::{exit::Failure, scheme::Chosen};

/// How much longer the layer waits for a connection than its upstream, which knows why there is
/// none.
const LONGER: Duration = Duration::from_secs(1);

/// The longest time that a layer waits for its service.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// How a route verifies.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) chosen: Chosen,
    pub(super) keys: RouteKeys,
    /// The store, as the file names it.
    pub(super) store: String,
    pub(super) namespace: String,
    pub(super) origin: Option<String>,
    pub(super) any_authority: bool,
    pub(super) gate: Gate,
    pub(super) max_age: Option<Duration>,
    pub(super) max_skew: Option<Duration>,
    pub(super) max_body_bytes: Option<usize>,
    pub(super) body_deadline: Option<Duration>,
    pub(super) processing: Option<Processing>,
    pub(super) on_duplicate: Option<OnDuplicate>,
    pub(super) observe_only: bool,
    /// How long a verified request waits for its upstream.
    pub(super) connect_timeout: Duration,
    /// How many may be handled at one time: the upstream counts them.
    pub(super) requests: usize,
}

/// Whose keys a route knows.
#[derive(Debug)]
pub(super) enum RouteKeys {
    One(Source),
    /// A directory with a file or folder for each tenant, whose name is in the path.
    Tenants(PathBuf),
}

/// The layer of a route, or of one tenant of it.
#[derive(Clone, Debug)]
pub(super) enum Guard {
    Verifies(BufferedLayer),
    Observes(ObserveLayer),
}

/// The layers of a route, with their keys.
#[derive(Debug)]
pub(super) enum Guards {
    One(Guarded),
    Tenants(BTreeMap<String, Guarded>),
}

/// A layer, and the keys that it looks up.
#[derive(Clone, Debug)]
pub(super) struct Guarded {
    guard: Guard,
    keys: Arc<Keys>,
}

/// The layers that a route had.
#[derive(Clone, Copy)]
pub(super) enum Before<'g> {
    /// None: the proxy starts.
    Nothing,
    /// They go on.
    SameSettings(&'g Guards),
    /// Their settings may have changed: new layers take their keys over.
    OtherSettings(&'g Guards),
}

impl<'g> Before<'g> {
    fn guards(self) -> Option<&'g Guards> {
        match self {
            Self::Nothing => None,
            Self::SameSettings(guards) | Self::OtherSettings(guards) => Some(guards),
        }
    }

    fn one(self) -> Option<&'g Guarded> {
        match self.guards()? {
            Guards::One(known) => Some(known),
            Guards::Tenants(_) => None,
        }
    }

    fn tenant(self, tenant: &str) -> Option<&'g Guarded> {
        match self.guards()? {
            Guards::Tenants(known) => known.get(tenant),
            Guards::One(_) => None,
        }
    }
}

/// The parts that the layers of all routes share.
struct Kept<'k> {
    store: &'k Arc<dyn NonceStore>,
    bodies: &'k BodyBudget,
}

/// Keys that were read, and are not in use yet.
#[derive(Default)]
pub(super) struct NewKeys {
    read: Vec<(Arc<Keys>, Loaded)>,
    /// Keys and tenants that were refused while the proxy runs.
    refused: Vec<Failure>,
}

impl NewKeys {
    /// Puts them in place of the old ones, and says what was refused.
    pub(super) fn replace(self) -> Vec<Failure> {
        for (keys, loaded) in self.read {
            keys.replace(loaded);
        }
        self.refused
    }
}

/// Why a layer cannot be made.
pub(super) enum Refusal {
    Config(ConfigError),
    Failure(Failure),
}

impl Refusal {
    /// Returns the failure for the operator of the proxy.
    pub(super) fn failure(self, route: &str) -> Failure {
        match self {
            Self::Failure(failure) => failure,
            Self::Config(error) => Failure::usage(
                format!("the route `{route}` cannot be served with these settings"),
                in_file_words(&error.to_string()),
                "choose another store or other settings for the route",
            ),
        }
    }
}

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Verified {
    /// Makes the layers, for keys as they are now. Layers of one route share their keys, which
    /// change when the caller says so.
    ///
    /// # Errors
    /// Returns an error if keys cannot be read, or if the library refuses the settings.
    pub(super) fn guards(
        &self,
        store: &Arc<dyn NonceStore>,
        bodies: &BodyBudget,
        before: Before<'_>,
    ) -> Result<(Guards, NewKeys), Refusal> {
        let store = &Kept { store, bodies };
        let mut new = NewKeys::default();
        let guards = match &self.keys {
            RouteKeys::One(source) => {
                let known = before.one();
                Guards::One(self.guarded(None, source, store, (before, known), &mut new)?)
            }
            RouteKeys::Tenants(folder) => {
                let mut guards = BTreeMap::new();
                let mut owners = Owners::default();
                let mut tenants = tenants(folder, &self.chosen)?;
                // A new tenant takes nothing from one that was there before.
                tenants.sort_by_key(|(tenant, _)| before.tenant(tenant).is_none());
                for (tenant, source) in tenants {
                    let known = before.tenant(&tenant);
                    let guarded = self.tenant(&tenant, source, store, (before, known), &mut new);
                    let owned = guarded.and_then(|guarded| {
                        if !self.chosen.inspector(None).covers_place() {
                            let new = new.of(&guarded.keys);
                            match new {
                                Some(loaded) => owners.add(&tenant, loaded)?,
                                None => guarded.keys.owned_by(&tenant, &mut owners)?,
                            }
                        }
                        Ok(guarded)
                    });
                    match (owned, before) {
                        (Ok(guarded), _) => drop(guards.insert(tenant, guarded)),
                        // The others go on.
                        (Err(refusal), Before::SameSettings(_)) => {
                            new.refused.push(refusal.failure(&self.namespace));
                        }
                        (Err(refusal), _) => return Err(refusal),
                    }
                }
                Guards::Tenants(guards)
            }
        };
        Ok((guards, new))
    }

    /// Returns whether keys may change while the proxy runs.
    pub(super) fn is_watched(&self) -> bool {
        !matches!(self.keys, RouteKeys::One(Source::Listed(_)))
    }

    fn tenant(
        &self,
        tenant: &str,
        source: Result<Source, Failure>,
        store: &Kept<'_>,
        known: (Before<'_>, Option<&Guarded>),
        new: &mut NewKeys,
    ) -> Result<Guarded, Refusal> {
        self.guarded(Some(tenant), &source?, store, known, new)
    }

    fn guarded(
        &self,
        tenant: Option<&str>,
        source: &Source,
        store: &Kept<'_>,
        (before, known): (Before<'_>, Option<&Guarded>),
        new: &mut NewKeys,
    ) -> Result<Guarded, Refusal> {
        let loaded = match (before, known) {
            (Before::SameSettings(_), Some(known)) => match source.read_again(&self.chosen) {
                Ok((loaded, refused)) => {
                    new.refused.extend(refused);
                    loaded
                }
                Err(failure) => {
                    new.refused.push(Failure {
                        why: format!("{}; its old keys stay", failure.why),
                        ..failure
                    });
                    return Ok(known.clone());
                }
            },
            _ => source.read(&self.chosen)?,
        };
        let keys = match known {
            None => Keys::new(loaded),
            Some(known) => {
                new.read.push((Arc::clone(&known.keys), loaded));
                if let Before::SameSettings(_) = before {
                    return Ok(known.clone());
                }
                Arc::clone(&known.keys)
            }
        };
        // A request that one tenant's sender signed is another request for another.
        let namespace = match tenant {
            Some(tenant) => format!("{}/{tenant}", self.namespace),
            None => self.namespace.clone(),
        };
        let guard = self.guard(&namespace, &keys, store)?;
        Ok(Guarded { guard, keys })
    }

    fn guard(
        &self,
        namespace: &str,
        keys: &Arc<Keys>,
        kept: &Kept<'_>,
    ) -> Result<Guard, ConfigError> {
        let mut builder = self
            .chosen
            .scheme
            .verifier()
            .keys(Arc::clone(keys))
            .namespace(namespace)
            .readiness_timeout((self.connect_timeout + LONGER).min(LONGEST))
            // Seats are the bound, and are free again before the store has the outcome: until then
            // the layer counts a handler. It takes no more than a million.
            .max_running((2 * self.requests).min(1_000_000))
            .body_budget(kept.bodies)
            .store(Arc::clone(kept.store));
        if let Some(origin) = &self.origin {
            builder = builder.public_origin(origin);
        }
        if self.any_authority {
            // The file says so, under a name of its own that begins with `danger`.
            builder = builder.danger_any_authority();
        }
        if let Some(age) = self.max_age {
            builder = builder.max_age(age);
        }
        if let Some(skew) = self.max_skew {
            builder = builder.max_skew(skew);
        }
        if let Some(bytes) = self.max_body_bytes {
            builder = builder.max_body_bytes(bytes);
        }
        if let Some(deadline) = self.body_deadline {
            builder = builder.body_deadline(deadline);
        }
        if let Some(processing) = self.processing {
            builder = builder.processing(processing);
        }
        let methods = &self.gate.place.methods;
        if !methods.is_empty() && !self.chosen.inspector(None).covers_place() {
            builder = builder.methods(methods.iter().cloned());
        }
        let gate = self.gate.clone();
        let mut layer = VerifyLayer::new(builder.build()?)
            .refuse_if(move |head, payload| Some(gate.refuses(head, payload)?.answer_whole()));
        if let Some(on_duplicate) = self.on_duplicate {
            layer = layer.on_duplicate(on_duplicate);
        }
        Ok(match self.observe_only {
            // The file says so, under a name of its own that begins with `danger`.
            true => Guard::Observes(layer.danger_observe_only()?),
            false => Guard::Verifies(layer.buffered()),
        })
    }
}

impl NewKeys {
    /// Returns what these keys are to be.
    fn of(&self, keys: &Arc<Keys>) -> Option<&Loaded> {
        let mut read = self.read.iter();
        let found = read.find(|(known, _)| Arc::ptr_eq(known, keys));
        found.map(|(_, loaded)| loaded)
    }
}

impl Guards {
    /// Adds the route that has these keys.
    ///
    /// # Errors
    /// Returns a failure if a route before has one of the secrets.
    pub(super) fn owned_by(&self, route: &str, owners: &mut Owners) -> Result<(), Failure> {
        match self {
            Self::One(guarded) => guarded.keys.owned_by(route, owners),
            Self::Tenants(guards) => guards
                .values()
                .try_for_each(|guarded| guarded.keys.owned_by(route, owners)),
        }
    }

    /// Notes which route accepts these keys.
    pub(super) fn known_by(&self, route: &str, owners: &mut Owners) {
        match self {
            Self::One(guarded) => guarded.keys.known_by(route, owners),
            Self::Tenants(guards) => {
                for guarded in guards.values() {
                    guarded.keys.known_by(route, owners);
                }
            }
        }
    }

    /// The layer for a tenant, or for everybody.
    pub(super) fn find(&self, tenant: Option<&str>) -> Option<&Guard> {
        match self {
            Self::One(guarded) => Some(&guarded.guard),
            Self::Tenants(guards) => guards.get(tenant?).map(|guarded| &guarded.guard),
        }
    }
}

/// The tenants of a directory, each with where its keys are.
fn tenants(folder: &Path, chosen: &Chosen) -> Result<Vec<Tenant>, Failure> {
    let names_key = chosen.names_key();
    let sources = entries(folder)?.into_iter().map(|(tenant, files)| {
        let source = match names_key {
            true => Ok(Source::Directory(folder.join(&tenant))),
            false => files.map(|files| {
                let secrets = files.into_iter().map(|file| (None, Place::File(file)));
                Source::Listed(secrets.collect())
            }),
        };
        (tenant, source)
    });
    Ok(sources.collect())
}

type Tenant = (String, Result<Source, Failure>);
