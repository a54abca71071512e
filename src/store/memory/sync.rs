//! The locks, counters and hash keys of the memory store; under `cfg(all(test, countersign_loom))`
//! loom's, and keys that are the same in each run, for loom repeats itself.

#[cfg(not(all(test, countersign_loom)))]
pub(super) use std::sync::{
    Mutex, MutexGuard, RwLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

#[cfg(all(test, countersign_loom))]
pub(super) use loom::sync::{
    Mutex, MutexGuard, RwLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

#[cfg(not(all(test, countersign_loom)))]
pub(super) fn hash_key() -> [u8; 16] {
    crate::random::bytes()
}

#[cfg(all(test, countersign_loom))]
pub(super) fn hash_key() -> [u8; 16] {
    *b"0123456789abcdef"
}
