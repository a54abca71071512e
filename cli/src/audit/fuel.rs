//! The work that the functions of a file may cost. A source can be written so that questions about
//! it have no end: who asks burns fuel, and without fuel the answer is that nothing is there.

use std::cell::Cell;

/// Four times what the dearest file of Python's own library burns.
const OF_A_FILE: usize = 10_000_000;

#[derive(Debug)]
pub(super) struct Fuel(Cell<usize>);

impl Fuel {
    pub(super) fn of_a_file() -> Self {
        Self(Cell::new(OF_A_FILE))
    }

    /// Burns so much, or all that is left: then the answer is `false`, now and later.
    pub(super) fn burn(&self, amount: usize) -> bool {
        let left = self.0.get().saturating_sub(amount);
        self.0.set(left);
        left > 0
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0.get() == 0
    }
}
