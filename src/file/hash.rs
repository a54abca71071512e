//! SHA-256 over a file, whose state is kept at the start of every block: so each block can be
//! checked later by itself, as strictly as the whole file was.

use std::io;

use sha2::block_api::compress256;

/// How much of a file is checked at a time, before any of it leaves: 256 KiB.
pub(super) const BLOCK: usize = 256 * 1024;

/// The state of SHA-256 between two blocks.
type State = [u32; 8];

/// FIPS 180-4, section 5.3.3.
const START: State = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The hash of a file, as far as it is known: 32 bytes for each block.
///
/// A block is the one that was hashed if it leads from the state before it to the state behind it.
/// Another block that does so would be a collision of SHA-256, and make a second file with the
/// digest that was signed. So nothing needs to be hashed twice, and there is no key to keep.
pub(super) struct Blocks {
    /// Behind each block. Behind the last one, with the padding of SHA-256, it is the digest.
    states: Vec<State>,
    len: u64,
}

impl Blocks {
    /// Hashes `len` bytes. `read` fills a buffer with those at an offset, and is given at most one
    /// block.
    pub(super) fn of(
        len: u64,
        mut read: impl FnMut(&mut [u8], u64) -> io::Result<()>,
    ) -> io::Result<Self> {
        // Less than a block, so that it is in the cache when it is hashed.
        const PIECE: usize = 64 * 1024;
        let mut piece = vec![0; PIECE];
        let mut blocks = Self {
            states: Vec::with_capacity(count(len)),
            len,
        };
        let mut state = START;
        let mut at = 0;
        loop {
            let left = len - at;
            let take = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
            let bytes = piece.get_mut(..take).unwrap_or_default();
            read(bytes, at)?;
            at += take as u64;
            if at == len {
                finish(&mut state, bytes, len);
                blocks.states.push(state);
                return Ok(blocks);
            }
            update(&mut state, bytes);
            if at.is_multiple_of(BLOCK as u64) {
                blocks.states.push(state);
            }
        }
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        let state = self.states.last().copied().unwrap_or_default();
        let words = state.iter().flat_map(|word| word.to_be_bytes());
        digest
            .iter_mut()
            .zip(words)
            .for_each(|(to, byte)| *to = byte);
        digest
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Returns how long the block of this number is: the last one is shorter, and a file without a
    /// byte has none.
    pub(super) fn len_of(&self, number: u64) -> usize {
        let left = self.len.saturating_sub(number.saturating_mul(BLOCK as u64));
        usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK))
    }

    /// Returns whether these are the bytes of the block with this number.
    pub(super) fn is(&self, number: u64, bytes: &[u8]) -> bool {
        let Ok(place) = usize::try_from(number) else {
            return false;
        };
        let before = place
            .checked_sub(1)
            .map_or(Some(&START), |earlier| self.states.get(earlier));
        let (Some(before), Some(behind)) = (before, self.states.get(place)) else {
            return false;
        };
        let mut state = *before;
        if place + 1 == self.states.len() {
            finish(&mut state, bytes, self.len);
        } else {
            update(&mut state, bytes);
        }
        bytes.len() == self.len_of(number) && state == *behind
    }
}

/// Returns how many blocks there are; one, of no byte, for an empty file.
fn count(len: u64) -> usize {
    usize::try_from(len.div_ceil(BLOCK as u64))
        .unwrap_or_default()
        .max(1)
}

fn update(state: &mut State, bytes: &[u8]) {
    let (whole, _) = bytes.as_chunks();
    compress256(state, whole);
}

/// Adds the last bytes of a message of `len` bytes, and the padding (FIPS 180-4, section 5.1.1).
fn finish(state: &mut State, bytes: &[u8], len: u64) {
    let (whole, rest) = bytes.as_chunks();
    compress256(state, whole);
    let mut last = Vec::with_capacity(128);
    last.extend_from_slice(rest);
    last.push(0x80);
    while last.len() % 64 != 56 {
        last.push(0);
    }
    last.extend_from_slice(&len.saturating_mul(8).to_be_bytes());
    update(state, &last);
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn blocks(bytes: &[u8]) -> Blocks {
        let read = |to: &mut [u8], at: u64| {
            let at = usize::try_from(at).unwrap();
            to.copy_from_slice(&bytes[at..at + to.len()]);
            Ok(())
        };
        Blocks::of(bytes.len() as u64, read).unwrap()
    }

    #[test]
    fn the_digest_is_that_of_sha_256_whatever_the_length() {
        let bytes: Vec<u8> = (0..3 * BLOCK + 200)
            .map(|n| (n * 31 % 251).to_le_bytes()[0])
            .collect();
        let around = |n: usize| n.saturating_sub(66)..n + 66;
        let lens = around(0)
            .chain(around(65536))
            .chain(around(BLOCK))
            .chain(around(3 * BLOCK));
        for len in lens {
            let expected: [u8; 32] = Sha256::digest(&bytes[..len]).into();
            assert_eq!(blocks(&bytes[..len]).digest(), expected, "{len} bytes");
        }
    }

    #[test]
    fn a_block_is_known_and_one_that_differs_in_a_bit_or_place_or_length_is_not() {
        for len in [0, 1, 63, 64, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 77] {
            let bytes: Vec<u8> = (0..len).map(|n| (n * 7 % 253).to_le_bytes()[0]).collect();
            let known = blocks(&bytes);
            let all: Vec<&[u8]> = if len == 0 {
                vec![&[]]
            } else {
                bytes.chunks(BLOCK).collect()
            };
            for (number, block) in (0..).zip(&all) {
                assert!(known.is(number, block), "block {number} of {len} bytes");
                assert!(!known.is(number + 1, block) || all.len() == 1);
                for place in (0..block.len())
                    .step_by(4093)
                    .chain(block.len().checked_sub(1))
                {
                    let mut changed = block.to_vec();
                    changed[place] ^= 1;
                    assert!(!known.is(number, &changed), "byte {place} of {number}");
                }
                assert!(!known.is(number, &[block, &[0][..]].concat()));
                if let Some((_, shorter)) = block.split_last() {
                    assert!(!known.is(number, shorter));
                }
            }
            assert!(!known.is(all.len() as u64, &[]));
            assert!(!known.is(u64::MAX, &[]));
        }
    }
}
