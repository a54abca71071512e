//! Shows operators what the store remembers, and forgets a record on purpose.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Row as _, Sqlite, SqliteConnection,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{
    error,
    schema::{begin, commit},
    time::{duration, millis, timestamp},
};
use crate::{
    clock::Timestamp,
    error::StoreError,
    key::KeyId,
    once::{Claim, MESSAGE_LEN},
    store::status::{KeyStatus, NamespaceStatus, Recorded, StoreStatus},
};

/// Selects records.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which<'w> {
    /// The records of a message, at all places.
    Message(&'w Claim),
    /// The records of a key, in one namespace or in all.
    Key(Option<&'w str>, &'w KeyId),
}

impl Which<'_> {
    /// A condition on `countersign_nonce`, of its first two parameters.
    fn condition(self) -> &'static str {
        match self {
            Self::Message(_) => "digest BETWEEN ?1 AND ?2",
            Self::Key(..) => {
                "key IN (SELECT id FROM countersign_key
                    WHERE key_id = ?1 AND namespace = coalesce(?2, namespace))"
            }
        }
    }

    fn bind<'q>(
        self,
        query: Query<'q, Sqlite, SqliteArguments>,
    ) -> Query<'q, Sqlite, SqliteArguments> {
        match self {
            Self::Message(claim) => {
                let digest = claim.digest();
                let filled = |rest| {
                    let mut bound = digest;
                    bound
                        .iter_mut()
                        .skip(MESSAGE_LEN)
                        .for_each(|byte| *byte = rest);
                    bound.to_vec()
                };
                query.bind(filled(0)).bind(filled(u8::MAX))
            }
            Self::Key(namespace, key_id) => query
                .bind(key_id.as_str().to_owned())
                .bind(namespace.map(str::to_owned)),
        }
    }
}

/// See [`SqliteStore::status`](super::SqliteStore::status).
pub(super) async fn status(
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> Result<StoreStatus, StoreError> {
    let sql = "SELECT version, since, watermark FROM countersign_store";
    let store = sqlx::query(sql).fetch_one(&mut *connection).await;
    let store = store.map_err(error::of_driver)?;
    let sql = "SELECT count(*), count(CASE WHEN lease_end > ? THEN 1 END),
            min(deadline), max(deadline)
        FROM countersign_nonce";
    let records = sqlx::query(sql).bind(millis(now));
    let records = records.fetch_one(&mut *connection).await;
    let records = records.map_err(error::of_driver)?;
    let sql = "SELECT name, retention, raised FROM countersign_namespace ORDER BY name";
    let namespaces = sqlx::query(sql).fetch_all(&mut *connection).await;
    let namespaces = namespaces.map_err(error::of_driver)?;
    let sql = "SELECT namespace, key_id, records FROM countersign_key
        WHERE records > 0 ORDER BY namespace, key_id";
    let keys = sqlx::query(sql).fetch_all(&mut *connection).await;
    let keys = keys.map_err(error::of_driver)?;
    Ok(StoreStatus {
        version: Some(count(&store, 0)?),
        records: Some(count(&records, 0)?),
        leases: Some(count(&records, 1)?),
        first_deadline: moment(&records, 2)?,
        last_deadline: moment(&records, 3)?,
        since: moment(&store, 1)?,
        accepted_up_to: None,
        dropped_up_to: moment(&store, 2)?,
        namespaces: namespaces
            .iter()
            .map(|row| {
                Ok(NamespaceStatus {
                    name: column(row, 0)?,
                    retention: duration(column(row, 1)?)?,
                    raised_at: moment(row, 2)?,
                })
            })
            .collect::<Result<_, StoreError>>()?,
        keys: keys
            .iter()
            .map(|row| {
                Ok(KeyStatus {
                    namespace: column(row, 0)?,
                    key_id: column(row, 1)?,
                    records: count(row, 2)?,
                })
            })
            .collect::<Result<_, StoreError>>()?,
    })
}

/// Finds the records for which a request is refused at this moment.
pub(super) async fn recorded(
    connection: &mut SqliteConnection,
    which: Which<'_>,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    let sql = format!(
        "SELECT count(CASE WHEN {FINAL} THEN 1 END), count(CASE WHEN lease_end > ?3 THEN 1 END),
            max(CASE WHEN {FINAL} THEN deadline END)
        FROM countersign_nonce WHERE {}",
        which.condition()
    );
    let query = which.bind(sqlx::query(AssertSqlSafe(sql)));
    let row = query.bind(millis(now)).fetch_one(connection).await;
    let row = row.map_err(error::of_driver)?;
    Ok(Recorded {
        records: count(&row, 0)?,
        in_flight: count(&row, 1)?,
        until: moment(&row, 2)?,
    })
}

/// A record is final, and its deadline has not passed.
const FINAL: &str = "(lease_end IS NULL AND deadline > ?3)";

/// Makes final records leases that have ended: each nonce is free, as after a handler that failed.
/// The rows stay until their deadline, and so do the counts of them.
pub(super) async fn forget(
    connection: &mut SqliteConnection,
    which: Which<'_>,
    now: Timestamp,
    wait: Duration,
) -> Result<Recorded, StoreError> {
    begin(connection, wait).await?;
    let found = recorded(connection, which, now).await?;
    // Every change of a record counts: an older state that is put back is found by it.
    let counted = format!(
        "UPDATE countersign_key SET steps = steps + 1 WHERE id IN (
            SELECT key FROM countersign_nonce WHERE {} AND {FINAL})",
        which.condition()
    );
    let freed = format!(
        "UPDATE countersign_nonce SET attempt = NULL, lease_end = 0 WHERE {} AND {FINAL}",
        which.condition()
    );
    for sql in [counted, freed] {
        let query = which
            .bind(sqlx::query(AssertSqlSafe(sql)))
            .bind(millis(now));
        let run = query.execute(&mut *connection).await;
        run.map_err(error::of_driver)?;
    }
    commit(connection).await?;
    Ok(found)
}

fn column<'r, T>(row: &'r SqliteRow, index: usize) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
{
    row.try_get(index).map_err(error::of_driver)
}

fn count(row: &SqliteRow, index: usize) -> Result<u64, StoreError> {
    column::<i64>(row, index).map(i64::unsigned_abs)
}

/// Zero, and no value, say that there is no such moment.
fn moment(row: &SqliteRow, index: usize) -> Result<Option<Timestamp>, StoreError> {
    let millis = column::<Option<i64>>(row, index)?;
    millis
        .filter(|millis| *millis != 0)
        .map(timestamp)
        .transpose()
}
