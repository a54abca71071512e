//! The claim on a nonce: what a store is asked to record.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::Method;
use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

use super::nonce::{Nonce, NonceKind};
use crate::{clock::Timestamp, key::KeyId, message::behind_length};

/// One attempt to claim: tells a duplicate of a request from a reply that was lost on the way, and
/// the present holder of a lease from an earlier one.
///
/// Unique in this process and, with the 64 random bits that each process draws, among all that
/// share a store. It is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptId(u128);

impl AttemptId {
    pub(super) fn next() -> Self {
        static PROCESS: OnceLock<u64> = OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let process = *PROCESS.get_or_init(crate::random::u64);
        Self(u128::from(process) << 64 | u128::from(COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Returns the attempt as 16 bytes, for a store to keep.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

/// The record that a store is asked to make: this nonce, in this scope, until that time.
///
/// Stores go by [`Claim::write_identity`] or [`Claim::digest`] and by the times; the parts are not
/// theirs to interpret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Claim {
    namespace: Arc<str>,
    key_id: KeyId,
    nonce: Nonce,
    place: Option<Place>,
    attempt: AttemptId,
    signed_at: Option<Timestamp>,
    max_skew: Duration,
    deadline: Timestamp,
    retention: Duration,
    /// Whether only a duplicate is to be answered.
    adds_no_record: bool,
}

/// The place at which a request arrived, if its signature does not say it.
#[derive(Clone, Debug)]
struct Place {
    method: Method,
    /// Text. Most paths are short, and then need no allocation.
    path: SmallVec<[u8; 40]>,
    /// Whether there is no end of such places.
    is_open: bool,
}

impl Claim {
    /// How many records one message may leave at open places: see
    /// [`at_open_place`](Self::at_open_place).
    pub const OPEN_PLACES: usize = 16;

    /// Returns a claim that must be remembered until `deadline`, without a place or a signed time,
    /// and with a retention of zero. It is an attempt of its own; a clone of it is the same
    /// attempt.
    #[must_use]
    #[inline]
    pub fn new(namespace: Arc<str>, key_id: KeyId, nonce: Nonce, deadline: Timestamp) -> Self {
        Self {
            namespace,
            key_id,
            nonce,
            place: None,
            attempt: AttemptId::next(),
            signed_at: None,
            max_skew: Duration::ZERO,
            deadline,
            retention: Duration::ZERO,
            adds_no_record: false,
        }
    }

    /// Adds method and path to the scope, where the scheme does not cover them: a captured request
    /// that is posted elsewhere must not burn the genuine one.
    ///
    /// The place is one of a known set, such as the routes of a router that have no parameter. Host
    /// and query are not part of it: anybody can make up any number of them, and each would be one
    /// more use of the same message.
    #[must_use]
    #[inline]
    pub fn at_place(self, method: Method, path: impl AsRef<str>) -> Self {
        self.at(method, path.as_ref(), false)
    }

    /// As [`at_place`](Self::at_place), where there is no end of paths: behind a parameter, a
    /// wildcard or a fallback, or without a router.
    ///
    /// The identity is the same as that of the claim at the known place. But a store adds no record
    /// to a message that has [`OPEN_PLACES`](Self::OPEN_PLACES) of them: it refuses the claim with
    /// [`StoreErrorKind::TooManyPlaces`](crate::error::StoreErrorKind::TooManyPlaces).
    #[must_use]
    #[inline]
    pub fn at_open_place(self, method: Method, path: impl AsRef<str>) -> Self {
        self.at(method, path.as_ref(), true)
    }

    /// Adds method and path to the scope; `is_open` says whether there is no end of such places.
    #[inline]
    pub(crate) fn at(mut self, method: Method, path: &str, is_open: bool) -> Self {
        self.place = Some(Place {
            method,
            path: path.as_bytes().into(),
            is_open,
        });
        self
    }

    /// Method and path, if they are part of the scope, and whether there is no end of such places.
    pub(crate) fn place(&self) -> Option<(&Method, &str, bool)> {
        let place = self.place.as_ref()?;
        Some((
            &place.method,
            str::from_utf8(&place.path).ok()?,
            place.is_open,
        ))
    }

    /// Adds the signed time, and how far ahead of a server's clock it may be.
    #[must_use]
    #[inline]
    pub fn signed(mut self, at: Timestamp, max_skew: Duration) -> Self {
        self.signed_at = Some(at);
        self.max_skew = max_skew;
        self
    }

    /// Makes this claim last as long as another with the same identity, and be as old as that.
    pub(super) fn remember_as_long_as(&mut self, other: &Self) {
        self.deadline = self.deadline.max(other.deadline);
        self.signed_at = match (self.signed_at, other.signed_at) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        self.max_skew = self.max_skew.max(other.max_skew);
    }

    /// Sets the longest time for which the namespace must remember any claim. All claims of a
    /// namespace have the same.
    #[must_use]
    #[inline]
    pub fn with_retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// The claim on one event of several that a request holds, on the same terms; an attempt of its
    /// own. No nonce of a request is the same.
    pub(crate) fn on_event(&self, id: &[u8]) -> Self {
        let mut claim = self.clone();
        claim.nonce = Nonce::new(NonceKind::Event, [b"\0event\0", id].concat());
        claim.attempt = AttemptId::next();
        claim
    }

    /// Returns the namespace, which keeps two services apart in one store.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the key that the request was verified under; quotas go by it.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Returns the nonce.
    #[must_use]
    pub fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// This attempt; a lease is held under it.
    #[must_use]
    pub fn attempt(&self) -> AttemptId {
        self.attempt
    }

    /// Returns the covered time at which the request says it was signed, if it covers one.
    #[must_use]
    pub fn signed_at(&self) -> Option<Timestamp> {
        self.signed_at
    }

    /// Returns how far ahead of a server's clock a signed time may be. A store that forgot what
    /// came before `start` refuses whatever was signed at `start + max_skew` or earlier.
    #[must_use]
    pub fn max_skew(&self) -> Duration {
        self.max_skew
    }

    /// Returns until when the record must be kept. A store whose clock shows this moment or a later
    /// one refuses the claim: it could be accepted again after it is forgotten.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Returns whether a duplicate extends the record to its own deadline: so for event ids, whose
    /// senders go on retrying.
    #[must_use]
    pub fn extends(&self) -> bool {
        self.nonce.kind == NonceKind::Event
    }

    /// Returns the longest time for which the namespace must remember any claim, counted from the
    /// moment of the claim.
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// Returns how many records the claim's message may have for this claim to add another:
    /// [`OPEN_PLACES`](Self::OPEN_PLACES) at an open place, and `None` at a known one.
    ///
    /// The records of one message are those whose [`digest`](Self::digest) has the same first 16
    /// bytes. A store counts at least those that were made at open places, and counts no record
    /// that the claim finds already there.
    #[must_use]
    pub fn most_records(&self) -> Option<usize> {
        if self.adds_no_record {
            return Some(0);
        }
        let is_open = self.place.as_ref().is_some_and(|place| place.is_open);
        is_open.then_some(Self::OPEN_PLACES)
    }

    /// Feeds what identifies the claim to `sink`: namespace, key id, nonce and, where it counts,
    /// the place, each behind its length, so that no two claims are fed the same bytes.
    pub fn write_identity(&self, mut sink: impl FnMut(&[u8])) {
        self.write_owner(&mut sink);
        self.write_nonce(&mut sink);
        self.write_place(sink);
    }

    /// The first part of the identity: namespace and key id. Quotas go by it.
    pub(crate) fn write_owner(&self, mut sink: impl FnMut(&[u8])) {
        behind_length(&mut sink, self.namespace.as_bytes());
        behind_length(&mut sink, self.key_id.as_str().as_bytes());
    }

    /// A digest of namespace and key id.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(crate) fn owner(&self) -> [u8; MESSAGE_LEN] {
        let mut digest = Sha256::new();
        self.write_owner(|bytes| digest.update(bytes));
        let mut owner = [0; MESSAGE_LEN];
        owner
            .iter_mut()
            .zip(digest.finalize())
            .for_each(|(to, byte)| *to = byte);
        owner
    }

    /// The same attempt, but for a record: a store that finds none refuses the claim.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(crate) fn adding_no_record(mut self) -> Self {
        self.adds_no_record = true;
        self
    }

    /// The second part of the identity: the owner's nonce. Up to here it is that of the message.
    pub(crate) fn write_nonce(&self, mut sink: impl FnMut(&[u8])) {
        behind_length(
            &mut sink,
            match self.nonce.kind {
                NonceKind::Covered => b"n",
                NonceKind::Event => b"e",
                NonceKind::Digest => b"d",
            },
        );
        behind_length(&mut sink, &self.nonce.bytes);
    }

    /// The last part of the identity, where it counts: the place.
    pub(crate) fn write_place(&self, mut sink: impl FnMut(&[u8])) {
        if let Some(place) = &self.place {
            behind_length(&mut sink, place.method.as_str().as_bytes());
            behind_length(&mut sink, &place.path);
        }
    }

    /// A digest of the message alone: the same at all places.
    pub(super) fn message(&self) -> [u8; 32] {
        let mut message = Sha256::new();
        self.write_owner(|bytes| message.update(bytes));
        self.write_nonce(|bytes| message.update(bytes));
        message.finalize().into()
    }

    pub(crate) fn has_place(&self) -> bool {
        self.place.is_some()
    }

    /// SHA-256 of the identity: the same on every server that shares a store.
    ///
    /// If a place counts, the first 16 bytes are those of the message alone, so that a store
    /// finds the records of one message side by side.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut whole = Sha256::new();
        self.write_owner(|bytes| whole.update(bytes));
        self.write_nonce(|bytes| whole.update(bytes));
        if !self.has_place() {
            return whole.finalize().into();
        }
        let message = whole.clone().finalize();
        self.write_place(|bytes| whole.update(bytes));
        let mut digest: [u8; 32] = whole.finalize().into();
        digest
            .iter_mut()
            .zip(message)
            .take(MESSAGE_LEN)
            .for_each(|(byte, of_message)| *byte = of_message);
        digest
    }
}

