//! Duplicates wait here, in their own process, before they take a connection from a handler's pool:
//! of the requests with one identity, one at a time is in its handler.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

use super::{claim::Claim, lock::lock};
use crate::error::Rejection;

/// One line for each identity that is in use: there are never more lines than requests in flight.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<[u8; 32], Arc<Line>>>>);

#[derive(Default)]
struct Line {
    queue: Arc<Queue<()>>,
    /// A transaction with this identity was committed.
    is_used: AtomicBool,
}

/// Ends when it is dropped, and the next in line has its turn.
pub(crate) struct Turn {
    // The next one gets its turn before the place is given up.
    _turn: OwnedMutexGuard<()>,
    place: Place,
}

/// In line, waiting or not.
struct Place {
    turns: Turns,
    identity: [u8; 32],
    /// `None` while it is dropped.
    line: Option<Arc<Line>>,
}

impl Turns {
    /// Waits for the requests with the same identity that came earlier, but no longer than `limit`.
    ///
    /// # Errors
    /// Returns a rejection if the limit is over.
    pub(crate) async fn take(&self, claim: &Claim, limit: Duration) -> Result<Turn, Rejection> {
        let identity = claim.digest();
        let (queue, place) = {
            let mut lines = lock(&self.0);
            let line = lines.entry(identity).or_default();
            let place = Place {
                turns: self.clone(),
                identity,
                line: Some(Arc::clone(line)),
            };
            (Arc::clone(&line.queue), place)
        };
        // Without anybody ahead, no timer is needed.
        let turn = match Arc::clone(&queue).try_lock_owned() {
            Ok(turn) => turn,
            Err(_) => {
                // Boxed, so that those who do not wait keep no room for it.
                let waiting = Box::pin(tokio::time::timeout(limit, queue.lock_owned()));
                let waited = waiting.await;
                waited.map_err(|_| {
                    let detail = "a duplicate is in its handler, and has not ended within the \
                                  `store_timeout`";
                    Rejection::in_flight(detail, Duration::ZERO)
                })?
            }
        };
        Ok(Turn { _turn: turn, place })
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

impl Turn {
    /// Spares those who wait the question to the database.
    pub(super) fn mark_used(&self) {
        if let Some(line) = &self.place.line {
            line.is_used.store(true, Ordering::Release);
        }
    }

    /// Whether a transaction with this identity was committed while this one waited.
    pub(crate) fn is_used(&self) -> bool {
        let line = self.place.line.as_ref();
        line.is_some_and(|line| line.is_used.load(Ordering::Acquire))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut turns = lock(&self.turns.0);
        // Given up under the lock, so that the last one to leave sees that it is the last.
        self.line = None;
        let is_left = |line: &Arc<Line>| Arc::strong_count(line) == 1;
        if turns.get(&self.identity).is_some_and(is_left) {
            turns.remove(&self.identity);
        }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Timestamp,
        key::KeyId,
        once::{Nonce, NonceKind},
    };

    const SHORT: Duration = Duration::from_millis(20);

    fn claim(nonce: u8) -> Claim {
        let nonce = Nonce::new(NonceKind::Covered, [nonce]);
        Claim::new(
            "n".into(),
            KeyId::new("k").unwrap(),
            nonce,
            Timestamp::EPOCH,
        )
    }

    #[tokio::test]
    async fn one_at_a_time_has_its_turn_and_no_line_is_left() {
        let turns = Turns::default();
        let one = claim(1);
        let first = turns.take(&one, SHORT).await.unwrap();
        let other = turns.take(&claim(2), SHORT).await.unwrap();
        assert!(turns.take(&one, SHORT).await.is_err());
        assert_eq!(turns.len(), 2);
        first.mark_used();
        drop(other);
        let hour = Duration::from_secs(3600);
        let waits = turns.take(&one, hour);
        let (next, ()) = tokio::join!(waits, async { drop(first) });
        assert!(next.as_ref().unwrap().is_used());
        assert_eq!(turns.len(), 1);
        // One that gives up, and one that is dropped while it waits, leave nothing.
        let waits = turns.take(&one, hour);
        assert!(tokio::time::timeout(SHORT, waits).await.is_err());
        drop(next);
        assert_eq!(turns.len(), 0);
        assert!(!turns.take(&one, SHORT).await.unwrap().is_used());
    }
}
