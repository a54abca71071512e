//! The memory store, and how it claims.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use super::{
    hash::{Hashed, Hasher, scale},
    high_watermark::HighWatermark,
    namespaces::Namespaces,
    shard::{Limits, Padded, Shard, Step, lock},
    sync::{AtomicU64, AtomicUsize, Ordering},
    time::Base,
};
use crate::{
    clock::{Clock, Timestamp},
    error::{ConfigError, StoreError, StoreErrorKind},
    future::StoreFuture,
    once::{
        Claim, ClaimOutcome, History, LeaseOutcome, LeaseStore, NonceStore, Sharing, StepOutcome,
    },
    store::status::StoreStatus,
};

/// Remembers nonces in memory.
///
/// **It serves exactly one live process.** If two processes have a memory store each, each of them
/// accepts the same request once. A restart forgets. So the store refuses every claim with
/// `signed time <= start + max_skew`, which may have been accepted before (503, `sign_again`);
/// [`MemoryStoreBuilder::high_watermark`](crate::store::MemoryStoreBuilder::high_watermark) narrows
/// this to about a second. If nothing was accepted earlier, call
/// [`MemoryStore::danger_assume_no_history`]. A claim without a signed time cannot be refused in
/// this way, and can be accepted once more after a restart.
///
/// Guarantees while it lives:
/// - however many claims on one nonce arrive, at most one is answered [`ClaimOutcome::New`] until
///   its deadline has passed by the store's clock. Nonces are compared by more than 64 bits of a
///   keyed hash: a new nonce may be taken for a replay, with a probability of one in 2⁶⁴ for each
///   nonce in its shard. A replay is never taken for a new nonce;
/// - a live record is never evicted. A full store refuses with [`StoreErrorKind::Full`];
/// - a namespace is remembered for as long as its first claim needed. A claim that needs longer is
///   refused with [`StoreErrorKind::Misconfigured`]: to raise `max_age` or a retention, make a new
///   store;
/// - one key has no more records than its
///   [share](crate::store::MemoryStoreBuilder::key_share). Beyond it, claims are refused with
///   [`StoreErrorKind::KeyOverQuota`];
/// - if the clock was ahead and steps back, records that were dropped meanwhile stay refused. The
///   clock must be right when the store is made;
/// - no claim waits until the whole store is swept, or has grown: a claim sweeps or grows one shard
///   of at most 272 KiB. There is no thread in the background.
///
/// A record takes 17 bytes, and 19 to 23 with the slots that are free around it.
///
/// ```
/// use countersign::{
///     store::{Claim, ClaimOutcome, Nonce, NonceKind, NonceStore}, Clock, KeyId, MemoryStore,
/// };
/// use countersign::clock::SystemClock;
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = MemoryStore::new().danger_assume_no_history();
/// let deadline = SystemClock::default().now().saturating_add(Duration::from_secs(300));
/// let nonce = Nonce::new(NonceKind::Covered, "a nonce");
/// let claim = Claim::new("payments".into(), KeyId::new("partner-1")?, nonce, deadline);
/// assert_eq!(store.claim(&claim).await?, ClaimOutcome::New);
/// assert_eq!(store.claim(&claim).await?, ClaimOutcome::Replayed);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # Ok::<_, std::io::Error>(())
/// ```
pub struct MemoryStore {
    pub(super) shards: Box<[Padded]>,
    pub(super) limits: Limits,
    pub(super) namespaces: Namespaces,
    pub(super) hasher: Hasher,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) base: Base,
    pub(super) history: History,
    pub(super) high_watermark: Option<HighWatermark>,
    /// The shard that is swept next, as a count of sweeps.
    pub(super) cursor: AtomicUsize,
    /// When that is, in milliseconds since the Unix epoch.
    pub(super) next_sweep: AtomicU64,
    /// In milliseconds.
    pub(super) sweep_interval: u64,
}

