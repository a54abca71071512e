//! Duplicates wait here, in their own process, before they take a connection from a pool: of the
//! requests with one message, one at a time is in its handler, whatever place each came to; and of
//! those with one idempotency key, one at a time asks the store.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

use super::{answers::AnswerClaim, claim::Claim};
use crate::{error::Fault, lock::lock};

/// One line for each message or key that is in use: there are never more lines than requests in
/// flight.
///
/// A message has one line for all places: one captured request can be sent to many of them, and
/// each would hold a connection.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<[u8; 32], Arc<Line>>>>);

#[derive(Default)]
struct Line {
    queue: Arc<Queue<()>>,
    /// The identities with which transactions were committed, the latest ones.
    used: Mutex<Vec<[u8; 32]>>,
}

/// The most identities of one message that are remembered as used. Others are looked up in the
/// database.
const USED: usize = Claim::OPEN_PLACES;

/// Ends when it is dropped, and the next in line has its turn.
pub(crate) struct Turn {
    // The next one gets its turn before the place is given up.
    _turn: OwnedMutexGuard<()>,
    place: Place,
    /// With the place of the request.
    identity: [u8; 32],
}

/// Has its turn in a line.
pub(crate) trait InLine {
    /// Returns which line it is in.
    fn line(&self) -> [u8; 32];

    /// Tells it from others in that line.
    fn identity(&self) -> [u8; 32];
}

impl InLine for Claim {
    fn line(&self) -> [u8; 32] {
        self.message()
    }

    fn identity(&self) -> [u8; 32] {
        self.digest()
    }
}

impl InLine for AnswerClaim {
    fn line(&self) -> [u8; 32] {
        *self.digest()
    }

    fn identity(&self) -> [u8; 32] {
        *self.digest()
    }
}

/// In line, waiting or not.
struct Place {
    turns: Turns,
    line_of: [u8; 32],
    /// `None` while it is dropped.
    line: Option<Arc<Line>>,
}

impl Turns {
    /// Waits for those in the same line that came earlier, but no longer than `limit`.
    ///
    /// # Errors
    /// Returns an error if the limit is over.
    pub(crate) async fn take(&self, claim: &impl InLine, limit: Duration) -> Result<Turn, Fault> {
        let (queue, place) = self.enter(claim);
        // Without anybody ahead, no timer is needed.
        let turn = match Arc::clone(&queue).try_lock_owned() {
            Ok(turn) => turn,
            Err(_) => {
                // Boxed, so that those who do not wait keep no room for it.
                let waiting = Box::pin(tokio::time::timeout(limit, queue.lock_owned()));
                let waited = waiting.await;
                waited.map_err(|_| {
                    in_flight(
                        "a duplicate came first, and has not ended within the `store_timeout`",
                    )
                })?
            }
        };
        Ok(Turn::new(turn, place, claim))
    }

    /// Waits for nobody: for those who hold a connection already, which would wait with them.
    ///
    /// # Errors
    /// Returns an error if a request with the same message has its turn.
    pub(crate) fn take_at_once(&self, claim: &impl InLine) -> Result<Turn, Fault> {
        let (queue, place) = self.enter(claim);
        let turn = queue.try_lock_owned();
        let turn = turn.map_err(|_| in_flight("a duplicate waits for the database"))?;
        Ok(Turn::new(turn, place, claim))
    }

    fn enter(&self, claim: &impl InLine) -> (Arc<Queue<()>>, Place) {
        let line_of = claim.line();
        let mut lines = lock(&self.0);
        let line = lines.entry(line_of).or_default();
        let place = Place {
            turns: self.clone(),
            line_of,
            line: Some(Arc::clone(line)),
        };
        (Arc::clone(&line.queue), place)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

impl Turn {
    fn new(turn: OwnedMutexGuard<()>, place: Place, claim: &impl InLine) -> Self {
        Self {
            _turn: turn,
            place,
            identity: claim.identity(),
        }
    }

    /// Spares those who wait the question to the database.
    pub(super) fn mark_used(&self) {
        if let Some(line) = &self.place.line {
            let mut used = lock(&line.used);
            if used.len() == USED {
                used.remove(0);
            }
            used.push(self.identity);
        }
    }

    /// Returns whether a transaction with this identity was committed while this one waited.
    pub(crate) fn is_used(&self) -> bool {
        let line = self.place.line.as_ref();
        line.is_some_and(|line| lock(&line.used).contains(&self.identity))
    }
}

fn in_flight(detail: &'static str) -> Fault {
    Fault::in_flight(detail, Duration::ZERO)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut turns = lock(&self.turns.0);
        // Given up under the lock, so that the last one to leave sees that it is the last.
        self.line = None;
        let is_left = |line: &Arc<Line>| Arc::strong_count(line) == 1;
        if turns.get(&self.line_of).is_some_and(is_left) {
            turns.remove(&self.line_of);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

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
        // A claim that gives up, and a claim that is dropped while it waits, leave nothing.
        let waits = turns.take(&one, hour);
        assert!(tokio::time::timeout(SHORT, waits).await.is_err());
        drop(next);
        assert_eq!(turns.len(), 0);
        assert!(!turns.take(&one, SHORT).await.unwrap().is_used());
    }
    /// One captured request, sent to many paths: a connection for each would use up a pool.
    #[tokio::test]
    async fn a57_a_message_has_one_turn_for_all_places() {
        let turns = Turns::default();
        let at = |path: &str| claim(1).at_open_place(Method::POST, path);
        let first = turns.take(&at("/a"), SHORT).await.unwrap();
        assert!(turns.take(&at("/b"), SHORT).await.is_err());
        assert!(turns.take_at_once(&at("/c")).is_err());
        first.mark_used();
        let (hour, there, elsewhere) = (Duration::from_secs(3600), at("/a"), at("/b"));
        let waits = async {
            let there = turns.take(&there, hour).await.unwrap();
            assert!(there.is_used());
            drop(there);
            // The record of one place says nothing about another.
            assert!(!turns.take(&elsewhere, hour).await.unwrap().is_used());
        };
        tokio::join!(waits, async { drop(first) });
        assert_eq!(turns.len(), 0);
    }

    /// The twin: by the identity, with the place in it, each path has a turn of its own.
    #[test]
    fn a57_twin_by_their_identities_places_are_apart() {
        let at = |path: &str| claim(1).at_open_place(Method::POST, path);
        assert_ne!(at("/a").digest(), at("/b").digest());
        assert_eq!(at("/a").message(), at("/b").message());
        assert_ne!(at("/a").message(), claim(2).message());
    }

    #[tokio::test]
    async fn no_more_is_kept_of_a_line_than_its_latest_uses() {
        let turns = Turns::default();
        let at = |n: usize| claim(1).at_open_place(Method::POST, n.to_string());
        let waiting = turns.enter(&at(0));
        for n in 0..3 * USED {
            turns.take_at_once(&at(n)).unwrap().mark_used();
        }
        let is_used = |n| turns.take_at_once(&at(n)).unwrap().is_used();
        assert!(is_used(3 * USED - 1) && is_used(2 * USED) && !is_used(2 * USED - 1));
        drop(waiting);
        assert_eq!(turns.len(), 0);
    }
}
