//! The memory store of answers.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

use super::hash::scale;
use crate::{
    clock::{Clock, SystemClock, Timestamp},
    error::{ConfigError, StoreError, StoreErrorKind},
    future::StoreFuture,
    key::KeyId,
    lock::lock,
    once::{
        AnswerClaim, AnswerOutcome, AnswerRecord, AnswerStore, AttemptId, Sharing, StepOutcome,
    },
};

/// Remembers the answers to intentions in memory.
///
/// **It serves exactly one live process, and a restart forgets**: a retry that comes after a
/// restart runs again. For what must not happen twice, choose `SqliteAnswers` or `PostgresAnswers`.
///
/// Guarantees while it lives:
/// - however many claims on one key arrive, at most one is answered [`AnswerOutcome::Claimed`] until
///   its retention has passed. Keys are compared by their SHA-256;
/// - a record is never evicted. A store that is full refuses with [`StoreErrorKind::Full`];
/// - one key id holds no more than its [share](MemoryAnswersBuilder::key_share), beyond which it is
///   refused with [`StoreErrorKind::KeyOverQuota`];
/// - a clock that steps back reopens nothing.
///
/// A record takes 1 KiB of the capacity, or 256 bytes and the stored answer if that is more.
///
/// ```
/// use countersign::{idempotency::IdempotencyLayer, store::MemoryAnswers};
///
/// let layer = IdempotencyLayer::new(MemoryAnswers::new());
/// ```
pub struct MemoryAnswers {
    shards: Box<[Mutex<Shard>]>,
    clock: Arc<dyn Clock>,
    /// The latest moment that was seen, in milliseconds since the epoch.
    latest: AtomicU64,
    capacity: usize,
    of_a_key: usize,
    taken: AtomicUsize,
    /// The bytes that each key takes up.
    keys: Mutex<HashMap<Owner, usize>>,
}

type Owner = (Arc<str>, KeyId);

#[derive(Default)]
struct Shard {
    records: HashMap<Known, Kept>,
    /// The deadlines of the records, the earliest first.
    ends: BTreeSet<(Timestamp, Known)>,
}

/// The digest of a claim. Half of it is hashed, which is enough to spread the records; all of it is
/// compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Known([u8; 32]);

impl Known {
    fn of(claim: &AnswerClaim) -> Self {
        Self(*claim.digest())
    }
}

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (half, _) = self.0.split_at(16);
        state.write(half);
    }
}

struct Kept {
    record: AnswerRecord,
    attempt: AttemptId,
    owner: Owner,
    bytes: usize,
}

/// Configures a [`MemoryAnswers`].
#[derive(Debug)]
#[must_use]
pub struct MemoryAnswersBuilder {
    capacity: usize,
    key_share: u8,
    clock: Arc<dyn Clock>,
}

const SHARDS: usize = 16;

/// The size of a record without its answer, and the room for its status and headers.
const OVERHEAD: usize = 256;
const RESERVED: usize = 1024;

/// The most expired records that are dropped in one step, so that no step takes long.
const SWEPT: usize = 32;

