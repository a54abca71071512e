//! The SQLite store, and how it is opened.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use sqlx::{Connection as _, SqliteConnection, SqlitePool, sqlite::SqliteConnectOptions};
use tokio::time::timeout;

use super::{
    batch::MAX_STEPS,
    error,
    mark::Mark,
    record::Limits,
    remembered::{self, Which},
    schema,
    sweep::{self, Cursor},
    writer::Writer,
};
use crate::{
    clock::{Clock, SystemClock, Timestamp},
    error::{ConfigError, ConfigErrorKind, OpenError, StoreError},
    key::KeyId,
    once::Claim,
    store::{
        batched::{Action, Answer, Queue, Retentions, Steps},
        file,
        status::{Recorded, StoreStatus},
    },
};

/// Remembers nonces in a SQLite database: a file, shared by the processes of one host.
///
/// Guarantees:
/// - however many claims on one nonce arrive, from any of the processes, at most one is answered
///   [`ClaimOutcome::New`](crate::store::ClaimOutcome::New) until its deadline has passed by the
///   clock of the host. Nonces are compared by their SHA-256;
/// - each claim is on the disk before it is answered (`synchronous=FULL`), and is known after a
///   crash of the process or the machine, unless the disk loses writes;
/// - a live record is never evicted. A store that has [`SqliteStoreBuilder::capacity`] records,
///   or whose disk is full, refuses with [`StoreErrorKind::Full`]; a key that has used up its share
///   is refused with [`StoreErrorKind::KeyOverQuota`];
/// - a database that is locked, cannot be written to, or is damaged is answered with an error, and
///   so is a wait of more than [`SqliteStoreBuilder::timeout`];
/// - if the clock was ahead and steps back, records that were dropped meanwhile stay refused;
/// - a namespace is remembered for as long as its first claim needed. A server that needs longer is
///   refused with [`StoreErrorKind::Misconfigured`] until [`SqliteStore::extend_retention`]; one
///   that needs less is served.
///
/// **The first start**: when the tables are created, every claim with
/// `signed time <= that moment + max_skew` is refused with the code `sign_again`, unless
/// [`SqliteStoreBuilder::danger_assume_no_history`] says that nothing was accepted earlier.
///
/// Keep the file on a local disk: a network file system has no shared memory for its log. Three
/// more files are beside it and belong to it: the log (`-wal`, `-shm`), and a mark (`-mark`) that
/// holds the identity of the database and a count of what was written.
///
/// # Copies
/// By the mark, the store finds out when it is opened that the database is not the one that was
/// used last: its log was deleted or damaged, an older copy was put in its place, it was deleted,
/// or it was restored or moved without the mark. Then requests that were signed until that moment
/// are refused, as after the first start, and an error is logged. An event, or a claim that covers
/// no time, may be accepted again.
///
/// An older copy of the database *together with the mark of that time* looks like the database
/// itself: requests that were accepted since the copy can be accepted again. So back up the
/// database alone, or delete the mark before the restored database is opened. Never replace a file
/// that is open. SQLite notices most damage to a page, and refuses; it has no checksum to notice
/// all damage.
///
/// Claims that arrive while a transaction is written go into the next transaction together. A task
/// on the Tokio runtime that the store was opened on writes them. The store ends with that runtime.
///
/// A lease ends by the clock of the host, so that all processes agree: one that is set ahead ends
/// leases early.
///
/// ```
/// use countersign::{store::{Claim, ClaimOutcome, Nonce, NonceKind, NonceStore}, Clock, KeyId};
/// use countersign::{clock::SystemClock, store::SqliteStore};
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let folder = std::env::temp_dir().join(format!("countersign-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("nonces.db");
/// let store = SqliteStore::builder().danger_assume_no_history().open(&path).await?;
/// let deadline = SystemClock::default().now().saturating_add(Duration::from_secs(300));
/// let nonce = Nonce::new(NonceKind::Covered, "a nonce");
/// let claim = Claim::new("payments".into(), KeyId::new("partner-1")?, nonce, deadline);
/// assert_eq!(store.claim(&claim).await?, ClaimOutcome::New);
/// assert_eq!(store.claim(&claim).await?, ClaimOutcome::Replayed);
/// # drop(store);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # Ok::<_, std::io::Error>(())
/// ```
///
/// [`StoreErrorKind::Full`]: crate::error::StoreErrorKind::Full
/// [`StoreErrorKind::Misconfigured`]: crate::error::StoreErrorKind::Misconfigured
/// [`StoreErrorKind::KeyOverQuota`]: crate::error::StoreErrorKind::KeyOverQuota
pub struct SqliteStore {
    queue: Queue,
    /// Drawn when the tables were made.
    identity: [u8; 16],
    retentions: Arc<Retentions>,
    options: SqliteConnectOptions,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

/// Configures a [`SqliteStore`].
#[derive(Debug)]
pub struct SqliteStoreBuilder {
    capacity: u64,
    key_share: u8,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    assume_no_history: bool,
}

impl SqliteStore {
    /// The statements that create the tables of the store if they do not exist, for your own
    /// migrations. All names begin with `countersign_`.
    pub const SCHEMA: &str = schema::SCHEMA;

    /// Opens the database at `path`, with the defaults of [`SqliteStoreBuilder`]. Creates it if it
    /// does not exist.
    ///
    /// # Errors
    /// Returns an error as [`SqliteStoreBuilder::open`] does.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::builder().open(path).await
    }

    /// Returns a builder of a store with other settings.
    #[must_use]
    pub fn builder() -> SqliteStoreBuilder {
        SqliteStoreBuilder::default()
    }

    /// Returns whether the store can be used at this moment: opens the database again, finds the
    /// tables, and commits a write. For a health check.
    ///
    /// # Errors
    /// Returns an error if the store cannot be used, or if the lock or the answer takes longer than
    /// [`SqliteStoreBuilder::timeout`].
    pub async fn check(&self) -> Result<(), StoreError> {
        let checked = timeout(self.timeout, schema::check(&self.options, self.timeout));
        let checked = checked.await;
        checked.unwrap_or_else(|_| Err(StoreError::late("SQLite", self.timeout)))
    }

    /// Makes a namespace remember for longer: before servers start whose `max_age`, retention or
    /// lifetime was raised, which are refused until then. The refusal names the time that they
    /// need. Servers that need less go on.
    ///
    /// From here on, requests that were signed until this moment, and up to `max_skew` later, are
    /// refused (503, code `sign_again`): their records may be dropped too soon for the new
    /// retention. An event, or a request that covers no time, that was recorded before is
    /// remembered for as long as was promised then.
    ///
    /// A retention that is not longer than the current one changes nothing, and neither does a
    /// namespace that nobody has used.
    ///
    /// # Errors
    /// Returns an error if the database gives no answer.
    pub async fn extend_retention(
        &self,
        namespace: &str,
        retention: Duration,
    ) -> Result<(), StoreError> {
        let mut connection = schema::connect(&self.options, self.timeout).await?;
        let now = self.clock.now();
        schema::extend_retention(&mut connection, namespace, retention, now, self.timeout).await?;
        close(connection).await;
        Ok(())
    }

    /// Tells what the store remembers and vouches for. Reads the whole table: for a person who asks,
    /// not for a health check.
    ///
    /// # Errors
    /// Returns an error if the database gives no answer.
    pub async fn status(&self) -> Result<StoreStatus, StoreError> {
        let mut connection = schema::connect(&self.options, self.timeout).await?;
        let status = remembered::status(&mut connection, self.clock.now()).await;
        close(connection).await;
        status
    }

    /// Tells whether a message is recorded, at whatever place: namespace, key id and nonce of the
    /// claim count, and nothing else of it.
    ///
    /// # Errors
    /// Returns an error if the database gives no answer.
    pub async fn recorded(&self, claim: &Claim) -> Result<Recorded, StoreError> {
        self.find(Which::Message(claim)).await
    }

    /// Tells how many messages of a key are recorded, in one namespace or in all.
    ///
    /// # Errors
    /// Returns an error if the database gives no answer.
    pub async fn recorded_of_key(
        &self,
        namespace: Option<&str>,
        key_id: &KeyId,
    ) -> Result<Recorded, StoreError> {
        self.find(Which::Key(namespace, key_id)).await
    }

    /// Forgets that a message was used, at whatever place, and tells what was recorded of it.
    ///
    /// **The same request is then accepted once more** until its deadline, from anybody who has it.
    /// Do it only if the request had no effect, or may have another one. A lease that has not ended
    /// stays, because a handler may be at work.
    ///
    /// ```no_run
    /// # async fn f(store: countersign::store::SqliteStore) -> Result<(), Box<dyn std::error::Error>> {
    /// use countersign::{KeyId, Timestamp, store::{Claim, Nonce, NonceKind}};
    ///
    /// // A delivery whose handler failed after it was recorded: its sender may deliver it again.
    /// let event = Nonce::new(NonceKind::Event, "evt_1");
    /// let claim = Claim::new("hooks".into(), KeyId::new("stripe")?, event, Timestamp::MAX);
    /// let forgotten = store.danger_forget(&claim).await?;
    /// assert_eq!(forgotten.records, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the database gives no answer, or is locked for too long.
    pub async fn danger_forget(&self, claim: &Claim) -> Result<Recorded, StoreError> {
        self.forget(Which::Message(claim)).await
    }

    /// Forgets all messages of a key, in one namespace or in all, and tells how many these were.
    ///
    /// **Each of its requests is then accepted once more** until its deadline, from anybody who has
    /// it. Remove the key from all servers first. Leases that have not ended stay.
    ///
    /// # Errors
    /// Returns an error if the database gives no answer, or is locked for too long.
    pub async fn danger_forget_key(
        &self,
        namespace: Option<&str>,
        key_id: &KeyId,
    ) -> Result<Recorded, StoreError> {
        self.forget(Which::Key(namespace, key_id)).await
    }

    async fn find(&self, which: Which<'_>) -> Result<Recorded, StoreError> {
        let mut connection = schema::connect(&self.options, self.timeout).await?;
        let found = remembered::recorded(&mut connection, which, self.clock.now()).await;
        close(connection).await;
        found
    }

    async fn forget(&self, which: Which<'_>) -> Result<Recorded, StoreError> {
        let mut connection = schema::connect(&self.options, self.timeout).await?;
        let now = self.clock.now();
        let forgotten = remembered::forget(&mut connection, which, now, self.timeout).await;
        close(connection).await;
        forgotten
    }

    /// Does the same as [`extend_retention`](Self::extend_retention), in a database of yours in
    /// whose transactions nonces are consumed.
    ///
    /// # Errors
    /// Returns an error if the database gives no answer.
    pub async fn extend_retention_in(
        pool: &SqlitePool,
        namespace: &str,
        retention: Duration,
    ) -> Result<(), StoreError> {
        let mut connection = pool.acquire().await.map_err(error::of_driver)?;
        let now = SystemClock.now();
        let extended =
            schema::extend_retention(&mut connection, namespace, retention, now, DEFAULT_WAIT)
                .await;
        if extended.is_err() {
            // It may have left a transaction open.
            connection.close_on_drop();
        }
        extended
    }

    /// Makes the tables in a database of yours, where they are not there, so that nonces can be
    /// consumed in its transactions. Do it before the first request: what was signed earlier is
    /// refused.
    ///
    /// # Errors
    /// Returns an error if the database gives no answer.
    pub async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
        let run = sqlx::raw_sql(Self::SCHEMA).execute(pool).await;
        run.map(drop).map_err(error::of_driver)
    }

    /// Says that nothing was accepted before the tables were made in a database of yours, so that
    /// requests that were signed earlier are new. Call it after [`migrate`](Self::migrate) and before
    /// the first request; once a nonce was recorded it changes nothing.
    ///
    /// It is the same as [`SqliteStoreBuilder::danger_assume_no_history`], without an open store.
    ///
    /// ```no_run
    /// # async fn f(pool: sqlx::SqlitePool) -> Result<(), countersign::error::StoreError> {
    /// use countersign::store::SqliteStore;
    ///
    /// SqliteStore::migrate(&pool).await?;
    /// // The first start of a service that has accepted nothing elsewhere.
    /// SqliteStore::danger_assume_no_history(&pool).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the database gives no answer.
    pub async fn danger_assume_no_history(pool: &SqlitePool) -> Result<(), StoreError> {
        let assumed = schema::assume_no_history(pool).await;
        assumed.map_err(error::of_driver)
    }

    /// Drops the records whose deadline has passed, some thousand in a transaction, and says how
    /// many these were. A store that is open does so by itself; a database of yours, in whose
    /// transactions nonces are consumed, needs it now and then.
    ///
    /// # Errors
    /// Returns an error if the database gives no answer, or is locked for more than two seconds.
    /// Records that were dropped until then stay dropped.
    pub async fn drop_expired(pool: &SqlitePool) -> Result<u64, StoreError> {
        let mut connection = pool.acquire().await.map_err(error::of_driver)?;
        let mut cursor = Cursor::start();
        let mut dropped = 0;
        loop {
            let now = SystemClock.now();
            let swept = sweep::sweep_stretch(&mut connection, &cursor, now, DEFAULT_WAIT).await;
            if swept.is_err() {
                // It may have left a transaction open.
                connection.close_on_drop();
            }
            let swept = swept?;
            dropped += swept.dropped;
            cursor = swept.next;
            if cursor.is_start() {
                return Ok(dropped);
            }
        }
    }
}

/// A failure here says nothing about the database.
async fn close(connection: SqliteConnection) {
    let _ = connection.close().await;
}

impl Steps for SqliteStore {
    async fn step(&self, claim: &Claim, action: Action) -> Result<Answer, StoreError> {
        self.queue.ask(claim, action).await
    }

    fn identity(&self) -> &[u8] {
        &self.identity
    }

    fn retentions(&self) -> &Retentions {
        &self.retentions
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteStore({:?})", self.queue)
    }
}

const DEFAULT_WAIT: Duration = Duration::from_secs(2);
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

impl SqliteStoreBuilder {
    /// Sets the most records that are held, by all processes that share the file, and those
    /// included whose deadline has passed but which have not been swept yet. Default: 10 million.
    ///
    /// Reckon with 60 bytes of the disk for each, and 64 MiB for the log.
    #[must_use]
    pub fn capacity(mut self, records: u64) -> Self {
        self.capacity = records;
        self
    }

    /// Sets how much of the store one key may fill, in per cent, from 1 to 100. Default: 50.
    #[must_use]
    pub fn key_share(mut self, percent: u8) -> Self {
        self.key_share = percent;
        self
    }

    /// Limits how long a step waits for its answer, and the store for the lock of another process:
    /// more than zero, and at most 1 hour. Default: 2 seconds, as the verifier's
    /// [`store_timeout`](crate::request::VerifierBuilder::store_timeout).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the clock that deadlines and leases pass by. Default: the system's. All processes that
    /// share the file need the same.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Accepts what was signed before the tables were made: for a first start, and for tests. It
    /// changes nothing where they are there already.
    #[must_use]
    pub fn danger_assume_no_history(mut self) -> Self {
        self.assume_no_history = true;
        self
    }

    /// Opens the database at `path`. Creates it if it does not exist.
    ///
    /// # Errors
    /// Returns [`OpenError::Config`] if the capacity is zero, the timeout is out of its range, the
    /// share of a key is not 1 to 100 per cent, the path is not that of a file on a disk, or the file
    /// is not a database, or is one of another version of this store. Returns [`OpenError::Store`]
    /// if the file cannot be opened, locked or written to.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, OpenError> {
        ConfigError::unless(
            self.capacity > 0,
            "the capacity of a SQLite store must be at least 1",
        )?;
        ConfigError::unless_share(self.key_share, "a SQLite store")?;
        ConfigError::unless(
            !self.timeout.is_zero() && self.timeout <= MAX_TIMEOUT,
            "the timeout of a SQLite store must be more than zero, and at most 1 hour",
        )?;
        let now = self.clock.now();
        let since = if self.assume_no_history {
            Timestamp::EPOCH
        } else {
            now
        };
        let options = schema::options(path.as_ref()).create_if_missing(true);
        let mut connection = schema::connect(&options, self.timeout).await?;
        if !path.as_ref().is_file() {
            let place = "a database in memory, or in a temporary file, would not be there after a \
                restart; name a file";
            return Err(ConfigError::from(ConfigErrorKind::StorePlace(place.into())).into());
        }
        let file = file::resolve(path.as_ref()).map_err(error::of_mark)?;
        let mut mark = Mark::open(&file).map_err(error::of_mark)?;
        let prepared = schema::prepare(&mut connection, &mut mark, (since, now), self.timeout);
        let identity = prepared.await?;
        let retentions = Arc::new(Retentions::default());
        // A file that is taken away is not made again behind the back of its store.
        let options = options.create_if_missing(false);
        let (queue, requests) = Queue::new("SQLite", self.timeout, MAX_STEPS);
        let writer = Writer {
            options: options.clone(),
            connection: Some(connection),
            mark,
            queue: requests,
            cursor: sweep::Cursor::anywhere(),
            clock: Arc::clone(&self.clock),
            limits: Limits {
                records: self.capacity,
                records_of_a_key: (self.capacity / 100 * u64::from(self.key_share)).max(1),
            },
            wait: self.timeout,
            retentions: Arc::clone(&retentions),
        };
        tokio::spawn(writer.run());
        Ok(SqliteStore {
            queue,
            identity,
            retentions,
            options,
            timeout: self.timeout,
            clock: self.clock,
        })
    }
}

impl Default for SqliteStoreBuilder {
    fn default() -> Self {
        Self {
            capacity: 10_000_000,
            key_share: 50,
            timeout: DEFAULT_WAIT,
            clock: Arc::new(SystemClock),
            assume_no_history: false,
        }
    }
}
