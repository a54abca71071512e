//! Drops the records whose deadline has passed, a stretch of the table at a time.

use std::time::Duration;

use sqlx::{Row as _, SqliteConnection};

use super::{
    error,
    schema::{begin, commit},
    time::millis,
};
use crate::{clock::Timestamp, error::StoreError};

/// How many records are looked at in one step: few enough to keep claims waiting for a millisecond
/// or two.
const STRETCH: i64 = 2048;

/// Above every digest.
const END: [u8; 33] = [0xff; 33];

/// The start of the next step: a digest, or something that no digest is below.
#[derive(Clone, Debug)]
pub(super) struct Cursor(Vec<u8>);

impl Cursor {
    pub(super) const fn start() -> Self {
        Self(Vec::new())
    }

    /// Anywhere, so that processes do not all sweep the same.
    pub(super) fn anywhere() -> Self {
        Self(crate::random::bytes::<8>().to_vec())
    }

    pub(super) fn is_start(&self) -> bool {
        self.0.is_empty()
    }
}

/// The result of one step.
#[derive(Debug)]
pub(super) struct Swept {
    pub(super) dropped: u64,
    /// A quarter of the stretch had expired, and much of the next stretch probably has too.
    pub(super) is_worthwhile: bool,
    /// The start again, after the end.
    pub(super) next: Cursor,
}

/// By key: its id, how many of its records have expired, and the latest of their deadlines.
type Past = Vec<(i64, i64, i64)>;

/// Sweeps the stretch from `cursor` on, in a transaction of its own. The latest
/// deadline of the dropped records becomes the low watermark.
pub(super) async fn sweep_stretch(
    connection: &mut SqliteConnection,
    cursor: &Cursor,
    now: Timestamp,
    wait: Duration,
) -> Result<Swept, StoreError> {
    let next = next(connection, cursor).await.map_err(error::of_driver)?;
    let end = next.as_ref().map_or(&END[..], |next| &next.0);
    let stretch = Stretch {
        start: &cursor.0,
        end,
        now: millis(now),
    };
    let mut dropped = 0;
    let found = stretch.past(connection).await.map_err(error::of_driver)?;
    if !found.is_empty() {
        begin(connection, wait).await?;
        dropped = stretch
            .drop_past(connection)
            .await
            .map_err(error::of_driver)?;
        commit(connection).await?;
    }
    Ok(Swept {
        dropped,
        is_worthwhile: dropped > STRETCH.unsigned_abs() / 4,
        next: next.unwrap_or(Cursor::start()),
    })
}

async fn next(
    connection: &mut SqliteConnection,
    cursor: &Cursor,
) -> Result<Option<Cursor>, sqlx::Error> {
    let sql = "SELECT digest FROM countersign_nonce WHERE digest >= ? ORDER BY digest
        LIMIT 1 OFFSET ?";
    let query = sqlx::query(sql).bind(cursor.0.clone()).bind(STRETCH);
    let row = query.fetch_optional(connection).await?;
    row.map(|row| row.try_get(0).map(Cursor)).transpose()
}

struct Stretch<'a> {
    start: &'a [u8],
    end: &'a [u8],
    now: i64,
}

impl Stretch<'_> {
    async fn past(&self, connection: &mut SqliteConnection) -> Result<Past, sqlx::Error> {
        let sql = "SELECT key, count(*), max(deadline) FROM countersign_nonce
            WHERE digest >= ? AND digest < ? AND deadline <= ?
                AND (lease_end IS NULL OR lease_end <= ?)
            GROUP BY key";
        let rows = self.bind(sql).fetch_all(connection).await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
            .collect()
    }

    async fn drop_past(&self, connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
        // Once more, now that nobody else writes.
        let past = self.past(connection).await?;
        let sql = "DELETE FROM countersign_nonce
            WHERE digest >= ? AND digest < ? AND deadline <= ?
                AND (lease_end IS NULL OR lease_end <= ?)";
        let dropped = self
            .bind(sql)
            .execute(&mut *connection)
            .await?
            .rows_affected();
        for (key, count, latest) in past {
            sqlx::query("UPDATE countersign_key SET records = max(records - ?, 0) WHERE id = ?")
                .bind(count)
                .bind(key)
                .execute(&mut *connection)
                .await?;
            sqlx::query("UPDATE countersign_store SET watermark = max(watermark, ?)")
                .bind(latest)
                .execute(&mut *connection)
                .await?;
        }
        Ok(dropped)
    }

    fn bind(
        &self,
        sql: &'static str,
    ) -> sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments> {
        sqlx::query(sql)
            .bind(self.start.to_vec())
            .bind(self.end.to_vec())
            .bind(self.now)
            .bind(self.now)
    }
}
