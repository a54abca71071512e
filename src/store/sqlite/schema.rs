//! The tables, and what a connection to them is set to.

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::time::{Instant, sleep};

use super::{
    error,
    mark::{Mark, Marked},
    time::{millis, millis_of},
};
use crate::{
    clock::Timestamp,
    error::{ConfigError, ConfigErrorKind, OpenError, StoreError},
};

/// The format that this version of the store writes and reads.
const VERSION: i64 = 2;

/// Memory for pages of the database, in kibibytes: enough for all but the leaves, at 10 million
/// nonces. These are better left to the cache of the system: with more memory, SQLite is slower.
const CACHE_KIB: i64 = 16 * 1024;

/// The number of pages after which the log is moved to the database. With more, a page that several
/// claims wrote is moved only once. With fewer, the claims that wait for it wait less.
const CHECKPOINT_PAGES: u32 = 16_000;

/// To what the log is cut once all of it was moved.
const LOG_BYTES: u32 = 64 << 20;

/// See [`SqliteStore::SCHEMA`](super::SqliteStore::SCHEMA).
pub(super) const SCHEMA: &str = "\
CREATE TABLE IF NOT EXISTS countersign_store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    identity BLOB NOT NULL,
    since INTEGER NOT NULL,
    watermark INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS countersign_namespace (
    name TEXT PRIMARY KEY,
    retention INTEGER NOT NULL,
    raised INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS countersign_key (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    key_id TEXT NOT NULL,
    records INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    UNIQUE (namespace, key_id)
) STRICT;
CREATE TABLE IF NOT EXISTS countersign_nonce (
    digest BLOB PRIMARY KEY,
    deadline INTEGER NOT NULL,
    key INTEGER NOT NULL,
    attempt BLOB,
    lease_end INTEGER
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO countersign_store (id, version, identity, since, watermark)
    VALUES (1, 2, randomblob(16), CAST(unixepoch('subsec') * 1000 AS INTEGER), 0);
";

/// A connection that is durable: a commit is on the disk when it is answered.
pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // Some systems need more than `fsync` to reach the disk.
        .pragma("fullfsync", "1")
        .pragma("checkpoint_fullfsync", "1")
        .pragma("cache_size", (-CACHE_KIB).to_string())
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        .pragma("journal_size_limit", LOG_BYTES.to_string())
        // A step that waits for the lock asks again soon: see `begin`.
        .busy_timeout(Duration::ZERO)
        .disable_statement_logging()
        .thread_name(|id| format!("countersign-sqlite-{id}"))
}

/// Connects. Connecting takes the lock if the log is recovered or the database is new, and is tried
/// again while another process has it.
pub(super) async fn connect(
    options: &SqliteConnectOptions,
    wait: Duration,
) -> Result<SqliteConnection, StoreError> {
    let deadline = Instant::now() + wait;
    loop {
        match options.connect().await {
            Err(error) if error::is_busy(&error) && Instant::now() < deadline => pause().await,
            connected => return connected.map_err(error::of_driver),
        }
    }
}

/// Creates the tables if they do not exist, and checks that they are ours. For new tables, `since`
/// is recorded as the moment before which nothing is known. If the database is not the one that was
/// used last, `now` is recorded. Returns the identity of the database.
pub(super) async fn prepare(
    connection: &mut SqliteConnection,
    mark: &mut Mark,
    (since, now): (Timestamp, Timestamp),
    wait: Duration,
) -> Result<[u8; 16], OpenError> {
    let mode: String = scalar(connection, "PRAGMA journal_mode").await?;
    if mode != "wal" {
        let place = format!(
            "the database is in journal mode `{mode}`; the store needs a file on a local disk"
        );
        return Err(ConfigError::from(ConfigErrorKind::StorePlace(place.into())).into());
    }
    begin(connection, wait).await?;
    let is_new = create(connection).await?;
    if is_new {
        know_nothing_before(connection, since).await?;
    }
    check_version(scalar(connection, "SELECT version FROM countersign_store").await?)?;
    let found = Marked {
        identity: identity(connection).await?,
        steps: scalar::<i64>(connection, STEPS).await?.unsigned_abs(),
    };
    let marked = mark.read().map_err(error::of_mark)?;
    if let Some(reason) = is_another(found, marked, is_new) {
        know_nothing_before(connection, now).await?;
        tracing::error!(
            "{reason}. Requests that were signed until now are refused; an event, or a request \
             whose signature covers no time, may be accepted again"
        );
    }
    // The mark of new tables is there before they are: another process, which finds them as soon as they
    // are committed, must not take them for a copy. If they are not committed, the next ones have another
    // identity. The mark of other tables comes after what was recorded of them.
    if is_new {
        mark.replace(found).map_err(error::of_mark)?;
        commit(connection).await?;
    } else {
        commit(connection).await?;
        mark.replace(found).map_err(error::of_mark)?;
    }
    Ok(found.identity)
}

/// Why the database is not the one that was used last, if it is not.
fn is_another(found: Marked, marked: Option<Marked>, is_new: bool) -> Option<&'static str> {
    match marked {
        None if is_new => None,
        None => Some(
            "the database has no file `-mark` beside it: was the database restored or moved alone?",
        ),
        Some(marked) if found.identity != marked.identity => Some(
            "the file `-mark` beside the database belongs to another database: was the database \
             deleted, or another put in its place?",
        ),
        Some(marked) if found.steps < marked.steps => Some(
            "the database has lost records: was its log deleted, or an older copy put in its place?",
        ),
        Some(_) => None,
    }
}

