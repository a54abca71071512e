//! Many steps in one transaction: what they need is read at once, each is decided, and what they
//! changed is written at once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    iter,
    time::Duration,
};

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    error,
    record::{Key, Limits, Namespace, Record, State, Whole},
    schema::check_version,
    time::{duration, millis, millis_of, timestamp},
};
use crate::{
    clock::Timestamp,
    error::StoreError,
    once::{Claim, MESSAGE_LEN},
    store::batched::{Action, Answer},
};

/// The most steps in one transaction: five values for each are well below SQLite's limit of 32,766
/// in one statement.
pub(super) const MAX_STEPS: usize = 1024;

/// One step of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'a> {
    pub(super) claim: &'a Claim,
    pub(super) digest: [u8; 32],
    pub(super) action: Action,
}

impl<'a> Step<'a> {
    /// The half of the digest that all records of the message have in common.
    fn message(&self) -> [u8; MESSAGE_LEN] {
        let mut message = [0; MESSAGE_LEN];
        message
            .iter_mut()
            .zip(self.digest)
            .for_each(|(to, byte)| *to = byte);
        message
    }

    fn scope(&self) -> Scope<'a> {
        (self.claim.namespace(), self.claim.key_id().as_str())
    }
}

/// The result of a batch.
#[derive(Debug)]
pub(super) struct Applied<'a> {
    pub(super) answers: Vec<Result<Answer, StoreError>>,
    /// For how long the namespaces of the steps are remembered.
    pub(super) retentions: Vec<(&'a str, Duration)>,
    /// How many steps have changed a record, since the tables were made.
    pub(super) steps: u64,
}

/// A namespace, and the id of a key.
type Scope<'a> = (&'a str, &'a str);

/// The values that all steps share.
#[derive(Clone, Debug)]
struct Shared<'a> {
    whole: Whole,
    namespaces: BTreeMap<&'a str, Option<Namespace>>,
    keys: BTreeMap<Scope<'a>, Key>,
}

/// The answer to each step, of which none counts until the transaction is committed. The caller
/// has begun one that may write.
pub(super) async fn apply<'a>(
    connection: &mut SqliteConnection,
    steps: &[Step<'a>],
    now: Timestamp,
    limits: Limits,
) -> Result<Applied<'a>, StoreError> {
    let before = read_shared(connection, steps).await?;
    let mut after = before.clone();
    let records = read_records(connection, steps).await?;
    let mut of_messages = count_messages(connection, steps).await?;
    // In the order of the table, so that neighbours are written one after the other.
    let mut slots: BTreeMap<[u8; 32], Option<Record>> = steps
        .iter()
        .map(|step| (step.digest, records.get(&step.digest).cloned()))
        .collect();

    let mut answers = Vec::with_capacity(steps.len());
    for step in steps {
        let key = after.keys.get_mut(&step.scope());
        let namespace = after.namespaces.get_mut(step.claim.namespace());
        let (Some(key), Some(namespace), Some(record)) =
            (key, namespace, slots.get_mut(&step.digest))
        else {
            return Err(StoreError::unavailable("a row that was read is not there"));
        };
        let mut state = State {
            now,
            limits,
            whole: &mut after.whole,
            namespace,
            key,
            record,
            of_message: of_messages.entry(step.message()).or_default(),
        };
        answers.push(state.step(step.claim, step.action));
    }

    write_records(connection, &records, &slots).await?;
    write_shared(connection, &before, &after).await?;
    let namespaces = after.namespaces.into_iter();
    let retentions = namespaces.filter_map(|(name, known)| Some((name, known?.retention)));
    Ok(Applied {
        answers,
        retentions: retentions.collect(),
        steps: after.whole.steps,
    })
}

