//! The hash of a claim: who makes it, which shard it falls to, and as what it is known there.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::sync::hash_key;
use crate::once::Claim;

/// SipHash-1-3 under a key of this process: nobody outside can make two claims meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hasher(SipHasher13);

pub(super) struct Hashed {
    /// The hash of namespace and key id.
    pub(super) owner: u64,
    /// The hash of the message, so that all of its records are in one shard.
    pub(super) shard: u64,
    /// The hash of the whole identity; if a place counts, the upper half is the message's.
    pub(super) fingerprint: u64,
}

/// The half of a fingerprint that the records of one message have in common, where a place counts.
pub(super) const OF_MESSAGE: u64 = !(u32::MAX as u64);

impl Hasher {
    pub(super) fn new() -> Self {
        Self(SipHasher13::new_with_key(&hash_key()))
    }

    pub(super) fn hash(&self, claim: &Claim) -> Hashed {
        let mut blocks = Blocks {
            hasher: self.0,
            bytes: [0; 256],
            len: 0,
        };
        claim.write_owner(|part| blocks.write(part));
        blocks.flush();
        let owner = blocks.hasher.finish();
        claim.write_nonce(|part| blocks.write(part));
        blocks.flush();
        let message = blocks.hasher.finish128();
        let mut fingerprint = message.h2;
        if claim.has_place() {
            claim.write_place(|part| blocks.write(part));
            blocks.flush();
            fingerprint = message.h2 & OF_MESSAGE | blocks.hasher.finish() & !OF_MESSAGE;
        }
        Hashed {
            owner,
            shard: message.h1,
            fingerprint,
        }
    }
}

/// Gathers the parts of an identity: to copy a short one costs less than a call of the hasher.
struct Blocks {
    hasher: SipHasher13,
    bytes: [u8; 256],
    len: usize,
}

impl Blocks {
    #[inline]
    fn write(&mut self, part: &[u8]) {
        let end = self.len + part.len();
        match self.bytes.get_mut(self.len..end) {
            Some(room) => {
                room.copy_from_slice(part);
                self.len = end;
            }
            None => {
                self.flush();
                self.hasher.write(part);
            }
        }
    }

    fn flush(&mut self) {
        self.hasher
            .write(self.bytes.get(..self.len).unwrap_or_default());
        self.len = 0;
    }
}

/// Maps a hash to `0..n`, evenly and in the same order.
#[expect(clippy::cast_possible_truncation, reason = "it is below n")]
pub(super) fn scale(hash: u64, n: usize) -> usize {
    ((u128::from(hash) * n as u128) >> 64) as usize
}

#[cfg(all(test, not(countersign_loom)))]
mod tests {
    use super::*;
    use crate::{Timestamp, key::KeyId, once::Nonce, once::NonceKind};

    /// An attacker who knew the key could find a request that meets a genuine one, which is then refused.
    #[test]
    fn nobody_knows_how_a_store_hashes() {
        let nonce = Nonce::new(NonceKind::Covered, "n");
        let key_id = KeyId::new("k").unwrap();
        let claim = Claim::new("tests".into(), key_id, nonce, Timestamp::MAX);
        let hashed = |hasher: Hasher| {
            let hashed = hasher.hash(&claim);
            (hashed.owner, hashed.shard, hashed.fingerprint)
        };
        let one = Hasher::new();
        assert_eq!(hashed(one), hashed(one));
        assert_ne!(hashed(one), hashed(Hasher::new()));
    }
}
