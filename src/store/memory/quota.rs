//! Counts the records of each key, so that none takes up more than its share of the store.

use std::sync::PoisonError;

use super::{
    hash::scale,
    sync::{AtomicU64, Mutex, Ordering},
};

/// The counter of a key's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) u32);

/// The key holds as many records as it may.
#[derive(Debug)]
pub(super) struct OverQuota;

/// A table of fixed size, which a key enters with its first record and leaves with its last.
///
/// Keys that find no place share one count, and so one quota.
#[derive(Debug)]
pub(super) struct Quota {
    /// A tag of the key in the upper half, the number of its records in the lower.
    counts: Box<[AtomicU64]>,
    /// The count of the keys without a place of their own.
    others: AtomicU64,
    /// Held to enter, so that no key enters twice.
    entry: Mutex<()>,
    limit: u64,
}

const TAG: u64 = !COUNT;
const COUNT: u64 = u32::MAX as u64;

/// How many places from its home a key may enter.
const REACH: usize = 32;

impl Quota {
    /// Returns a quota for this number of keys, each with at most `limit` records.
    pub(super) fn new(places: usize, limit: usize) -> Self {
        Self {
            counts: (0..places).map(|_| AtomicU64::new(0)).collect(),
            others: AtomicU64::new(0),
            entry: Mutex::new(()),
            limit: (limit as u64).min(COUNT),
        }
    }

    /// Returns the bytes that this number of places takes.
    pub(super) const fn bytes(places: usize) -> usize {
        places * size_of::<AtomicU64>()
    }

    /// Counts one more record for the key with this hash.
    pub(super) fn take(&self, key: u64) -> Result<Place, OverQuota> {
        if let Some(taken) = self.take_again(key) {
            return taken;
        }
        let _entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = self.take_again(key) {
            return taken;
        }
        let first = |count| (count & COUNT == 0).then_some(key & TAG | 1);
        for (place, count) in self.reach(key) {
            if count
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, first)
                .is_ok()
            {
                return Ok(place);
            }
        }
        let next = |count| (count < self.limit).then_some(count + 1);
        self.others
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .map_or(Err(OverQuota), |_| Ok(self.others_place()))
    }

    /// Counts one record less.
    pub(super) fn give_back(&self, place: Place) {
        let count = self.counts.get(place.0 as usize).unwrap_or(&self.others);
        count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts one more where the key is in already.
    fn take_again(&self, key: u64) -> Option<Result<Place, OverQuota>> {
        let is_in = |count: u64| count & TAG == key & TAG && count & COUNT != 0;
        let next = |count| (is_in(count) && count & COUNT < self.limit).then_some(count + 1);
        self.reach(key)
            .filter(|(_, count)| is_in(count.load(Ordering::Relaxed)))
            .find_map(|(place, count)| {
                match count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
                    Ok(_) => Some(Ok(place)),
                    Err(count) if is_in(count) => Some(Err(OverQuota)),
                    Err(_) => None,
                }
            })
    }

    /// The places that the key may have entered. They go by the lower half of the hash, the tag by
    /// the upper.
    fn reach(&self, key: u64) -> impl Iterator<Item = (Place, &AtomicU64)> {
        let home = scale(key << 32, self.counts.len().saturating_sub(REACH) + 1);
        let reach = self.counts.get(home..).unwrap_or_default();
        let places = (u32::try_from(home).unwrap_or(u32::MAX)..).map(Place);
        places.zip(reach.iter().take(REACH))
    }

    fn others_place(&self) -> Place {
        Place(u32::try_from(self.counts.len()).unwrap_or(u32::MAX >> 1))
    }
}