async fn read_shared<'a>(
    connection: &mut SqliteConnection,
    steps: &[Step<'a>],
) -> Result<Shared<'a>, StoreError> {
    let mut scopes: Vec<Scope<'a>> = steps.iter().map(Step::scope).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let mut missing = Vec::new();
    // Twice, if there is a new key among them.
    for _ in 0..2 {
        for &(namespace, key_id) in &missing {
            let insert = "INSERT INTO countersign_key (namespace, key_id, records, steps)
                VALUES (?, ?, 0, 0)";
            let query = sqlx::query(insert).bind(namespace).bind(key_id);
            query
                .execute(&mut *connection)
                .await
                .map_err(error::of_driver)?;
        }
        let sql = format!(
            "SELECT wanted.column1, store.version, store.since, store.watermark, total.records,
                total.steps, namespace.retention, namespace.raised, key.id, key.records, key.steps
            FROM ({}) AS wanted
            CROSS JOIN countersign_store AS store
            CROSS JOIN (
                SELECT coalesce(sum(records), 0) AS records, coalesce(sum(steps), 0) AS steps
                FROM countersign_key
            ) AS total
            LEFT JOIN countersign_namespace AS namespace ON namespace.name = wanted.column2
            LEFT JOIN countersign_key AS key
                ON key.namespace = wanted.column2 AND key.key_id = wanted.column3",
            values(scopes.len(), 3)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (place, (namespace, key_id)) in padded(scopes.iter().enumerate()) {
            let place = i64::try_from(place).unwrap_or(i64::MAX);
            query = query.bind(place).bind(*namespace).bind(*key_id);
        }
        let rows = query
            .fetch_all(&mut *connection)
            .await
            .map_err(error::of_driver)?;
        let mut shared = None;
        for row in rows {
            let place: i64 = column(&row, 0)?;
            let scope = usize::try_from(place)
                .ok()
                .and_then(|place| scopes.get(place));
            let scope = *scope.ok_or_else(unreadable)?;
            let shared = match &mut shared {
                Some(shared) => shared,
                none => none.insert(Shared {
                    whole: whole(&row)?,
                    namespaces: BTreeMap::new(),
                    keys: BTreeMap::new(),
                }),
            };
            shared.namespaces.insert(scope.0, namespace(&row)?);
            if let Some(key) = key(&row)? {
                shared.keys.insert(scope, key);
            }
        }
        let shared: Shared<'_> = shared.ok_or_else(unreadable)?;
        missing = scopes
            .iter()
            .copied()
            .filter(|scope| !shared.keys.contains_key(scope))
            .collect();
        if missing.is_empty() {
            return Ok(shared);
        }
    }
    Err(unreadable())
}

fn whole(row: &SqliteRow) -> Result<Whole, StoreError> {
    check_version(column(row, 1)?)?;
    Ok(Whole {
        since: timestamp(column(row, 2)?)?,
        watermark: timestamp(column(row, 3)?)?,
        records: count(column(row, 4)?)?,
        steps: count(column(row, 5)?)?,
    })
}

fn namespace(row: &SqliteRow) -> Result<Option<Namespace>, StoreError> {
    let Some(retention) = column::<Option<i64>>(row, 6)? else {
        return Ok(None);
    };
    let raised = column::<Option<i64>>(row, 7)?.map(timestamp).transpose()?;
    Ok(Some(Namespace {
        retention: duration(retention)?,
        raised,
    }))
}

fn key(row: &SqliteRow) -> Result<Option<Key>, StoreError> {
    let Some(id) = column(row, 8)? else {
        return Ok(None);
    };
    Ok(Some(Key {
        id,
        records: count(column(row, 9)?)?,
        steps: count(column(row, 10)?)?,
    }))
}

