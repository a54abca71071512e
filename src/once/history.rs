//! The past of a store: which records it may have forgotten, and until when it keeps a record. One
//! pure rule for all stores.

use std::time::Duration;

use super::claim::Claim;
use crate::{
    clock::{self, Timestamp},
    error::{StoreError, StoreErrorKind},
};

/// The knowledge that a store has of its own past in one namespace: from when on it remembers, and
/// for how long.
///
/// A store that finds no record of a nonce must not take the nonce for a new one if a record may
/// have been forgotten. This one rule decides it, for all authors of stores. It is
/// pure: it reads no clock and keeps no state. Moments are milliseconds since the Unix epoch; a
/// duration that has a part of a millisecond counts as the next whole millisecond.
///
/// A store asks twice, in the atomic step that records:
/// 1. before it looks for a record, [`takes`](Self::takes): the deadline is ahead, and the
///    namespace remembers for long enough;
/// 2. if it finds no record, [`vouches_for`](Self::vouches_for): none can have been there before.
///
/// It then keeps the record until [`keep_until`](Self::keep_until).
///
/// # Guarantee
/// At most one of the claims on one nonce that this lets through is made before the deadline, also
/// after a restart and if the clock steps back. The store must
/// - keep each record until its [`keep_until`](Self::keep_until) at least, by its own clock,
/// - raise [`dropped_up_to`](Self::dropped_up_to) to the latest `keep_until` of what it drops for
///   its age, in the step that drops it,
/// - know a moment for [`since`](Self::since) before which it may have lost records, such as its
///   start.
///
/// A claim that covers no time cannot be told from an earlier one, except by its deadline: after a
/// loss of memory it may be accepted again.
///
/// # Example
/// ```
/// use countersign::store::History;
/// use countersign::{error::StoreError, store::{Claim, ClaimOutcome}, Timestamp};
/// use std::{collections::HashMap, time::Duration};
///
/// struct Records {
///     /// By digest: until when each is kept.
///     records: HashMap<[u8; 32], Timestamp>,
///     /// Begins with `History::since(start).remembering(retention)`.
///     history: History,
/// }
///
/// impl Records {
///     fn claim(&mut self, claim: &Claim, now: Timestamp) -> Result<ClaimOutcome, StoreError> {
///         let history = self.history;
///         let refuse = |why| history.refusal(claim, why);
///         history.takes(claim, now).map_err(refuse)?;
///         let digest = claim.digest();
///         if self.records.get(&digest).is_some_and(|until| *until > now) {
///             return Ok(ClaimOutcome::Replayed);
///         }
///         history.vouches_for(claim).map_err(refuse)?;
///         self.records.insert(digest, history.keep_until(claim, now));
///         Ok(ClaimOutcome::New)
///     }
///
///     fn sweep(&mut self, now: Timestamp) {
///         let dropped = self.records.extract_if(|_, until| *until <= now);
///         if let Some(latest) = dropped.map(|(_, until)| until).max() {
///             self.history = self.history.dropped_up_to(latest);
///         }
///     }
/// }
///
/// # use countersign::{store::{Nonce, NonceKind}, KeyId};
/// let start = Timestamp::from_secs(1_700_000_000).unwrap();
/// let (skew, retention) = (Duration::from_secs(5), Duration::from_secs(310));
/// let mut store = Records {
///     records: HashMap::new(),
///     history: History::since(start).remembering(retention),
/// };
/// let signed = |at: Timestamp| {
///     let nonce = Nonce::new(NonceKind::Covered, at.as_millis().to_be_bytes());
///     let deadline = at.saturating_add(Duration::from_secs(305));
///     Claim::new("payments".into(), KeyId::new("partner-1").unwrap(), nonce, deadline)
///         .signed(at, skew)
///         .with_retention(retention)
/// };
/// let later = start.saturating_add(Duration::from_secs(60));
/// assert!(store.claim(&signed(start), later).is_err(), "it may have been used before the start");
/// assert_eq!(store.claim(&signed(later), later)?, ClaimOutcome::New);
/// assert_eq!(store.claim(&signed(later), later)?, ClaimOutcome::Replayed);
/// store.sweep(later.saturating_add(retention));
/// assert!(store.claim(&signed(later), later).is_err(), "a clock that steps back reopens nothing");
/// # Ok::<_, StoreError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct History {
    /// The epoch, as in the next three, says that there is no such moment.
    since: Timestamp,
    accepted_up_to: Timestamp,
    raised_at: Timestamp,
    dropped_up_to: Timestamp,
    retention: Duration,
}

