//! The settings that sealing, opening and using have in common.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use super::{deadline::Deadline, format::TAG_LEN};
use crate::{
    clock::{Clock, Timestamp},
    error::{Rejection, RejectionKind},
    key::{KeyId, KeyRing},
    once::{Entered, Memory, Private},
};

/// One for all envelopes: the longest deadline, the longest `seals_for` of a door and the longest
/// time for which a sender may repeat a request, one after the other, and a few days for windows and
/// margins.
pub(super) const RETENTION: Duration =
    Duration::from_secs(3 * Deadline::LONGEST.as_secs() + 8 * 24 * 60 * 60);

pub(super) struct Settings {
    pub(super) purpose: String,
    /// The namespace of the layers whose payloads are sealed.
    pub(super) namespace: Arc<str>,
    pub(super) keys: KeyRing,
    pub(super) seal_under: RwLock<KeyId>,
    /// Remembers uses, in a namespace of its own.
    pub(super) memory: Memory,
    pub(super) clock_difference: Duration,
    /// No deadline is later than so long after the door may let the request in again.
    pub(super) longest_deadline: Duration,
    /// For how much longer than an envelope its use is remembered: for a claim that is on its way,
    /// and for clocks that differ.
    pub(super) margin: Duration,
    pub(super) clock: Box<dyn Clock>,
    /// Namespace and purpose: what keys are derived for.
    pub(super) label: Vec<u8>,
    /// The beginning of a digest of it, for those who open an envelope of others.
    pub(super) tag: [u8; TAG_LEN],
    pub(super) _private: Entered<Private>,
}

impl Settings {
    pub(super) fn check_deadline(
        &self,
        deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), Rejection> {
        if now <= deadline {
            return Ok(());
        }
        let detail = format!("its deadline was {deadline}, and it is {now}");
        Err(Rejection::new(RejectionKind::EnvelopeExpired, detail))
    }
}
