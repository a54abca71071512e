//! Knows the layers of this process that share a store, or may share a database, and whether they
//! can.

use std::{
    cell::Cell,
    ops::Deref,
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

/// Who has entered, until this is dropped. Others who look at it meanwhile do not keep it there.
pub(crate) struct Entered<T> {
    presence: Arc<()>,
    entered: Arc<T>,
}

/// A line in the list of those who have entered.
struct Line<T> {
    presence: Weak<()>,
    entered: Weak<T>,
}

/// The users of this process.
static USERS: Mutex<Vec<Line<User>>> = Mutex::new(Vec::new());
static PRIVATE: Mutex<Vec<Line<Private>>> = Mutex::new(Vec::new());

thread_local! {
    static IS_ASKING: Cell<bool> = const { Cell::new(false) };
}

/// This thread asks keys and stores which they are, until this is dropped. One of them that entered
/// a user meanwhile would wait for the lock that its own thread holds.
struct Asking;

impl Asking {
    fn begin() -> Result<Self, ConfigError> {
        match IS_ASKING.replace(true) {
            true => Err(ConfigErrorKind::BuiltWhileAsked.into()),
            false => Ok(Self),
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        IS_ASKING.set(false);
    }
}

impl<T> Entered<T> {
    fn new(entered: T) -> Self {
        let (presence, entered) = (Arc::default(), Arc::new(entered));
        Self { presence, entered }
    }

    fn line(&self) -> Line<T> {
        Line {
            presence: Arc::downgrade(&self.presence),
            entered: Arc::downgrade(&self.entered),
        }
    }
}

impl<T> Deref for Entered<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.entered
    }
}

/// Those who have not left. They must be dropped without the lock, as those of [`held`].
fn living<T>(lines: &mut Vec<Line<T>>) -> Vec<Arc<T>> {
    lines.retain(|line| line.entered.strong_count() > 0);
    let living = lines.iter().filter(|line| line.presence.strong_count() > 0);
    living.filter_map(|line| line.entered.upgrade()).collect()
}

/// Those who have not left, and those whom somebody still looks at. They must be dropped without the
/// lock: any of these handles may be the last, and its stores and keys may enter or ask while they
/// are dropped.
fn held<T>(lines: &[Line<T>]) -> Vec<Arc<T>> {
    let held = lines.iter().filter_map(|line| line.entered.upgrade());
    held.collect()
}

