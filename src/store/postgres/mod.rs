//! PostgreSQL: nonces for all servers of a service, and nonces that are consumed in a transaction
//! of the handler's own.
//!
#![doc = include_str!("operating.md")]

mod consume;
mod error;
mod exchange;
mod own;
mod pooled;
mod schema;
mod statement;
mod sweep;
mod transaction;
mod writer;

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, Connection as _, postgres::PgConnectOptions};
use tokio::{
    sync::{Mutex, mpsc},
    time::timeout,
};

use self::{
    exchange::Counts,
    own::Newest,
    transaction::{FENCE_A_COPY, in_transaction},
    writer::{MAX_STEPS, Writer, connect},
};
pub use self::{
    pooled::PooledTransaction,
    schema::{SCHEMA, assume_no_history, extend_retention, fence, migrate},
    sweep::drop_expired,
};
use super::batched::{Action, Answer, Queue, Quota, RECORDS_OF_A_KEY, Steps, put_together};
use crate::{error::StoreError, once::Claim};

/// Remembers nonces in PostgreSQL, for all servers of a service.
///
/// What it guarantees:
/// - of any number of claims on one nonce, from any of the servers, at once or one after another,
///   at most one is answered [`Claimed::New`] until its deadline has passed by the clock of the
///   database. Nonces are told apart by SHA-256. A nonce that was
///   [consumed](crate::request::PendingPayload::consume) in the same database is a replay, and the reverse;
/// - what was answered is committed with `synchronous_commit = on`, whatever is set elsewhere;
/// - one key of one namespace has no more records than
///   [`PostgresStoreBuilder::records_of_a_key`] says. Those that handlers consume are not counted;
/// - a live record is never evicted. A database that is down, slow, a standby, read-only or out of
///   room is answered with an error, and so is a wait of more than [`PostgresStoreBuilder::wait`];
///   the store goes on by itself when the database does;
/// - a database that is another than before, a copy, or on another timeline (a standby that was
///   promoted, a backup that was restored to a point in time, a dump) refuses what was signed until it
///   was first asked, with the code `sign_again`. So does a database that has lost the newest record
///   of an open store.
///   [What this cannot see](self#what-is-put-back-and-what-is-seen-of-it) is part of the module's text;
/// - a clock that steps back reopens nothing that was dropped while it was ahead;
/// - a namespace is remembered for as long as its first claim needed, by whichever server. A server
///   that needs longer is refused with [`Misconfigured`](crate::error::StoreErrorKind::Misconfigured) until
///   [`extend_retention`]; one that needs less is served.
///
/// Claims that come in while a transaction is written go into the next one together. The store has
/// connections of its own, so that it never waits for a handler's transaction, and takes tasks on
/// the Tokio runtime that it was connected on: one for each connection, one that drops what has
/// expired, and one that counts the records of keys. Each has a connection. They end with it.
///
/// ```no_run
/// use countersign::{PostgresStore, postgres};
///
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::PgPool::connect("postgres://orders@db.internal/orders").await?;
/// postgres::migrate(&pool).await?;
/// let store = PostgresStore::connect((*pool.connect_options()).clone()).await?;
/// store.check().await?;
/// # Ok(())
/// # }
/// ```
pub struct PostgresStore {
    queue: Queue,
    quota: Arc<Quota>,
    options: PgConnectOptions,
    wait: Duration,
    /// The sweep ends with it.
    _alive: mpsc::Sender<Infallible>,
}

/// Configures a [`PostgresStore`].
#[derive(Clone, Debug)]
pub struct PostgresStoreBuilder {
    connections: u16,
    wait: Duration,
    records_of_a_key: u64,
}

impl PostgresStore {
    /// Connects with the defaults of [`PostgresStoreBuilder`].
    ///
    /// # Errors
    /// As [`PostgresStoreBuilder::connect`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime with its timer.
    pub async fn connect(options: PgConnectOptions) -> Result<Self, StoreError> {
        Self::builder().connect(options).await
    }

    /// A store with other settings.
    #[must_use]
    pub fn builder() -> PostgresStoreBuilder {
        PostgresStoreBuilder::default()
    }

    /// Whether the store can be used at this moment: connects anew, finds the tables, and commits
    /// a write. For a health check.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn check(&self) -> Result<(), StoreError> {
        check(&self.options, self.wait).await
    }
}

