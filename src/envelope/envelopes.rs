//! Seals payloads for a worker, and opens what was sealed.

use std::{fmt, sync::Arc};

use super::{
    deadline::Deadline,
    format::{self, Frame, Left, MAX_LEN, Terms, VERSION},
    payload_envelope::{PayloadEnvelope, Sealed},
    settings::{RETENTION, Settings},
};
use crate::{
    clock::Timestamp,
    error::{ConfigError, Rejection, RejectionKind, SignError, SignErrorKind},
    key::{KeyId, KeySet, KeyStore as _, KnownKeys, MacAlgorithm, MacKey, RunningMac},
    lock::{read, write},
    message::HashOutput,
    once::{Claim, Nonce, NonceKind, Subject, Ticket},
    proof::{Proven, Unrecorded},
};

/// Seals verified payloads for one purpose, and opens them where they are used: in a worker, behind
/// a queue, out of an outbox table or a cache.
///
/// [`PayloadEnvelope::builder`] makes it. The module [`envelope`](crate::envelope) shows both
/// sides. Clones share their keys.
#[derive(Clone)]
pub struct Envelopes {
    pub(super) settings: Arc<Settings>,
}

/// The longest key id that envelopes are sealed under, in bytes.
pub(super) const MAX_KEY_ID_LEN: usize = 16;

pub(super) const ALGORITHM: MacAlgorithm = MacAlgorithm::HmacSha256;

impl Envelopes {
    /// Seals from now on under another key id, on every clone at once. Envelopes under the earlier
    /// one are opened for as long as the ring has its secrets.
    ///
    /// # Errors
    /// Returns an error if the id is not a [`KeyId`], has more than 16 bytes, or no secret is under
    /// it.
    pub fn rotate(&self, key_id: impl AsRef<str>) -> Result<(), ConfigError> {
        let key_id = sealing_key_id(key_id.as_ref(), &self.settings.keys.known_keys())?;
        *write(&self.settings.seal_under) = key_id;
        Ok(())
    }

    /// Seals a payload that a handler, or an earlier worker, holds: its nonce was recorded at the
    /// door.
    ///
    /// A request whose scheme has no nonce, because its requests may be alike, gets an identity of
    /// its own with each sealing.
    ///
    /// # Errors
    /// Returns an error if no secret is valid under the key id that is sealed under, now and until
    /// the deadline, the deadline is out of its range, has passed or is beyond the [longest
    /// deadline](super::EnvelopesBuilder::longest_deadline), the use would be remembered for more than
    /// three years because the payload went through many envelopes, or the envelope would be longer
    /// than 64 MiB.
    pub fn seal(
        &self,
        payload: &impl AsRef<Proven>,
        deadline: Deadline,
    ) -> Result<Vec<u8>, SignError> {
        let (settings, proven) = (&*self.settings, payload.as_ref());
        let (now, lasts) = (settings.clock.now(), &proven.lasts);
        // However it comes to this purpose, at once or through other envelopes, late or early: every
        // deadline counts from a moment at which the door may still let the request in.
        let sealed_at = lasts
            .sealed_at
            .unwrap_or_else(|| lasts.claimed_until.map_or(now, |until| until.min(now)));
        let latest = sealed_at.saturating_add(settings.longest_deadline);
        let deadline = settings.deadline(deadline, now, latest, proven)?;
        let latest = match (&proven.nonce, lasts.claimed_until) {
            // A later sealing, which the maker of this one does not know.
            (Some(_), Some(until)) => until.saturating_add(settings.longest_deadline),
            _ => deadline,
        };
        let kept_until = latest.saturating_add(settings.margin);
        if kept_until > now.saturating_add(RETENTION) {
            return Err(SignError::of_kind(
                SignErrorKind::Time,
                format!(
                    "the use of the envelope must be remembered until {kept_until}, which is too long; lower \
                 `longest_deadline`, or send the payload through fewer envelopes"
                ),
            ));
        }
        let terms = Terms {
            sealed_at,
            deadline,
            kept_until,
            signed_at: Some(
                lasts
                    .signed_from
                    .map_or(sealed_at, |from| from.min(sealed_at)),
            ),
            id: proven.nonce.is_none().then(crate::random::bytes),
            left: None,
        };
        settings.seal(now, &terms, proven)
    }

