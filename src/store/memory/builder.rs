//! The settings of a memory store.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    budget::Budget,
    hash::Hasher,
    high_watermark::{HighWatermark, Marked},
    namespaces::Namespaces,
    quota::Quota,
    shard::{Limits, Padded, Shard},
    store::MemoryStore,
    sync::{AtomicU64, AtomicUsize, Mutex},
    table::Table,
    time::Base,
};
use crate::{
    clock::{Clock, SystemClock, Timestamp},
    error::ConfigError,
    once::History,
};

impl MemoryStore {
    /// Returns a store by the system's clock, of at most 256 MiB, allocated as needed: room for
    /// some 12 million nonces. One key may hold half of them.
    #[must_use]
    pub fn new() -> Self {
        MemoryStoreBuilder::default().build_in_range()
    }

    /// Returns a builder of a store with other settings.
    #[must_use]
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder::default()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

/// Configures a [`MemoryStore`].
#[derive(Debug)]
pub struct MemoryStoreBuilder {
    capacity_bytes: usize,
    key_share: u8,
    clock: Arc<dyn Clock>,
    assume_no_history: bool,
    high_watermark: Option<PathBuf>,
}

/// A sender's clock cannot explain a high watermark as far ahead as this.
const FAR_AHEAD: Duration = Duration::from_secs(60);

/// In what time the sweep comes round, by the store's clock, if there are claims enough: each
/// sweeps at most one shard.
const SWEEP_PERIOD_MS: u64 = 16_000;

impl MemoryStoreBuilder {
    /// The least capacity: 64 KiB.
    pub const MIN_CAPACITY_BYTES: usize = 64 * 1024;

    /// The most of a capacity. A 2,000th of it is allocated at once.
    const MAX_CAPACITY_BYTES: u64 = 1 << 40;

    /// The greatest number of slots of one shard: 272 KiB. A claim that grows a shard touches all of
    /// the new table for the first time, and each page of it may cost the kernel 10 µs or more. The
    /// shards of ten million records are few enough to stay in the processor's cache.
    const MAX_SLOTS: usize = 1 << 14;

    /// The least number of shards, so that claims seldom meet at one lock.
    const MIN_SHARDS: usize = 16;

    /// Sets the most bytes that are allocated for nonces, leases and keys. All but one per cent is
    /// allocated as it is needed. Default: 256 MiB. Range: 64 KiB to 1 TiB.
    ///
    /// Plan 22 bytes for each live nonce. With the default window, the requests of a little more
    /// than 5 minutes are live at one time.
    #[must_use]
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        self.capacity_bytes = bytes;
        self
    }

    /// Sets how much of the store one key may fill, in per cent. Default: 50. Range: 1 to 100.
    ///
    /// The store counts as many keys with live nonces exactly as the capacity has KiB, and at most
    /// 65,536. Further keys share the quota of one key.
    #[must_use]
    pub fn key_share(mut self, percent: u8) -> Self {
        self.key_share = percent;
        self
    }

    /// Sets the clock that deadlines pass by. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Does the same as [`MemoryStore::danger_assume_no_history`]. With a high watermark it is
    /// about the time before the file was created, and has no effect once the file exists. Do not
    /// use it if the file can get lost, as in a container without a volume.
    #[must_use]
    pub fn danger_assume_no_history(mut self) -> Self {
        self.assume_no_history = true;
        self
    }

    /// Keeps the latest accepted signed time in `file`, over restarts. Default: no file.
    ///
    /// After a restart, or a crash of the process or the machine, only requests that were signed at
    /// or before the watermark are refused (503, `sign_again`). The watermark is one second after
    /// the latest signed time of a claim. Requests that are signed later are served at once.
    /// The first start, without a file, is like the start of a store without a watermark.
    ///
    /// The file is written ahead of the claims, about once in a second of signed time, by a thread
    /// of the store's own, in whole and synced with its folder. A claim waits for the write only if
    /// it is signed later than the file says: the first claim after a pause, or from a clock that
    /// is ahead. While the file cannot be written, claims that are signed later than it says are
    /// refused with [`Unavailable`](crate::error::StoreErrorKind::Unavailable); each of them tries
    /// to write it again.
    ///
    /// **Limits.** A claim without a signed time, and an event whose sender signs its retry again,
    /// may be accepted again after a restart: use a store that survives restarts for these. Leases
    /// are forgotten too. If an older copy of the file is put in its place, requests that were
    /// accepted since the copy can be accepted again. After a clock that was far ahead, everything
    /// is refused until the time that the file says; the log warns of it at the start.
    ///
    /// One live process has the file: it is locked by one beside it (`.lock`), and replaced by
    /// another (`.new`). Keep it on a local disk. Symbolic links are followed, once, when the store
    /// is built: these two then are beside the file itself. Dropping the store waits for a write
    /// that is under way.
    ///
    /// ```
    /// use countersign::MemoryStore;
    ///
    /// # let folder = std::env::temp_dir().join(format!("countersign-mark-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let file = folder.join("watermark");
    /// let store = MemoryStore::builder().high_watermark(&file).build()?;
    /// // A second store with the same file is refused.
    /// assert!(MemoryStore::builder().high_watermark(&file).build().is_err());
    /// # drop(store);
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn high_watermark(mut self, file: impl Into<PathBuf>) -> Self {
        self.high_watermark = Some(file.into());
        self
    }

