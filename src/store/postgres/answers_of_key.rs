//! How many answers each key has on record, as this process knows.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{database::Database, error};
use crate::{error::StoreError, lock::lock};

/// For how long a count is believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// For how long it is believed at most while it is asked for again: longer than a count takes. After
/// that, nothing is claimed without a count.
const BELIEVED_AT_MOST: Duration = Duration::from_secs(3);

/// The number of keys that are counted at one time.
const COUNTED: usize = 1 << 16;

/// The counts that were asked for last, and what this process has recorded since.
#[derive(Default)]
pub(super) struct Counts(Mutex<HashMap<[u8; 32], Count>>);

#[derive(Default)]
struct Count {
    known: Option<Known>,
    /// The records of this process, since the first count of all.
    added: u64,
    asking_since: Option<Instant>,
    /// Each caller that asks the database has a handle.
    askers: Arc<()>,
}

struct Known {
    records: u64,
    asked_at: Instant,
    /// The records of this process when the count was asked for.
    added: u64,
}

/// A count that the database is asked for. Its entry stays for as long: the count does not see each
/// record that is made meanwhile.
struct Asked {
    at: Instant,
    added: u64,
    _asker: Arc<()>,
}

impl Counts {
    /// Returns how many records the key has that have not ended, or `most` if it has more. Records
    /// that others have made in the last second are not counted.
    pub(super) async fn records(
        &self,
        database: &Database,
        owner: [u8; 32],
        most: u64,
    ) -> Result<u64, StoreError> {
        let asked = match self.believed(owner, Instant::now()) {
            Ok(records) => return Ok(records),
            Err(asked) => asked,
        };
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
        Ok(self.note(owner, records, &asked))
    }

    /// Returns the count, unless the caller must ask the database. While one asks, the others
    /// believe what was counted before, but not for long: the count may fail.
    fn believed(&self, owner: [u8; 32], now: Instant) -> Result<u64, Asked> {
        let mut counts = lock(&self.0);
        if counts.len() >= COUNTED && !counts.contains_key(&owner) {
            counts.retain(|_, count| Arc::strong_count(&count.askers) > 1);
        }
        let count = counts.entry(owner).or_default();
        let within = |since: Instant, limit| now.saturating_duration_since(since) < limit;
        let is_asked = count.asking_since.is_some_and(|at| within(at, BELIEVED));
        let limit = if is_asked { BELIEVED_AT_MOST } else { BELIEVED };
        match &count.known {
            Some(known) if within(known.asked_at, limit) => Ok(count.records()),
            _ => {
                count.asking_since = Some(now);
                Err(Asked {
                    at: now,
                    added: count.added,
                    _asker: Arc::clone(&count.askers),
                })
            }
        }
    }

    /// Returns the count together with what was recorded while it ran.
    fn note(&self, owner: [u8; 32], records: u64, asked: &Asked) -> u64 {
        let mut counts = lock(&self.0);
        let count = counts.entry(owner).or_default();
        let is_later = |before: &Known| before.asked_at > asked.at;
        if !count.known.as_ref().is_some_and(is_later) {
            count.known = Some(Known {
                records,
                asked_at: asked.at,
                added: asked.added,
            });
            count.asking_since = None;
        }
        count.records()
    }

    /// Counts one record more.
    pub(super) fn add(&self, owner: [u8; 32]) {
        if let Some(count) = lock(&self.0).get_mut(&owner) {
            count.added = count.added.saturating_add(1);
        }
    }
}

impl Count {
    fn records(&self) -> u64 {
        let known = self.known.as_ref();
        known.map_or(u64::MAX, |known| {
            let since = self.added.saturating_sub(known.added);
            known.records.saturating_add(since)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: [u8; 32] = [1; 32];

    fn asked(counts: &Counts, now: Instant) -> Asked {
        counts
            .believed(OWNER, now)
            .expect_err("the database is asked")
    }

    fn believed(counts: &Counts, now: Instant) -> Option<u64> {
        counts.believed(OWNER, now).ok()
    }

    fn note(counts: &Counts, records: u64, asked: &Asked) -> u64 {
        counts.note(OWNER, records, asked)
    }

    /// Asks for the counts of so many other keys that no more fit.
    fn fill(counts: &Counts, now: Instant) {
        for other in 0..u64::try_from(COUNTED).unwrap() {
            let mut owner = [2; 32];
            owner[..8].copy_from_slice(&other.to_be_bytes());
            let _ = counts.believed(owner, now);
        }
    }

    #[test]
    fn records_that_are_made_while_a_key_is_counted_are_not_forgotten_for_other_keys() {
        let (counts, start) = (Counts::default(), Instant::now());
        drop(asked(&counts, start));
        for _ in 0..100 {
            counts.add(OWNER);
        }
        let counting = asked(&counts, start + BELIEVED);
        fill(&counts, start + BELIEVED);
        for _ in 0..150 {
            counts.add(OWNER);
        }
        assert_eq!(note(&counts, 100, &counting), 250);
        assert!(lock(&counts.0).len() <= COUNTED);
    }

    #[test]
    fn a_key_that_nobody_counts_is_forgotten_for_other_keys() {
        let (counts, start) = (Counts::default(), Instant::now());
        let counting = asked(&counts, start);
        assert_eq!(note(&counts, 5, &counting), 5);
        drop(counting);
        fill(&counts, start);
        assert_eq!(believed(&counts, start), None);
    }

    #[test]
    fn a_count_that_ends_after_a_later_one_is_not_believed() {
        let (counts, start) = (Counts::default(), Instant::now());
        let before = asked(&counts, start);
        let after = asked(&counts, start + BELIEVED);
        counts.add(OWNER);
        assert_eq!(note(&counts, 7, &after), 8);
        assert_eq!(note(&counts, 5, &before), 8);
    }

    #[test]
    fn one_counts_again_and_the_others_believe_the_old_count_for_a_while() {
        let (counts, start) = (Counts::default(), Instant::now());
        let first = asked(&counts, start);
        note(&counts, 5, &first);
        counts.add(OWNER);
        assert_eq!(believed(&counts, start), Some(6));
        let later = start + BELIEVED;
        let second = asked(&counts, later);
        assert_eq!(believed(&counts, later), Some(6));
        // Also of a count that did not see what was recorded while it ran.
        counts.add(OWNER);
        assert_eq!(note(&counts, 9, &second), 10);
        assert_eq!(believed(&counts, later), Some(10));
        assert!(counts.believed([2; 32], later).is_err());
        // Each of these fails, or is dropped.
        asked(&counts, later + BELIEVED);
        let soon = later + BELIEVED + BELIEVED / 2;
        assert_eq!(believed(&counts, soon), Some(10));
        asked(&counts, later + 2 * BELIEVED);
        for _ in 0..3 {
            asked(&counts, later + BELIEVED_AT_MOST);
        }
    }
}