impl MemoryAnswers {
    /// Returns a store by the system's clock, of at most 256 MiB, allocated as needed. One key id
    /// may hold half of them.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build_in_range()
    }

    /// Configures a store.
    pub fn builder() -> MemoryAnswersBuilder {
        MemoryAnswersBuilder {
            capacity: 256 << 20,
            key_share: 50,
            clock: Arc::new(SystemClock),
        }
    }

    /// Returns how many records are held, those included that have ended and are not dropped yet.
    /// Locks each shard in turn.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| lock(shard).records.len())
            .sum()
    }

    /// Returns whether no record is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes that count as taken: never more than the capacity.
    #[must_use]
    pub fn taken_bytes(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn shard(&self, claim: &AnswerClaim) -> Result<&Mutex<Shard>, StoreError> {
        let [first, ..] = claim.digest();
        let place = scale(u64::from(*first) << 56, self.shards.len());
        let shard = self.shards.get(place);
        shard.ok_or_else(|| StoreError::unavailable("the store has no shard"))
    }

    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        let latest = self.latest.fetch_max(now.as_millis(), Ordering::Relaxed);
        Timestamp::from_millis(latest).map_or(now, |latest| latest.max(now))
    }

    fn take(&self, owner: &Owner, bytes: usize) -> Result<(), StoreError> {
        let mut keys = lock(&self.keys);
        let held = keys.get_mut(owner);
        let of_key = held
            .as_deref()
            .map_or(bytes, |held| held.saturating_add(bytes));
        let of_all = self.taken_bytes().saturating_add(bytes);
        if of_all > self.capacity {
            let message = "the memory store of answers has no room for one more";
            return Err(StoreError::new(StoreErrorKind::Full, message));
        }
        if of_key > self.of_a_key {
            let message = "the key has used up its share of the memory store of answers";
            return Err(StoreError::new(StoreErrorKind::KeyOverQuota, message));
        }
        match held {
            Some(held) => *held = of_key,
            None => {
                keys.insert(owner.clone(), of_key);
            }
        }
        // Only changed under the lock.
        self.taken.store(of_all, Ordering::Relaxed);
        Ok(())
    }

    fn give_back(&self, owner: &Owner, bytes: usize) {
        let mut keys = lock(&self.keys);
        if let Some(held) = keys.get_mut(owner) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                keys.remove(owner);
            }
        }
        let left = self.taken_bytes().saturating_sub(bytes);
        self.taken.store(left, Ordering::Relaxed);
    }

    fn remove(&self, shard: &mut Shard, known: Known) {
        if let Some(kept) = shard.records.remove(&known) {
            shard.ends.remove(&(kept.record.deadline, known));
            self.give_back(&kept.owner, kept.bytes);
        }
    }

    fn sweep(&self, shard: &mut Shard, now: Timestamp, most: usize) {
        for _ in 0..most {
            match shard.ends.first() {
                Some(&(deadline, known)) if deadline <= now => self.remove(shard, known),
                _ => break,
            }
        }
    }

    fn claim_once(&self, claim: &AnswerClaim) -> Result<AnswerOutcome, StoreError> {
        let mut shard = lock(self.shard(claim)?);
        let now = self.now();
        self.sweep(&mut shard, now, SWEPT);
        let known = Known::of(claim);
        if let Some(kept) = shard.records.get(&known) {
            if let Some(outcome) = kept.record.judge(claim, now) {
                return Ok(outcome);
            }
            self.remove(&mut shard, known);
        }
        let owner = claim.sender();
        self.take(&owner, RESERVED)?;
        let deadline = now.saturating_add(claim.retention());
        let record = AnswerRecord {
            fingerprint: *claim.fingerprint(),
            deadline,
            lease_end: now.saturating_add(claim.lease()),
            answer: None,
        };
        shard.ends.insert((deadline, known));
        shard.records.insert(
            known,
            Kept {
                record,
                attempt: claim.attempt(),
                owner,
                bytes: RESERVED,
            },
        );
        Ok(AnswerOutcome::Claimed)
    }

    /// Claims; if there is no room, what has ended makes some.
    fn try_claim(&self, claim: &AnswerClaim) -> Result<AnswerOutcome, StoreError> {
        let is_short = |error: &StoreError| {
            matches!(
                error.kind(),
                StoreErrorKind::Full | StoreErrorKind::KeyOverQuota
            )
        };
        match self.claim_once(claim) {
            Err(error) if is_short(&error) => {
                let now = self.now();
                for shard in &self.shards {
                    self.sweep(&mut lock(shard), now, usize::MAX);
                }
                self.claim_once(claim)
            }
            claimed => claimed,
        }
    }

    /// Changes a record that has no answer yet, if `is_own` says that it may.
    fn step(
        &self,
        claim: &AnswerClaim,
        is_own: impl FnOnce(&Kept, Timestamp) -> bool,
        change: impl FnOnce(&mut Shard, Timestamp) -> Result<(), StoreError>,
    ) -> Result<StepOutcome, StoreError> {
        let mut shard = lock(self.shard(claim)?);
        let now = self.now();
        let found = shard.records.get(&Known::of(claim));
        let is_open = |kept: &&Kept| kept.record.answer.is_none() && now < kept.record.deadline;
        match found.filter(is_open) {
            Some(kept) if is_own(kept, now) => {
                change(&mut shard, now)?;
                Ok(StepOutcome::Done)
            }
            _ => Ok(StepOutcome::Lost),
        }
    }

    fn keep(&self, shard: &mut Shard, known: Known, answer: &Bytes) -> Result<(), StoreError> {
        let Some(kept) = shard.records.get_mut(&known) else {
            return Ok(());
        };
        let bytes = answer.len().saturating_add(OVERHEAD).max(kept.bytes);
        self.take(&kept.owner, bytes - kept.bytes)?;
        kept.bytes = bytes;
        // A part of a larger buffer would keep all of it.
        kept.record.answer = Some(Bytes::copy_from_slice(answer));
        Ok(())
    }
}