/// Why a store must refuse a claim of which it has no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Forgotten {
    /// The namespace remembers for less time than the claim needs.
    Retention,
    /// The store's clock has reached the claim's deadline.
    Past,
    /// The claim was signed before the store began to remember, or too shortly after it.
    Start,
    /// The claim was signed at a time up to which an earlier process may have accepted claims.
    Accepted,
    /// The claim was signed before its namespace had its current retention, or too shortly after
    /// it.
    Raised,
    /// Records with as late a deadline have been dropped.
    Dropped,
}

impl History {
    /// Describes a store that has forgotten nothing, and whose namespaces remember for no time.
    pub const COMPLETE: Self = Self {
        since: Timestamp::EPOCH,
        accepted_up_to: Timestamp::EPOCH,
        raised_at: Timestamp::EPOCH,
        dropped_up_to: Timestamp::EPOCH,
        retention: Duration::ZERO,
    };

    /// Describes a store that has lost nothing since this moment: its start, or the end of its last
    /// loss. A claim is refused if it was signed by `moment + max_skew`, because the clock of who
    /// signed it may be that far ahead.
    pub fn since(moment: Timestamp) -> Self {
        Self {
            since: moment,
            ..Self::COMPLETE
        }
    }

    /// Adds the latest signed time that an earlier process may have accepted. A claim is refused if
    /// it was signed up to then. Default: none.
    pub fn accepted_up_to(mut self, signed_at: Timestamp) -> Self {
        self.accepted_up_to = signed_at;
        self
    }

    /// Adds the moment at which the retention of the namespace was last raised: earlier records are
    /// kept for the shorter time. A claim is refused if it was signed by `moment + max_skew`.
    /// Default: none.
    pub fn raised_at(mut self, moment: Timestamp) -> Self {
        self.raised_at = moment;
        self
    }

    /// Adds the low watermark: the latest moment until which a record was kept that has been
    /// dropped for its age. A claim is refused if its deadline is not later. An earlier moment
    /// changes nothing, so the watermark never falls. Default: none.
    pub fn dropped_up_to(mut self, moment: Timestamp) -> Self {
        self.dropped_up_to = self.dropped_up_to.max(moment);
        self
    }

