//! The memory of the claims of one namespace, and its terms: the same for requests and for tokens.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    answers::AnswerStore,
    claim::Claim,
    nonce::Nonce,
    sharing::{Entered, Records, User},
    store::NonceStore,
    turns::Turns,
};
use crate::{
    clock::Timestamp,
    error::{ConfigError, StoreError},
    future::at_once,
    key::{KeyId, KeyStore},
    lock::lock,
};

/// The settings of a [`Memory`].
pub(crate) struct MemorySettings {
    /// `None` if claims are recorded in handlers' transactions, or if there are none.
    pub(crate) store: Option<Arc<dyn NonceStore>>,
    /// Whether requests may be alike, so that nothing is claimed.
    pub(crate) may_repeat: bool,
    pub(crate) namespace: String,
    pub(crate) clock_difference: Duration,
    pub(crate) timeout: Duration,
}

/// Remembers claims: a store that was checked, and entered among the users of its store for as long
/// as it lives.
pub(crate) struct Memory {
    store: Option<Arc<dyn NonceStore>>,
    namespace: Arc<str>,
    /// The longest time for which any claim is remembered, counted from the moment of the claim.
    retention: Duration,
    timeout: Duration,
    turns: Turns,
    users: Vec<Entered<User>>,
    /// The same, once for each store of answers to their requests.
    answering: Mutex<Vec<Entered<User>>>,
}

impl MemorySettings {
    pub(crate) fn new(namespace: String) -> Self {
        Self {
            store: None,
            may_repeat: false,
            namespace,
            clock_difference: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
        }
    }

    pub(crate) fn check_ranges(&self) -> Result<(), ConfigError> {
        const HOUR: Duration = Duration::from_secs(60 * 60);
        ConfigError::unless(
            self.clock_difference <= HOUR,
            "`clock_difference` must be at most 1 hour",
        )?;
        ConfigError::unless_timeout(self.timeout, "store_timeout")?;
        ConfigError::unless_namespace(&self.namespace)
    }

    /// For how much longer than it lives something is remembered: for a claim that is on its way,
    /// and for clocks that differ.
    pub(crate) fn margin(&self) -> Duration {
        self.clock_difference + self.timeout
    }

    /// Enters a user for the keys of each scheme, with the one key id of a scheme whose requests
    /// name none.
    ///
    /// # Errors
    /// Returns an error if another user means something else by the same names.
    pub(crate) fn remember(
        self,
        retention: Duration,
        keys: impl IntoIterator<Item = (Option<KeyId>, Arc<dyn KeyStore>)>,
    ) -> Result<Memory, ConfigError> {
        let namespace: Arc<str> = self.namespace.into();
        let records = match &self.store {
            _ if self.may_repeat => Records::Nowhere,
            Some(store) => Records::Nonces(Arc::clone(store)),
            None => Records::InTransactions,
        };
        let users = keys.into_iter().map(|(key_id, keys)| User {
            records: records.clone(),
            namespace: Arc::clone(&namespace),
            retention,
            key_id,
            keys,
        });
        Ok(Memory {
            users: User::enter(users.collect())?,
            answering: Mutex::default(),
            store: self.store,
            namespace,
            retention,
            timeout: self.timeout,
            turns: Turns::default(),
        })
    }
}

impl Memory {
    /// `None` if claims are recorded in handlers' transactions, or if there are none.
    pub(crate) fn store(&self) -> Option<&Arc<dyn NonceStore>> {
        self.store.as_ref()
    }

    pub(crate) fn namespace(&self) -> &Arc<str> {
        &self.namespace
    }

    /// Returns how long a store, a database or a key look-up may take to answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Enters the senders as those whose answers are in this store, in this namespace, unless they
    /// are in already.
    ///
    /// # Errors
    /// Returns an error if another user's answers are there, and it means something else by the same
    /// names.
    pub(crate) fn keep_answers_in(
        &self,
        store: &Arc<dyn AnswerStore>,
        namespace: &Arc<str>,
    ) -> Result<(), ConfigError> {
        // A layer that is built again has the same store in another `Arc`.
        let is_entered = |user: &Entered<User>| {
            let has_store = |known: &Arc<dyn AnswerStore>| {
                Arc::ptr_eq(known, store) || known.sharing().is_one_store(store.sharing())
            };
            user.namespace == *namespace
                && matches!(&user.records, Records::Answers(known) if has_store(known))
        };
        // Dropped without the lock.
        let _ended: Vec<_>;
        let mut answering = lock(&self.answering);
        if answering.iter().any(is_entered) {
            return Ok(());
        }
        _ended = answering.extract_if(.., |user| user.has_ended()).collect();
        let entering = self.users.iter().map(|user| User {
            records: Records::Answers(Arc::clone(store)),
            namespace: Arc::clone(namespace),
            retention: user.retention,
            key_id: user.key_id.clone(),
            keys: Arc::clone(&user.keys),
        });
        answering.extend(User::enter(entering.collect())?);
        Ok(())
    }

    /// Returns how many stores of answers it has entered its senders for.
    #[cfg(test)]
    pub(crate) fn answering(&self) -> usize {
        lock(&self.answering).len()
    }

    /// For claims that are recorded in handlers' transactions.
    pub(crate) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// A claim on these terms.
    #[inline]
    pub(crate) fn claim(&self, key_id: KeyId, nonce: Nonce, deadline: Timestamp) -> Claim {
        let namespace = Arc::clone(&self.namespace);
        Claim::new(namespace, key_id, nonce, deadline).with_retention(self.retention)
    }

    /// Returns until when any server can record a request with this signed time, if that is known.
    pub(crate) fn taken_until(&self, signed_at: Timestamp) -> Option<Timestamp> {
        let store = self.store.as_ref()?;
        // From one that panics, nothing is known.
        at_once(|| store.taken_until(&self.namespace, self.retention, signed_at)).ok()?
    }

    /// Up to which time the store refuses what was signed, if it refuses any.
    pub(crate) fn refuses_until(
        &self,
        max_skew: Duration,
    ) -> Result<Option<Timestamp>, StoreError> {
        match &self.store {
            Some(store) => at_once(|| store.refuses_until(max_skew)),
            None => Ok(None),
        }
    }

    /// Returns how many nonces are on record. A gauge decides nothing: from a store that panics,
    /// there is no figure.
    pub(crate) fn live(&self) -> Option<usize> {
        let store = self.store.as_ref()?;
        at_once(|| store.live()).ok()?
    }
}