/// The contents of a [`MemoryStore`] at one moment, in numbers: see [`MemoryStore::statistics`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStatistics {
    /// Nonces on record: those leased included, and those whose deadline has passed but which have
    /// not been swept yet. The same as [`MemoryStore::len`], [`NonceStore::live`] and the metric
    /// `countersign_live_nonces`.
    pub nonces: usize,
    /// Leases that their holders have neither completed nor released: those included that have
    /// ended but have not been swept yet.
    pub leases: usize,
    /// Bytes allocated for nonces, leases and keys. The same as [`MemoryStore::allocated_bytes`].
    pub allocated_bytes: usize,
    /// The most that may be:
    /// [`MemoryStoreBuilder::capacity_bytes`](crate::store::MemoryStoreBuilder::capacity_bytes).
    pub capacity_bytes: usize,
    /// How far the file of
    /// [`MemoryStoreBuilder::high_watermark`](crate::store::MemoryStoreBuilder::high_watermark) is
    /// written, where there is one: nothing that was signed later has been accepted. The epoch,
    /// before the first claim.
    pub high_watermark: Option<Timestamp>,
}

/// How many shards are looked at, and swept where that is due, before a key is refused for its
/// quota.
const SWEPT_FOR_QUOTA: usize = 8;

impl MemoryStore {
    /// Accepts requests that were signed before the store was made: for a first start, for tests, or
    /// if another store has kept the records until now. Default: every claim with
    /// `signed time <= start + max_skew` is refused. On a store with a high watermark it does
    /// nothing: call it on the builder.
    #[must_use]
    pub fn danger_assume_no_history(mut self) -> Self {
        if self.high_watermark.is_none() {
            self.history = History::COMPLETE;
        }
        self
    }