    /// Adds for how long the namespace remembers: as long as its first claim needed
    /// ([`Claim::retention`]), or to what that was raised. Default: zero.
    pub fn remembering(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Tells whether a clock that shows `now` has reached the claim's deadline.
    #[must_use]
    pub fn is_past(claim: &Claim, now: Timestamp) -> bool {
        claim.deadline() <= now
    }

    /// Checks, before the store looks for a record, that the claim can be remembered for as long as
    /// it must be: its namespace has the retention, and its deadline is later than `now`.
    ///
    /// # Errors
    /// Returns [`Forgotten::Retention`] or [`Forgotten::Past`].
    pub fn takes(&self, claim: &Claim, now: Timestamp) -> Result<(), Forgotten> {
        if claim.retention() > self.retention {
            return Err(Forgotten::Retention);
        }
        if Self::is_past(claim, now) {
            return Err(Forgotten::Past);
        }
        Ok(())
    }

    /// Checks, after the store has found no record, that none can have been forgotten.
    ///
    /// # Errors
    /// Returns the first reason that applies, in the order [`Forgotten::Start`],
    /// [`Forgotten::Accepted`], [`Forgotten::Raised`], [`Forgotten::Dropped`].
    pub fn vouches_for(&self, claim: &Claim) -> Result<(), Forgotten> {
        if let Some(signed_at) = claim.signed_at() {
            let signed_by = |moment| has_forgotten(signed_at, moment, claim.max_skew());
            if signed_by(self.since) {
                return Err(Forgotten::Start);
            }
            if has_forgotten(signed_at, self.accepted_up_to, Duration::ZERO) {
                return Err(Forgotten::Accepted);
            }
            if signed_by(self.raised_at) {
                return Err(Forgotten::Raised);
            }
        }
        if claim.deadline() <= self.dropped_up_to {
            return Err(Forgotten::Dropped);
        }
        Ok(())
    }

    /// Returns until when the record of a claim that is made `now` must be kept. If the namespace
    /// remembers for longer than the claim needs, this is later than the claim's deadline: another
    /// server accepts a duplicate for longer than the one that asks.
    #[must_use]
    pub fn keep_until(&self, claim: &Claim, now: Timestamp) -> Timestamp {
        if self.retention > claim.retention() {
            claim.deadline().max(now.saturating_add(self.retention))
        } else {
            claim.deadline()
        }
    }

    /// Returns the latest signed time that is refused if senders' clocks may be `max_skew` ahead,
    /// for [`NonceStore::refuses_until`](crate::store::NonceStore::refuses_until).
    #[must_use]
    pub fn refuses_until(&self, max_skew: Duration) -> Option<Timestamp> {
        let moments = [self.since, self.raised_at];
        let known = moments.into_iter().filter(|m| *m > Timestamp::EPOCH);
        let accepted = Some(self.accepted_up_to).filter(|m| *m > Timestamp::EPOCH);
        known
            .map(|moment| moment.saturating_add(max_skew))
            .chain(accepted)
            .max()
    }

    /// Returns the error with which the store refuses the claim.
    #[must_use]
    pub fn refusal(&self, claim: &Claim, why: Forgotten) -> StoreError {
        let sign_again = |message| StoreError::new(StoreErrorKind::SignAgain, message);
        match why {
            Forgotten::Retention => StoreError::new(
                StoreErrorKind::Misconfigured,
                format!(
                    "namespace `{}` remembers for {} ms, and this layer needs {} ms: give all layers \
                     of a namespace the same `max_age` and retention, or call `extend_retention` of \
                     the store before this server starts (a memory store must be made again)",
                    claim.namespace(),
                    clock::millis(self.retention),
                    clock::millis(claim.retention()),
                ),
            ),
            Forgotten::Past => sign_again("the claim's deadline has passed by the store's clock"),
            Forgotten::Start => sign_again(
                "signed before the store can vouch for its memory, or too shortly after it: the store \
                 was made, restored, failed over or lost records then",
            )
            .refused_up_to(self.since.saturating_add(claim.max_skew())),
            Forgotten::Accepted => sign_again(
                "signed at a time up to which an earlier process may have accepted claims",
            )
            .refused_up_to(self.accepted_up_to),
            Forgotten::Raised => sign_again(
                "signed before this namespace had its current retention, or too shortly after it",
            )
            .refused_up_to(self.raised_at.saturating_add(claim.max_skew())),
            Forgotten::Dropped => sign_again("records with as late a deadline have been dropped"),
        }
    }

    /// Returns the same error, [final](StoreError::for_good_since) if every server of the namespace
    /// goes by this very history: since its start, or since the retention was raised, none has
    /// accepted the claim, and none will. A store that can fail over uses
    /// [`refusal`](Self::refusal).
    ///
    /// The refusal of a claim that was signed later than that moment is not final: it comes from
    /// the `max_skew` of the layer that asks, and another layer may have a shorter one.
    #[must_use]
    pub fn final_refusal(&self, claim: &Claim, why: Forgotten) -> StoreError {
        let error = self.refusal(claim, why);
        let moment = match why {
            Forgotten::Start => self.since,
            Forgotten::Raised => self.raised_at,
            // An earlier process may have accepted the claim, or this one a record that is dropped.
            _ => return error,
        };
        match claim.signed_at() {
            Some(signed_at) if signed_at <= moment => error.for_good_since(moment),
            _ => error,
        }
    }
}

/// Returns whether a message with this signed time may have been signed by `moment`, by a clock
/// that is as far ahead as `max_skew`.
fn has_forgotten(signed_at: Timestamp, moment: Timestamp, max_skew: Duration) -> bool {
    moment > Timestamp::EPOCH && signed_at <= moment.saturating_add(max_skew)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::KeyId,
        once::{Nonce, NonceKind},
    };

