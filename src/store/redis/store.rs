//! The Redis store, and how it is opened.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    error::{late, unexpected},
    link::Terms,
    remembered,
    servers::{Servers, info},
    shared::{Counts, Shared, keep_up},
    step,
    time::millis,
};
use crate::{
    error::{ConfigError, OpenError, StoreError},
    once::Claim,
    store::{
        batched::{
            Action, Answer, Quota, RECORDS_OF_A_KEY, Retentions, Steps, check_quota, put_together,
        },
        status::{Recorded, StoreStatus},
    },
};

/// Remembers nonces in Redis 7 or Valkey, shared by all servers of a service: one server, the
/// master that a Sentinel names, or a cluster.
///
#[doc = include_str!("operations.md")]
///
/// ```no_run
/// use countersign::store::RedisStore;
///
/// # async fn example() -> Result<(), countersign::error::OpenError> {
/// let store = RedisStore::open("rediss://user:password@redis.example.com:6379").await?;
/// # Ok(())
/// # }
/// ```
pub struct RedisStore {
    /// A random name that the first process recorded.
    identity: String,
    shared: Arc<Shared>,
}

/// Configures a [`RedisStore`].
#[derive(Clone, Debug)]
pub struct RedisStoreBuilder {
    timeout: Duration,
    clock_difference: Duration,
    replicas: u16,
    records_of_a_key: u64,
    assume_no_history: bool,
}

impl RedisStore {
    /// Connects to the one server at `url`, with the defaults of [`RedisStoreBuilder`].
    ///
    /// # Errors
    /// Returns an error as [`RedisStoreBuilder::open`] does.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        Self::builder().open(url).await
    }

    /// Returns a builder of a store with other settings.
    #[must_use]
    pub fn builder() -> RedisStoreBuilder {
        RedisStoreBuilder::default()
    }

    /// Checks that all servers of the store can be reached, evict nothing, have memory and are
    /// masters, for a health check. Changes nothing, and waits at most
    /// [`RedisStoreBuilder::timeout`].
    ///
    /// # Errors
    /// Returns the error that a claim would get now.
    pub async fn check(&self) -> Result<(), StoreError> {
        let checked = async {
            self.shared.serve_all().await?;
            self.shared.inspect().await
        };
        self.within(checked).await
    }

    /// Makes a namespace remember for longer: before servers start whose `max_age`, retention or
    /// lifetime was raised, which are refused until then. The refusal names the time that they
    /// need. Servers that need less go on.
    ///
    /// From here on, requests that are signed until all servers know of it are refused (503, code
    /// `sign_again`), because their records may be dropped too soon: that is 2 seconds, the
    /// [`clock_difference`](RedisStoreBuilder::clock_difference) and `max_skew` from now. An event,
    /// or a request that covers no time, that was recorded before is remembered for as long as was
    /// promised then.
    ///
    /// A retention that is not longer than the current one changes nothing.
    ///
    /// # Errors
    /// Returns an error if the server gives no answer.
    pub async fn extend_retention(
        &self,
        namespace: &str,
        retention: Duration,
    ) -> Result<(), StoreError> {
        let asked = self
            .shared
            .ask_of_namespace(namespace, millis(retention), true);
        self.within(asked).await.map(drop)
    }

    /// Returns how many keys the databases have: live nonces, some records of the store, and the
    /// keys of other users.
    ///
    /// # Errors
    /// Returns an error if a server gives no answer.
    pub async fn records(&self) -> Result<u64, StoreError> {
        let counted = async {
            self.shared.serve_all().await?;
            self.shared.records().await
        };
        self.within(counted).await
    }

    /// Tells how many records there are, as [`records`](Self::records) does, and since when the servers
    /// vouch for them.
    ///
    /// # Errors
    /// Returns an error if a server gives no answer.
    pub async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.within(remembered::status(&self.shared)).await
    }

    /// Tells whether a message is recorded, at the place of the claim: namespace, key id, nonce and
    /// place of the claim count, and nothing else of it.
    ///
    /// Records have digests for names, so that nothing tells which are those of one key.
    ///
    /// # Errors
    /// Returns an error if the server gives no answer.
    pub async fn recorded(&self, claim: &Claim) -> Result<Recorded, StoreError> {
        let asked = remembered::recorded(&self.shared, claim, false);
        self.within(asked).await
    }

    /// Forgets that a message was used at the place of the claim, and tells what was recorded of it.
    ///
    /// **The same request is then accepted once more** until its deadline, from anybody who has it.
    /// Do it only if the request had no effect, or may have another one. A lease that has not ended
    /// stays, because a handler may be at work.
    ///
    /// # Errors
    /// Returns an error if the server gives no answer. Whether the record is forgotten is then not
    /// known.
    pub async fn danger_forget(&self, claim: &Claim) -> Result<Recorded, StoreError> {
        let asked = remembered::recorded(&self.shared, claim, true);
        self.within(asked).await
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    async fn within<T>(
        &self,
        step: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let wait = self.shared.terms().wait;
        match timeout(wait, step).await {
            Ok(answer) => answer,
            Err(_) => Err(late(wait)),
        }
    }
}

impl Steps for RedisStore {
    async fn step(&self, claim: &Claim, action: Action) -> Result<Answer, StoreError> {
        self.within(step::step(&self.shared, claim, action)).await
    }

    fn identity(&self) -> &[u8] {
        self.identity.as_bytes()
    }

