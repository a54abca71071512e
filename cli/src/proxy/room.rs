//! Room for bodies that nobody has verified. The one that is incomplete longest gives way to others.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// A number of bytes that bodies share.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    bytes: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    bytes: usize,
    next: u64,
    /// By their tickets: the lower one has waited longer.
    incomplete: BTreeMap<u64, Incomplete>,
}

/// Dropped in order to tell the body that it must give way.
#[derive(Debug)]
struct Incomplete {
    bytes: usize,
    _displaced: oneshot::Sender<()>,
}

/// The room of one body, until it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    pool: Pool,
    ticket: u64,
    /// The size of a complete body.
    bytes: usize,
    displaced: oneshot::Receiver<()>,
}

impl Pool {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            bytes,
            taken: Arc::default(),
        }
    }

    /// The room of a body of which nothing has come.
    pub(super) fn enter(&self) -> Room {
        let (sender, displaced) = oneshot::channel();
        let mut taken = self.taken();
        let ticket = taken.next;
        taken.next += 1;
        let incomplete = Incomplete {
            bytes: 0,
            _displaced: sender,
        };
        taken.incomplete.insert(ticket, incomplete);
        drop(taken);
        Room {
            pool: self.clone(),
            ticket,
            bytes: 0,
            displaced,
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn remove(&mut self, ticket: u64) -> Option<usize> {
        let bytes = self.incomplete.remove(&ticket)?.bytes;
        self.bytes -= bytes;
        Some(bytes)
    }
}

impl Room {
    /// Makes room for `more` bytes. Returns `false` if the body was displaced, or if complete
    /// bodies take up the whole room.
    pub(super) fn grow(&mut self, more: usize) -> bool {
        let mut taken = self.pool.taken();
        if !taken.incomplete.contains_key(&self.ticket) {
            return false;
        }
        while taken.bytes + more > self.pool.bytes {
            // One without a byte takes up nothing that it could give.
            let mut others = taken.incomplete.iter();
            let oldest = others.find(|(ticket, body)| **ticket != self.ticket && body.bytes > 0);
            let Some(oldest) = oldest.map(|(ticket, _)| *ticket) else {
                return false;
            };
            taken.remove(oldest);
        }
        taken.bytes += more;
        if let Some(own) = taken.incomplete.get_mut(&self.ticket) {
            own.bytes += more;
        }
        true
    }

    /// Waits until the body must give way.
    pub(super) async fn displaced(&mut self) {
        let _ = (&mut self.displaced).await;
    }

    /// Marks the body as complete, so that no other body displaces it. Returns `false` if it was
    /// displaced before.
    pub(super) fn complete(&mut self) -> bool {
        let mut taken = self.pool.taken();
        let Some(bytes) = taken.remove(self.ticket) else {
            return false;
        };
        taken.bytes += bytes;
        self.bytes = bytes;
        true
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut taken = self.pool.taken();
        taken.remove(self.ticket);
        taken.bytes -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_that_is_incomplete_longest_gives_way_and_a_complete_one_never() {
        let pool = Pool::new(10);
        let [mut first, mut second, mut third] = [(); 3].map(|()| pool.enter());
        assert!(first.grow(4) && second.grow(4) && third.grow(2));
        assert!(third.grow(1));
        assert!(!first.grow(1) && !first.complete(), "it does not come back");
        assert!(second.complete());
        let mut last = pool.enter();
        assert!(last.grow(6));
        assert!(!third.complete());
        assert!(!last.grow(1), "the complete one stays");
        drop((first, second, third, last));
        assert_eq!(pool.taken().bytes, 0);
        assert!(pool.taken().incomplete.is_empty());
    }
}
