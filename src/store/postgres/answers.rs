//! The PostgreSQL store of answers, and answers that are recorded in a handler's own transaction.

use std::{fmt, time::Duration};

use bytes::Bytes;
use sqlx::{
    AssertSqlSafe, PgConnection, PgPool, Postgres, Row as _, Transaction,
    postgres::{PgArguments, PgRow},
    query::Query,
};

use super::{
    answers_of_key::Counts,
    database::Database,
    error,
    pooled::PooledTransaction,
    schema::{Lock, lock as lock_schema},
    sweep,
    time::millis,
};
use crate::{
    clock::Timestamp,
    error::{ConfigError, OpenError, StoreError},
    future::StoreFuture,
    once::{AnswerClaim, AnswerIn, AnswerOutcome, AnswerRecord, AnswerStore, Sharing, StepOutcome},
    store::batched::{
        Line,
        answers::{self, ANSWERS_OF_A_KEY},
    },
};

/// Remembers the answers to intentions in a PostgreSQL database of yours, for all servers of a
/// service.
///
/// Guarantees:
/// - however many claims on one key arrive, from any of the servers, at most one is answered
///   [`AnswerOutcome::Claimed`] until its retention has passed by the clock of the database. Keys
///   are compared by their SHA-256;
/// - each claim and each answer is committed with `synchronous_commit = on`, whatever is set
///   elsewhere. An answer that a handler records is as durable as its own transaction;
/// - a record is never evicted. A key id that has used up its share is refused with
///   [`StoreErrorKind::KeyOverQuota`]. Each process counts the records of a key once a second, and
///   adds those that it makes itself. A count is believed for 3 seconds at most: if later ones fail,
///   nothing is claimed. So a key can have more than its share, by the claims that are under way at
///   one moment, and by what other processes record for it in that time;
/// - a database that is down, slow, a standby or out of room is answered with an error;
/// - a handler's own transaction in the same database can record the answer, with
///   [`PendingAnswer`](crate::idempotency::PendingAnswer).
///
/// The claims of one store use at most half of the connections of its pool at one time, and the
/// look-ups for replays a quarter; each at least one. One sender has half of these places, rounded
/// up, and its other claims wait. The holder of a key waits for no more of them, if the pool has
/// four connections or more, and serves no other store.
///
/// Its table is `countersign_answers`. Records whose retention has passed are dropped by later
/// claims, some at a time. A database that is put back to an older state forgets what came after,
/// and runs it again.
///
/// ```no_run
/// use countersign::{idempotency::IdempotencyLayer, store::PostgresAnswers};
///
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::PgPool::connect("postgres://orders@db.internal/orders").await?;
/// PostgresAnswers::migrate(&pool).await?;
/// let answers = PostgresAnswers::open(pool.clone()).await?;
/// let layer = IdempotencyLayer::builder(answers).in_transaction().build()?;
/// # Ok(()) }
/// ```
///
/// [`StoreErrorKind::KeyOverQuota`]: crate::error::StoreErrorKind::KeyOverQuota
pub struct PostgresAnswers {
    database: Database,
    sharing: Sharing,
    records_of_a_key: u64,
    counts: Counts,
    claiming: Line,
    looking_up: Line,
}

/// Configures a [`PostgresAnswers`].
#[derive(Clone, Debug)]
#[must_use]
pub struct PostgresAnswersBuilder {
    records_of_a_key: u64,
    wait: Duration,
}

const SCHEMA: &str = include_str!("answers_schema.sql");

const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// Takes the key if it is free, or may be taken over. Expired records make room.
const CLAIM: &str = include_str!("answers_claim.sql");

const FIND: &str = "
SELECT fingerprint, deadline_ms, lease_end_ms, answer,
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms
FROM countersign_answers WHERE digest = $1";

const DROP_EXPIRED: &str = "
WITH ended AS MATERIALIZED (
    SELECT digest FROM countersign_answers
    WHERE deadline_ms <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    ORDER BY deadline_ms LIMIT 1000 FOR UPDATE SKIP LOCKED
)
DELETE FROM countersign_answers USING ended WHERE countersign_answers.digest = ended.digest";

type Bound<'q> = Query<'q, Postgres, PgArguments>;

impl PostgresAnswers {
    /// The table, for those whose migrations are made elsewhere. Can be run again.
    pub const SCHEMA: &str = SCHEMA;

    /// Opens the store in this database with every default; [`migrate`](Self::migrate) makes its
    /// table.
    ///
    /// # Errors
    /// Returns an error as [`PostgresAnswersBuilder::open`] does.
    pub async fn open(pool: PgPool) -> Result<Self, OpenError> {
        Self::builder().open(pool).await
    }

    /// Configures a store.
    pub fn builder() -> PostgresAnswersBuilder {
        PostgresAnswersBuilder {
            records_of_a_key: ANSWERS_OF_A_KEY,
            wait: Duration::from_millis(1500),
        }
    }

