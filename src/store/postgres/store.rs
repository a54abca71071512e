//! The PostgreSQL store, and how it is opened.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, PgPool, Row as _, postgres::PgConnectOptions,
};
use tokio::{
    sync::{Mutex, mpsc},
    time::timeout,
};

use super::{
    error,
    exchange::Counts,
    own::Newest,
    remembered, schema, sweep,
    transaction::{FENCE_A_COPY, in_transaction},
    writer::{MAX_STEPS, Writer, connect},
};
use crate::{
    error::{ConfigError, OpenError, StoreError},
    once::Claim,
    store::{
        batched::{
            Action, Answer, Queue, Quota, RECORDS_OF_A_KEY, Retentions, Steps, check_quota, gather,
            put_together,
        },
        status::{Recorded, StoreStatus},
    },
};

/// Remembers nonces in PostgreSQL, for all servers of a service.
///
/// Guarantees:
/// - however many claims on one nonce arrive, from any of the servers, at most one is answered
///   [`ClaimOutcome::New`](crate::store::ClaimOutcome::New) until its deadline has passed by the
///   clock of the database. Nonces are compared by their SHA-256. A nonce that was
///   [consumed](crate::PendingPayload::consume) in the same database is a replay, and the reverse;
/// - each claim is committed with `synchronous_commit = on` before it is answered, whatever is set
///   elsewhere;
/// - one key of one namespace has no more records than
///   [`PostgresStoreBuilder::records_of_a_key`] says. Nonces that handlers consume are not counted;
/// - a live record is never evicted. A database that is down, slow, a standby, read-only or out of
///   room is answered with an error, and so is a wait of more than
///   [`PostgresStoreBuilder::timeout`]; the store goes on by itself when the database does;
/// - if the database is another than before, a copy, or on another timeline (a promoted standby, a
///   backup that was restored to a point in time, a dump), requests that were signed before its
///   first claim are refused with the code `sign_again`. The same holds if it has lost the newest
///   record of an open store. [Some restores](super#restores-and-how-they-are-noticed) are not
///   noticed;
/// - if the clock was ahead and steps back, records that were dropped meanwhile stay refused;
/// - a namespace is remembered for as long as its first claim needed. A server that needs longer is
///   refused with [`Misconfigured`](crate::error::StoreErrorKind::Misconfigured) until
///   [`extend_retention`](Self::extend_retention); one that needs less is served.
///
/// The functions that take a `pool` are also for services that only consume in this database. The
/// others need an open store.
///
/// Claims that arrive while a transaction is written go into the next transaction together. The
/// store has connections of its own, so that it never waits for a handler's transaction, and takes
/// tasks on the Tokio runtime that it was opened on: one for each connection, one that drops what
/// has expired, and one that counts the records of keys. Each has a connection. They end with it.
///
/// ```no_run
/// use countersign::store::PostgresStore;
///
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::PgPool::connect("postgres://orders@db.internal/orders").await?;
/// PostgresStore::migrate(&pool).await?;
/// let store = PostgresStore::open((*pool.connect_options()).clone()).await?;
/// store.check().await?;
/// # Ok(())
/// # }
/// ```
pub struct PostgresStore {
    queue: Queue,
    /// The identity of the cluster, the database and the table.
    identity: String,
    retentions: Arc<Retentions>,
    quota: Arc<Quota>,
    options: PgConnectOptions,
    timeout: Duration,
    /// The sweep ends with it.
    _alive: mpsc::Sender<Infallible>,
}

/// Configures a [`PostgresStore`].
#[derive(Clone, Debug)]
pub struct PostgresStoreBuilder {
    connections: u16,
    timeout: Duration,
    records_of_a_key: u64,
}

impl PostgresStore {
    /// The statements that create the tables and functions, for your own migrations. They can be
    /// run again.
    pub const SCHEMA: &str = schema::SCHEMA;

