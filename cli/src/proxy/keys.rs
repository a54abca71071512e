//! The keys of a route: files, variables of the environment, and directories that are read again.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use countersign::{KeyRing, KeySet, KeyStore, Secret, error::ConfigErrorKind, key::KeyFuture};

use crate::{
    exit::Failure,
    scheme::Chosen,
    secret::{self, SecretText},
};

/// Entries of a directory that are read.
const MAX_ENTRIES: usize = 10_000;

/// The longest file with a secret, in bytes.
const MAX_FILE: u64 = 64 * 1024;

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
#[derive(Default)]
pub(super) struct Loaded {
    secrets: Vec<Secret>,
    /// By their ids, of a scheme whose requests name their key.
    named: Option<BTreeMap<String, Arc<KeySet>>>,
}

/// Keys that were read, and why others were not: those are left out.
pub(super) type Read = (Loaded, Vec<Failure>);

impl Place {
    pub(super) fn read(&self) -> Result<SecretText, Failure> {
        match self {
            Self::File(file) => {
                // A named pipe would wait for its other end, and no key be read again.
                let is_small = |of: fs::Metadata| of.is_file() && of.len() <= MAX_FILE;
                match fs::metadata(file).is_ok_and(|of| !is_small(of)) {
                    false => secret::from_file(file),
                    true => Err(Failure::unable(
                        format!("cannot read the secret file `{}`", file.display()),
                        "it is not a regular file, or longer than a secret",
                        "name a file that holds the secret alone",
                    )),
                }
            }
            Self::Env(name) => secret::from_env(name),
        }
    }
}

impl Source {
    /// Reads the keys, for requests of this scheme.
    ///
    /// # Errors
    /// Returns a failure if one cannot be read, if two key ids have one secret, or if the file lists
    /// none. A directory may be empty.
    pub(super) fn read(&self, chosen: &Chosen) -> Result<Loaded, Failure> {
        let (loaded, refused) = self.read_again(chosen)?;
        if let Some(failure) = refused.into_iter().next() {
            return Err(failure);
        }
        match (self, loaded.secrets.is_empty()) {
            (Self::Listed(_), true) => Err(Failure::usage(
                "the route has no key",
                "no request could be verified",
                "add a secret; `countersign keygen` makes one",
            )),
            _ => Ok(loaded),
        }
    }

    /// Reads the keys, and leaves out each that is refused: the others go on, and those that were
    /// removed are gone.
    ///
    /// # Errors
    /// Returns a failure if the directory cannot be read.
    pub(super) fn read_again(&self, chosen: &Chosen) -> Result<Read, Failure> {
        let places = match self {
            Self::Listed(listed) => listed.iter().map(|key| Ok(key.clone())).collect(),
            Self::Directory(folder) => {
                let mut places = Vec::new();
                for (id, files) in entries(folder)? {
                    match files {
                        Ok(files) => places.extend(
                            files
                                .into_iter()
                                .map(|file| Ok((Some(id.clone()), Place::File(file)))),
                        ),
                        Err(failure) => places.push(Err(failure)),
                    }
                }
                places
            }
        };
        let mut refused = Vec::new();
        let mut secrets = Vec::new();
        for place in places {
            let read = place.and_then(|(id, place)| Ok((id, chosen.secret_from(&place.read()?)?)));
            match read {
                Ok(read) => secrets.push(read),
                Err(failure) => refused.push(failure),
            }
        }
        Ok(match chosen.names_key() {
            true => Loaded::named(secrets, refused),
            false => {
                let secrets = secrets.into_iter().map(|(_, secret)| secret).collect();
                let named = None;
                (Loaded { secrets, named }, refused)
            }
        })
    }
}

/// An entry of a directory, with the files that hold its secrets.
pub(super) type Entry = (String, Result<Vec<PathBuf>, Failure>);