impl Private {
    /// Enters keys, unless a user has a secret of them.
    pub(crate) fn enter(keys: Arc<dyn KeyStore>) -> Result<Entered<Self>, ConfigError> {
        let (users, entered);
        let _asking = Asking::begin()?;
        entered = Entered::new(Self(keys));
        lock(&PRIVATE).push(entered.line());
        users = living(&mut lock(&USERS));
        users.iter().try_for_each(|user| entered.check(user))?;
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
    pub(crate) fn enter(mut entering: Vec<Self>) -> Result<Vec<Entered<Self>>, ConfigError> {
        let (others, private);
        let _asking = Asking::begin()?;
        let mut users = lock(&USERS);
        others = living(&mut users);
        private = living(&mut lock(&PRIVATE));
        for user in &mut entering {
            others.iter().try_for_each(|other| user.check(other))?;
            private.iter().try_for_each(|private| private.check(user))?;
            user.share_answers_with(&others);
        }
        let entered: Vec<_> = entering.into_iter().map(Entered::new).collect();
        users.extend(entered.iter().map(Entered::line));
        Ok(entered)
    }

    /// Takes the `Arc` of another user of the namespace whose answers are in the same store of this
    /// process. Layers over one store each have an `Arc` of their own, and their users would keep it
    /// for each other.
    fn share_answers_with(&mut self, others: &[Arc<Self>]) {
        let Records::Answers(store) = &mut self.records else {
            return;
        };
        let of_namespace = |other: &&Arc<Self>| other.namespace == self.namespace;
        let mut known = others
            .iter()
            .filter(of_namespace)
            .filter_map(|other| other.answers());
        let same = known.find(|known| {
            let own = (**store).sharing();
            // A database is there without us, and its pool closes with the layer that has it.
            own.is_shared() && !own.is_of_database() && known.sharing().is_one_store(own)
        });
        if let Some(same) = same {
            *store = Arc::clone(same);
        }
    }

    fn answers(&self) -> Option<&Arc<dyn AnswerStore>> {
        match &self.records {
            Records::Answers(store) => Some(store),
            _ => None,
        }
    }

    /// Returns whether nobody but users has its store of answers, so that these are gone: each user
    /// would keep the store for the others.
    pub(crate) fn has_ended(&self) -> bool {
        let Some(store) = self.answers() else {
            return false;
        };
        let others;
        let Ok(_asking) = Asking::begin() else {
            return false;
        };
        // The lock is held while handles are counted. A layer gets its handle before it enters.
        let users = lock(&USERS);
        others = held(&users);
        let has_store =
            |user: &&Arc<Self>| user.answers().is_some_and(|own| Arc::ptr_eq(own, store));
        let of_users = others.iter().filter(has_store).count();
        Arc::strong_count(store) <= of_users && !(**store).sharing().is_shared()
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

#[cfg(test)]
mod tests {
    use std::{mem, sync::mpsc, thread};

    use super::*;
    use crate::key::{KeyFuture, KeyRing, KnownKeys};

    /// Keys of a user that ends while it is asked which they are. Entering is what takes the lock.
    #[derive(Default)]
    struct Ending(Mutex<Option<Entered<User>>>);

    impl KeyStore for Ending {
        fn find<'a>(&'a self, _: &'a str) -> KeyFuture<'a> {
            KeyFuture::ready(Ok(None))
        }

        fn known_keys(&self) -> KnownKeys {
            drop(lock(&self.0).take());
            KnownKeys::looked_up_by(self)
        }
    }

    impl Drop for Ending {
        fn drop(&mut self) {
            User::enter(Vec::new()).unwrap();
        }
    }

    fn user(keys: &Arc<Ending>) -> User {
        User {
            records: Records::InTransactions,
            namespace: "of users that end".into(),
            retention: Duration::ZERO,
            key_id: None,
            keys: Arc::clone(keys) as _,
        }
    }

    /// A caller that asks a user has the last handle of it then.
    fn enter_what_ends() {
        let keys = Arc::new(Ending::default());
        let entered = User::enter(vec![user(&keys)]).unwrap();
        *lock(&keys.0) = entered.into_iter().next();
    }

    #[test]
    fn whoever_has_left_is_listed_no_more() {
        let (left, looked_at, stays) = (Entered::new(0), Entered::new(1), Entered::new(2));
        let mut lines = vec![left.line(), looked_at.line(), stays.line()];
        let looking = Arc::clone(&looked_at.entered);
        drop((left, looked_at));
        assert_eq!(living(&mut lines), [Arc::clone(&stays.entered)]);
        assert_eq!(
            held(&lines),
            [Arc::clone(&looking), Arc::clone(&stays.entered)]
        );
        drop(looking);
        living(&mut lines);
        assert_eq!(lines.len(), 1);
    }

    /// Keys that build a layer when they are asked which they are, and how that ended.
    #[derive(Default)]
    struct Building(Mutex<Vec<Option<ConfigErrorKind>>>);

    impl KeyStore for Building {
        fn find<'a>(&'a self, _: &'a str) -> KeyFuture<'a> {
            KeyFuture::ready(Ok(None))
        }

        fn known_keys(&self) -> KnownKeys {
            let built = User::enter(Vec::new()).map(drop);
            let private = Private::enter(Arc::new(KeyRing::new())).map(drop);
            let kinds = [built, private].map(|built| built.err().map(|error| error.kind().clone()));
            lock(&self.0).extend(kinds);
            KnownKeys::looked_up_by(self)
        }
    }

    #[test]
    fn keys_that_build_a_layer_when_they_are_asked_are_refused_and_hold_up_nobody() {
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            let keys = Arc::new(Building::default());
            let user = || User {
                records: Records::InTransactions,
                namespace: "of keys that build".into(),
                retention: Duration::ZERO,
                key_id: None,
                keys: Arc::clone(&keys) as _,
            };
            let first = User::enter(vec![user()]).unwrap();
            assert!(Private::enter(Arc::clone(&keys) as _).is_err());
            assert!(User::enter(vec![user()]).is_ok());
            drop(first);
            let built = mem::take(&mut *lock(&keys.0));
            let is_refused = |built: &_| *built == Some(ConfigErrorKind::BuiltWhileAsked);
            assert!(
                !built.is_empty() && built.iter().all(is_refused),
                "{built:?}"
            );
            // The twin: no layer asks.
            keys.known_keys();
            assert_eq!(*lock(&keys.0), [None, None]);
            done.send(()).unwrap();
        });
        is_done.recv_timeout(Duration::from_secs(60)).unwrap();
    }

    #[test]
    fn a_user_that_ends_while_it_is_asked_holds_up_nobody() {
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            enter_what_ends();
            let keys = Arc::new(Ending::default());
            let _ = User::enter(vec![user(&keys)]);
            enter_what_ends();
            Private::enter(keys).map(drop).unwrap();
            done.send(()).unwrap();
        });
        is_done.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}