/// How much of a digest is that of the message, in bytes.
pub(crate) const MESSAGE_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    type Parts = (String, String, u8, Vec<u8>, Option<String>);

    fn identity((namespace, key, kind, nonce, path): &Parts) -> Vec<u8> {
        let kind = [NonceKind::Covered, NonceKind::Event, NonceKind::Digest][usize::from(*kind)];
        let nonce = Nonce::new(kind, nonce.clone());
        let key = KeyId::new(key).unwrap();
        let mut claim = Claim::new(namespace.as_str().into(), key, nonce, Timestamp::MAX);
        if let Some(path) = path {
            claim = claim.at_place(Method::POST, path.as_str());
        }
        let mut bytes = Vec::new();
        claim.write_identity(|part| bytes.extend_from_slice(part));
        bytes
    }

    fn parts() -> impl Strategy<Value = Parts> {
        let nonce = prop::collection::vec(prop_oneof![Just(0), Just(1), Just(b'a')], 0..4);
        (
            "[ab]{0,2}",
            "[ab]{1,2}",
            0..3u8,
            nonce,
            prop::option::of("[ab/]{0,3}"),
        )
    }

    proptest! {
        #[test]
        fn different_claims_have_different_identities(one in parts(), other in parts()) {
            prop_assert_eq!(one == other, identity(&one) == identity(&other));
        }
    }

    /// Two signatures of one request are recorded once, and a replay of either must be found.
    #[test]
    fn one_record_of_two_claims_lasts_as_long_as_the_longer_one_and_is_as_old_as_the_older_one() {
        let at = |seconds| Timestamp::from_secs(seconds).unwrap();
        let claim = |deadline| {
            let nonce = Nonce::new(NonceKind::Covered, "n");
            Claim::new(
                "tests".into(),
                KeyId::new("k").unwrap(),
                nonce,
                at(deadline),
            )
        };
        let [short, long] = [1, 2].map(Duration::from_secs);
        let lasting = claim(30).signed(at(12), short);
        let old = claim(20).signed(at(11), long);
        let untimed = claim(10);
        for (one, other, signed_at, max_skew) in [
            (&lasting, &old, at(11), long),
            (&old, &lasting, at(11), long),
            (&lasting, &untimed, at(12), short),
            (&untimed, &lasting, at(12), short),
        ] {
            let mut record = one.clone();
            record.remember_as_long_as(other);
            assert_eq!(record.deadline(), at(30));
            assert_eq!(
                (record.signed_at(), record.max_skew()),
                (Some(signed_at), max_skew)
            );
        }
    }

    /// A nonce that is sent again is a replay, whatever time it is signed at.
    #[test]
    fn only_the_record_of_an_event_is_extended() {
        let extended = |kind| {
            let nonce = Nonce::new(kind, "n");
            let key_id = KeyId::new("k").unwrap();
            Claim::new("tests".into(), key_id, nonce, Timestamp::MAX).extends()
        };
        assert!(extended(NonceKind::Event));
        assert!(!extended(NonceKind::Covered) && !extended(NonceKind::Digest));
    }

    #[test]
    fn attempts_are_unique() {
        let ids: HashSet<_> = (0..1000).map(|_| AttemptId::next().to_bytes()).collect();
        assert_eq!(ids.len(), 1000);
        // In all processes, because the upper half is drawn at random.
        let process = |id: &[u8; 16]| u128::from_be_bytes(*id) >> 64;
        assert!(ids.iter().all(|id| process(id) > 1));
    }
}