    /// Seals a payload whose nonce was left to the worker. The worker records the same claim that
    /// the layer would have recorded.
    ///
    /// The deadline is at most [`seals_for`](crate::request::VerifierBuilder::seals_for) after the
    /// request has ceased to be fresh, also if its sender may sign the event again for days. A
    /// request that covers no time is fresh only at the moment at which it is verified. The layer
    /// and the worker both remember the nonce for at least that long after the last such request.
    ///
    /// # Errors
    /// Returns an error as [`seal`](Self::seal) does, except for the longest deadline; and if the
    /// deadline is later than that, or the layer has another namespace than these envelopes.
    pub fn seal_unrecorded(
        &self,
        unrecorded: &Unrecorded,
        deadline: Deadline,
    ) -> Result<Vec<u8>, SignError> {
        let settings = &*self.settings;
        let (proven, claim) = ((*unrecorded.payload).as_ref(), &unrecorded.claim);
        if *claim.namespace() != *settings.namespace {
            return Err(SignError::of_kind(
                SignErrorKind::OtherNamespace,
                format!(
                    "the request was verified for namespace `{}`, and these envelopes are of `{}`; call \
                 `namespace` when they are built",
                    claim.namespace(),
                    settings.namespace
                ),
            ));
        }
        let sealed_at = settings.clock.now();
        let deadline = settings.deadline(deadline, sealed_at, Timestamp::MAX, proven)?;
        // The sender may sign the event again until then, and a worker seal that request too: the
        // record of this one must last until the deadline of that.
        let latest = claim.deadline().saturating_sub(proven.lasts.repeats_for);
        if deadline.saturating_add(settings.margin) > latest {
            return Err(SignError::of_kind(
                SignErrorKind::Time,
                format!(
                    "this request can be sealed until {latest}, and the deadline of the envelope is \
                 {deadline} with a margin of {:?}; raise `seals_for` of the layer",
                    settings.margin
                ),
            ));
        }
        let terms = Terms {
            sealed_at,
            deadline,
            kept_until: claim.deadline(),
            signed_at: claim.signed_at(),
            id: None,
            left: Some(Left::of(claim)),
        };
        settings.seal(sealed_at, &terms, proven)
    }

    /// Opens an envelope for one use. Key, MAC, purpose and deadline are checked; whether the
    /// payload was used before is found out when it is used, and nothing can be read before.
    ///
    /// # Errors
    /// Returns a rejection of one of these kinds:
    /// [`EnvelopeAltered`](RejectionKind::EnvelopeAltered),
    /// [`EnvelopeNewer`](RejectionKind::EnvelopeNewer),
    /// [`EnvelopeOfOtherPurpose`](RejectionKind::EnvelopeOfOtherPurpose),
    /// [`EnvelopeKeyUnknown`](RejectionKind::EnvelopeKeyUnknown),
    /// [`EnvelopeExpired`](RejectionKind::EnvelopeExpired).
    pub fn open(&self, envelope: &[u8]) -> Result<PayloadEnvelope, Rejection> {
        let (terms, proven) = self.settings.open(envelope)?;
        let claim = self.settings.claim(&terms, &proven)?;
        let sealed = Sealed {
            settings: Arc::clone(&self.settings),
            deadline: terms.deadline,
            proven,
        };
        let timeout = self.settings.memory.timeout();
        Ok(PayloadEnvelope(Ticket::new(
            sealed,
            claim,
            timeout,
            Subject::default(),
        )))
    }

    /// Opens an envelope to be read, as often as it is asked for until its deadline: for a cache,
    /// and for a queue that takes each job out in the transaction of its effect. No use is
    /// recorded.
    ///
    /// # Errors
    /// Returns an error as [`open`](Self::open) does; and
    /// [`NonceNotRecorded`](RejectionKind::NonceNotRecorded) if the nonce was [left to the
    /// worker](Self::seal_unrecorded), so that nobody may have recorded it.
    pub fn read(&self, envelope: &[u8]) -> Result<Proven, Rejection> {
        let (terms, proven) = self.settings.open(envelope)?;
        match terms.left {
            None => Ok(proven),
            Some(_) => Err(Rejection::new(
                RejectionKind::NonceNotRecorded,
                "the nonce of the request was left to the worker, who must record it: `open` the \
                 envelope, and use it once",
            )),
        }
    }
}

/// Key ids are part of every envelope.
pub(super) fn sealing_key_id(key_id: &str, known: &KnownKeys) -> Result<KeyId, ConfigError> {
    ConfigError::unless(
        key_id.len() <= MAX_KEY_ID_LEN,
        "the key id that envelopes are sealed under must have at most 16 bytes",
    )?;
    let key_id = KeyId::new(key_id)?;
    known.check_has(key_id.as_str())?;
    Ok(key_id)
}

impl Settings {
    fn deadline(
        &self,
        deadline: Deadline,
        now: Timestamp,
        latest: Timestamp,
        proven: &Proven,
    ) -> Result<Timestamp, SignError> {
        let deadline = deadline.of(now, latest, &proven.lasts)?;
        if deadline < now {
            return Err(SignError::of_kind(
                SignErrorKind::Time,
                format!("the deadline of the envelope is {deadline}, and it is {now}"),
            ));
        }
        Ok(deadline)
    }

