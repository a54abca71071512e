//! Knows the layers of this process that share a store, or may share a database, and whether they
//! can.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use super::{answers::AnswerStore, store::NonceStore};
use crate::{
    error::{ConfigError, ConfigErrorKind},
    key::{KeyId, KeyStore},
    lock::lock,
};

/// One layer, or one kind of tokens, that tells senders apart under a namespace.
pub(crate) struct User {
    pub(crate) records: Records,
    pub(crate) namespace: Arc<str>,
    pub(crate) retention: Duration,
    /// The one key id of a scheme whose requests name none.
    pub(crate) key_id: Option<KeyId>,
    pub(crate) keys: Arc<dyn KeyStore>,
}

/// The place where a user keeps records of its senders' requests.
#[derive(Clone)]
pub(crate) enum Records {
    Nonces(Arc<dyn NonceStore>),
    /// In transactions of handlers, in whichever database.
    InTransactions,
    /// The answers to the intentions of its senders.
    Answers(Arc<dyn AnswerStore>),
    /// Its requests may be alike, and it claims none.
    Nowhere,
}

/// Keys that no sender has.
pub(crate) struct Private(Arc<dyn KeyStore>);

/// The users of this process. Each leaves when it is dropped.
static USERS: Mutex<Vec<Weak<User>>> = Mutex::new(Vec::new());
static PRIVATE: Mutex<Vec<Weak<Private>>> = Mutex::new(Vec::new());

impl Private {
    /// Enters keys, unless a user has a secret of them.
    pub(crate) fn enter(keys: Arc<dyn KeyStore>) -> Result<Arc<Self>, ConfigError> {
        let entered = Arc::new(Self(keys));
        lock(&PRIVATE).push(Arc::downgrade(&entered));
        let users = lock(&USERS);
        let mut users = users.iter().filter_map(Weak::upgrade);
        users.try_for_each(|user| entered.check(&user))?;
        Ok(entered)
    }

    fn check(&self, user: &User) -> Result<(), ConfigError> {
        let is_shared = self
            .0
            .known_keys()
            .may_share_a_secret(&user.keys.known_keys());
        match is_shared {
            true => Err(ConfigErrorKind::SecretOfSenders(user.namespace.to_string()).into()),
            false => Ok(()),
        }
    }
}

impl User {
    /// Enters all users of one layer, unless another user of the namespace means something else by
    /// the same names.
    ///
    /// Nothing of this is recorded in a store: names are what somebody chose. Servers in the midst
    /// of a rotation have different secrets, and still must agree which request is which.
    pub(crate) fn enter(entering: Vec<Self>) -> Result<Vec<Arc<Self>>, ConfigError> {
        let mut users = lock(&USERS);
        users.retain(|user| user.strong_count() > 0);
        for other in users.iter().filter_map(Weak::upgrade) {
            entering.iter().try_for_each(|user| user.check(&other))?;
        }
        let mut private = lock(&PRIVATE);
        private.retain(|private| private.strong_count() > 0);
        for private in private.iter().filter_map(Weak::upgrade) {
            entering.iter().try_for_each(|user| private.check(user))?;
        }
        drop(private);
        let entered: Vec<_> = entering.into_iter().map(Arc::new).collect();
        users.extend(entered.iter().map(Arc::downgrade));
        Ok(entered)
    }

    /// The store, if it is one of answers.
    pub(crate) fn answers(&self) -> Option<&Arc<dyn AnswerStore>> {
        match &self.records {
            Records::Answers(store) => Some(store),
            _ => None,
        }
    }

    /// Returns how many users of this process have this very `Arc` of a store of answers.
    pub(crate) fn keeping_answers_in(store: &Arc<dyn AnswerStore>) -> usize {
        let users = lock(&USERS);
        let users = users.iter().filter_map(Weak::upgrade);
        let is_there = |user: &Arc<Self>| user.answers().is_some_and(|own| Arc::ptr_eq(own, store));
        users.filter(is_there).count()
    }

    fn check(&self, other: &Self) -> Result<(), ConfigError> {
        if self.namespace != other.namespace || !self.may_share_a_store_with(other) {
            return Ok(());
        }
        let namespace = self.namespace.to_string();
        // In transactions, a database that remembers for too short a time refuses for itself, and
        // each answer has a retention of its own.
        let of_nonces = |user: &Self| matches!(user.records, Records::Nonces(_));
        if of_nonces(self) && of_nonces(other) && self.retention != other.retention {
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

    /// In which database handlers record is known only when they do. So it counts as any database
    /// that others can open: names are easily given.
    fn may_share_a_store_with(&self, other: &Self) -> bool {
        use Records::{Answers, InTransactions, Nonces, Nowhere};
        match (&self.records, &other.records) {
            (Nonces(one), Nonces(other)) => one.sharing().is_one_store(other.sharing()),
            (Answers(one), Answers(other)) => one.sharing().is_one_store(other.sharing()),
            (Nonces(store), InTransactions) | (InTransactions, Nonces(store)) => {
                store.sharing().is_of_database()
            }
            (InTransactions, InTransactions) => true,
            (Nowhere, _) | (_, Nowhere) | (Answers(_), _) | (_, Answers(_)) => false,
        }
    }
}
