//! The SQLite store of answers, and answers that are recorded in a handler's own transaction.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use sqlx::{
    Row as _, Sqlite, SqliteConnection, SqliteExecutor, SqlitePool, Transaction,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use tokio::sync::Mutex;

use super::{error, time::millis};
use crate::{
    clock::{Clock, SystemClock, Timestamp},
    error::StoreError,
    future::StoreFuture,
    once::{AnswerClaim, AnswerIn, AnswerOutcome, AnswerRecord, AnswerStore, Sharing, StepOutcome},
    store::batched::{
        Line,
        answers::{self, SWEPT},
    },
};

/// Remembers the answers to intentions in a SQLite database of yours, shared by the processes of
/// one host.
///
/// Guarantees:
/// - however many claims on one key arrive, from any of the processes, at most one is answered
///   [`AnswerOutcome::Claimed`] until its retention has passed by the clock of the host. Keys are
///   compared by their SHA-256;
/// - each claim and each answer is on the disk before it counts, unless the disk loses writes. A
///   database that is not opened with `synchronous=FULL` is refused, and so is a database in memory;
/// - a record is never evicted. A key id that has used up its share is refused with
///   [`StoreErrorKind::KeyOverQuota`], and a full disk with [`StoreErrorKind::Full`];
/// - a handler's own transaction in the same database can record the answer, with
///   [`PendingAnswer`](crate::idempotency::PendingAnswer).
///
/// Its tables begin with `countersign_answer`. Records whose retention has passed are dropped by
/// later claims, some at a time. Give the pool a `busy_timeout` below the layer's
/// [`store_timeout`](crate::idempotency::IdempotencyLayerBuilder::store_timeout).
///
/// ```
/// use countersign::{idempotency::IdempotencyLayer, store::SqliteAnswers};
/// use sqlx::{SqlitePool, sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous}};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let folder = std::env::temp_dir().join(format!("countersign-answers-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let file = folder.join("payments.db");
/// let options = SqliteConnectOptions::new()
///     .filename(&file)
///     .create_if_missing(true)
///     .journal_mode(SqliteJournalMode::Wal)
///     .synchronous(SqliteSynchronous::Full);
/// let pool = SqlitePool::connect_with(options).await?;
/// SqliteAnswers::migrate(&pool).await?;
/// let layer = IdempotencyLayer::new(SqliteAnswers::open(pool.clone()).await?);
/// # pool.close().await;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # Ok::<_, std::io::Error>(())
/// ```
///
/// [`StoreErrorKind::Full`]: crate::error::StoreErrorKind::Full
/// [`StoreErrorKind::KeyOverQuota`]: crate::error::StoreErrorKind::KeyOverQuota
pub struct SqliteAnswers {
    pub(super) pool: SqlitePool,
    pub(super) sharing: Sharing,
    pub(super) records_of_a_key: u64,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) claiming: Line,
    /// SQLite has one writer, and lets others try again from time to time: here they have a line.
    pub(super) writing: Mutex<()>,
}