async fn check(options: &PgConnectOptions, wait: Duration) -> Result<(), StoreError> {
    let sql = format!(
        "{FENCE_A_COPY};
        UPDATE countersign_store SET written_by = DEFAULT WHERE written_by::xid = xmin;
        SELECT digest, attempt, deadline_ms, lease_end_ms FROM countersign_nonces LIMIT 0;
        SELECT namespace, retention_ms, raised_ms, dropped_up_to_ms FROM countersign_namespaces LIMIT 0;
        SELECT 'countersign_record'::regproc, 'countersign_hold'::regproc,
               'countersign_is_recorded'::regproc, 'countersign_consume'::regproc"
    );
    let checked = timeout(wait, async {
        let mut connection = connect(options).await?;
        let sql = AssertSqlSafe(in_transaction(&sql, wait));
        let run = sqlx::raw_sql(sql).execute(&mut connection).await;
        let run = run.map_err(error::of_driver);
        // Whatever fails here has nothing to say of the database.
        let _ = connection.close().await;
        run.map(drop)
    });
    checked.await.unwrap_or_else(|_| {
        Err(StoreError::unavailable(format!(
            "PostgreSQL gave no answer within {wait:?}"
        )))
    })
}

impl Steps for PostgresStore {
    async fn step(&self, claim: &Claim, action: Action) -> Result<Answer, StoreError> {
        self.queue.ask(claim, action).await
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
    /// How many transactions may be written at once, from 1 to 64. Default: 2, of which one fills
    /// its batch while the other waits for the disk; more are worth it where a commit takes long,
    /// as with a synchronous standby far away.
    #[must_use]
    pub fn connections(mut self, connections: u16) -> Self {
        self.connections = connections;
        self
    }

    /// For how long a step waits for its answer, and the database for a lock. At most 30 seconds.
    /// Default: 2 seconds, as the verifier's
    /// [`store_timeout`](crate::request::VerifierBuilder::store_timeout).
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// How many records one key of one namespace may have, at least 1. Beyond them it is refused
    /// (429, `key_over_quota`), and other keys are not. Default: 10 million.
    ///
    /// Set it so that the keys of all your senders together fit into the disk.
    ///
    /// Each process counts what it records, and learns of what others record within a second. So a
    /// key can have more, by at most, for each process, a 256th of the quota and the records that it
    /// makes in a second. An event that is sent again is kept for longer than it is counted. A claim
    /// whose outcome is unknown counts.
    #[must_use]
    pub fn records_of_a_key(mut self, records: u64) -> Self {
        self.records_of_a_key = records;
        self
    }

    /// Connects, and [checks](PostgresStore::check) that the tables are there and can be written
    /// to; [`migrate`] makes them.
    ///
    /// # Errors
    /// When the database cannot be reached or is not ready; when a setting is out of its range.
    ///
    /// # Panics
    /// Outside of a Tokio runtime with its timer.
    pub async fn connect(self, options: PgConnectOptions) -> Result<PostgresStore, StoreError> {
        let wait = self.wait;
        if !(1..=64).contains(&self.connections) || wait.is_zero() || wait > MAX_WAIT {
            return Err(StoreError::unavailable(
                "a store has 1 to 64 connections, and waits for at most 30 seconds",
            ));
        }
        if self.records_of_a_key == 0 {
            return Err(StoreError::unavailable("a key may have at least 1 record"));
        }
        // Nothing here is a float, and poolers know nothing of this parameter.
        let options = options.extra_float_digits(None);
        check(&options, wait).await?;
        let (queue, requests) = Queue::new("PostgreSQL", wait, MAX_STEPS);
        let requests = Arc::new(Mutex::new(requests));
        let newest = Arc::new(Newest::default());
        for _ in 0..self.connections {
            let writer = Writer {
                options: options.clone(),
                connection: None,
                queue: Arc::clone(&requests),
                wait,
                newest: Arc::clone(&newest),
            };
            tokio::spawn(writer.run());
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
            quota,
            options,
            wait,
            _alive: alive,
        })
    }
}

/// Below the minute for which the sweep spares what is past.
const MAX_WAIT: Duration = Duration::from_secs(30);

impl Default for PostgresStoreBuilder {
    fn default() -> Self {
        Self {
            connections: 2,
            wait: Duration::from_secs(2),
            records_of_a_key: RECORDS_OF_A_KEY,
        }
    }
}