/// The entries of a directory by their names. Names that begin with a dot are left out: editors and
/// mounted volumes use them for files of their own.
///
/// # Errors
/// Returns a failure if the directory cannot be read. An entry that cannot be read has its own.
pub(super) fn entries(folder: &Path) -> Result<Vec<Entry>, Failure> {
    let unable = |path: &Path, error: io::Error| {
        Failure::unable(
            format!("cannot read `{}`", path.display()),
            error.to_string(),
            "check the path, and that you may read it",
        )
    };
    let entries = listed(folder).map_err(|error| unable(folder, error))?;
    let entries = entries.into_iter().map(|(name, path)| {
        let files = match fs::metadata(&path) {
            Ok(of) if of.is_dir() => listed(&path)
                .map(|inner| inner.into_iter().map(|(_, path)| path).collect())
                .map_err(|error| unable(&path, error)),
            Ok(_) => Ok(vec![path]),
            Err(error) => Err(unable(&path, error)),
        };
        (name, files)
    });
    Ok(entries.collect())
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
    fn named(secrets: Vec<(Option<String>, Secret)>, mut refused: Vec<Failure>) -> Read {
        let mut sets: BTreeMap<String, KeySet> = BTreeMap::new();
        let cannot = |error: countersign::ConfigError| {
            Failure::usage(
                "the keys of the route cannot be used together",
                error.to_string(),
                "give each key a secret of its own",
            )
        };
        let mut kept = Vec::with_capacity(secrets.len());
        for (id, secret) in secrets {
            let Some(id) = id else {
                refused.push(Failure::usage(
                    "a key has no id",
                    "requests of this scheme name the key that they are signed under",
                    "add `id`, with the id that the sender knows the secret by",
                ));
                continue;
            };
            let set = sets.remove(&id).map_or_else(|| KeySet::new(&id), Ok);
            match set {
                Ok(set) => {
                    kept.push(secret.clone());
                    sets.insert(id, set.with(secret));
                }
                Err(error) => refused.push(cannot(error)),
            }
        }
        // A ring refuses one secret under two ids.
        let ring = KeyRing::new();
        sets.retain(|_, set| match ring.insert(set.clone()) {
            Ok(()) => true,
            Err(error) => {
                refused.push(cannot(error));
                false
            }
        });
        let sets = sets.into_iter().map(|(id, set)| (id, Arc::new(set)));
        let loaded = Self {
            secrets: kept,
            named: Some(sets.collect()),
        };
        (loaded, refused)
    }
}

/// Finds secrets that two owners have: routes, or tenants of a route. If a scheme signs no path, a
/// delivery to the one would be another delivery to the other.
#[derive(Default)]
pub(super) struct Owners {
    ring: KeyRing,
    names: Vec<String>,
    /// All of them, also those whose scheme signs the path.
    known: Vec<(String, Vec<Secret>)>,
}

impl Owners {
    /// Adds an owner.
    ///
    /// # Errors
    /// Returns a failure if an owner before has one of the secrets.
    pub(super) fn add(&mut self, name: &str, loaded: &Loaded) -> Result<(), Failure> {
        let shared = |other: &str| {
            Failure::usage(
                format!("`{name}` has a secret that `{other}` has too"),
                "the scheme signs no path, so that a request for the one passes for the other",
                "give each a secret of its own",
            )
        };
        // The ring names the first owner by its number.
        let number = self.names.len().to_string();
        let set =
            KeySet::new(&number).map(|set| loaded.secrets.iter().cloned().fold(set, KeySet::with));
        let added = set.and_then(|set| self.ring.insert(set));
        added.map_err(|error| {
            let other = match error.kind() {
                ConfigErrorKind::SharedSecret(other, _) => other.parse::<usize>().ok(),
                _ => None,
            };
            let other = other.and_then(|at| self.names.get(at));
            shared(other.map_or("another", String::as_str))
        })?;
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Finds who accepts what is signed with a secret.
    pub(super) fn owner_of(&self, secret: &Secret) -> Option<&str> {
        let is_shared = |secrets: &[Secret]| {
            let set = |id: &str, secrets: &[Secret]| {
                KeySet::new(id).map(|set| secrets.iter().cloned().fold(set, KeySet::with))
            };
            let ring = KeyRing::new();
            let own = set("own", std::slice::from_ref(secret)).and_then(|set| ring.insert(set));
            let others = set("others", secrets).and_then(|set| ring.insert(set));
            own.is_err() || others.is_err()
        };
        let mut known = self.known.iter();
        let found = known.find(|(_, secrets)| !secrets.is_empty() && is_shared(secrets));
        found.map(|(name, _)| name.as_str())
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

    /// Notes who accepts these keys.
    pub(super) fn known_by(&self, name: &str, owners: &mut Owners) {
        let known = (name.to_owned(), self.loaded().secrets.clone());
        owners.known.push(known);
    }

    /// Adds the owner of these keys.
    pub(super) fn owned_by(&self, name: &str, owners: &mut Owners) -> Result<(), Failure> {
        owners.add(name, &self.loaded())
    }
}

impl KeyStore for Keys {
    fn find<'a>(&'a self, key_id: &'a str) -> KeyFuture<'a> {
        let loaded = self.loaded();
        KeyFuture::ready(Ok(match &loaded.named {
            Some(sets) => sets.get(key_id).cloned(),
            // A name that is not a valid key id has no key.
            None => KeySet::new(key_id)
                .ok()
                .map(|set| Arc::new(loaded.secrets.iter().cloned().fold(set, KeySet::with))),
        }))
    }
}

/// Without the secrets.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(redacted)")
    }
}