    const SKEW: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(1_700_000_000 + seconds).unwrap()
    }

    fn until(deadline: Timestamp) -> Claim {
        let nonce = Nonce::new(NonceKind::Covered, "n");
        Claim::new("tests".into(), KeyId::new("k").unwrap(), nonce, deadline)
    }

    fn signed(seconds: u64) -> Claim {
        until(at(seconds + 100)).signed(at(seconds), SKEW)
    }

    #[test]
    fn each_reason_ends_at_its_moment() {
        use Forgotten::{Accepted, Dropped, Raised, Start};
        let history = History::since(at(0))
            .accepted_up_to(at(20))
            .raised_at(at(25))
            .dropped_up_to(at(140));
        for (seconds, expected) in [
            (0, Err(Start)),
            (5, Err(Start)),
            (6, Err(Accepted)),
            (20, Err(Accepted)),
            (21, Err(Raised)),
            (30, Err(Raised)),
            (31, Err(Dropped)),
            (40, Err(Dropped)),
            (41, Ok(())),
        ] {
            assert_eq!(history.vouches_for(&signed(seconds)), expected, "{seconds}");
        }
        assert_eq!(history.refuses_until(SKEW), Some(at(30)));
        let accepted = History::COMPLETE.accepted_up_to(at(20));
        assert_eq!(accepted.refuses_until(SKEW), Some(at(20)));
        // Without a signed time, only the deadline counts.
        assert_eq!(history.vouches_for(&until(at(140))), Err(Dropped));
        assert_eq!(history.vouches_for(&until(at(141))), Ok(()));
    }

    #[test]
    fn a_complete_history_vouches_for_all() {
        let first = until(Timestamp::MAX).signed(Timestamp::EPOCH, SKEW);
        assert_eq!(History::COMPLETE.vouches_for(&first), Ok(()));
        assert_eq!(History::COMPLETE.refuses_until(SKEW), None);
    }

    #[test]
    fn a_claim_is_taken_before_its_deadline_and_within_the_retention() {
        let history = History::COMPLETE.remembering(SKEW);
        let claim = until(at(10)).with_retention(SKEW);
        assert_eq!(history.takes(&claim, at(9)), Ok(()));
        assert_eq!(history.takes(&claim, at(10)), Err(Forgotten::Past));
        let longer = claim.with_retention(SKEW + Duration::from_nanos(1));
        assert_eq!(history.takes(&longer, at(9)), Err(Forgotten::Retention));
    }

    #[test]
    fn a_record_is_kept_for_as_long_as_any_server_of_the_namespace_asks() {
        let claim = until(at(10)).with_retention(SKEW);
        let kept = |retention| {
            let history = History::COMPLETE.remembering(retention);
            history.keep_until(&claim, at(8))
        };
        assert_eq!(kept(SKEW), at(10));
        assert_eq!(kept(2 * SKEW), at(18));
        // A part of a millisecond is a whole one.
        let longer = kept(2 * SKEW + Duration::from_nanos(1));
        assert_eq!(longer, at(18).saturating_add(Duration::from_millis(1)));
    }

    /// An earlier process may have accepted what the mark covers.
    #[test]
    fn a_refusal_is_final_only_if_the_store_itself_never_accepted() {
        let history = History::since(at(0)).accepted_up_to(at(500));
        for (seconds, since) in [
            (0, Some(at(0))),
            (1, None),
            (5, None),
            (6, None),
            (500, None),
        ] {
            let claim = signed(seconds);
            let why = history.vouches_for(&claim).unwrap_err();
            assert_eq!(history.final_refusal(&claim, why).final_since(), since);
            assert_eq!(history.refusal(&claim, why).final_since(), None);
        }
        let raised = History::COMPLETE.raised_at(at(0));
        let since = |seconds| {
            let refused = raised.final_refusal(&signed(seconds), Forgotten::Raised);
            refused.final_since()
        };
        assert_eq!([since(0), since(1)], [Some(at(0)), None]);
    }
}
