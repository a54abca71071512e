//! The keys of a route: files, variables of the environment, and directories that are read again.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use countersign::{KeyRing, KeySet, KeyStore, Secret, key::KeyFuture};

use crate::{
    exit::Failure,
    scheme::Chosen,
    secret::{self, SecretText},
};

/// Entries of a directory that are read.
const MAX_ENTRIES: usize = 10_000;

/// Where the keys of a route come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Each with the key id that it is known by, if requests of the scheme name their key.
    Listed(Vec<(Option<String>, Place)>),
    /// A file for each key: its name is the key id. A folder holds several secrets of one key.
    Directory(PathBuf),
}

/// Where one secret comes from.
#[derive(Clone, Debug)]
pub(super) enum Place {
    File(PathBuf),
    Env(String),
}

/// Keys that can be replaced while requests are served.
pub(super) struct Keys(RwLock<Arc<Loaded>>);

/// Keys as they were read.
pub(super) enum Loaded {
    Named(BTreeMap<String, Arc<KeySet>>),
    /// Of a scheme whose requests name no key.
    Any(Vec<Secret>),
}

impl Place {
    fn read(&self) -> Result<SecretText, Failure> {
        match self {
            Self::File(file) => secret::from_file(file),
            Self::Env(name) => secret::from_env(name),
        }
    }
}

impl Source {
    /// Reads the keys, for requests of this scheme.
    ///
    /// # Errors
    /// Returns a failure if one cannot be read, or if two key ids have one secret.
    pub(super) fn read(&self, chosen: &Chosen) -> Result<Loaded, Failure> {
        let mut secrets: Vec<(Option<String>, Secret)> = Vec::new();
        match self {
            Self::Listed(listed) => {
                for (id, place) in listed {
                    secrets.push((id.clone(), chosen.secret_from(&place.read()?)?));
                }
            }
            Self::Directory(folder) => {
                for (id, files) in entries(folder)? {
                    for file in files {
                        let secret = chosen.secret_from(&secret::from_file(&file)?)?;
                        secrets.push((Some(id.clone()), secret));
                    }
                }
            }
        }
        let loaded = match chosen.names_key() {
            true => Loaded::named(secrets)?,
            false => Loaded::Any(secrets.into_iter().map(|(_, secret)| secret).collect()),
        };
        match loaded.is_empty() {
            false => Ok(loaded),
            true => Err(Failure::usage(
                "the route has no key",
                "no request could be verified",
                "add a secret; `countersign keygen` makes one",
            )),
        }
    }
}

/// The entries of a directory by their names, each with the files that hold its secrets. Names that
/// begin with a dot are left out: editors and mounted volumes use them for files of their own.
pub(super) fn entries(folder: &Path) -> Result<Vec<(String, Vec<PathBuf>)>, Failure> {
    let unable = |error: io::Error| {
        Failure::unable(
            format!("cannot read the directory `{}`", folder.display()),
            error.to_string(),
            "check the path, and that you may read the directory",
        )
    };
    let mut found = Vec::new();
    for (name, path) in listed(folder).map_err(unable)? {
        let is_folder = fs::metadata(&path).map_err(unable)?.is_dir();
        let files = match is_folder {
            false => vec![path],
            true => {
                let inner = listed(&path).map_err(unable)?;
                inner.into_iter().map(|(_, path)| path).collect()
            }
        };
        found.push((name, files));
    }
    Ok(found)
}

fn listed(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)?.take(MAX_ENTRIES + 1) {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| io::Error::other("a name in it is not UTF-8"))?;
        if !name.starts_with('.') {
            found.push((name.to_owned(), path));
        }
    }
    if found.len() > MAX_ENTRIES {
        return Err(io::Error::other(format!(
            "it has more than {MAX_ENTRIES} entries"
        )));
    }
    found.sort();
    Ok(found)
}

impl Loaded {
    fn named(secrets: Vec<(Option<String>, Secret)>) -> Result<Self, Failure> {
        let mut sets: BTreeMap<String, KeySet> = BTreeMap::new();
        let refused = |error: countersign::ConfigError| {
            Failure::usage(
                "the keys of the route cannot be used together",
                error.to_string(),
                "give each key a secret of its own",
            )
        };
        for (id, secret) in secrets {
            let Some(id) = id else {
                return Err(Failure::usage(
                    "a key has no id",
                    "requests of this scheme name the key that they are signed under",
                    "add `id`, with the id that the sender knows the secret by",
                ));
            };
            let set = match sets.remove(&id) {
                Some(set) => set,
                None => KeySet::new(&id).map_err(refused)?,
            };
            sets.insert(id, set.with(secret));
        }
        // A ring refuses one secret under two ids.
        let ring = KeyRing::new();
        for set in sets.values() {
            ring.insert(set.clone()).map_err(refused)?;
        }
        let sets = sets.into_iter().map(|(id, set)| (id, Arc::new(set)));
        Ok(Self::Named(sets.collect()))
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Named(sets) => sets.is_empty(),
            Self::Any(secrets) => secrets.is_empty(),
        }
    }
}

impl Keys {
    pub(super) fn new(loaded: Loaded) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(loaded))))
    }

    /// Replaces all keys. Requests whose key has been looked up go on with the secrets that were
    /// found.
    pub(super) fn replace(&self, loaded: Loaded) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
    }

    fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl KeyStore for Keys {
    fn find<'a>(&'a self, key_id: &'a str) -> KeyFuture<'a> {
        KeyFuture::ready(Ok(match &*self.loaded() {
            Loaded::Named(sets) => sets.get(key_id).cloned(),
            // A name that is not a valid key id has no key.
            Loaded::Any(secrets) => KeySet::new(key_id)
                .ok()
                .map(|set| Arc::new(secrets.iter().cloned().fold(set, KeySet::with))),
        }))
    }
}

/// Without the secrets.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(redacted)")
    }
}
