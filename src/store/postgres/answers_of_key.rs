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
        if let Some(records) = self.believed(&owner) {
            return Ok(records);
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
        self.note(owner, Count { records, asked });
        Ok(records)
    }

    /// Returns the count, unless the caller has to ask the database. While one asks, the others
    /// believe what was counted before.
    fn believed(&self, owner: &[u8; 32]) -> Option<u64> {
        let mut counts = lock(&self.0);
        let known = counts.get_mut(owner)?;
        if known.asked.elapsed() < BELIEVED {
            return Some(known.records);
        }
        known.asked = Instant::now();
        None
    }

    fn note(&self, owner: [u8; 32], count: Count) {
        let mut counts = lock(&self.0);
        if counts.len() >= COUNTED {
            counts.clear();
        }
        counts.insert(owner, count);
    }

    /// Counts one record more.
    pub(super) fn add(&self, owner: [u8; 32]) {
        if let Some(count) = lock(&self.0).get_mut(&owner) {
            count.records = count.records.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: [u8; 32] = [1; 32];

    #[test]
    fn one_counts_again_and_the_others_believe_the_old_count_meanwhile() {
        let counts = Counts::default();
        assert_eq!(counts.believed(&OWNER), None);
        let asked = Instant::now().checked_sub(BELIEVED).unwrap();
        counts.note(OWNER, Count { records: 5, asked });
        counts.add(OWNER);
        let asked: Vec<_> = (0..3).map(|_| counts.believed(&OWNER)).collect();
        assert_eq!(asked, [None, Some(6), Some(6)]);
        let asked = Instant::now();
        counts.note(OWNER, Count { records: 9, asked });
        assert_eq!(counts.believed(&OWNER), Some(9));
        assert_eq!(counts.believed(&[2; 32]), None);
    }
}
