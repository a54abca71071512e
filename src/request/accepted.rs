//! The schemes that a layer accepts, each with its keys.

use std::{fmt, iter, sync::Arc};

use crate::{
    error::{ConfigError, ConfigErrorKind},
    key::{KeyRing, KeySet, KeyStore, Secret},
    scheme::{Describe, Scheme},
};

/// A `T` for each scheme of a layer, in their order: one at least.
#[derive(Debug)]
pub(super) struct Accepting<T> {
    pub(super) first: T,
    pub(super) others: Vec<T>,
}

impl<T> Accepting<T> {
    pub(super) fn one(first: T) -> Self {
        Self {
            first,
            others: Vec::new(),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        iter::once(&self.first).chain(&self.others)
    }

    pub(super) fn last(&mut self) -> &mut T {
        self.others.last_mut().unwrap_or(&mut self.first)
    }

    pub(super) fn try_map<U>(
        self,
        mut map: impl FnMut(T) -> Result<U, ConfigError>,
    ) -> Result<Accepting<U>, ConfigError> {
        Ok(Accepting {
            first: map(self.first)?,
            others: self.others.into_iter().map(map).collect::<Result<_, _>>()?,
        })
    }
}

/// A scheme that is accepted, and what is known of its keys.
pub(super) struct Accepted {
    pub(super) scheme: Box<dyn Describe>,
    pub(super) keys: Option<Arc<dyn KeyStore>>,
    pub(super) secrets: Vec<Result<Secret, ConfigError>>,
}

impl Accepted {
    pub(super) fn new(scheme: impl Scheme) -> Self {
        Self {
            scheme: Box::new(scheme.format()),
            keys: None,
            secrets: Vec::new(),
        }
    }

    /// The scheme, and where its keys are looked up.
    pub(super) fn with_keys(self) -> Result<Keyed, ConfigError> {
        let missing = |what| Err(ConfigErrorKind::Missing(what).into());
        let keys = match (self.keys, self.secrets) {
            (Some(keys), secrets) if secrets.is_empty() => keys,
            (None, secrets) if !secrets.is_empty() => {
                Arc::new(fixed_key(&*self.scheme, secrets)?) as Arc<dyn KeyStore>
            }
            (Some(_), _) => return missing("give either `keys` or `secret`, but not both"),
            (None, _) if self.scheme.fixed_key_id().is_some() => {
                return missing("no secret is given; call `secret`");
            }
            (None, _) => return missing("no keys are given; call `keys`"),
        };
        let (known, fixed) = (keys.known_keys(), self.scheme.fixed_key_id());
        fixed.map_or(Ok(()), |id| known.check_has(id))?;
        known.check_algorithm(self.scheme.profile().algorithm, fixed)?;
        Ok(Keyed {
            scheme: self.scheme,
            keys,
        })
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.scheme.fmt(f)
    }
}

/// A scheme, and where its keys are looked up.
pub(super) struct Keyed {
    pub(super) scheme: Box<dyn Describe>,
    pub(super) keys: Arc<dyn KeyStore>,
}

/// The one key of a scheme whose requests name none.
fn fixed_key(
    scheme: &dyn Describe,
    secrets: Vec<Result<Secret, ConfigError>>,
) -> Result<KeyRing, ConfigError> {
    let id = scheme.fixed_key_id().ok_or(ConfigErrorKind::Missing(
        "requests of this scheme name their key; call `keys` with a key id for each secret",
    ))?;
    let mut set = KeySet::new(id)?;
    for secret in secrets {
        set = set.with(secret?);
    }
    KeyRing::new().with_set(set)
}

/// More are not needed for a change from one to another.
const MAX_SCHEMES: usize = 4;

/// Returns whether one layer can accept these schemes. One by itself can always be.
pub(super) fn check(
    accepted: &Accepting<Keyed>,
    processing_is_open: bool,
) -> Result<(), ConfigError> {
    if accepted.others.is_empty() {
        return Ok(());
    }
    let refuse = |what: String| Err(ConfigErrorKind::SeveralSchemes(what).into());
    if accepted.all().count() > MAX_SCHEMES {
        return refuse(format!("more than {MAX_SCHEMES} schemes"));
    }
    for (at, Keyed { scheme, keys }) in accepted.all().enumerate() {
        let name = scheme.name();
        let headers = scheme.signature_headers();
        if headers.is_empty() {
            return refuse(format!(
                "the signature of `{name}` is in the body, so that no header tells whether a \
                 request is signed under it; give it a route of its own"
            ));
        }
        if scheme.awaits_supply() {
            return refuse(format!(
                "`{name}` signs a value that is not sent, so that its MAC is compared in the \
                 handler's transaction; give it a route of its own"
            ));
        }
        if scheme.profile().may_repeat {
            return refuse(format!(
                "requests of `{name}` may be alike, and none is claimed; give it a route of its own"
            ));
        }
        for earlier in accepted.all().take(at) {
            let Keyed {
                scheme: earlier,
                keys: earlier_keys,
            } = earlier;
            let other = earlier.name();
            if earlier
                .signature_headers()
                .iter()
                .any(|header| headers.contains(header))
            {
                return refuse(format!(
                    "`{other}` and `{name}` have their signatures in one header, so that nothing \
                     tells them apart; give each a route of its own"
                ));
            }
            if earlier_keys
                .known_keys()
                .may_share_a_secret(&keys.known_keys())
            {
                return refuse(format!(
                    "`{other}` and `{name}` have a secret in common, or one key store for both, so \
                     that a message signed under one scheme could be read under the other; give \
                     each scheme its own secrets"
                ));
            }
            if processing_is_open
                && earlier.profile().sender_retries != scheme.profile().sender_retries
            {
                return refuse(format!(
                    "senders of `{other}` and of `{name}` do not retry alike, so that no processing \
                     is the default of both; call `processing`"
                ));
            }
        }
    }
    Ok(())
}
