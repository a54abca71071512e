//! Runs all checks against one store.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{subject::Subject, time::Time};
use crate::{key::KeyId, once::NonceStore};

/// The checks that a store did not pass.
#[derive(Clone, Debug)]
pub struct Broken(Vec<(&'static str, String)>);

impl Broken {
    pub(super) fn new(broken: Vec<(&'static str, String)>) -> Self {
        Self(broken)
    }

    /// Returns the names of the checks that failed. Each name is a promise that was broken.
    pub fn checks(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(check, _)| *check)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store does not keep its promises:")?;
        self.0
            .iter()
            .try_for_each(|(check, why)| write!(f, "\n{check}: {why}"))
    }
}

impl Error for Broken {}

/// For how long one check may take.
const PATIENCE: Duration = Duration::from_secs(60);

macro_rules! checks {
    ($($check:ident,)*) => {
        /// The names of all checks.
        pub const CHECKS: &[&str] = &[$(stringify!($check)),*];

        /// Runs all checks, one after the other, each on a store that `open` makes. The store may
        /// share its records with others: each check has a namespace of its own, drawn at random.
        ///
        /// Checks of leases are left out where the store has none, and those for which a clock has
        /// to step back with [`Time::real`].
        ///
        /// # Errors
        /// Returns an error if the store breaks a promise. It lists each broken promise, and what
        /// the store did instead.
        ///
        /// # Panics
        /// Panics outside of a Tokio runtime with its timer.
        pub async fn run<S: NonceStore>(
            time: &Time,
            open: impl AsyncFn() -> S,
        ) -> Result<(), Broken> {
            let mut broken = Vec::new();
            $(
                let subject = Subject {
                    store: Arc::new(open().await),
                    time,
                    namespace: format!("conformance-{:016x}", crate::random::u64()).into(),
                    key: key(),
                };
                match timeout(PATIENCE, Box::pin(subject.$check())).await {
                    Ok(Ok(())) => {}
                    Ok(Err(why)) => broken.push((stringify!($check), why)),
                    Err(_) => {
                        broken.push((stringify!($check), format!("no end within {PATIENCE:?}")));
                    }
                }
            )*
            if broken.is_empty() { Ok(()) } else { Err(Broken(broken)) }
        }
    };
}

checks! {
    the_first_claim_wins_and_copies_are_refused,
    an_attempt_wins_once,
    of_copies_at_once_exactly_one_wins,
    of_copies_in_one_batch_exactly_one_wins,
    what_differs_in_any_part_is_another_nonce,
    a_message_leaves_no_more_records_than_it_may,
    of_places_at_once_no_more_than_may_be_win,
    a_deadline_that_has_passed_is_refused,
    a_late_copy_is_refused,
    a_clock_that_steps_back_reopens_nothing,
    a_namespace_that_remembers_for_less_refuses,
    a_claim_that_needs_less_is_remembered_for_as_long_as_its_namespace,
    a_duplicate_extends_an_event_and_never_shortens_it,
    a_claim_that_is_given_up_wins_at_most_once,
    a_claim_has_no_holder,
    a_lease_is_held_by_one,
    a_completed_lease_is_final,
    a_released_lease_is_free,
    a_message_has_no_more_leases_than_it_may,
    a_lease_ends_by_itself,
    a_renewed_lease_goes_on,
    an_old_holder_changes_nothing,
}

#[expect(clippy::expect_used, reason = "it is a constant")]
pub(super) fn key() -> KeyId {
    KeyId::new("key").expect("a valid key id")
}
