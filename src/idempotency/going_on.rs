//! Limits how many handlers may go on after their clients have hung up, and how many of one sender.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use crate::{key::KeyId, lock::lock, once::AnswerClaim};

/// A namespace, and a key id in it.
type Sender = (Arc<str>, KeyId);

/// The handlers that go on, counted for each sender.
pub(crate) struct GoingOn {
    most: usize,
    /// Others always have the rest.
    most_of_a_sender: usize,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    handlers: usize,
    of: HashMap<Sender, usize>,
}

impl GoingOn {
    /// One sender has at most half of the places, rounded up.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_of_a_sender: most.div_ceil(2),
            now: Mutex::default(),
        })
    }
}

/// One who may ask for a place.
pub(crate) struct Applicant {
    going_on: Arc<GoingOn>,
    sender: Sender,
}

impl Applicant {
    pub(crate) fn new(going_on: &Arc<GoingOn>, claim: &AnswerClaim) -> Self {
        Self {
            going_on: Arc::clone(going_on),
            sender: claim.sender(),
        }
    }

    /// Takes a place, if there is one for this sender.
    pub(crate) fn take(self) -> Option<Place> {
        let Self { going_on, sender } = self;
        let mut now = lock(&going_on.now);
        let own = now.of.get(&sender).copied().unwrap_or_default();
        if now.handlers >= going_on.most || own >= going_on.most_of_a_sender {
            return None;
        }
        now.handlers += 1;
        now.of.insert(sender.clone(), own + 1);
        drop(now);
        Some(Place(Self { going_on, sender }))
    }
}

/// Is given back when it is dropped.
pub(crate) struct Place(Applicant);

impl Drop for Place {
    fn drop(&mut self) {
        let Applicant { going_on, sender } = &self.0;
        let mut now = lock(&going_on.now);
        now.handlers = now.handlers.saturating_sub(1);
        match now.of.get_mut(sender) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                now.of.remove(sender);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(going_on: &Arc<GoingOn>, key: &str) -> Option<Place> {
        let key = KeyId::new(key).unwrap();
        let claim = AnswerClaim::new("n".into(), key, [0; 32], [0; 32]);
        Applicant::new(going_on, &claim).take()
    }

    #[test]
    fn one_sender_does_not_use_up_the_handlers_that_go_on() {
        let going_on = GoingOn::new(5);
        let mut taken: Vec<_> = (0..9).filter_map(|_| take(&going_on, "greedy")).collect();
        assert_eq!(taken.len(), 3, "half, rounded up");
        let others = [take(&going_on, "other"), take(&going_on, "other")];
        assert!(others.iter().all(Option::is_some));
        assert!(take(&going_on, "third").is_none(), "all are taken");
        taken.pop();
        assert!(take(&going_on, "greedy").is_some(), "it is given back");
        drop((taken, others));
        let now = lock(&going_on.now);
        assert!(now.handlers == 0 && now.of.is_empty(), "nothing is left");
    }

    #[test]
    fn twin_without_a_share_one_sender_uses_up_the_handlers_that_go_on() {
        let going_on = Arc::new(GoingOn {
            most: 5,
            most_of_a_sender: 5,
            now: Mutex::default(),
        });
        let taken: Vec<_> = (0..9).filter_map(|_| take(&going_on, "greedy")).collect();
        assert!(taken.len() == 5 && take(&going_on, "other").is_none());
    }

    #[test]
    fn without_places_nobody_goes_on() {
        assert!(take(&GoingOn::new(0), "one").is_none());
        assert!(take(&GoingOn::new(1), "one").is_some());
    }
}
