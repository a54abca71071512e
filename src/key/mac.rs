//! The one place that computes a MAC, compares one, or compares a digest.

use hmac::{Hmac, KeyInit, Mac as _};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use crate::message::HashOutput;

/// The algorithm of a MAC. The scheme's description fixes it, and a [`Secret`](crate::Secret) may be
/// [tied](crate::Secret::for_algorithm) to one. A request never chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MacAlgorithm {
    /// HMAC with SHA-256 (RFC 2104, FIPS 180-4): 32 bytes.
    HmacSha256,
    /// HMAC with SHA-512 (RFC 2104, FIPS 180-4): 64 bytes.
    HmacSha512,
    /// HMAC with SHA-1 (RFC 2104, RFC 3174): 20 bytes. Only the [webhooks](crate::webhooks) of
    /// senders that know nothing else use it: a [`HeaderScheme`](crate::HeaderScheme) refuses it. The
    /// known weakness of SHA-1 does not reach HMAC, but there is no reason to choose it.
    HmacSha1,
}

impl MacAlgorithm {
    /// Returns the length of a MAC, in bytes.
    #[must_use]
    pub const fn mac_len(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha512 => 64,
            Self::HmacSha1 => 20,
        }
    }

    /// Returns the name that people use.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "HMAC-SHA256",
            Self::HmacSha512 => "HMAC-SHA512",
            Self::HmacSha1 => "HMAC-SHA1",
        }
    }
}

/// A MAC in the making: the key is in, the message is fed piece by piece.
///
/// A clone of one that was fed nothing saves the two compressions of the key schedule.
#[derive(Clone)]
pub(crate) enum RunningMac {
    Sha256(Hmac<Sha256>),
    /// Boxed: it is twice as large, and seldom the one that is moved along with a request.
    Sha512(Box<Hmac<Sha512>>),
    Sha1(Hmac<Sha1>),
}

impl RunningMac {
    #[expect(
        clippy::expect_used,
        reason = "HMAC takes a key of any length (RFC 2104)"
    )]
    pub(crate) fn new(algorithm: MacAlgorithm, key: &[u8]) -> Self {
        let any_length = "HMAC takes a key of any length";
        match algorithm {
            MacAlgorithm::HmacSha256 => Self::Sha256(Hmac::new_from_slice(key).expect(any_length)),
            MacAlgorithm::HmacSha512 => {
                Self::Sha512(Box::new(Hmac::new_from_slice(key).expect(any_length)))
            }
            MacAlgorithm::HmacSha1 => Self::Sha1(Hmac::new_from_slice(key).expect(any_length)),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(mac) => mac.update(bytes),
            Self::Sha512(mac) => mac.update(bytes),
            Self::Sha1(mac) => mac.update(bytes),
        }
    }

    /// Compares in constant time, and over the full length.
    pub(crate) fn verify(self, claimed: &HashOutput) -> bool {
        match self {
            Self::Sha256(mac) => mac.verify_slice(claimed.as_ref()),
            Self::Sha512(mac) => mac.verify_slice(claimed.as_ref()),
            Self::Sha1(mac) => mac.verify_slice(claimed.as_ref()),
        }
        .is_ok()
    }

    /// Compares the first bytes alone, as many as are claimed, in constant time.
    #[cfg(feature = "inspect")]
    pub(crate) fn verify_left(self, claimed: &HashOutput) -> bool {
        match self {
            Self::Sha256(mac) => mac.verify_truncated_left(claimed.as_ref()),
            Self::Sha512(mac) => mac.verify_truncated_left(claimed.as_ref()),
            Self::Sha1(mac) => mac.verify_truncated_left(claimed.as_ref()),
        }
        .is_ok()
    }

    pub(crate) fn finish(self) -> HashOutput {
        match self {
            Self::Sha256(mac) => HashOutput::new(&mac.finalize().into_bytes()),
            Self::Sha512(mac) => HashOutput::new(&mac.finalize().into_bytes()),
            Self::Sha1(mac) => HashOutput::new(&mac.finalize().into_bytes()),
        }
    }
}
