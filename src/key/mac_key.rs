//! A secret that is ready to make MACs.

use super::{
    mac::{MacAlgorithm, RunningMac},
    secret::Secret,
};

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

/// Returns how many MACs this thread has begun.
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

    /// The algorithm that the secret is tied to.
    pub(crate) fn algorithm(&self) -> Option<MacAlgorithm> {
        self.secret.algorithm()
    }

    /// Begins a MAC with the algorithm that the secret is tied to, or else with this one.
    pub(crate) fn start(&self, otherwise: MacAlgorithm) -> RunningMac {
        #[cfg(test)]
        BEGUN.with(|begun| begun.set(begun.get() + 1));
        self.start_with(self.algorithm().unwrap_or(otherwise))
    }

    /// Begins a MAC under a key of its own, which is derived from the secret and a label: the MACs
    /// of other labels, and those of the secret itself, say nothing about it.
    pub(crate) fn derived(&self, algorithm: MacAlgorithm, label: &[u8]) -> RunningMac {
        let mut mac = self.start_with(algorithm);
        mac.update(label);
        let mut key = mac.finish();
        let derived = RunningMac::new(algorithm, key.as_ref());
        key.wipe();
        derived
    }

    fn start_with(&self, algorithm: MacAlgorithm) -> RunningMac {
        match algorithm {
            MacAlgorithm::HmacSha256 => self.sha256.clone(),
            MacAlgorithm::HmacSha512 => self.sha512.clone(),
            // Too seldom used for its key schedule to be kept.
            MacAlgorithm::HmacSha1 => RunningMac::new(algorithm, self.secret.expose()),
        }
    }

    /// Two secrets that HMAC does not tell apart have a fingerprint in common: it pads short ones
    /// with zeros and hashes long ones, so that different bytes can be one secret. The algorithm that
    /// a secret is tied to makes no difference.
    pub(crate) fn fingerprints(&self) -> [Vec<u8>; 3] {
        [
            MacAlgorithm::HmacSha1,
            MacAlgorithm::HmacSha256,
            MacAlgorithm::HmacSha512,
        ]
        .map(|algorithm| {
            let mut mac = self.start_with(algorithm);
            mac.update(b"countersign: are these one secret?");
            mac.finish().as_ref().to_vec()
        })
    }
}

#[cfg(test)]
mod tests {
    use sha1::Sha1;
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::message::HashOutput;

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
        let tied = Secret::danger_short("abc").unwrap();
        let tied = MacKey::new(tied.for_algorithm(MacAlgorithm::HmacSha512));
        assert_eq!(shared(&key("abc"), &tied), 3);
    }

    #[test]
    fn a_secret_that_is_tied_makes_macs_of_its_own_algorithm_alone() {
        use MacAlgorithm::{HmacSha1, HmacSha256, HmacSha512};
        let secret = Secret::new("a secret of sixteen").unwrap();
        for own in [HmacSha1, HmacSha256, HmacSha512] {
            let tied = MacKey::new(secret.clone().for_algorithm(own));
            let free = MacKey::new(secret.clone());
            for other in [HmacSha1, HmacSha256, HmacSha512] {
                let mac = tied.start(other).finish();
                assert_eq!(mac.as_ref(), free.start(own).finish().as_ref());
                assert_eq!(mac.as_ref().len(), own.mac_len());
            }
        }
    }
}
