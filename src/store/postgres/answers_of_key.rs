//! How many answers each key has on record, as this process knows.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use super::{database::Database, error};
use crate::{error::StoreError, lock::lock};

/// For how long a count is believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// So many keys are counted at one time.
const COUNTED: usize = 1 << 16;

/// The counts that were asked for last, and what this process has recorded since.
#[derive(Default)]
pub(super) struct Counts(Mutex<HashMap<[u8; 32], Count>>);

#[derive(Clone, Copy)]
struct Count {
    records: u64,
    asked: Instant,
}

impl Counts {
    /// Returns how many records the key has that have not ended, or `most` if it has more. What
    /// others have recorded in the last second is not counted.
    pub(super) async fn records(
        &self,
        database: &Database,
        owner: [u8; 32],
        most: u64,
    ) -> Result<u64, StoreError> {
        let known = lock(&self.0).get(&owner).copied();
        if let Some(known) = known
            && known.asked.elapsed() < BELIEVED
        {
            return Ok(known.records);
        }
        let asked = Instant::now();
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let sql = "SELECT count(*) FROM (
                SELECT FROM countersign_answers WHERE owner = $1
                    AND deadline_ms > (extract(epoch FROM clock_timestamp()) * 1000)::bigint LIMIT $2
            ) AS counted";
        let counted = database.transact(async |connection| {
            let query = sqlx::query_scalar(sql).bind(owner.as_slice()).bind(most);
            let counted: Result<i64, _> = query.persistent(false).fetch_one(connection).await;
            counted.map_err(error::of_driver)
        });
        let records = counted.await?.unsigned_abs();
        let mut counts = lock(&self.0);
        if counts.len() >= COUNTED {
            counts.clear();
        }
        counts.insert(owner, Count { records, asked });
        Ok(records)
    }

    /// Counts one record more.
    pub(super) fn add(&self, owner: [u8; 32]) {
        if let Some(count) = lock(&self.0).get_mut(&owner) {
            count.records = count.records.saturating_add(1);
        }
    }
}