const SCHEMA: &str = "\
CREATE TABLE IF NOT EXISTS countersign_answer (
    digest BLOB PRIMARY KEY,
    owner BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    attempt BLOB NOT NULL,
    deadline INTEGER NOT NULL,
    lease_end INTEGER NOT NULL,
    answer BLOB
) STRICT;
CREATE INDEX IF NOT EXISTS countersign_answer_by_deadline ON countersign_answer (deadline);
CREATE INDEX IF NOT EXISTS countersign_answer_by_owner ON countersign_answer (owner, deadline);
CREATE TABLE IF NOT EXISTS countersign_answer_key (
    owner BLOB PRIMARY KEY,
    records INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS countersign_answer_inserted AFTER INSERT ON countersign_answer BEGIN
    INSERT INTO countersign_answer_key (owner, records) VALUES (new.owner, 1)
        ON CONFLICT (owner) DO UPDATE SET records = records + 1;
END;
CREATE TRIGGER IF NOT EXISTS countersign_answer_deleted AFTER DELETE ON countersign_answer BEGIN
    UPDATE countersign_answer_key SET records = records - 1 WHERE owner = old.owner;
    DELETE FROM countersign_answer_key WHERE owner = old.owner AND records <= 0;
END;
";

impl SqliteAnswers {
    /// The tables, as statements that do nothing if the tables are there: for those who keep their
    /// schema in migrations of their own.
    pub const SCHEMA: &str = SCHEMA;

    /// Makes the tables, unless they are there.
    ///
    /// # Errors
    /// Returns an error if the database gives no answer.
    pub async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
        let run = sqlx::raw_sql(SCHEMA).execute(pool).await;
        run.map(drop).map_err(error::of_driver)
    }

    /// Drops the records whose retention has passed by the system's clock, 1,000 in a transaction,
    /// and returns how many these were. Each claim drops some as well, so that a store in use needs
    /// no call.
    ///
    /// ```no_run
    /// # async fn f(pool: sqlx::SqlitePool) -> Result<(), countersign::error::StoreError> {
    /// use countersign::store::SqliteAnswers;
    ///
    /// let dropped = SqliteAnswers::drop_expired(&pool).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the database gives no answer. Records that were dropped until then stay
    /// dropped.
    pub async fn drop_expired(pool: &SqlitePool) -> Result<u64, StoreError> {
        const BATCH: i64 = 1000;
        let mut dropped = 0;
        loop {
            let batch = sweep(pool, None, SystemClock.now(), BATCH).await;
            let batch = batch.map_err(error::of_driver)?;
            dropped += batch;
            if batch < BATCH.unsigned_abs() {
                return Ok(dropped);
            }
        }
    }

    /// Claims in a transaction that has the lock, so that what is read is what is there.
    async fn try_claim(&self, claim: &AnswerClaim) -> Result<AnswerOutcome, StoreError> {
        let _turn = self.claiming.turn(claim).await;
        let _writing = self.writing.lock().await;
        let begun = self.pool.begin_with("BEGIN IMMEDIATE").await;
        let mut transaction = begun.map_err(error::of_driver)?;
        let now = self.clock.now();
        let found = find(&mut transaction, claim).await?;
        let taken_over = match &found {
            Some(found) => match found.judge(claim, now) {
                Some(outcome) => return Ok(outcome),
                None => true,
            },
            None => false,
        };
        let claimed = claimed(
            &mut transaction,
            claim,
            now,
            taken_over,
            self.records_of_a_key,
        );
        claimed.await?;
        transaction.commit().await.map_err(error::of_driver)?;
        Ok(AnswerOutcome::Claimed)
    }

    /// Changes a record that has no answer.
    async fn step(&self, query: Bound<'_>) -> Result<StepOutcome, StoreError> {
        let _writing = self.writing.lock().await;
        let run = query.execute(&self.pool).await.map_err(error::of_driver)?;
        Ok(answers::done(run.rows_affected()))
    }

    /// A statement of which `?1` is the digest, `?2` the attempt and `?3` the time.
    fn bound<'q>(&self, sql: &'static str, claim: &AnswerClaim) -> Bound<'q> {
        sqlx::query(sql)
            .bind(claim.digest().to_vec())
            .bind(claim.attempt().to_bytes().to_vec())
            .bind(millis(self.clock.now()))
    }
}

type Bound<'q> = Query<'q, Sqlite, SqliteArguments>;

async fn find(
    connection: &mut SqliteConnection,
    claim: &AnswerClaim,
) -> Result<Option<AnswerRecord>, StoreError> {
    let sql = "SELECT fingerprint, deadline, lease_end, answer FROM countersign_answer
        WHERE digest = ?";
    let query = sqlx::query(sql).bind(claim.digest().as_slice());
    let found = query.fetch_optional(connection).await;
    let found = found.map_err(error::of_driver)?;
    found.as_ref().map(read).transpose()
}

fn read(row: &SqliteRow) -> Result<AnswerRecord, StoreError> {
    let columns = (|| {
        Ok((
            row.try_get("fingerprint")?,
            row.try_get("deadline")?,
            row.try_get("lease_end")?,
            row.try_get("answer")?,
        ))
    })();
    let (fingerprint, deadline, lease_end, answer) = columns.map_err(error::of_driver)?;
    answers::record(fingerprint, deadline, lease_end, answer)
}

async fn claimed(
    connection: &mut SqliteConnection,
    claim: &AnswerClaim,
    now: Timestamp,
    taken_over: bool,
    records_of_a_key: u64,
) -> Result<(), StoreError> {
    let owner = claim.owner().to_vec();
    // Its own first, so that what has ended does not count, whatever others have left.
    for whose in [Some(&owner), None] {
        let swept = sweep(&mut *connection, whose, now, SWEPT).await;
        swept.map_err(error::of_driver)?;
    }
    if taken_over {
        let sql = "DELETE FROM countersign_answer WHERE digest = ?";
        let deleting = sqlx::query(sql).bind(claim.digest().as_slice());
        deleting
            .execute(&mut *connection)
            .await
            .map_err(error::of_driver)?;
    }
    let sql = "SELECT records FROM countersign_answer_key WHERE owner = ?";
    let query = sqlx::query_scalar(sql).bind(&owner);
    let records: Option<i64> = query
        .fetch_optional(&mut *connection)
        .await
        .map_err(error::of_driver)?;
    if records.unwrap_or_default().unsigned_abs() >= records_of_a_key {
        return Err(answers::over_quota());
    }
    let sql = "INSERT INTO countersign_answer
        (digest, owner, fingerprint, attempt, deadline, lease_end) VALUES (?, ?, ?, ?, ?, ?)";
    let inserting = sqlx::query(sql)
        .bind(claim.digest().as_slice())
        .bind(owner)
        .bind(claim.fingerprint().as_slice())
        .bind(claim.attempt().to_bytes().to_vec())
        .bind(millis(now.saturating_add(claim.retention())))
        .bind(millis(now.saturating_add(claim.lease())));
    let inserted = inserting.execute(connection).await;
    inserted.map(drop).map_err(error::of_driver)
}

