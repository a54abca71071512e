//! The queues in which claims and look-ups of answers wait for a database.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::{lock::lock, once::AnswerClaim};

/// The line in front of a pool. A pool has one queue for everything: without this line, renewals,
/// records and releases of keys that are held would wait behind all claims.
///
/// A sender has a line of its own before that: it has at most half of the places, rounded up, so
/// that others wait for few of its requests, however many it sends.
pub(in crate::store) struct Line {
    places: Semaphore,
    most_of_a_sender: usize,
    /// The lines of senders that wait or have a place.
    senders: Mutex<HashMap<[u8; 32], Arc<Semaphore>>>,
}

/// A place, given back when it is dropped.
pub(in crate::store) struct Turn<'l> {
    _place: Option<SemaphorePermit<'l>>,
    _own: Option<OwnedSemaphorePermit>,
    _sender: Sender<'l>,
}

/// Leaves the line of its sender when it is dropped.
struct Sender<'l> {
    line: &'l Line,
    owner: [u8; 32],
}

impl Line {
    /// Makes a line in which at most `most`, and at least one, have their turn at one time.
    pub(in crate::store) fn new(most: u32) -> Self {
        let most = usize::try_from(most.max(1)).unwrap_or(1);
        Self {
            places: Semaphore::new(most),
            most_of_a_sender: most.div_ceil(2),
            senders: Mutex::default(),
        }
    }

    /// Waits for those who came earlier. It is given up when it is dropped, and then nothing was
    /// asked for the claim.
    pub(in crate::store) async fn turn(&self, claim: &AnswerClaim) -> Turn<'_> {
        let waiting = claim.waits();
        let owner = claim.owner();
        let sender = Sender { line: self, owner };
        let own = {
            let mut senders = lock(&self.senders);
            let line = senders.entry(owner);
            let line = line.or_insert_with(|| Arc::new(Semaphore::new(self.most_of_a_sender)));
            Arc::clone(line)
        };
        // Neither semaphore is ever closed.
        let own = own.acquire_owned().await.ok();
        let place = self.places.acquire().await.ok();
        waiting.ends();
        Turn {
            _place: place,
            _own: own,
            _sender: sender,
        }
    }
}

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        let mut senders = lock(&self.line.senders);
        let own = senders.get(&self.owner);
        // Claims that wait, or have a place, hold it as well.
        if own.is_some_and(|own| Arc::strong_count(own) == 1) {
            senders.remove(&self.owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::key::KeyId;

    fn claim(key: &str) -> AnswerClaim {
        AnswerClaim::new("n".into(), KeyId::new(key).unwrap(), [0; 32], [0; 32])
    }

    async fn is_served(line: &Line, claim: &AnswerClaim) -> bool {
        let turn = line.turn(claim);
        timeout(Duration::from_secs(2), turn).await.is_ok()
    }

    /// However many claims one sender has, another has its turn. The twin is the sender itself.
    #[tokio::test(start_paused = true)]
    async fn one_sender_does_not_hold_up_the_line() {
        let line = Line::new(5);
        let greedy: Vec<_> = (0..100).map(|_| claim("greedy")).collect();
        let mut waiting: Vec<_> = greedy
            .iter()
            .map(|claim| Box::pin(line.turn(claim)))
            .collect();
        let mut turns = Vec::new();
        for waiting in &mut waiting {
            turns.extend(timeout(Duration::from_millis(1), waiting).await.ok());
        }
        assert_eq!(turns.len(), 3, "half, rounded up");
        assert!(is_served(&line, &claim("other")).await);
        assert!(!is_served(&line, &claim("greedy")).await, "the twin");
        drop((turns, waiting));
        assert!(lock(&line.senders).is_empty(), "nothing is left");
    }

    /// The twin had its turn.
    #[tokio::test(start_paused = true)]
    async fn a_claim_that_gave_up_in_the_line_was_not_asked_for() {
        let line = Line::new(1);
        let (first, second) = (claim("one"), claim("other"));
        let turn = line.turn(&first).await;
        assert!(!is_served(&line, &second).await);
        assert!(!second.may_be_asked() && first.may_be_asked());
        drop(turn);
        assert!(is_served(&line, &second).await && second.may_be_asked());
    }

    /// A store around another may ask for one claim again. The twin never had its turn.
    #[tokio::test(start_paused = true)]
    async fn a_claim_that_waits_again_may_have_been_asked_for_before() {
        let line = Line::new(1);
        let (first, twin) = (claim("one"), claim("other"));
        drop(line.turn(&first).await);
        let third = claim("third");
        let _turn = line.turn(&third).await;
        assert!(!is_served(&line, &first).await && !is_served(&line, &twin).await);
        assert!(first.may_be_asked() && !twin.may_be_asked());
    }
}
