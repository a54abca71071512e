//! The cap in bytes: what is allocated is taken from here first.

use super::sync::{AtomicUsize, Ordering};

#[derive(Debug)]
pub(super) struct Budget {
    taken: AtomicUsize,
    cap: usize,
}

/// The cap leaves no room for what was asked.
#[derive(Debug)]
pub(super) struct OverCap;

impl Budget {
    pub(super) fn new(cap: usize, taken: usize) -> Self {
        Self {
            taken: AtomicUsize::new(taken),
            cap,
        }
    }

    pub(super) fn cap(&self) -> usize {
        self.cap
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self, bytes: usize) -> Result<(), OverCap> {
        let more = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.cap);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_or(Err(OverCap), |_| Ok(()))
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}