    /// Opens the store with the defaults of [`PostgresStoreBuilder`].
    ///
    /// # Errors
    /// Returns an error as [`PostgresStoreBuilder::open`] does.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn open(options: PgConnectOptions) -> Result<Self, OpenError> {
        Self::builder().open(options).await
    }

    /// Returns a builder of a store with other settings.
    #[must_use]
    pub fn builder() -> PostgresStoreBuilder {
        PostgresStoreBuilder::default()
    }

    /// Returns whether the store can be used at this moment: connects again, finds the tables, and
    /// commits a write. For a health check.
    ///
    /// # Errors
    /// Returns an error if the store cannot be used.
    pub async fn check(&self) -> Result<(), StoreError> {
        check(&self.options, self.timeout).await.map(drop)
    }

    /// Makes the [tables and functions](Self::SCHEMA), unless they are there. Several servers may
    /// do so at once.
    ///
    /// # Errors
    /// Returns an error if the database refuses or cannot be reached.
    pub async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
        schema::migrate(pool).await.map_err(error::of_driver)
    }

    /// States that nothing was accepted before the tables were created, so that requests that were
    /// signed earlier are new. Call it before the first request; later it has no effect.
    ///
    /// # Errors
    /// Returns an error if the database refuses or cannot be reached.
    pub async fn danger_assume_no_history(pool: &PgPool) -> Result<(), StoreError> {
        let assumed = schema::assume_no_history(pool).await;
        assumed.map_err(error::of_driver)
    }

    /// Refuses requests that were signed until now, and up to five seconds and `max_skew` later
    /// (503, code `sign_again`), because their records may be missing.
    ///
    /// Copies and failovers are found and fenced without this call. Call it, before servers
    /// connect, after a restore that [is not noticed](super#restores-and-how-they-are-noticed). In
    /// `psql` it is `SELECT countersign_fence()`.
    ///
    /// # Errors
    /// Returns an error if the database refuses or cannot be reached.
    pub async fn fence(pool: &PgPool) -> Result<(), StoreError> {
        schema::fence(pool).await.map_err(error::of_driver)
    }

    /// Makes a namespace remember for longer: after `max_age` and the like were raised, and before
    /// the servers that need it are started, which are refused until then. The refusal names the
    /// time.
    ///
    /// From here on, requests that are signed up to a minute and `max_skew` from now are refused
    /// (503, code `sign_again`): earlier records may be dropped too soon for the new retention.
    ///
    /// A retention that is shorter than the current one changes nothing.
    ///
    /// # Errors
    /// Returns an error if the database refuses or cannot be reached.
    pub async fn extend_retention(
        &self,
        namespace: &str,
        retention: Duration,
    ) -> Result<(), StoreError> {
        let extended = async {
            let mut connection = connect(&self.options).await?;
            let extended = schema::extend_retention(&mut connection, namespace, retention).await;
            close(connection).await;
            extended.map_err(error::of_driver)
        };
        let extended = timeout(self.timeout, extended).await;
        extended.unwrap_or_else(|_| Err(late(self.timeout)))
    }

    /// Tells what the store remembers and vouches for. Reads the whole table: for a person who asks,
    /// not for a health check.
    ///
    /// # Errors
    /// Returns an error if the database refuses or cannot be reached.
    pub async fn status(&self) -> Result<StoreStatus, StoreError> {
        let mut connection = connect(&self.options).await?;
        let status = remembered::status(&mut connection).await;
        close(connection).await;
        status
    }

    /// Tells whether a message is recorded, at whatever place: namespace, key id and nonce of the
    /// claim count, and nothing else of it.
    ///
    /// The table holds digests alone, so that nothing tells which records are those of one key.
    ///
    /// # Errors
    /// Returns an error if the database refuses or cannot be reached.
    pub async fn recorded(&self, claim: &Claim) -> Result<Recorded, StoreError> {
        let mut connection = connect(&self.options).await?;
        let recorded = remembered::recorded(&mut connection, claim).await;
        close(connection).await;
        recorded
    }

    /// Forgets that a message was used, at whatever place, and tells what was recorded of it.
    ///
    /// **The same request is then accepted once more** until its deadline, from anybody who has it.
    /// Do it only if the request had no effect, or may have another one. A lease that has not ended
    /// stays, because a handler may be at work.
    ///
    /// A store that is open and made the record takes it for lost if another store records the
    /// message again. It then refuses what was signed until that moment, with the code `sign_again`.
    ///
    /// # Errors
    /// Returns an error if the database refuses or cannot be reached.
    pub async fn danger_forget(&self, claim: &Claim) -> Result<Recorded, StoreError> {
        let mut connection = connect(&self.options).await?;
        let forgotten = remembered::forget(&mut connection, claim).await;
        close(connection).await;
        forgotten
    }

    /// Does the same as [`extend_retention`](Self::extend_retention), without an open store.
    ///
    /// # Errors
    /// Returns an error if the database refuses or cannot be reached.
    pub async fn extend_retention_in(
        pool: &PgPool,
        namespace: &str,
        retention: Duration,
    ) -> Result<(), StoreError> {
        let mut connection = pool.acquire().await.map_err(error::of_driver)?;
        let extended = schema::extend_retention(&mut connection, namespace, retention).await;
        extended.map_err(error::of_driver)
    }

    /// Drops what has expired, in batches of 1,000 rows, each in a transaction of its own; up to a
    /// million rows. Returns how many.
    ///
    /// An open store that makes claims does this by itself. If your service only consumes nonces,
    /// call it about every minute, from any number of servers: one of them then does the work.
    /// Without the call the table grows, and nothing else goes wrong. Rows are kept for a minute
    /// beyond their deadline.
    ///
    /// ```no_run
    /// # async fn f(pool: sqlx::PgPool) {
    /// use countersign::store::PostgresStore;
    ///
    /// tokio::spawn(async move {
    ///     let mut every_minute = tokio::time::interval(std::time::Duration::from_secs(60));
    ///     loop {
    ///         every_minute.tick().await;
    ///         if let Err(error) = PostgresStore::drop_expired(&pool).await {
    ///             tracing::warn!(%error, "expired nonces were not dropped");
    ///         }
    ///     }
    /// });
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the database refuses or cannot be reached. Rows that were dropped stay
    /// dropped.
    pub async fn drop_expired(pool: &PgPool) -> Result<u64, StoreError> {
        sweep::drop_expired(pool).await.map_err(error::of_driver)
    }
}

