//! The records in memory: the newest, within a bound.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::listen::Record;

const MAX_BYTES: usize = 64 * 1024 * 1024;

/// A rough figure of the memory that a record occupies beside its bytes.
const OVERHEAD: usize = 2048;

#[derive(Debug)]
pub(crate) struct Log {
    records: Mutex<Records>,
    /// How many records there ever were.
    count: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Records {
    newest_last: VecDeque<Arc<Record>>,
    bytes: usize,
    /// How many records are not here any more.
    dropped: u64,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            records: Mutex::default(),
            count: watch::Sender::new(0),
        }
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a record, and drops the oldest for it if need be.
    pub(crate) fn push(&self, record: &Arc<Record>) {
        let mut records = self.records();
        records.bytes += size(record);
        records.newest_last.push_back(Arc::clone(record));
        while records.bytes > MAX_BYTES
            && let Some(oldest) = records.newest_last.pop_front()
        {
            records.bytes -= size(&oldest);
            records.dropped += 1;
        }
        drop(records);
        self.count.send_modify(|count| *count += 1);
    }

    /// A receiver of how many records there ever were.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    pub(super) fn find(&self, id: u64) -> Option<Arc<Record>> {
        let records = self.records();
        // The newest are asked for most.
        let newest_first = records.newest_last.iter().rev();
        newest_first
            .into_iter()
            .find(|record| record.id == id)
            .cloned()
    }

    /// Returns the records after the first `seen` of all time, the newest last, and the number of
    /// all.
    pub(super) fn after(&self, seen: u64) -> (Vec<Arc<Record>>, u64) {
        let records = self.records();
        let skipped = usize::try_from(seen.saturating_sub(records.dropped)).unwrap_or(usize::MAX);
        let new = records.newest_last.iter().skip(skipped).cloned().collect();
        let here = u64::try_from(records.newest_last.len()).unwrap_or(u64::MAX);
        (new, records.dropped.saturating_add(here))
    }

    /// Returns how many records are here, and how many are not here any more.
    pub(super) fn counts(&self) -> (usize, u64) {
        let records = self.records();
        (records.newest_last.len(), records.dropped)
    }
}

fn size(record: &Record) -> usize {
    let headers = record.request.headers().iter();
    let headers: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    OVERHEAD + record.request.body().len() + headers + record.target().len()
}
