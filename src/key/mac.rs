//! The one place that computes a MAC, compares one, or compares a digest.

use hmac::{Hmac, KeyInit, Mac as _};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::secret::Secret;
use crate::message::HashOutput;

/// The algorithm of a MAC. It is fixed by the scheme's description, never by a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MacAlgorithm {
    /// HMAC with SHA-256 (RFC 2104, FIPS 180-4): 32 bytes.
    HmacSha256,
    /// HMAC with SHA-512 (RFC 2104, FIPS 180-4): 64 bytes.
    HmacSha512,
    /// HMAC with SHA-1 (RFC 2104, RFC 3174): 20 bytes. For senders who know no other; what is known
    /// of SHA-1's weakness does not reach HMAC, but there is no reason to choose it.
    HmacSha1,
}

impl MacAlgorithm {
    /// The length of a MAC, in bytes.
    #[must_use]
    pub const fn mac_len(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha512 => 64,
            Self::HmacSha1 => 20,
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

/// A secret with its key schedules done, once, for every request that will use it.
#[derive(Clone)]
pub(crate) struct MacKey {
    secret: Secret,
    sha256: RunningMac,
    sha512: RunningMac,
}

#[cfg(test)]
std::thread_local! {
    static BEGUN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How many MACs this thread has begun.
#[cfg(test)]
pub(crate) fn begun() -> usize {
    BEGUN.get()
}

impl MacKey {
    pub(crate) fn new(secret: Secret) -> Self {
        Self {
            sha256: RunningMac::new(MacAlgorithm::HmacSha256, secret.expose()),
            sha512: RunningMac::new(MacAlgorithm::HmacSha512, secret.expose()),
            secret,
        }
    }

    pub(crate) fn start(&self, algorithm: MacAlgorithm) -> RunningMac {
        #[cfg(test)]
        BEGUN.with(|begun| begun.set(begun.get() + 1));
        match algorithm {
            MacAlgorithm::HmacSha256 => self.sha256.clone(),
            MacAlgorithm::HmacSha512 => self.sha512.clone(),
            // Too seldom used for its key schedule to be kept.
            MacAlgorithm::HmacSha1 => RunningMac::new(algorithm, self.secret.expose()),
        }
    }

    /// Two secrets that HMAC does not tell apart have a fingerprint in common: it pads short ones
    /// with zeros and hashes long ones, so that different bytes can be one secret.
    pub(crate) fn fingerprints(&self) -> [Vec<u8>; 3] {
        [
            MacAlgorithm::HmacSha1,
            MacAlgorithm::HmacSha256,
            MacAlgorithm::HmacSha512,
        ]
        .map(|algorithm| {
            let mut mac = self.start(algorithm);
            mac.update(b"countersign: are these one secret?");
            mac.finish().as_ref().to_vec()
        })
    }
}

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use super::*;

    fn key(bytes: impl Into<Vec<u8>>) -> MacKey {
        MacKey::new(Secret::danger_short(bytes).unwrap())
    }

    /// RFC 4231, test case 2.
    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let cases = [
            (
                MacAlgorithm::HmacSha256,
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                MacAlgorithm::HmacSha512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6\
                 d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
        ];
        for (algorithm, expected) in cases {
            let mut mac = key("Jefe").start(algorithm);
            mac.update(b"what do ya want ");
            mac.update(b"for nothing?");
            let expected = crate::message::encoding::decode_hex(expected.as_bytes()).unwrap();
            assert_eq!(expected.len(), algorithm.mac_len());
            assert_eq!(mac.clone().finish().as_ref(), expected);
            assert!(mac.verify(&HashOutput::new(&expected)));
        }
    }

    #[test]
    fn every_truncated_mac_and_every_changed_byte_is_refused() {
        let mac = key("a secret of sixteen").start(MacAlgorithm::HmacSha256);
        let output = mac.clone().finish();
        assert!(mac.clone().verify(&output));
        for len in 0..32 {
            assert!(
                !mac.clone()
                    .verify(&HashOutput::new(&output.as_ref()[..len])),
                "{len} bytes"
            );
        }
        for i in 0..32 {
            let mut changed = output.as_ref().to_vec();
            changed[i] ^= 1;
            assert!(!mac.clone().verify(&HashOutput::new(&changed)), "byte {i}");
        }
    }

    #[test]
    fn secrets_that_hmac_does_not_tell_apart_are_one() {
        let long = [9; 100];
        let hashed = Sha256::digest(long).to_vec();
        let shared = |one: &MacKey, other: &MacKey| {
            let other = other.fingerprints();
            one.fingerprints()
                .iter()
                .filter(|print| other.contains(print))
                .count()
        };
        assert_eq!(shared(&key("abc"), &key("abc\0\0")), 3);
        assert_eq!(
            shared(&key(long), &key(hashed)),
            1,
            "equal under SHA-256 alone"
        );
        let hashed = Sha1::digest(long).to_vec();
        assert_eq!(
            shared(&key(long), &key(hashed)),
            1,
            "equal under SHA-1 alone"
        );
        assert_eq!(shared(&key("abc"), &key("abd")), 0);
    }
}