    /// Makes the table, unless it is there. Several servers may do so at once.
    ///
    /// # Errors
    /// Returns an error if the database refuses or cannot be reached.
    pub async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
        let migrated = async {
            let mut transaction = pool.begin().await?;
            // `IF NOT EXISTS` alone fails if two run at once.
            lock_schema(&mut transaction, Lock::Wait).await?;
            sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
            transaction.commit().await
        };
        migrated.await.map_err(error::of_driver)
    }

    /// Drops the records whose retention has passed, 1,000 in a transaction and up to a million, and
    /// returns how many these were. Each claim drops some as well, so that a store in use needs no
    /// call. Several servers may do so at once.
    ///
    /// ```no_run
    /// # async fn f(pool: sqlx::PgPool) -> Result<(), countersign::error::StoreError> {
    /// use countersign::store::PostgresAnswers;
    ///
    /// let dropped = PostgresAnswers::drop_expired(&pool).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the database refuses or cannot be reached. Records that were dropped
    /// until then stay dropped.
    pub async fn drop_expired(pool: &PgPool) -> Result<u64, StoreError> {
        let dropped = sweep::in_batches(pool, async |connection| {
            let run = sqlx::query(DROP_EXPIRED)
                .persistent(false)
                .execute(connection);
            Ok(run.await?.rows_affected())
        });
        dropped.await.map_err(error::of_driver)
    }

    async fn try_claim(&self, claim: &AnswerClaim) -> Result<AnswerOutcome, StoreError> {
        let _turn = self.claiming.turn(claim).await;
        let owner = claim.owner();
        // A retry is told what is known also if there is no room, and may take its record over.
        let records = self
            .counts
            .records(&self.database, owner, self.records_of_a_key);
        let has_room = records.await? < self.records_of_a_key;
        // A record may be released between the two statements.
        for _ in 0..3 {
            let outcome = self.database.transact(async |connection| {
                let claiming = sqlx::query(CLAIM)
                    .bind(claim.digest().as_slice())
                    .bind(owner.as_slice())
                    .bind(claim.fingerprint().as_slice())
                    .bind(claim.attempt().to_bytes().to_vec())
                    .bind(millis(claim.retention()))
                    .bind(millis(claim.lease()))
                    .bind(claim.runs_again())
                    .bind(has_room)
                    .persistent(false);
                let row = claiming.fetch_one(&mut *connection).await;
                let claimed =
                    row.and_then(|row| Ok((row.try_get("claimed")?, row.try_get("is_one_more")?)));
                let (is_claimed, is_one_more) = claimed.map_err(error::of_driver)?;
                if is_claimed {
                    return Ok((Some(AnswerOutcome::Claimed), is_one_more));
                }
                Ok((find(connection, claim).await?, false))
            });
            let (outcome, is_one_more) = outcome.await?;
            if is_one_more {
                self.counts.add(owner);
            }
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
            if !has_room {
                return Err(answers::over_quota());
            }
        }
        Err(StoreError::unavailable(
            "PostgreSQL found the key neither free nor taken",
        ))
    }

    async fn try_find(&self, claim: &AnswerClaim) -> Result<Option<AnswerOutcome>, StoreError> {
        let _turn = self.looking_up.turn(claim).await;
        self.database
            .transact(async |connection| find(connection, claim).await)
            .await
    }

    /// Changes a record that has no answer.
    async fn step(&self, query: Bound<'_>) -> Result<StepOutcome, StoreError> {
        let rows = self.database.transact(async |connection| {
            let run = query.persistent(false).execute(connection).await;
            Ok(run.map_err(error::of_driver)?.rows_affected())
        });
        Ok(answers::done(rows.await?))
    }
}

async fn find(
    connection: &mut PgConnection,
    claim: &AnswerClaim,
) -> Result<Option<AnswerOutcome>, StoreError> {
    let query = sqlx::query(FIND).bind(claim.digest().as_slice());
    let found = query.persistent(false).fetch_optional(connection).await;
    let Some(row) = found.map_err(error::of_driver)? else {
        return Ok(None);
    };
    let (record, now) = read(&row)?;
    Ok(record.judge(claim, now))
}

fn read(row: &PgRow) -> Result<(AnswerRecord, Timestamp), StoreError> {
    let columns = (|| {
        Ok((
            row.try_get("fingerprint")?,
            row.try_get("deadline_ms")?,
            row.try_get("lease_end_ms")?,
            row.try_get("answer")?,
            row.try_get("now_ms")?,
        ))
    })();
    let (fingerprint, deadline, lease_end, answer, now) = columns.map_err(error::of_driver)?;
    let record = answers::record(fingerprint, deadline, lease_end, answer)?;
    Ok((record, answers::moment(now)?))
}