/// A failure here says nothing about the database.
async fn close(connection: PgConnection) {
    let _ = connection.close().await;
}

fn late(wait: Duration) -> StoreError {
    StoreError::late("PostgreSQL", wait)
}

/// Returns what identifies the table of nonces, among all that this process may open.
async fn check(options: &PgConnectOptions, wait: Duration) -> Result<String, StoreError> {
    let sql = format!(
        "{FENCE_A_COPY};
        UPDATE countersign_store SET written_by = DEFAULT WHERE written_by::xid = xmin;
        SELECT digest, attempt, deadline_ms, lease_end_ms FROM countersign_nonces LIMIT 0;
        SELECT namespace, retention_ms, raised_ms, dropped_up_to_ms FROM countersign_namespaces LIMIT 0;
        SELECT 'countersign_record'::regproc, 'countersign_hold'::regproc,
               'countersign_is_recorded'::regproc, 'countersign_consume'::regproc;
        SELECT format('%s/%s/%s', system_identifier, database, nonces) AS identity
        FROM countersign_store ORDER BY id DESC LIMIT 1"
    );
    let checked = timeout(wait, async {
        let mut connection = connect(options).await?;
        let sql = AssertSqlSafe(in_transaction(&sql, wait));
        let run = sqlx::raw_sql(sql).fetch_all(&mut connection).await;
        let rows = run.map_err(error::of_driver);
        // A failure here says nothing about the database.
        let _ = connection.close().await;
        let rows = rows?;
        let mut identities = rows.iter().map(|row| row.try_get("identity"));
        identities
            .find_map(Result::ok)
            .ok_or_else(|| StoreError::unavailable("PostgreSQL did not say which database it is"))
    });
    checked.await.unwrap_or_else(|_| Err(late(wait)))
}

