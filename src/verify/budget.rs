//! The memory that bodies in flight may take up, all together and for each key.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    measure,
    rejection::{Rejection, RejectionKind},
};

/// A body that takes up to this many bytes is small: the last eighth of the budget is kept for such.
const SMALL: usize = 16 * 1024;

/// Bytes of bodies in flight, with the room that is kept for what follows: counted before the memory
/// is taken up, and until the last payload made of them is
/// dropped.
///
/// Whoever names a known key may send a body before its MAC can be checked. So, once an eighth of
/// the budget is in use, each body that grows is counted for the key that it names: one key's get
/// half of the budget at most, and its small ones an eighth more. Until then nobody can be locked
/// out, and nobody is counted.
#[derive(Debug)]
pub(crate) struct Budget {
    total: usize,
    used: AtomicUsize,
    by_key: Mutex<HashMap<Box<str>, usize>>,
}

impl Budget {
    pub(crate) fn new(total: usize) -> Self {
        Self {
            total,
            used: AtomicUsize::new(0),
            by_key: Mutex::default(),
        }
    }

    /// What one key may use, and so the largest body that can be taken in at all.
    pub(crate) fn share(&self) -> usize {
        self.total / 2
    }

    fn eighth(&self) -> usize {
        self.total / 8
    }

    /// What is in use afterwards; `None` if that would be over the limit.
    fn take(&self, bytes: usize, limit: usize) -> Option<usize> {
        let sum = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= limit);
        let before = self
            .used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, sum);
        before.ok().map(|before| before + bytes)
    }
}

/// What one body has been charged; given back when dropped.
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
    /// Set as soon as the body is counted for its key.
    key: Option<Box<str>>,
}

impl Charge {
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            bytes: 0,
            key: None,
        }
    }

    /// Charges `more` bytes that the body is about to take up under this key, or under none that is known yet.
    pub(crate) fn add(&mut self, more: usize, key: &str) -> Result<(), Rejection> {
        let sum = self.bytes.saturating_add(more);
        let budget = &*self.budget;
        let (limit, share) = if sum <= SMALL {
            (budget.total, budget.share() + budget.eighth())
        } else {
            (budget.total - budget.eighth(), budget.share())
        };
        let Some(used) = budget.take(more, limit) else {
            return Err(exhausted("bodies in flight take up the whole budget"));
        };
        if (self.key.is_some() || used > budget.eighth()) && !self.count(more, key, share) {
            self.budget.used.fetch_sub(more, Ordering::Relaxed);
            return Err(exhausted(
                "this key's bodies in flight take up its whole share",
            ));
        }
        self.bytes = sum;
        measure::body_charged(more);
        Ok(())
    }

    /// Counts `more` bytes for the key, and at first what came before; false if it is too much.
    fn count(&mut self, more: usize, key: &str, share: usize) -> bool {
        let due = if self.key.is_some() {
            more
        } else {
            self.bytes + more
        };
        let mut by_key = self
            .budget
            .by_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let used = by_key.get(key).copied().unwrap_or(0) + due;
        if used > share {
            return false;
        }
        match by_key.get_mut(key) {
            Some(known) => *known = used,
            None => {
                by_key.insert(key.into(), used);
            }
        }
        self.key.get_or_insert_with(|| key.into());
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        measure::body_released(self.bytes);
        if let Some(key) = &self.key {
            let mut by_key = self
                .budget
                .by_key
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(used) = by_key.get_mut(key) {
                *used -= self.bytes;
                if *used == 0 {
                    by_key.remove(key);
                }
            }
        }
    }
}

fn exhausted(detail: &'static str) -> Rejection {
    Rejection::new(RejectionKind::BodyBudgetExhausted, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOTAL: usize = 1024 * 1024;

    #[test]
    fn large_bodies_leave_the_reserve_to_small_ones() {
        let budget = Arc::new(Budget::new(TOTAL));
        let mut one = Charge::new(&budget);
        let mut other = Charge::new(&budget);
        one.add(TOTAL / 2, "a").unwrap();
        assert!(one.add(1, "a").is_err(), "the share of one key");
        other.add(TOTAL / 8 * 3, "b").unwrap();
        assert!(other.add(1, "b").is_err(), "the reserve");
        let mut small = Vec::new();
        loop {
            let mut charge = Charge::new(&budget);
            if charge.add(SMALL, "a").is_err() {
                break;
            }
            small.push(charge);
        }
        assert_eq!(small.len() * SMALL, TOTAL / 8);
    }

    #[test]
    fn a_body_counts_as_a_whole_once_an_eighth_is_in_use() {
        let budget = Arc::new(Budget::new(TOTAL));
        let mut charge = Charge::new(&budget);
        charge.add(TOTAL / 8, "a").unwrap();
        assert!(budget.by_key.lock().unwrap().is_empty());
        charge.add(1, "a").unwrap();
        assert_eq!(budget.by_key.lock().unwrap()["a"], TOTAL / 8 + 1);
    }

    #[test]
    fn small_bodies_of_one_key_leave_room_for_those_of_another() {
        let budget = Arc::new(Budget::new(TOTAL));
        let fill = |key: &str| {
            let mut charges = Vec::new();
            loop {
                let mut charge = Charge::new(&budget);
                if charge.add(SMALL, key).is_err() {
                    return charges;
                }
                charges.push(charge);
            }
        };
        let one = fill("a");
        let other = fill("b");
        assert_eq!(one.len() * SMALL, TOTAL / 4 * 3);
        assert_eq!(other.len() * SMALL, TOTAL / 4);
    }

    proptest! {
        #[test]
        fn all_that_was_charged_is_given_back(
            steps in prop::collection::vec((0..6usize, 0..200_000usize), 0..60),
        ) {
            let budget = Arc::new(Budget::new(TOTAL));
            let mut charges: Vec<_> = (0..6).map(|_| Charge::new(&budget)).collect();
            for (i, bytes) in steps {
                let _ = charges[i].add(bytes, ["a", "b", "c"][i % 3]);
                let sum: usize = charges.iter().map(|charge| charge.bytes).sum();
                prop_assert_eq!(budget.used.load(Ordering::Relaxed), sum);
                prop_assert!(sum <= TOTAL);
                for used in budget.by_key.lock().unwrap().values() {
                    prop_assert!(*used <= budget.share() + budget.eighth());
                }
            }
            drop(charges);
            prop_assert_eq!(budget.used.load(Ordering::Relaxed), 0);
            prop_assert!(budget.by_key.lock().unwrap().is_empty());
        }
    }
}
