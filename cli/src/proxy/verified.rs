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
    store::NonceStore,
};

use super::keys::{Keys, Place, Source, entries};
use crate::{exit::Failure, scheme::Chosen};

/// How much longer the layer waits for a connection than its upstream, which knows why there is
/// none.
const LONGER: Duration = Duration::from_secs(1);

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
    pub(super) max_age: Option<Duration>,
    pub(super) max_skew: Option<Duration>,
    pub(super) max_body_bytes: Option<usize>,
    pub(super) body_deadline: Option<Duration>,
    pub(super) processing: Option<Processing>,
    pub(super) on_duplicate: Option<OnDuplicate>,
    pub(super) observe_only: bool,
    /// How long a verified request waits for its upstream.
    pub(super) connect_timeout: Duration,
}

/// Whose keys a route knows.
#[derive(Debug)]
pub(super) enum RouteKeys {
    One(Source),
    /// A file or folder for each tenant, whose name stands in the path.
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

/// Why a layer cannot be made.
pub(super) enum Refusal {
    Config(ConfigError),
    Failure(Failure),
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
    /// Makes the layers, with the keys as they are now. A layer that was made before goes on, with
    /// these keys.
    ///
    /// # Errors
    /// Returns an error if keys cannot be read, or if the library refuses the settings.
    pub(super) fn guards(
        &self,
        store: &Arc<dyn NonceStore>,
        before: Option<&Guards>,
    ) -> Result<Guards, Refusal> {
        match &self.keys {
            RouteKeys::One(source) => {
                let known = match before {
                    Some(Guards::One(known)) => Some(known),
                    _ => None,
                };
                Ok(Guards::One(self.guarded(None, source, store, known)?))
            }
            RouteKeys::Tenants(folder) => {
                let mut guards = BTreeMap::new();
                for (tenant, source) in tenants(folder, &self.chosen)? {
                    let known = match before {
                        Some(Guards::Tenants(known)) => known.get(&tenant),
                        _ => None,
                    };
                    let guarded = self.guarded(Some(&tenant), &source, store, known)?;
                    guards.insert(tenant, guarded);
                }
                Ok(Guards::Tenants(guards))
            }
        }
    }

    /// Whether keys may change while the proxy runs.
    pub(super) fn is_watched(&self) -> bool {
        !matches!(self.keys, RouteKeys::One(Source::Listed(_)))
    }

    fn guarded(
        &self,
        tenant: Option<&str>,
        source: &Source,
        store: &Arc<dyn NonceStore>,
        known: Option<&Guarded>,
    ) -> Result<Guarded, Refusal> {
        let loaded = source.read(&self.chosen)?;
        if let Some(known) = known {
            known.keys.replace(loaded);
            return Ok(known.clone());
        }
        // A request that one tenant's sender signed is another request for another.
        let namespace = match tenant {
            Some(tenant) => format!("{}/{tenant}", self.namespace),
            None => self.namespace.clone(),
        };
        let keys = Keys::new(loaded);
        let guard = self.guard(&namespace, &keys, store)?;
        Ok(Guarded { guard, keys })
    }

    fn guard(
        &self,
        namespace: &str,
        keys: &Arc<Keys>,
        store: &Arc<dyn NonceStore>,
    ) -> Result<Guard, ConfigError> {
        let mut builder = self
            .chosen
            .scheme
            .verifier()
            .keys(Arc::clone(keys))
            .namespace(namespace)
            .readiness_timeout(self.connect_timeout + LONGER)
            .store(Arc::clone(store));
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
            builder = builder
                .max_body_bytes(bytes)
                .body_budget_bytes(bytes.saturating_mul(4).max(64 * 1024 * 1024));
        }
        if let Some(deadline) = self.body_deadline {
            builder = builder.body_deadline(deadline);
        }
        if let Some(processing) = self.processing {
            builder = builder.processing(processing);
        }
        let mut layer = VerifyLayer::new(builder.build()?);
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

impl Guards {
    /// The layer for a tenant, or for everybody.
    pub(super) fn find(&self, tenant: Option<&str>) -> Option<&Guard> {
        match self {
            Self::One(guarded) => Some(&guarded.guard),
            Self::Tenants(guards) => guards.get(tenant?).map(|guarded| &guarded.guard),
        }
    }
}

/// The tenants of a directory, each with where its keys are.
fn tenants(folder: &Path, chosen: &Chosen) -> Result<Vec<(String, Source)>, Failure> {
    let names_key = chosen.names_key();
    let sources = entries(folder)?.into_iter().map(|(tenant, files)| {
        let source = match names_key {
            true => Source::Directory(folder.join(&tenant)),
            false => {
                let secrets = files.into_iter().map(|file| (None, Place::File(file)));
                Source::Listed(secrets.collect())
            }
        };
        (tenant, source)
    });
    Ok(sources.collect())
}
