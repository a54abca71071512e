//! The knowledge of this process about the memory of the servers: since when, until when, and for
//! how long.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    inspected::Inspected,
    time::{millis, timestamp},
};
use crate::{
    clock::{Clock as _, SystemClock, Timestamp},
    error::StoreError,
    lock::lock,
    once::{Claim, History},
    store::batched::Retentions,
};

/// For how long a namespace is known after it was read.
pub(super) const KNOWN_FOR: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Knowledge {
    since: AtomicU64,
    mark: AtomicU64,
    namespaces: Mutex<HashMap<Box<str>, Namespace>>,
    pub(super) retentions: Retentions,
    /// The records that servers have of themselves, as they were read last, by their keys.
    records: Mutex<HashMap<Box<str>, Inspected>>,
}

/// The record of a namespace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Namespace {
    pub(super) retention: u64,
    /// When that was extended, or zero: what came before was remembered for less.
    pub(super) raised: u64,
    pub(super) read: Instant,
}

impl Knowledge {
    /// Keeps what a server has said, by the key of its record of itself.
    ///
    /// The watch asks a second before it is answered, and the server judges by what this process
    /// knew then. So an answer that tells of no new fence takes back no command that is known to be
    /// carried out: the next step could not see that the counters were reset. An answer from before
    /// the last fence changes nothing.
    pub(super) fn learn(&self, key: &str, mut inspected: Inspected) {
        self.since.fetch_max(inspected.since, Ordering::AcqRel);
        self.shows(inspected.mark);
        // Steps are compared with this record, so the fence that it tells of comes first.
        let mut records = lock(&self.records);
        if let Some(known) = records.get(key)
            && known.name == inspected.name
        {
            if known.since > inspected.since {
                return;
            }
            if known.since == inspected.since {
                inspected.commands = inspected.commands.max(known.commands);
            }
        }
        records.insert(key.into(), inspected);
    }

    /// Returns the record under this key, as it was read last.
    pub(super) fn record_at(&self, key: &str) -> Option<Inspected> {
        let records = lock(&self.records);
        records.get(key).cloned()
    }

    /// Returns the name of one record of the servers that are known: always of the same one.
    pub(super) fn name(&self) -> Option<String> {
        let records = lock(&self.records);
        let first = records.iter().min_by_key(|(key, _)| *key);
        first.map(|(_, record)| record.name.clone())
    }

    /// Records how many commands the server with the record of this key has carried out.
    pub(super) fn counts(&self, key: &str, commands: u64) {
        let mut records = lock(&self.records);
        if let Some(record) = records.get_mut(key) {
            record.commands = record.commands.max(commands);
        }
    }

    /// Returns since when all servers vouch.
    pub(super) fn since(&self) -> Timestamp {
        timestamp(self.since.load(Ordering::Acquire))
    }

    /// Returns the latest moment that any server's clock has shown.
    pub(super) fn mark(&self) -> u64 {
        self.mark.load(Ordering::Acquire)
    }

    /// A server's clock shows this moment.
    pub(super) fn shows(&self, now: u64) {
        self.mark.fetch_max(now, Ordering::AcqRel);
    }

    pub(super) fn namespace(&self, name: &str) -> Option<Namespace> {
        let namespaces = lock(&self.namespaces);
        namespaces.get(name).copied()
    }

    pub(super) fn learn_namespace(&self, name: &str, namespace: Namespace) {
        let mut namespaces = lock(&self.namespaces);
        namespaces.insert(name.into(), namespace);
    }

    pub(super) fn namespaces(&self) -> Vec<(Box<str>, Namespace)> {
        let namespaces = lock(&self.namespaces);
        namespaces
            .iter()
            .map(|(name, n)| (name.clone(), *n))
            .collect()
    }

    /// Refuses what may have been accepted before, and of which there may be no record any more.
    ///
    /// Any server may drop what has expired by the latest moment that a server has shown.
    pub(super) fn vouch(&self, claim: &Claim, namespace: Namespace) -> Result<(), StoreError> {
        let history = History::since(self.since())
            .raised_at(timestamp(namespace.raised))
            .remembering(Duration::from_millis(namespace.retention));
        history
            .takes(claim, timestamp(self.mark()))
            .and_then(|()| history.vouches_for(claim))
            .map_err(|why| history.refusal(claim, why))
    }
}

impl Namespace {
    /// Returns whether this is recent, and long enough for the claim.
    pub(super) fn serves(&self, claim: &Claim) -> bool {
        self.read.elapsed() < KNOWN_FOR && self.retention >= millis(claim.retention())
    }

    /// The deadline of the claim's record.
    pub(super) fn keep_until(&self, claim: &Claim, clock_difference: Duration) -> Timestamp {
        let now = SystemClock.now().saturating_add(clock_difference);
        let retention = Duration::from_millis(self.retention);
        History::COMPLETE
            .remembering(retention)
            .keep_until(claim, now)
    }
}