    fn seal(&self, now: Timestamp, terms: &Terms, proven: &Proven) -> Result<Vec<u8>, SignError> {
        let key_id = read(&self.seal_under).clone();
        let set = self.keys(key_id.as_str());
        let key = set
            .as_deref()
            .and_then(|set| set.valid_between(now, terms.deadline).next());
        let key = key.ok_or_else(|| {
            SignError::of_kind(SignErrorKind::NoSecret, format!(
                "no secret with {} is valid under key id `{key_id}` from now until the deadline of the \
                 envelope, {}",
                ALGORITHM.name(),
                terms.deadline
            ))
        })?;
        let mut envelope = format::write(self.tag, &key_id, terms, proven);
        let mut mac = self.mac(key);
        mac.update(&envelope);
        envelope.extend_from_slice(mac.finish().as_ref());
        if envelope.len() > MAX_LEN {
            return Err(SignError::of_kind(
                SignErrorKind::TooLong,
                "the envelope would be longer than 64 MiB",
            ));
        }
        Ok(envelope)
    }

    /// The secrets under this id, if all of them are for this algorithm.
    fn keys(&self, key_id: &str) -> Option<Arc<KeySet>> {
        let found = self.keys.find(key_id).at_hand().ok()?.ok()??;
        found.other_algorithm(ALGORITHM).is_none().then_some(found)
    }

    /// A MAC under a key that is derived for this purpose: nothing else that is signed with the
    /// same secret is an envelope.
    fn mac(&self, key: &MacKey) -> RunningMac {
        key.derived(ALGORITHM, &self.label)
    }

    fn open(&self, envelope: &[u8]) -> Result<(Terms, Proven), Rejection> {
        let altered = |detail| Rejection::new(RejectionKind::EnvelopeAltered, detail);
        let Some(frame) = Frame::read(envelope) else {
            return Err(altered("no envelope, or only a part of one"));
        };
        if frame.version > VERSION {
            let detail = format!(
                "version {} of the format, and {VERSION} is known",
                frame.version
            );
            return Err(Rejection::new(RejectionKind::EnvelopeNewer, detail));
        }
        if frame.version < VERSION {
            return Err(altered("no version of the format has this number"));
        }
        if frame.tag != self.tag {
            let detail = format!(
                "not sealed for {:?} of namespace `{}`",
                self.purpose, self.namespace
            );
            return Err(Rejection::new(
                RejectionKind::EnvelopeOfOtherPurpose,
                detail,
            ));
        }
        let unknown = || {
            let detail = format!("no key `{}`", frame.key_id.escape_debug());
            Rejection::new(RejectionKind::EnvelopeKeyUnknown, detail)
        };
        let keys = self.keys(frame.key_id).ok_or_else(unknown)?;
        let now = self.clock.now();
        let claimed = HashOutput::new(frame.mac);
        let mut secrets = keys.valid_at(now).peekable();
        if secrets.peek().is_none() {
            return Err(unknown());
        }
        let is_its_mac = |key: &MacKey| {
            let mut mac = self.mac(key);
            mac.update(frame.signed);
            mac.verify(&claimed)
        };
        if !secrets.any(is_its_mac) {
            return Err(altered("no secret of its key makes its MAC"));
        }
        let (terms, proven) = frame
            .open()
            .ok_or_else(|| altered("its MAC is right, and what it says cannot be read"))?;
        self.check_deadline(terms.deadline, now)?;
        Ok((terms, proven))
    }

    /// Returns what is recorded when the payload is used.
    fn claim(&self, terms: &Terms, proven: &Proven) -> Result<Claim, Rejection> {
        let nonce = match (&proven.nonce, terms.id) {
            (Some(nonce), _) => nonce.clone(),
            (None, Some(id)) => {
                Nonce::new(NonceKind::Covered, [b"\0sealed\0".as_slice(), &id].concat())
            }
            (None, None) => {
                let detail = "neither a nonce nor an identity of its own";
                return Err(Rejection::new(RejectionKind::EnvelopeAltered, detail));
            }
        };
        let key_id = proven.key_id.clone();
        let Some(left) = &terms.left else {
            let claim = self.memory.claim(key_id, nonce, terms.kept_until);
            return Ok(match terms.signed_at {
                Some(signed_at) => claim.signed(signed_at, self.clock_difference),
                None => claim,
            });
        };
        let mut claim = Claim::new(Arc::clone(&self.namespace), key_id, nonce, terms.kept_until)
            .with_retention(left.retention);
        if let Some(signed_at) = terms.signed_at {
            claim = claim.signed(signed_at, left.max_skew);
        }
        Ok(match &left.place {
            None => claim,
            Some((method, path, is_open)) => claim.at(method.clone(), path, *is_open),
        })
    }
}

impl fmt::Debug for Envelopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelopes")
            .field("purpose", &self.settings.purpose)
            .field("namespace", &self.settings.namespace)
            .finish_non_exhaustive()
    }
}