/// Drops at most this number of expired records, of one key or of all.
async fn sweep(
    connection: impl SqliteExecutor<'_>,
    owner: Option<&Vec<u8>>,
    now: Timestamp,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let sql = match owner {
        Some(_) => {
            "DELETE FROM countersign_answer WHERE rowid IN (SELECT rowid FROM countersign_answer
                WHERE deadline <= ?1 AND owner = ?3 LIMIT ?2)"
        }
        None => {
            "DELETE FROM countersign_answer WHERE rowid IN (SELECT rowid FROM countersign_answer
                WHERE deadline <= ?1 LIMIT ?2)"
        }
    };
    let mut query = sqlx::query(sql).bind(millis(now)).bind(most);
    if let Some(owner) = owner {
        query = query.bind(owner);
    }
    Ok(query.execute(connection).await?.rows_affected())
}

impl AnswerStore for SqliteAnswers {
    fn sharing(&self) -> Sharing {
        self.sharing
    }

    fn claim<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, AnswerOutcome> {
        StoreFuture::new(self.try_claim(claim))
    }

    fn find<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, Option<AnswerOutcome>> {
        StoreFuture::new(async move {
            let mut connection = self.pool.acquire().await.map_err(error::of_driver)?;
            let found = find(&mut connection, claim).await?;
            Ok(found.and_then(|found| found.judge(claim, self.clock.now())))
        })
    }

    fn renew<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        lease: Duration,
    ) -> StoreFuture<'a, StepOutcome> {
        let sql = "UPDATE countersign_answer SET lease_end = ?4
            WHERE digest = ?1 AND attempt = ?2 AND answer IS NULL AND deadline > ?3";
        let end = self.clock.now().saturating_add(lease);
        StoreFuture::new(self.step(self.bound(sql, claim).bind(millis(end))))
    }

    fn record<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
    ) -> StoreFuture<'a, StepOutcome> {
        let sql = "UPDATE countersign_answer SET answer = ?4
            WHERE digest = ?1 AND attempt = ?2 AND answer IS NULL AND deadline > ?3";
        StoreFuture::new(self.step(self.bound(sql, claim).bind(answer.as_ref())))
    }

    fn release<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, StepOutcome> {
        let sql = "DELETE FROM countersign_answer
            WHERE digest = ?1 AND attempt = ?2 AND answer IS NULL AND deadline > ?3";
        StoreFuture::new(self.step(self.bound(sql, claim)))
    }

    fn resolve<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
    ) -> StoreFuture<'a, StepOutcome> {
        // Whichever attempt it was.
        let sql = "UPDATE countersign_answer SET answer = ?4 WHERE digest = ?1 AND ?2 IS NOT NULL
            AND answer IS NULL AND lease_end <= ?3 AND deadline > ?3";
        StoreFuture::new(self.step(self.bound(sql, claim).bind(answer.as_ref())))
    }
}

/// The database needs the tables of
/// [`SqliteAnswers::migrate`](crate::store::SqliteAnswers::migrate), and is the one that the store
/// of the layer was opened in. Begin with `pool.begin_with("BEGIN IMMEDIATE")`. The retention of a
/// record passes by the system's clock here, whatever clock the store has.
impl AnswerIn for Transaction<'_, Sqlite> {
    /// SQLite waits for its lock as long as the connection's `busy_timeout` says, whatever `wait`
    /// is.
    fn record_answer<'a>(
        &'a mut self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
        _: Duration,
    ) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::new(async move {
            let sql = "UPDATE countersign_answer SET answer = ?3
                WHERE digest = ?1 AND attempt = ?2 AND answer IS NULL AND deadline > ?4";
            let query = sqlx::query(sql)
                .bind(claim.digest().as_slice())
                .bind(claim.attempt().to_bytes().to_vec())
                .bind(answer.as_ref())
                .bind(millis(SystemClock.now()));
            let run = query.execute(&mut **self).await;
            Ok(answers::done(
                run.map_err(error::of_driver)?.rows_affected(),
            ))
        })
    }
}

impl fmt::Debug for SqliteAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteAnswers")
            .field("records_of_a_key", &self.records_of_a_key)
            .finish_non_exhaustive()
    }
}
