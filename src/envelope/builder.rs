//! The settings of envelopes, checked against each other.

use std::{
    fmt,
    sync::{Arc, RwLock},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::{
    deadline::Deadline,
    envelopes::{ALGORITHM, Envelopes, sealing_key_id},
    payload_envelope::PayloadEnvelope,
    settings::{RETENTION, Settings},
};
use crate::{
    clock::{Clock, SystemClock},
    error::{ConfigError, ConfigErrorKind},
    key::{KeyRing, KeyStore as _},
    message::behind_length,
    once::{MemorySettings, Private},
};

impl PayloadEnvelope {
    /// Configures envelopes for a purpose, such as `ship-order`: 1 to 128 bytes. An envelope for
    /// one purpose is refused for another, also under the same key.
    pub fn builder(purpose: impl Into<String>) -> EnvelopesBuilder {
        EnvelopesBuilder::new(purpose.into())
    }
}

/// Configures [`Envelopes`]; every setting states its default.
#[must_use]
pub struct EnvelopesBuilder {
    purpose: String,
    keys: Option<KeyRing>,
    seal_under: Option<String>,
    memory: MemorySettings,
    longest_deadline: Duration,
    clock: Box<dyn Clock>,
}

impl EnvelopesBuilder {
    fn new(purpose: String) -> Self {
        Self {
            purpose,
            keys: None,
            seal_under: None,
            memory: MemorySettings::new("default".to_owned()),
            longest_deadline: Duration::from_secs(24 * 60 * 60),
            clock: Box::new(SystemClock),
        }
    }

    /// Sets the keys of the envelopes: a ring of the service's own. No default.
    ///
    /// A holder of one of these secrets can write any payload, so no sender of requests may hold
    /// one: keys that share a secret with a layer, or with tokens, of this process are refused.
    pub fn keys(mut self, keys: KeyRing) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Sets the key id that envelopes are sealed under, with the first of its secrets that is
    /// valid: 1 to 16 bytes. No default.
    pub fn seal_under(mut self, key_id: impl Into<String>) -> Self {
        self.seal_under = Some(key_id.into());
        self
    }

    /// Sets the namespace of the layers whose payloads are sealed: 1 to 256 bytes, none of them
    /// zero. An envelope of one namespace is refused in another. Default: `default`, which is that
    /// of a layer.
    ///
    /// Uses are recorded in a namespace that is made of this and the purpose; those that were [left
    /// to the worker](Envelopes::seal_unrecorded), in this one.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.memory.namespace = namespace.into();
        self
    }

    /// Sets the longest time between the moment at which a request is first sealed, for whichever
    /// purpose, and the deadline of an envelope of this purpose: 1 millisecond to
    /// [`Deadline::LONGEST`]. Default: 1 day.
    ///
    /// A use is remembered for so long after the door can let the request in for the last time, so
    /// that a later sealing of the same request cannot outlive the record. A shorter time keeps fewer
    /// records. All processes that seal for one purpose must have the same. Before you raise it, raise
    /// it in all of them, and seal for longer once no envelope of the earlier setting is left.
    ///
    /// It does not count for what is [left to the worker](Envelopes::seal_unrecorded): its bound is
    /// the layer's [`seals_for`](crate::request::VerifierBuilder::seals_for).
    pub fn longest_deadline(mut self, longest: Duration) -> Self {
        self.longest_deadline = longest;
        self
    }

    /// Sets by how much the clocks of servers, workers and stores may differ: at most 1 hour.
    /// Default: 5 seconds.
    pub fn clock_difference(mut self, difference: Duration) -> Self {
        self.memory.clock_difference = difference;
        self
    }

    /// Sets how long a store or a database may take to answer: between 1 millisecond and 1 hour.
    /// Default: 2 seconds.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.memory.timeout = timeout;
        self
    }

    /// Sets the clock. Default: the [system's](SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Checks the configuration.
    ///
    /// # Errors
    /// Returns an error if something is missing or out of its range, a secret is tied to another
    /// algorithm than HMAC-SHA256, or a secret is one of a layer, or of tokens, of this process.
    pub fn build(mut self) -> Result<Envelopes, ConfigError> {
        let missing = |what| ConfigError::from(ConfigErrorKind::Missing(what));
        ConfigError::unless(
            (1..=128).contains(&self.purpose.len()),
            "the purpose of an envelope must have between 1 and 128 bytes",
        )?;
        self.memory.check_ranges()?;
        ConfigError::unless(
            (Duration::from_millis(1)..=Deadline::LONGEST).contains(&self.longest_deadline),
            "`longest_deadline` must be between 1 millisecond and 366 days",
        )?;
        let keys = self
            .keys
            .ok_or_else(|| missing("no keys are given; call `keys`"))?;
        let seal_under = self
            .seal_under
            .ok_or_else(|| missing("no key id to seal under; call `seal_under`"))?;
        let known = keys.known_keys();
        known.check_algorithm(ALGORITHM, None)?;
        let seal_under = sealing_key_id(&seal_under, &known)?;
        let private = Private::enter(Arc::new(keys.clone()))?;

        let mut label = b"countersign envelope\0".to_vec();
        for name in [&self.memory.namespace, &self.purpose] {
            behind_length(|bytes| label.extend_from_slice(bytes), name.as_bytes());
        }
        let digest = Sha256::digest(&label);
        let mut tag = [0; _];
        tag.iter_mut().zip(digest).for_each(|(to, byte)| *to = byte);
        let namespace: Arc<str> = self.memory.namespace.as_str().into();
        // Nobody would choose this name, and it has a fixed length, because a store may bound
        // names.
        self.memory.namespace = format!("envelope:{}", hex(&digest));
        let (margin, clock_difference) = (self.memory.margin(), self.memory.clock_difference);
        Ok(Envelopes {
            settings: Arc::new(Settings {
                purpose: self.purpose,
                namespace,
                keys,
                seal_under: RwLock::new(seal_under),
                memory: self.memory.remember(RETENTION, [])?,
                clock_difference,
                longest_deadline: self.longest_deadline,
                margin,
                clock: self.clock,
                label,
                tag,
                _private: private,
            }),
        })
    }
}

fn hex(digest: &[u8]) -> String {
    base16ct::lower::encode_string(digest)
}

impl fmt::Debug for EnvelopesBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvelopesBuilder")
            .field("purpose", &self.purpose)
            .finish_non_exhaustive()
    }
}
