//! Shows operators what the store remembers, and forgets a record on purpose.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection, Postgres, Row as _, postgres::PgRow};

use super::error;
use crate::{
    clock::Timestamp,
    error::StoreError,
    once::{Claim, MESSAGE_LEN},
    store::{
        batched::answers::moment as timestamp,
        status::{NamespaceStatus, Recorded, StoreStatus},
    },
};

/// See [`PostgresStore::status`](super::PostgresStore::status).
pub(super) async fn status(connection: &mut PgConnection) -> Result<StoreStatus, StoreError> {
    let sql = "SELECT
            (SELECT since_ms FROM countersign_store ORDER BY id DESC LIMIT 1),
            (SELECT max(dropped_up_to_ms) FROM countersign_namespaces),
            count(*),
            count(*) FILTER (WHERE lease_end_ms > extract(epoch FROM clock_timestamp()) * 1000),
            min(deadline_ms), max(deadline_ms)
        FROM countersign_nonces";
    let row = sqlx::query(sql).persistent(false);
    let row = row.fetch_one(&mut *connection).await;
    let row = row.map_err(error::of_driver)?;
    let sql = "SELECT namespace, min(retention_ms), max(raised_ms) FROM countersign_namespaces
        GROUP BY namespace ORDER BY namespace";
    let namespaces = sqlx::query(sql).persistent(false);
    let namespaces = namespaces.fetch_all(connection).await;
    let namespaces = namespaces.map_err(error::of_driver)?;
    let namespaces = namespaces.iter().map(|row| {
        Ok(NamespaceStatus {
            name: column(row, 0)?,
            retention: Duration::from_millis(count(row, 1)?),
            raised_at: moment(row, 2)?,
        })
    });
    Ok(StoreStatus {
        since: moment(&row, 0)?,
        dropped_up_to: moment(&row, 1)?,
        records: Some(count(&row, 2)?),
        leases: Some(count(&row, 3)?),
        first_deadline: moment(&row, 4)?,
        last_deadline: moment(&row, 5)?,
        namespaces: namespaces.collect::<Result<_, StoreError>>()?,
        ..StoreStatus::default()
    })
}

/// The records of one message, at all places, for which a request is refused at this moment.
const RECORDED: &str = "SELECT count(*) FILTER (WHERE lease_end_ms IS NULL),
        count(*) FILTER (WHERE lease_end_ms IS NOT NULL),
        max(deadline_ms) FILTER (WHERE lease_end_ms IS NULL)
    FROM countersign_nonces
    WHERE digest BETWEEN $1 AND $2
        AND coalesce(lease_end_ms, deadline_ms) > extract(epoch FROM clock_timestamp()) * 1000";

/// See [`PostgresStore::recorded`](super::PostgresStore::recorded).
pub(super) async fn recorded(
    connection: &mut PgConnection,
    claim: &Claim,
) -> Result<Recorded, StoreError> {
    let query = sqlx::query(RECORDED).persistent(false);
    let (first, last) = bounds(claim);
    let row = query.bind(first).bind(last).fetch_one(connection).await;
    let row = row.map_err(error::of_driver)?;
    Ok(Recorded {
        records: count(&row, 0)?,
        in_flight: count(&row, 1)?,
        until: moment(&row, 2)?,
    })
}

/// Makes final records leases that have ended: each nonce is free, as after a handler that failed.
/// The rows stay until their deadline, so that no open store takes them for lost.
pub(super) async fn forget(
    connection: &mut PgConnection,
    claim: &Claim,
) -> Result<Recorded, StoreError> {
    let mut transaction = connection.begin().await.map_err(error::of_driver)?;
    let (first, last) = bounds(claim);
    // In the order of digests, as all who lock several rows.
    let sql = "SELECT digest FROM countersign_nonces WHERE digest BETWEEN $1 AND $2
        ORDER BY digest FOR UPDATE";
    let locked = sqlx::query(sql).persistent(false);
    let locked = locked.bind(first.clone()).bind(last.clone());
    let locked = locked.fetch_all(&mut *transaction).await;
    locked.map_err(error::of_driver)?;
    let found = recorded(&mut transaction, claim).await?;
    let sql = "UPDATE countersign_nonces SET lease_end_ms = 1
        WHERE digest BETWEEN $1 AND $2 AND lease_end_ms IS NULL
            AND deadline_ms > extract(epoch FROM clock_timestamp()) * 1000";
    let freed = sqlx::query(sql).persistent(false).bind(first).bind(last);
    let freed = freed.execute(&mut *transaction).await;
    freed.map_err(error::of_driver)?;
    transaction.commit().await.map_err(error::of_driver)?;
    Ok(found)
}

/// The first and the last digest that a record of the message can have.
fn bounds(claim: &Claim) -> (Vec<u8>, Vec<u8>) {
    let digest = claim.digest();
    let filled = |rest| {
        let mut bound = digest;
        let places = bound.iter_mut().skip(MESSAGE_LEN);
        places.for_each(|byte| *byte = rest);
        bound.to_vec()
    };
    (filled(0), filled(u8::MAX))
}

fn column<'r, T>(row: &'r PgRow, index: usize) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>,
{
    row.try_get(index).map_err(error::of_driver)
}

fn count(row: &PgRow, index: usize) -> Result<u64, StoreError> {
    column::<i64>(row, index).map(i64::unsigned_abs)
}

/// Zero, and no value, say that there is no such moment.
fn moment(row: &PgRow, index: usize) -> Result<Option<Timestamp>, StoreError> {
    let millis = column::<Option<i64>>(row, index)?;
    let millis = millis.filter(|millis| *millis != 0);
    millis.map(timestamp).transpose()
}
