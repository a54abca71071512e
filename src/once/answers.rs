//! Answers that are kept: what a store of answers must do, and how it judges a claim.
//!
//! A nonce identifies one signed request. The key of an answer identifies one intention, which its
//! sender may sign several times.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{
    claim::AttemptId,
    store::{Sharing, StepOutcome},
};
use crate::{clock::Timestamp, future::StoreFuture, key::KeyId, message::behind_length};

/// The claim on the key of an answer: what a store is asked to record before a handler runs.
///
/// A claim is one attempt. A clone of it is the same attempt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AnswerClaim {
    namespace: Arc<str>,
    key_id: KeyId,
    digest: [u8; 32],
    fingerprint: [u8; 32],
    attempt: AttemptId,
    lease: Duration,
    retention: Duration,
    runs_again: bool,
    waits: Waits,
}

/// Whether a claim waits in a line, so that its store was asked for nothing. It only goes up: a
/// store that was asked once may have a record, also while the claim waits again.
#[derive(Debug, Default)]
struct Waits(AtomicU8);

impl Waits {
    const IN_LINE: u8 = 1;
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    const ASKED: u8 = 2;
}

/// A clone may be asked for while the first one waits: nothing is known of it.
impl Clone for Waits {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// A claim that waits in a line, and has left it without its turn unless it is told of its end.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) struct Waiting<'c>(&'c Waits);

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl Waiting<'_> {
    /// It has its turn, and is asked for now.
    pub(crate) fn ends(self) {
        self.0.0.fetch_max(Waits::ASKED, Ordering::AcqRel);
    }
}

impl AnswerClaim {
    /// Makes a claim on the key with this digest, for a request whose content has this fingerprint.
    /// The lease is 30 seconds, and the retention 24 hours.
    #[must_use]
    pub fn new(
        namespace: Arc<str>,
        key_id: KeyId,
        digest: [u8; 32],
        fingerprint: [u8; 32],
    ) -> Self {
        Self {
            namespace,
            key_id,
            digest,
            fingerprint,
            attempt: AttemptId::next(),
            lease: Duration::from_secs(30),
            retention: Duration::from_secs(24 * 60 * 60),
            runs_again: false,
            waits: Waits::default(),
        }
    }

    /// Enters a line, in which the store is asked for nothing.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn waits(&self) -> Waiting<'_> {
        self.waits.0.fetch_max(Waits::IN_LINE, Ordering::AcqRel);
        Waiting(&self.waits)
    }

    /// Returns whether its store may have been asked, so that there may be a record.
    pub(crate) fn may_be_asked(&self) -> bool {
        self.waits.0.load(Ordering::Acquire) != Waits::IN_LINE
    }

    /// Sets for how long the claim is held unless it is renewed. Default: 30 seconds.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets for how long the record is kept, counted from the claim. Default: 24 hours.
    #[must_use]
    pub fn with_retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Lets the claim take over a record whose lease has expired without an answer. Default: such a
    /// record is [`AnswerOutcome::Unknown`] until it is resolved or its retention ends.
    #[must_use]
    pub fn running_again(mut self) -> Self {
        self.runs_again = true;
        self
    }

    /// Returns the namespace of the service.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the key that the request was verified under.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Namespace and key id, for a store in this process.
    pub(crate) fn sender(&self) -> (Arc<str>, KeyId) {
        (Arc::clone(&self.namespace), self.key_id.clone())
    }

    /// Returns the SHA-256 that identifies the record: of the namespace, the key id, the method,
    /// the path and the key, each behind its length.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Returns the SHA-256 of what the request says. Two requests with one key and different
    /// fingerprints are different intentions.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Returns this attempt, which fences every later step.
    #[must_use]
    pub fn attempt(&self) -> AttemptId {
        self.attempt
    }

    /// Returns for how long the claim is held unless it is renewed.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Returns for how long the record is kept, counted from the claim.
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// Returns whether the claim may take over a record whose lease has expired without an answer.
    #[must_use]
    pub fn runs_again(&self) -> bool {
        self.runs_again
    }

    /// Returns a digest of namespace and key id, for a store that counts the records of each key.
    #[must_use]
    pub fn owner(&self) -> [u8; 32] {
        let mut owner = Sha256::new();
        for part in [self.namespace.as_bytes(), self.key_id.as_str().as_bytes()] {
            behind_length(|bytes| owner.update(bytes), part);
        }
        owner.finalize().into()
    }
}

