//! The memory of a store at one moment, in numbers, for operators.

use std::time::Duration;

use crate::clock::Timestamp;

/// Shows what a store remembers, and what it vouches for, at one moment.
///
/// A field is `None` where the store cannot tell, or where there is no such moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStatus {
    /// The version of the tables.
    pub version: Option<u64>,
    /// Records, those included whose deadline has passed but which have not been dropped yet. In
    /// Redis, with records of the store's own and whatever others keep there.
    pub records: Option<u64>,
    /// Leases that have not ended.
    pub leases: Option<u64>,
    /// The earliest moment until which a record is kept.
    pub first_deadline: Option<Timestamp>,
    /// The latest moment until which a record is kept.
    pub last_deadline: Option<Timestamp>,
    /// The store vouches for nothing that was signed before this moment: see
    /// [`History::since`](crate::store::History::since).
    pub since: Option<Timestamp>,
    /// How far an earlier process may have accepted: see
    /// [`History::accepted_up_to`](crate::store::History::accepted_up_to).
    pub accepted_up_to: Option<Timestamp>,
    /// The low watermark: see [`History::dropped_up_to`](crate::store::History::dropped_up_to).
    pub dropped_up_to: Option<Timestamp>,
    /// The namespaces, by name. Empty in Redis, which does not list them.
    pub namespaces: Vec<NamespaceStatus>,
    /// The keys that have records, by namespace and key id, where records name their key: in SQLite.
    pub keys: Vec<KeyStatus>,
}

/// Shows what a store has recorded of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamespaceStatus {
    /// The name.
    pub name: String,
    /// For how long it remembers.
    pub retention: Duration,
    /// When that was last raised: see [`History::raised_at`](crate::store::History::raised_at).
    pub raised_at: Option<Timestamp>,
}

/// Shows what a store has recorded of one key of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyStatus {
    /// The namespace.
    pub namespace: String,
    /// The key id.
    pub key_id: String,
    /// Its records, those included whose deadline has passed but which have not been dropped yet.
    pub records: u64,
}

/// The records of one message, or of one key, for which a request is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// Final records whose deadline has not passed: the request is answered as a replay.
    pub records: u64,
    /// Leases that have not ended: a handler may be at work.
    pub in_flight: u64,
    /// The latest deadline of the final records: from then on, the store refuses the request for its
    /// age.
    pub until: Option<Timestamp>,
}