    fn retentions(&self) -> &Retentions {
        &self.shared.knowledge.retentions
    }

    fn quota(&self) -> Option<&Quota> {
        Some(&self.shared.quota)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisStore({} connected)", self.shared.connected().len())
    }
}

impl RedisStoreBuilder {
    /// Limits how long a step waits for its answer, a new connection included: more than zero, and
    /// at most 30 seconds. Default: 1 second, which is below the verifier's
    /// [`store_timeout`](crate::request::VerifierBuilder::store_timeout).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how far the clocks of this server, of others and of Redis may be apart; a server of
    /// Redis that is farther off is not used. Default: 5 seconds; at most 1 hour.
    #[must_use]
    pub fn clock_difference(mut self, difference: Duration) -> Self {
        self.clock_difference = difference;
        self
    }

    /// Accepts a nonce only once this number of replicas has it (`WAIT`), which costs one more
    /// round trip for each claim. If too few have it in time, the claim is refused and the nonce is
    /// used up. Default: 0.
    #[must_use]
    pub fn replicas(mut self, replicas: u16) -> Self {
        self.replicas = replicas;
        self
    }

    /// Sets how many records one key of one namespace may have, at least 1. Beyond them it is
    /// refused (429, `key_over_quota`), and other keys are not. Default: 10 million.
    ///
    /// Set it so that the keys of all your senders together fit into `maxmemory`.
    ///
    /// Each process counts what it records, and learns of what others record within a second. So a
    /// key can have more, by at most, for each process, a 256th of the quota and the records that
    /// it makes in a second. An event that is sent again is kept for longer than it is counted. A
    /// claim whose outcome is unknown counts.
    #[must_use]
    pub fn records_of_a_key(mut self, records: u64) -> Self {
        self.records_of_a_key = records;
        self
    }

    /// Accepts requests that were signed before the store's first record was made: for a first
    /// start, and for tests. It has no effect if there is a record already, or once this process
    /// has had an answer: a server that comes back empty has lost its memory.
    ///
    /// Remove the call after the first start: a server that is emptied while this process starts
    /// looks like a new one.
    #[must_use]
    pub fn danger_assume_no_history(mut self) -> Self {
        self.assume_no_history = true;
        self
    }

    /// Connects to the one server at `url`: `redis://`, `rediss://` (TLS), or `unix:///path`, with
    /// user, password and database where they are needed.
    ///
    /// # Errors
    /// Returns [`OpenError::Config`] if the URL cannot be read, a setting is out of its range, or the
    /// server evicts keys (`maxmemory-policy`), and [`OpenError::Store`] if the server cannot be
    /// reached, is a replica, or has another time.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn open(self, url: &str) -> Result<RedisStore, OpenError> {
        self.connect(Servers::One(info(url)?)).await
    }

    /// Connects to the master that one of the Sentinels names `master`, and to its successor after
    /// a failover. The user, password, database and use of TLS are those of the URL `like`, whose
    /// host and port do not matter.
    ///
    /// # Errors
    /// Returns an error as [`RedisStoreBuilder::open`] does; if no Sentinel is named; and if no
    /// Sentinel knows the master.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn open_sentinel(
        self,
        master: &str,
        sentinels: &[&str],
        like: &str,
    ) -> Result<RedisStore, OpenError> {
        ConfigError::unless(!sentinels.is_empty(), "at least one Sentinel is named")?;
        let sentinels = sentinels
            .iter()
            .map(|url| info(url))
            .collect::<Result<_, _>>()?;
        self.connect(Servers::Sentinel {
            master: master.to_owned(),
            sentinels,
            like: info(like)?,
        })
        .await
    }

    /// Connects to all masters of the cluster that one of these servers belongs to.
    ///
    /// # Errors
    /// Returns an error as [`RedisStoreBuilder::open`] does, and if no server is named.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn open_cluster(self, urls: &[&str]) -> Result<RedisStore, OpenError> {
        ConfigError::unless(
            !urls.is_empty(),
            "at least one server of the cluster is named",
        )?;
        let seeds = urls.iter().map(|url| info(url)).collect::<Result<_, _>>()?;
        self.connect(Servers::Cluster(seeds)).await
    }

    async fn connect(self, servers: Servers) -> Result<RedisStore, OpenError> {
        ConfigError::unless_wait(self.timeout, "a Redis store")?;
        ConfigError::unless(
            self.clock_difference <= MAX_DIFFERENCE,
            "the clocks of a Redis store must be at most an hour apart",
        )?;
        check_quota(self.records_of_a_key)?;
        let terms = Terms {
            wait: self.timeout,
            clock_difference: self.clock_difference,
            assume_no_history: self.assume_no_history,
        };
        let shared = Arc::new(Shared::new(
            servers,
            terms,
            self.replicas,
            Arc::new(Quota::new(self.records_of_a_key)),
        ));
        shared.serve_all().await?;
        tokio::spawn(keep_up(Arc::downgrade(&shared)));
        tokio::spawn(put_together(Counts(Arc::downgrade(&shared))));
        let identity = shared.knowledge.name().ok_or_else(unexpected)?;
        Ok(RedisStore { identity, shared })
    }
}

const MAX_DIFFERENCE: Duration = Duration::from_secs(3600);

impl Default for RedisStoreBuilder {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1),
            clock_difference: Duration::from_secs(5),
            replicas: 0,
            records_of_a_key: RECORDS_OF_A_KEY,
            assume_no_history: false,
        }
    }
}