    /// Builds the store.
    ///
    /// # Errors
    /// Returns an error if the capacity is less than [`MemoryStoreBuilder::MIN_CAPACITY_BYTES`] or
    /// more than 1 TiB, or the share of a key is not 1 to 100 per cent. Returns an error if the file
    /// of the high watermark belongs to another live store, is damaged, is not a regular file, holds
    /// something else, or cannot be read or written.
    pub fn build(mut self) -> Result<MemoryStore, ConfigError> {
        ConfigError::unless(
            self.capacity_bytes >= Self::MIN_CAPACITY_BYTES,
            "the capacity of a memory store must be at least 64 KiB",
        )?;
        ConfigError::unless(
            u64::try_from(self.capacity_bytes).is_ok_and(|bytes| bytes <= Self::MAX_CAPACITY_BYTES),
            "the capacity of a memory store must be at most 1 TiB",
        )?;
        ConfigError::unless_share(self.key_share, "a memory store")?;
        let file = self.high_watermark.take();
        let since = self.since();
        let mut store = self.build_from(since);
        if let Some(file) = file {
            let first = Marked {
                since,
                mark: Timestamp::EPOCH,
            };
            let (mark, marked) = HighWatermark::open(&file, first)?;
            let now = store.clock.now();
            if marked.mark > now.saturating_add(FAR_AHEAD) {
                tracing::warn!(
                    file = %file.display(),
                    watermark = %mark.written(),
                    %now,
                    "the high watermark is far ahead of the clock: what is signed until then is \
                     refused. Set the clock right, if it is behind"
                );
            }
            store.high_watermark = Some(mark);
            store.history = marked.history();
        }
        Ok(store)
    }

    pub(super) fn build_in_range(self) -> MemoryStore {
        let since = self.since();
        self.build_from(since)
    }

    /// Returns since when nothing was accepted that the store will not know of.
    fn since(&self) -> Timestamp {
        if self.assume_no_history {
            Timestamp::EPOCH
        } else {
            self.clock.now()
        }
    }

    fn build_from(self, since: Timestamp) -> MemoryStore {
        let cap = self.capacity_bytes;
        let keys = (cap / 1024).min(1 << 16);
        // A sixteenth is for leases, and for a shard that exists twice while it moves.
        let for_shards = (cap - Quota::bytes(keys)) / 16 * 15;
        let full_shard = size_of::<Padded>() + Table::bytes(Self::MAX_SLOTS);
        let shards = for_shards.div_ceil(full_shard).max(Self::MIN_SHARDS);
        let for_slots = (for_shards / shards).saturating_sub(size_of::<Padded>());
        let max_slots = for_slots / Table::bytes(1);
        let records = Table::room(max_slots).saturating_mul(shards);
        let share = records.saturating_mul(self.key_share.into()) / 100;

        let start = self.clock.now();
        let fixed = Quota::bytes(keys) + shards * size_of::<Padded>();
        MemoryStore {
            shards: (0..shards)
                .map(|_| Padded(Mutex::new(Shard::new())))
                .collect(),
            limits: Limits {
                budget: Budget::new(cap, fixed),
                quota: Quota::new(keys, share),
                max_slots,
            },
            namespaces: Namespaces::default(),
            hasher: Hasher::new(),
            clock: self.clock,
            base: Base::around(start),
            history: History::since(since),
            high_watermark: None,
            cursor: AtomicUsize::new(0),
            next_sweep: AtomicU64::new(0),
            sweep_interval: (SWEEP_PERIOD_MS / shards as u64).max(1),
        }
    }
}

impl Default for MemoryStoreBuilder {
    fn default() -> Self {
        Self {
            capacity_bytes: 256 << 20,
            key_share: 50,
            clock: Arc::new(SystemClock),
            assume_no_history: false,
            high_watermark: None,
        }
    }
}