impl Steps for PostgresStore {
    async fn step(&self, claim: &Claim, action: Action) -> Result<Answer, StoreError> {
        self.queue.ask(claim, action).await
    }

    fn identity(&self) -> &[u8] {
        self.identity.as_bytes()
    }

    fn retentions(&self) -> &Retentions {
        &self.retentions
    }

    fn quota(&self) -> Option<&Quota> {
        Some(&self.quota)
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresStore({:?})", self.queue)
    }
}

impl PostgresStoreBuilder {
    /// Sets how many transactions may be written at once, from 1 to 64. Default: 2, of which one
    /// fills its batch while the other waits for the disk; more are worth it where a commit takes
    /// long, as with a synchronous standby far away.
    #[must_use]
    pub fn connections(mut self, connections: u16) -> Self {
        self.connections = connections;
        self
    }

    /// Limits how long a step waits for its answer, and the database for a lock: more than zero,
    /// and at most 30 seconds. Default: 2 seconds, as the verifier's
    /// [`store_timeout`](crate::request::VerifierBuilder::store_timeout).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many records one key of one namespace may have, at least 1. Beyond them it is
    /// refused (429, `key_over_quota`), and other keys are not. Default: 10 million.
    ///
    /// Set it so that the keys of all your senders together fit into the disk.
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

    /// Connects, and [checks](PostgresStore::check) that the tables are there and can be written
    /// to; [`PostgresStore::migrate`] makes them.
    ///
    /// # Errors
    /// Returns [`OpenError::Config`] if a setting is out of its range, or the tables are not there,
    /// and [`OpenError::Store`] if the database cannot be reached or cannot be written to.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn open(self, options: PgConnectOptions) -> Result<PostgresStore, OpenError> {
        let wait = self.timeout;
        ConfigError::unless(
            (1..=64).contains(&self.connections),
            "a PostgreSQL store must have between 1 and 64 connections",
        )?;
        ConfigError::unless_wait(wait, "a PostgreSQL store")?;
        check_quota(self.records_of_a_key)?;
        // Nothing here is a float, and poolers know nothing about this parameter.
        let options = options.extra_float_digits(None);
        let identity = check(&options, wait).await?;
        let retentions = Arc::new(Retentions::default());
        let (queue, requests) = Queue::new("PostgreSQL", wait, MAX_STEPS);
        let requests = Arc::new(Mutex::new(requests));
        let newest = Arc::new(Newest::default());
        for _ in 0..self.connections {
            let mut writer = Writer {
                options: options.clone(),
                connection: None,
                queue: Arc::clone(&requests),
                wait,
                newest: Arc::clone(&newest),
                retentions: Arc::clone(&retentions),
            };
            tokio::spawn(async move { gather(&mut writer, Duration::MAX).await });
        }
        let quota = Arc::new(Quota::new(self.records_of_a_key));
        tokio::spawn(put_together(Counts {
            options: options.clone(),
            connection: None,
            quota: Arc::downgrade(&quota),
            wait,
        }));
        let (alive, store) = mpsc::channel(1);
        tokio::spawn(sweep::run(options.clone(), store));
        Ok(PostgresStore {
            queue,
            identity,
            retentions,
            quota,
            options,
            timeout: self.timeout,
            _alive: alive,
        })
    }
}

impl Default for PostgresStoreBuilder {
    fn default() -> Self {
        Self {
            connections: 2,
            timeout: Duration::from_secs(2),
            records_of_a_key: RECORDS_OF_A_KEY,
        }
    }
}