impl AnswerStore for MemoryAnswers {
    fn sharing(&self) -> Sharing {
        Sharing::within_process(self)
    }

    fn claim<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, AnswerOutcome> {
        StoreFuture::ready(self.try_claim(claim))
    }

    fn find<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, Option<AnswerOutcome>> {
        StoreFuture::ready(self.shard(claim).map(|shard| {
            let shard = lock(shard);
            let now = self.now();
            let found = shard.records.get(&Known::of(claim));
            found.and_then(|kept| kept.record.judge(claim, now))
        }))
    }

    fn renew<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        lease: std::time::Duration,
    ) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::ready(self.step(
            claim,
            |kept, _| kept.attempt == claim.attempt(),
            |shard, now| {
                if let Some(kept) = shard.records.get_mut(&Known::of(claim)) {
                    kept.record.lease_end = now.saturating_add(lease);
                }
                Ok(())
            },
        ))
    }

    fn record<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
    ) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::ready(self.step(
            claim,
            |kept, _| kept.attempt == claim.attempt(),
            |shard, _| self.keep(shard, Known::of(claim), answer),
        ))
    }

    fn release<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::ready(self.step(
            claim,
            |kept, _| kept.attempt == claim.attempt(),
            |shard, _| {
                self.remove(shard, Known::of(claim));
                Ok(())
            },
        ))
    }

    fn resolve<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
    ) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::ready(self.step(
            claim,
            |kept, now| kept.record.lease_end <= now,
            |shard, _| self.keep(shard, Known::of(claim), answer),
        ))
    }
}

impl Default for MemoryAnswers {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (taken, capacity) = (self.taken_bytes(), self.capacity);
        write!(f, "MemoryAnswers({taken} of {capacity} bytes)")
    }
}

impl MemoryAnswersBuilder {
    /// Sets the most bytes that records may take up. Default: 256 MiB. Range: at least 64 KiB.
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        self.capacity = bytes;
        self
    }

    /// Sets how much of the store one key id of one namespace may fill, in per cent. Default: 50.
    /// Range: 1 to 100.
    pub fn key_share(mut self, percent: u8) -> Self {
        self.key_share = percent;
        self
    }

    /// Sets the clock that retentions and leases pass by. Default: the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Returns the store.
    ///
    /// # Errors
    /// Returns an error if the capacity or the share is out of its range.
    pub fn build(self) -> Result<MemoryAnswers, ConfigError> {
        ConfigError::unless(
            self.capacity >= 64 * 1024,
            "the capacity of a memory store of answers must be at least 64 KiB",
        )?;
        ConfigError::unless_share(self.key_share, "a memory store of answers")?;
        Ok(self.build_in_range())
    }

    fn build_in_range(self) -> MemoryAnswers {
        MemoryAnswers {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            clock: self.clock,
            latest: AtomicU64::new(0),
            capacity: self.capacity,
            of_a_key: self.capacity / 100 * usize::from(self.key_share),
            taken: AtomicUsize::new(0),
            keys: Mutex::default(),
        }
    }
}
