//! The configuration of a SQLite store of answers, and which databases it refuses.

use std::sync::Arc;

use sqlx::SqlitePool;
use tokio::sync::Mutex;

use super::{answers::SqliteAnswers, error};
use crate::{
    clock::{Clock, SystemClock},
    error::{ConfigError, ConfigErrorKind, OpenError},
    once::Sharing,
    store::batched::{
        Line,
        answers::{self, ANSWERS_OF_A_KEY},
    },
};

/// Configures a [`SqliteAnswers`].
#[derive(Debug)]
#[must_use]
pub struct SqliteAnswersBuilder {
    records_of_a_key: u64,
    clock: Arc<dyn Clock>,
}

impl SqliteAnswers {
    /// Opens the store in this database with every default; [`migrate`](Self::migrate) makes its
    /// tables.
    ///
    /// # Errors
    /// Returns an error as [`SqliteAnswersBuilder::open`] does.
    pub async fn open(pool: SqlitePool) -> Result<Self, OpenError> {
        Self::builder().open(pool).await
    }

    /// Configures a store.
    pub fn builder() -> SqliteAnswersBuilder {
        SqliteAnswersBuilder::default()
    }
}

impl Default for SqliteAnswersBuilder {
    fn default() -> Self {
        Self {
            records_of_a_key: ANSWERS_OF_A_KEY,
            clock: Arc::new(SystemClock),
        }
    }
}

/// The answer of `PRAGMA synchronous` for `FULL`.
const FULL: i64 = 2;

impl SqliteAnswersBuilder {
    /// Sets the most records that one key id of one namespace may have. Default: 1 million. Range:
    /// at least 1. A key at this number is served again as soon as the retention of a record has
    /// passed.
    pub fn records_of_a_key(mut self, records: u64) -> Self {
        self.records_of_a_key = records;
        self
    }

    /// Sets the clock that retentions and leases pass by. Default: the system's. All processes that
    /// share the database need the same.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Opens the store in this database.
    ///
    /// # Errors
    /// Returns [`OpenError::Config`] if a setting is out of its range, if the database is in
    /// memory, if its connections do not have `synchronous=FULL`, or if the tables are not there.
    /// Returns [`OpenError::Store`] if the database gives no answer.
    pub async fn open(self, pool: SqlitePool) -> Result<SqliteAnswers, OpenError> {
        answers::check_quota(self.records_of_a_key)?;
        let mut connection = pool.acquire().await.map_err(error::of_driver)?;
        let synchronous = sqlx::query_scalar("PRAGMA synchronous");
        let synchronous: i64 = synchronous
            .fetch_one(&mut *connection)
            .await
            .map_err(error::of_driver)?;
        let file = sqlx::query_scalar("SELECT file FROM pragma_database_list WHERE name = 'main'");
        let file: Option<String> = file
            .fetch_one(&mut *connection)
            .await
            .map_err(error::of_driver)?;
        let refuse = |what: &'static str| {
            let kind = ConfigErrorKind::StorePlace(what.into());
            Err(OpenError::from(ConfigError::from(kind)))
        };
        if synchronous < FULL {
            return refuse(
                "the connections of a SQLite store of answers need `synchronous=FULL`, so that what \
                 was answered is on the disk",
            );
        }
        let file = file.unwrap_or_default();
        if file.is_empty() {
            return refuse(
                "a database in memory, or in a temporary file, would not be there after a restart; \
                 name a file",
            );
        }
        let tables = "SELECT digest, owner, fingerprint, attempt, deadline, lease_end, answer
            FROM countersign_answer LIMIT 0";
        let found = sqlx::query(tables).fetch_optional(&mut *connection).await;
        found.map_err(error::of_driver)?;
        drop(connection);
        Ok(SqliteAnswers {
            pool,
            sharing: Sharing::of_database(file),
            records_of_a_key: self.records_of_a_key,
            clock: self.clock,
            claiming: Line::new(1),
            writing: Mutex::default(),
        })
    }
}