    /// Returns how many nonces are held, those included whose deadline has passed but which have
    /// not been swept yet. Locks each shard in turn.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Returns whether no nonce is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes that are allocated for nonces, leases and keys: never more than
    /// [`MemoryStoreBuilder::capacity_bytes`](crate::store::MemoryStoreBuilder::capacity_bytes).
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.limits.budget.taken()
    }

    /// Counts what the store holds at this moment. Locks each shard in turn, and looks at no
    /// record: for a status page or a log line once a second, not for each request.
    ///
    /// ```
    /// let store = countersign::MemoryStore::new();
    /// let held = store.statistics();
    /// assert_eq!((held.nonces, held.leases), (0, 0));
    /// assert!(held.allocated_bytes <= held.capacity_bytes);
    /// ```
    #[must_use]
    pub fn statistics(&self) -> MemoryStatistics {
        let (mut nonces, mut leases) = (0, 0);
        for shard in &self.shards {
            let shard = lock(shard);
            nonces += shard.len();
            leases += shard.leases();
        }
        MemoryStatistics {
            nonces,
            leases,
            allocated_bytes: self.allocated_bytes(),
            capacity_bytes: self.limits.budget.cap(),
            high_watermark: self.high_watermark.as_ref().map(HighWatermark::written),
        }
    }

    /// Tells what the file of a
    /// [`MemoryStoreBuilder::high_watermark`](crate::store::MemoryStoreBuilder::high_watermark) says,
    /// also while another process has it: the next process refuses what was signed up to
    /// `accepted_up_to`. Nonces stay in the memory of their process, and are in no file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or is not a high watermark.
    pub fn status_of_high_watermark(path: impl AsRef<Path>) -> Result<StoreStatus, ConfigError> {
        let marked = HighWatermark::look(path.as_ref())?;
        let moment = |at: Timestamp| Some(at).filter(|at| *at > Timestamp::EPOCH);
        Ok(StoreStatus {
            since: moment(marked.since),
            accepted_up_to: moment(marked.mark),
            ..StoreStatus::default()
        })
    }

    /// Does a step that may accept: not before the high watermark, if there is one, covers it.
    fn accept<'a, T: Send + Unpin + 'a>(
        &'a self,
        claim: &'a Claim,
        step: impl Fn(&mut Shard, &Step<'_>) -> Result<T, StoreError> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        if let (Some(mark), Some(signed_at)) = (&self.high_watermark, claim.signed_at())
            && !mark.covers(signed_at)
        {
            return StoreFuture::new(async move {
                mark.reach(signed_at).await?;
                self.step(claim, step)
            });
        }
        StoreFuture::ready(self.step(claim, step))
    }

    /// Does one step on a claim's shard, under its lock.
    fn step<T>(
        &self,
        claim: &Claim,
        step: impl Fn(&mut Shard, &Step<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let Hashed {
            owner,
            shard,
            fingerprint,
        } = self.hasher.hash(claim);
        let Some(shard) = self.shards.get(scale(shard, self.shards.len())) else {
            return Err(StoreError::unavailable("the store has no shard"));
        };
        let (namespace, needed) = (claim.namespace(), claim.retention());
        let budget = &self.limits.budget;
        let retention = self.namespaces.retention(namespace, needed, budget)?;
        let history = self.history.remembering(retention);
        let once = || {
            let mut shard = lock(shard);
            // The clock is read under the lock, so that a claim that waited is judged by the time
            // of its turn.
            let clock = self.clock.now();
            let now = self.base.now(clock);
            let keep_until = self.base.deadline(history.keep_until(claim, clock));
            let (base, limits) = (self.base, &self.limits);
            let answer = step(
                &mut shard,
                &Step {
                    claim,
                    owner,
                    fingerprint,
                    keep_until,
                    clock,
                    now,
                    base,
                    history: &history,
                    limits,
                },
            );
            (answer, clock)
        };
        let (mut answer, mut clock) = once();
        if matches!(&answer, Err(e) if e.kind() == StoreErrorKind::KeyOverQuota) {
            (0..SWEPT_FOR_QUOTA).for_each(|_| self.sweep_next(clock));
            (answer, clock) = once();
        }
        self.sweep_if_due(clock);
        answer
    }

    /// Sweeps the next shard when its time has come, or when the clock was set back.
    fn sweep_if_due(&self, clock: Timestamp) {
        let interval = self.sweep_interval;
        let now = clock.as_millis();
        let due = |next: u64| (now >= next || next - now > interval).then_some(now + interval);
        let next = self.next_sweep.load(Ordering::Relaxed);
        let Some(after) = due(next) else { return };
        let order = Ordering::Relaxed;
        if self
            .next_sweep
            .compare_exchange(next, after, order, order)
            .is_ok()
        {
            self.sweep_next(clock);
        }
    }

    fn sweep_next(&self, clock: Timestamp) {
        let next = self.cursor.fetch_add(1, Ordering::Relaxed) % self.shards.len();
        // A shard whose lock is held is in use, and is swept when it needs room.
        if let Some(Ok(mut shard)) = self.shards.get(next).map(|shard| shard.0.try_lock()) {
            let now = self.base.now(clock);
            if shard.is_due(now) {
                shard.sweep(now, &self.limits);
            }
        }
    }
}

impl NonceStore for MemoryStore {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        self.accept(claim, Shard::claim)
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        Some(self)
    }

    fn survives_restart(&self) -> bool {
        false
    }

    fn sharing(&self) -> Sharing {
        Sharing::within_process(self)
    }

    fn live(&self) -> Option<usize> {
        Some(self.len())
    }

    fn refuses_until(&self, max_skew: Duration) -> Option<Timestamp> {
        self.history.refuses_until(max_skew)
    }

    /// A namespace in which nothing was claimed has from now on the retention of who asks.
    fn taken_until(
        &self,
        namespace: &str,
        needed: Duration,
        signed_at: Timestamp,
    ) -> Option<Timestamp> {
        let budget = &self.limits.budget;
        let retention = self.namespaces.retention(namespace, needed, budget);
        Some(signed_at.saturating_add(retention.ok()?))
    }
}

impl LeaseStore for MemoryStore {
    fn lease<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, LeaseOutcome> {
        self.accept(claim, move |shard, step| shard.lease(step, duration))
    }

    fn renew<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::ready(self.step(claim, |shard, step| Ok(shard.renew(step, duration))))
    }

    fn complete<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::ready(self.step(claim, |shard, step| Ok(shard.complete(step))))
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::ready(self.step(claim, |shard, step| Ok(shard.release(step))))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let budget = &self.limits.budget;
        write!(
            f,
            "MemoryStore({} of {} bytes)",
            budget.taken(),
            budget.cap()
        )
    }
}