async fn read_records(
    connection: &mut SqliteConnection,
    steps: &[Step<'_>],
) -> Result<HashMap<[u8; 32], Record>, StoreError> {
    let mut digests: Vec<&[u8; 32]> = steps.iter().map(|step| &step.digest).collect();
    digests.sort_unstable();
    digests.dedup();
    let sql = format!(
        "SELECT digest, deadline, key, attempt, lease_end FROM countersign_nonce
        WHERE digest IN ({})",
        values(digests.len(), 1)
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for digest in padded(digests) {
        query = query.bind(digest.to_vec());
    }
    let rows = query
        .fetch_all(connection)
        .await
        .map_err(error::of_driver)?;
    rows.iter()
        .map(|row| {
            let digest = column::<&[u8]>(row, 0)?
                .try_into()
                .map_err(|_| unreadable())?;
            let record = Record {
                deadline: timestamp(column(row, 1)?)?,
                key: column(row, 2)?,
                attempt: column(row, 3)?,
                lease_end: column::<Option<i64>>(row, 4)?.map(timestamp).transpose()?,
            };
            Ok((digest, record))
        })
        .collect()
}

/// Returns how many records each message has, of those for which it counts.
async fn count_messages(
    connection: &mut SqliteConnection,
    steps: &[Step<'_>],
) -> Result<BTreeMap<[u8; MESSAGE_LEN], u64>, StoreError> {
    let counts = |step: &&Step<'_>| step.action.may_add() && step.claim.most_records().is_some();
    let messages: BTreeSet<_> = steps.iter().filter(counts).map(Step::message).collect();
    if messages.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT wanted.column1, (
            SELECT count(*) FROM countersign_nonce
            WHERE digest BETWEEN wanted.column2 AND wanted.column3
        ) FROM ({}) AS wanted",
        values(messages.len(), 3)
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for message in padded(messages) {
        let filled = |rest| [message, [rest; MESSAGE_LEN]].concat();
        query = query
            .bind(message.to_vec())
            .bind(filled(0))
            .bind(filled(u8::MAX));
    }
    let rows = query
        .fetch_all(connection)
        .await
        .map_err(error::of_driver)?;
    rows.iter()
        .map(|row| {
            let message = column::<&[u8]>(row, 0)?
                .try_into()
                .map_err(|_| unreadable())?;
            Ok((message, count(column(row, 1)?)?))
        })
        .collect()
}

/// Writes what is not as it was before: those rows that were there go, and then all are new. To
/// update a row where there is one makes SQLite keep a journal of the statement, at three times the
/// cost.
async fn write_records(
    connection: &mut SqliteConnection,
    before: &HashMap<[u8; 32], Record>,
    after: &BTreeMap<[u8; 32], Option<Record>>,
) -> Result<(), StoreError> {
    let changed = after
        .iter()
        .filter(|(digest, record)| before.get(*digest) != record.as_ref());
    let gone: Vec<_> = changed
        .clone()
        .filter_map(|(digest, _)| before.contains_key(digest).then_some(digest))
        .collect();
    if !gone.is_empty() {
        let sql = format!(
            "DELETE FROM countersign_nonce WHERE digest IN ({})",
            values(gone.len(), 1)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for digest in padded(gone) {
            query = query.bind(digest.to_vec());
        }
        query
            .execute(&mut *connection)
            .await
            .map_err(error::of_driver)?;
    }
    let new: Vec<_> = changed
        .filter_map(|(digest, record)| Some((digest, record.as_ref()?)))
        .collect();
    let rows = new.len();
    if rows > 0 {
        let sql = format!(
            "INSERT OR IGNORE INTO countersign_nonce
                (digest, deadline, key, attempt, lease_end) {}",
            values(rows, 5)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (digest, record) in padded(new) {
            query = query
                .bind(digest.to_vec())
                .bind(millis(record.deadline))
                .bind(record.key)
                .bind(record.attempt.clone())
                .bind(record.lease_end.map(millis));
        }
        let inserted = query.execute(connection).await.map_err(error::of_driver)?;
        if usize::try_from(inserted.rows_affected()) != Ok(rows) {
            return Err(StoreError::unavailable("a record was not written"));
        }
    }
    Ok(())
}

async fn write_shared(
    connection: &mut SqliteConnection,
    before: &Shared<'_>,
    after: &Shared<'_>,
) -> Result<(), StoreError> {
    for (name, namespace) in &after.namespaces {
        let Some(namespace) = namespace
            .as_ref()
            .filter(|_| before.namespaces.get(name) != Some(namespace))
        else {
            continue;
        };
        let sql = "INSERT INTO countersign_namespace (name, retention, raised) VALUES (?, ?, ?)
            ON CONFLICT (name) DO UPDATE SET retention = excluded.retention, raised = excluded.raised";
        let query = sqlx::query(sql)
            .bind(*name)
            .bind(millis_of(namespace.retention))
            .bind(namespace.raised.map(millis));
        query
            .execute(&mut *connection)
            .await
            .map_err(error::of_driver)?;
    }
    let changed: Vec<_> = after
        .keys
        .iter()
        .filter(|(scope, key)| before.keys.get(*scope) != Some(*key))
        .map(|(_, key)| key)
        .collect();
    if !changed.is_empty() {
        let sql = format!(
            "UPDATE countersign_key SET records = new.column2, steps = new.column3
            FROM ({}) AS new WHERE id = new.column1",
            values(changed.len(), 3)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for key in padded(changed) {
            let (records, steps) = (sql_count(key.records), sql_count(key.steps));
            query = query.bind(key.id).bind(records).bind(steps);
        }
        query
            .execute(&mut *connection)
            .await
            .map_err(error::of_driver)?;
    }
    Ok(())
}

/// Returns rows of values to bind: as many as [`padded`] makes of this number of rows.
fn values(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    format!("VALUES {}", vec![row; rows.next_power_of_two()].join(","))
}

/// The rows, the last one repeated: so that there are few different statements, which SQLite
/// compiles once. To read or write a row twice is to do it once.
fn padded<T: Clone>(
    rows: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
) -> impl Iterator<Item = T> {
    let mut rows = rows.into_iter();
    let (count, mut last) = (rows.len().next_power_of_two(), None);
    iter::from_fn(move || {
        last = rows.next().or(last.take());
        last.clone()
    })
    .take(count)
}

fn column<'r, T>(row: &'r SqliteRow, place: usize) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(place).map_err(error::of_driver)
}

fn count(count: i64) -> Result<u64, StoreError> {
    u64::try_from(count).map_err(|_| unreadable())
}

fn sql_count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn unreadable() -> StoreError {
    StoreError::unavailable("the database holds what this store did not write")
}