/// The answer of a store to a claim on the key of an answer.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerOutcome {
    /// The key was free, and this attempt holds it now.
    Claimed,
    /// Another attempt holds the key, for at most this long unless it is renewed.
    #[non_exhaustive]
    InFlight {
        /// The time that is left to the other attempt.
        remaining: Duration,
    },
    /// The lease of another attempt has expired, and nobody knows what it did.
    Unknown,
    /// The key was used with another fingerprint.
    OtherContent,
    /// The answer that was recorded, as [`AnswerStore::record`] was given it.
    Answered(Bytes),
}

impl AnswerOutcome {
    /// Returns the outcome of a claim while another attempt holds the key for `remaining` time.
    #[must_use]
    pub fn in_flight(remaining: Duration) -> Self {
        Self::InFlight { remaining }
    }
}

/// Without the answer, which may be confidential.
impl fmt::Debug for AnswerOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claimed => f.write_str("Claimed"),
            Self::InFlight { remaining } => write!(f, "InFlight({remaining:?})"),
            Self::Unknown => f.write_str("Unknown"),
            Self::OtherContent => f.write_str("OtherContent"),
            Self::Answered(answer) => write!(f, "Answered({} bytes)", answer.len()),
        }
    }
}

/// The record that a store has of a key. Stores read it from their own table, and let
/// [`judge`](Self::judge) decide.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AnswerRecord {
    /// The fingerprint of the request that claimed the key.
    pub fingerprint: [u8; 32],
    /// Until when the record counts.
    pub deadline: Timestamp,
    /// Until when its attempt holds the key.
    pub lease_end: Timestamp,
    /// The answer, once it is there.
    pub answer: Option<Bytes>,
}

impl AnswerRecord {
    /// Returns the record of an attempt that holds its key until `lease_end`, and has not answered
    /// yet. The record counts until `deadline`.
    #[must_use]
    pub fn new(fingerprint: [u8; 32], deadline: Timestamp, lease_end: Timestamp) -> Self {
        Self {
            fingerprint,
            deadline,
            lease_end,
            answer: None,
        }
    }

    /// Tells what a claim finds at this moment. Returns `None` if the claim may have the key, so
    /// that the store replaces the record by the claim's own.
    ///
    /// ```
    /// use countersign::{KeyId, Timestamp, store::{AnswerClaim, AnswerOutcome, AnswerRecord}};
    ///
    /// let now = Timestamp::from_secs(1_700_000_000).unwrap();
    /// let claim = AnswerClaim::new("payments".into(), KeyId::new("partner-1")?, [1; 32], [2; 32]);
    /// let deadline = now.saturating_add(claim.retention());
    /// let mut record = AnswerRecord::new([2; 32], deadline, now);
    /// assert_eq!(record.judge(&claim, now), Some(AnswerOutcome::Unknown));
    /// record.answer = Some("done".into());
    /// assert_eq!(record.judge(&claim, now), Some(AnswerOutcome::Answered("done".into())));
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    #[must_use]
    pub fn judge(&self, claim: &AnswerClaim, now: Timestamp) -> Option<AnswerOutcome> {
        if self.deadline <= now {
            return None;
        }
        if self.fingerprint != claim.fingerprint {
            return Some(AnswerOutcome::OtherContent);
        }
        if let Some(answer) = &self.answer {
            return Some(AnswerOutcome::Answered(answer.clone()));
        }
        if now < self.lease_end {
            return Some(AnswerOutcome::in_flight(
                self.lease_end.saturating_since(now),
            ));
        }
        (!claim.runs_again).then_some(AnswerOutcome::Unknown)
    }
}

