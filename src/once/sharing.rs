//! Which layers of this process share a store, and whether they can.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use super::{lock::lock, store::NonceStore};
use crate::{
    error::{ConfigError, ConfigErrorKind},
    key::{KeyId, KeyStore},
};

/// One layer, or one kind of tokens, that claims in a store under a namespace.
pub(crate) struct User {
    pub(crate) store: Arc<dyn NonceStore>,
    pub(crate) namespace: Arc<str>,
    pub(crate) retention: Duration,
    /// The one key id of a scheme whose requests name none.
    pub(crate) key_id: Option<KeyId>,
    pub(crate) keys: Arc<dyn KeyStore>,
}

/// Those of this process. Each leaves when it is dropped.
static USERS: Mutex<Vec<Weak<User>>> = Mutex::new(Vec::new());

impl User {
    /// Enters, unless another user of the namespace means something else by the same names.
    ///
    /// Nothing of this is recorded in a store: names are what somebody chose. Servers in the midst
    /// of a rotation have different secrets, and still have to agree which request is which.
    pub(crate) fn enter(self) -> Result<Arc<Self>, ConfigError> {
        let mut users = lock(&USERS);
        users.retain(|user| user.strong_count() > 0);
        for other in users.iter().filter_map(Weak::upgrade) {
            self.check(&other)?;
        }
        let user = Arc::new(self);
        users.push(Arc::downgrade(&user));
        Ok(user)
    }

    fn check(&self, other: &Self) -> Result<(), ConfigError> {
        let store = |user: &Self| user.store.sharing().place();
        if store(self) != store(other) || self.namespace != other.namespace {
            return Ok(());
        }
        let namespace = self.namespace.to_string();
        if self.retention != other.retention {
            let retentions = (other.retention, self.retention);
            let kind = ConfigErrorKind::OtherRetention(namespace, retentions.0, retentions.1);
            return Err(kind.into());
        }
        let key_id = match (&self.key_id, &other.key_id) {
            (Some(one), Some(other)) if one != other => return Ok(()),
            (Some(id), _) | (None, Some(id)) => Some(id),
            (None, None) => None,
        };
        let (keys, others) = (self.keys.known_keys(), other.keys.known_keys());
        match keys.differ(&others, key_id) {
            Some(id) => Err(ConfigErrorKind::OtherSecrets(namespace, id).into()),
            None => Ok(()),
        }
    }
}
