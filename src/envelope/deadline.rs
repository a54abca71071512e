//! Until when an envelope may be used.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    error::{SignError, SignErrorKind},
    proof::Lasts,
};

/// Until when an envelope may be used: chosen each time that something is sealed.
///
/// ```
/// use countersign::envelope::Deadline;
/// use std::time::Duration;
///
/// // A job that makes no sense once its request is stale:
/// let strict = Deadline::freshness();
/// // A job that may wait in its queue for an hour:
/// let patient = Deadline::after(Duration::from_secs(3600));
/// # let _ = (strict, patient);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Deadline(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Freshness,
    After(Duration),
}

impl Deadline {
    /// The longest time after sealing: 366 days.
    pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    /// Ends when the request itself would be too old for the layer that verified it, or expires by
    /// its own word, or at the purpose's [longest deadline](super::EnvelopesBuilder::longest_deadline),
    /// whichever comes first. A payload that came in an envelope has that envelope's deadline.
    ///
    /// A request that covers no time is never too old: sealing it with this deadline is an error.
    pub fn freshness() -> Self {
        Self(Kind::Freshness)
    }

    /// Ends so long after the moment of sealing, whatever the age of the request. Range: 1
    /// millisecond to [`LONGEST`](Self::LONGEST), and no later than the purpose's [longest
    /// deadline](super::EnvelopesBuilder::longest_deadline).
    pub fn after(duration: Duration) -> Self {
        Self(Kind::After(duration))
    }

    /// The moment: `latest`, if a request is fresh for longer, and never later.
    pub(super) fn of(
        self,
        now: Timestamp,
        latest: Timestamp,
        lasts: &Lasts,
    ) -> Result<Timestamp, SignError> {
        match self.0 {
            Kind::Freshness => {
                let fresh_until = lasts.fresh_until.ok_or_else(|| {
                    SignError::of_kind(
                        SignErrorKind::Time,
                        "the request covers no time, so that it is never too old; seal it with \
                         `Deadline::after`",
                    )
                })?;
                Ok(fresh_until.min(latest))
            }
            Kind::After(duration)
                if (Duration::from_millis(1)..=Self::LONGEST).contains(&duration) =>
            {
                let deadline = now.saturating_add(duration);
                if deadline > latest {
                    return Err(SignError::of_kind(
                        SignErrorKind::Time,
                        format!(
                            "the deadline of the envelope is {deadline}, and the latest for this request \
                         and purpose is {latest}; raise `longest_deadline` of the envelopes"
                        ),
                    ));
                }
                Ok(deadline)
            }
            Kind::After(_) => Err(SignError::of_kind(
                SignErrorKind::Time,
                "the deadline of an envelope must be between 1 millisecond and 366 days after sealing",
            )),
        }
    }
}