/// Remembers which intentions were acted on, and what they were answered.
///
/// An implementation keeps these promises:
/// - however many claims on one digest arrive, at most one is answered [`AnswerOutcome::Claimed`]
///   until the retention has passed by the store's own clock, unless the record was released, or
///   was taken over as [`AnswerClaim::running_again`] allows;
/// - every other claim is answered as [`AnswerRecord::judge`] says;
/// - each step is fenced by the claim's attempt: once another attempt holds the key, or an answer
///   is recorded, the earlier holder changes nothing ([`StepOutcome::Lost`]);
/// - one key id of one namespace fills no more than its share, and is refused beyond it
///   ([`StoreErrorKind::KeyOverQuota`]). The share is one of bytes in memory, and one of records in
///   the other stores of this crate, whatever the size of the answers. A record that is taken over
///   is not counted twice;
/// - a store that is full, down, slow or unsure answers with an error. A record is never evicted
///   before its retention has passed.
///
/// [`StoreErrorKind::KeyOverQuota`]: crate::error::StoreErrorKind::KeyOverQuota
pub trait AnswerStore: Send + Sync + 'static {
    /// Tells which store this is, and whether others may have answers in it:
    /// [`Sharing::within_process`] with the store itself, or [`Sharing::of_database`]. A store around
    /// another store returns the sharing of the inner store.
    ///
    /// This shows when the senders of two verifiers of this process would get each other's answers,
    /// which is then refused.
    ///
    /// It is called under a lock of the process: it must not build a layer, which is refused, and
    /// must not wait for a thread that builds one.
    fn sharing(&self) -> Sharing;

    /// Claims the key if it is free: one atomic step. A record of the claim's own attempt is
    /// answered as if another attempt had made it.
    fn claim<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, AnswerOutcome>;

    /// Tells what the claim would find, and claims nothing: `None` if the key is free.
    fn find<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, Option<AnswerOutcome>>;

    /// Makes the lease end `lease` from now, also a lease that has expired. Zero ends it at once.
    fn renew<'a>(&'a self, claim: &'a AnswerClaim, lease: Duration)
    -> StoreFuture<'a, StepOutcome>;

    /// Records the answer, also after the lease has expired. The record is kept for as long as was
    /// claimed.
    fn record<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
    ) -> StoreFuture<'a, StepOutcome>;

    /// Gives the key back: the next attempt has it.
    fn release<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, StepOutcome>;

    /// Records the answer of an attempt whose outcome is unknown: whichever attempt it was, and
    /// whatever its fingerprint. Is [`StepOutcome::Lost`] if there is no such record: the key is
    /// free, in flight or answered.
    fn resolve<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
    ) -> StoreFuture<'a, StepOutcome>;
}

/// An open database transaction in which an answer can be recorded together with the effects that
/// it is about.
///
/// Implemented for `sqlx::Transaction` of PostgreSQL and of SQLite (features `postgres` and
/// `sqlite`), for the tables of `PostgresAnswers` and `SqliteAnswers` in the same database.
#[diagnostic::on_unimplemented(
    message = "an answer is recorded in an open database transaction, and `{Self}` is not one",
    label = "this is not an open transaction",
    note = "begin one, `let mut tx = pool.begin().await?`, and pass `&mut tx`"
)]
pub trait AnswerIn: Send {
    /// Records the answer if the claim's attempt still holds the key. The database waits for a lock
    /// no longer than `wait`.
    fn record_answer<'a>(
        &'a mut self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
        wait: Duration,
    ) -> StoreFuture<'a, StepOutcome>;
}

impl<S: AnswerStore + ?Sized> AnswerStore for Arc<S> {
    fn sharing(&self) -> Sharing {
        (**self).sharing().with_owners(Arc::strong_count(self))
    }

    fn claim<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, AnswerOutcome> {
        (**self).claim(claim)
    }

    fn find<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, Option<AnswerOutcome>> {
        (**self).find(claim)
    }

    fn renew<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        lease: Duration,
    ) -> StoreFuture<'a, StepOutcome> {
        (**self).renew(claim, lease)
    }

    fn record<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
    ) -> StoreFuture<'a, StepOutcome> {
        (**self).record(claim, answer)
    }

    fn release<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, StepOutcome> {
        (**self).release(claim)
    }

    fn resolve<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
    ) -> StoreFuture<'a, StepOutcome> {
        (**self).resolve(claim, answer)
    }
}