/// The record of the claim's attempt, if it has no answer and has not ended.
fn of_attempt<'q>(sql: &str, claim: &AnswerClaim) -> Bound<'q> {
    let sql = format!(
        "{sql} WHERE digest = $1 AND attempt = $2 AND answer IS NULL AND deadline_ms > {NOW}"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(claim.digest().to_vec())
        .bind(claim.attempt().to_bytes().to_vec())
}

impl AnswerStore for PostgresAnswers {
    fn sharing(&self) -> Sharing {
        self.sharing
    }

    fn claim<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, AnswerOutcome> {
        StoreFuture::new(self.try_claim(claim))
    }

    fn find<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, Option<AnswerOutcome>> {
        StoreFuture::new(self.try_find(claim))
    }

    fn renew<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        lease: Duration,
    ) -> StoreFuture<'a, StepOutcome> {
        let sql = format!("UPDATE countersign_answers SET lease_end_ms = {NOW} + $3");
        StoreFuture::new(self.step(of_attempt(&sql, claim).bind(millis(lease))))
    }

    fn record<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
    ) -> StoreFuture<'a, StepOutcome> {
        let sql = "UPDATE countersign_answers SET answer = $3";
        StoreFuture::new(self.step(of_attempt(sql, claim).bind(answer.as_ref())))
    }

    fn release<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, StepOutcome> {
        let sql = "DELETE FROM countersign_answers";
        StoreFuture::new(self.step(of_attempt(sql, claim)))
    }

    fn resolve<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
    ) -> StoreFuture<'a, StepOutcome> {
        let sql = format!(
            "UPDATE countersign_answers SET answer = $2 WHERE digest = $1 AND answer IS NULL
                AND lease_end_ms <= {NOW} AND deadline_ms > {NOW}"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(claim.digest().to_vec());
        StoreFuture::new(self.step(query.bind(answer.as_ref())))
    }
}

/// The database needs the table of
/// [`PostgresAnswers::migrate`](crate::store::PostgresAnswers::migrate), and is the one that the
/// store of the layer was opened in.
impl AnswerIn for Transaction<'_, Postgres> {
    /// Waits for a lock as long as the transaction's own `lock_timeout` says, whatever `wait` is.
    fn record_answer<'a>(
        &'a mut self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
        _: Duration,
    ) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::new(record(self, claim, answer))
    }
}

impl AnswerIn for PooledTransaction {
    /// Waits for a lock as long as the transaction's own `lock_timeout` says, whatever `wait` is.
    fn record_answer<'a>(
        &'a mut self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
        _: Duration,
    ) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::new(record(self.connection(), claim, answer))
    }
}

async fn record(
    connection: &mut PgConnection,
    claim: &AnswerClaim,
    answer: &[u8],
) -> Result<StepOutcome, StoreError> {
    let sql = "UPDATE countersign_answers SET answer = $3";
    let query = of_attempt(sql, claim).bind(answer).persistent(false);
    let run = query.execute(connection).await;
    Ok(answers::done(
        run.map_err(error::of_driver)?.rows_affected(),
    ))
}

impl fmt::Debug for PostgresAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresAnswers")
            .field("records_of_a_key", &self.records_of_a_key)
            .finish_non_exhaustive()
    }
}

impl PostgresAnswersBuilder {
    /// Sets the most records that one key id of one namespace may have. Default: 1 million. Range:
    /// at least 1. A record whose retention has passed does not count, a second later at most.
    ///
    /// Each process counts what it records, and learns of what others record within a second. So a
    /// key can have more, by what other processes record for it in a second.
    pub fn records_of_a_key(mut self, records: u64) -> Self {
        self.records_of_a_key = records;
        self
    }

    /// Limits how long the database waits for a lock, and for a statement. Default: 1.5 seconds,
    /// which is below the layer's
    /// [`store_timeout`](crate::idempotency::IdempotencyLayerBuilder::store_timeout). Range: more
    /// than zero, and at most 30 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.wait = timeout;
        self
    }

    /// Opens the store in this database.
    ///
    /// # Errors
    /// Returns [`OpenError::Config`] if a setting is out of its range, or the table is not there, and
    /// [`OpenError::Store`] if the database cannot be reached.
    pub async fn open(self, pool: PgPool) -> Result<PostgresAnswers, OpenError> {
        answers::check_quota(self.records_of_a_key)?;
        ConfigError::unless_wait(self.wait, "a PostgreSQL store of answers")?;
        let connections = pool.options().get_max_connections();
        let database = Database::new(pool, self.wait);
        let tables = "SELECT digest, owner, fingerprint, attempt, deadline_ms, lease_end_ms, answer
            FROM countersign_answers LIMIT 0;
            SELECT format('%s/%s/%s', system_identifier, current_database(),
                'countersign_answers'::regclass::oid) FROM pg_control_system()";
        let checked = database.transact(async |connection| {
            let found = sqlx::raw_sql(tables).fetch_one(connection).await;
            found
                .and_then(|row| row.try_get(0))
                .map_err(error::of_driver)
        });
        let identity: String = checked.await?;
        Ok(PostgresAnswers {
            database,
            sharing: Sharing::of_database(identity),
            records_of_a_key: self.records_of_a_key,
            counts: Counts::default(),
            claiming: Line::new(connections / 2),
            looking_up: Line::new(connections / 4),
        })
    }
}