async fn identity(connection: &mut SqliteConnection) -> Result<[u8; 16], StoreError> {
    let identity: Vec<u8> = scalar(connection, "SELECT identity FROM countersign_store").await?;
    let unreadable = |_| StoreError::unavailable("the database's identity is not 16 bytes");
    identity.try_into().map_err(unreadable)
}

const STEPS: &str = "SELECT coalesce(sum(steps), 0) FROM countersign_key";

async fn know_nothing_before(
    connection: &mut SqliteConnection,
    since: Timestamp,
) -> Result<(), StoreError> {
    let query = sqlx::query("UPDATE countersign_store SET since = ?").bind(millis(since));
    let updated = query.execute(connection).await;
    updated.map(drop).map_err(error::of_driver)
}

async fn scalar<T>(connection: &mut SqliteConnection, sql: &'static str) -> Result<T, StoreError>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + Unpin,
{
    let query = sqlx::query_scalar(sql);
    query.fetch_one(connection).await.map_err(error::of_driver)
}

/// Returns whether the tables were not there before.
async fn create(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'countersign_store'";
    let found: i64 = scalar(connection, sql).await?;
    if found == 0 {
        let made = sqlx::raw_sql(SCHEMA).execute(connection).await;
        made.map_err(error::of_driver)?;
    }
    Ok(found == 0)
}

/// A store of another version may keep something else under the same names.
pub(super) fn check_version(version: i64) -> Result<(), StoreError> {
    if version == VERSION {
        return Ok(());
    }
    let message =
        format!("the database has the tables of version {version}, and this is version {VERSION}");
    Err(StoreError::unavailable(message).misconfigured())
}

/// See [`SqliteStore::extend_retention`](super::SqliteStore::extend_retention).
pub(super) async fn extend_retention(
    connection: &mut SqliteConnection,
    namespace: &str,
    retention: Duration,
    now: Timestamp,
    wait: Duration,
) -> Result<(), StoreError> {
    let sql = "UPDATE countersign_namespace SET retention = ?1, raised = ?2
        WHERE name = ?3 AND retention < ?1";
    begin(connection, wait).await?;
    sqlx::query(sql)
        .bind(millis_of(retention))
        .bind(millis(now))
        .bind(namespace)
        .execute(&mut *connection)
        .await
        .map_err(error::of_driver)?;
    commit(connection).await
}

/// See [`SqliteStore::danger_assume_no_history`](super::SqliteStore::danger_assume_no_history).
pub(super) async fn assume_no_history(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    // A database with a record is left as it is: it may have lost something since.
    let sql = "UPDATE countersign_store SET since = 0
        WHERE watermark = 0 AND NOT EXISTS (SELECT 1 FROM countersign_namespace)";
    sqlx::query(sql).execute(pool).await.map(drop)
}

/// Commits a write, over a connection of its own.
pub(super) async fn check(
    options: &SqliteConnectOptions,
    wait: Duration,
) -> Result<(), StoreError> {
    let mut connection = connect(options, wait).await?;
    begin(&mut connection, wait).await?;
    check_version(scalar(&mut connection, "SELECT version FROM countersign_store").await?)?;
    let sql = "UPDATE countersign_store SET version = version;
        SELECT retention, raised FROM countersign_namespace LIMIT 0;
        SELECT records, steps FROM countersign_key LIMIT 0;
        SELECT digest, deadline, key, attempt, lease_end FROM countersign_nonce LIMIT 0";
    let run = sqlx::raw_sql(sql).execute(&mut connection).await;
    run.map_err(error::of_driver)?;
    commit(&mut connection).await?;
    // A failure here says nothing about the database.
    let _ = connection.close().await;
    Ok(())
}

/// Begins a transaction that may write, as soon as no other does: asks again every millisecond or
/// so. (SQLite's own way waits for longer and longer, and a busy process would shut others out.)
///
/// An error from here on drops the connection, which rolls back.
pub(super) async fn begin(
    connection: &mut SqliteConnection,
    wait: Duration,
) -> Result<(), StoreError> {
    let deadline = Instant::now() + wait;
    loop {
        match execute(connection, "BEGIN IMMEDIATE").await {
            Err(error) if error::is_busy(&error) && Instant::now() < deadline => {
                pause().await;
            }
            begun => return begun.map_err(error::of_driver),
        }
    }
}

async fn pause() {
    sleep(Duration::from_micros(500 + crate::random::u64() % 1000)).await;
}

/// Ends a transaction: what was written is on the disk.
pub(super) async fn commit(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    execute(connection, "COMMIT")
        .await
        .map_err(error::of_driver)
}

async fn execute(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> Result<(), sqlx::Error> {
    sqlx::query(statement).execute(connection).await.map(drop)
}
