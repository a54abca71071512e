//! Outputs of hash functions, and digests of bodies.

use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroize as _;

/// The length of the longest MAC and digest, in bytes.
pub(crate) const MAX_LEN: usize = 64;

/// A MAC or a digest as a request claims it: at most [`MAX_LEN`] bytes.
#[derive(Clone, Copy)]
pub(crate) struct HashOutput {
    bytes: [u8; MAX_LEN],
    len: u8,
}

impl HashOutput {
    /// The first [`MAX_LEN`] of these bytes.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut output = Self {
            bytes: [0; MAX_LEN],
            len: 0,
        };
        let len = bytes.len().min(MAX_LEN);
        if let (Some(to), Some(from)) = (output.bytes.get_mut(..len), bytes.get(..len)) {
            to.copy_from_slice(from);
            output.len = u8::try_from(len).unwrap_or_default();
        }
        output
    }

    /// Overwrites the bytes, of an output that is used as a key.
    pub(crate) fn wipe(&mut self) {
        self.bytes.zeroize();
    }

    /// All of these bytes, where they are no more than [`MAX_LEN`].
    pub(crate) fn exactly(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= MAX_LEN).then(|| Self::new(bytes))
    }
}

impl AsRef<[u8]> for HashOutput {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or_default()
    }
}

/// Feeds a part behind its length, so that no two lists of parts are one sequence of bytes. The sequence that is
/// fed is in databases, as digests: it stays as it is.
pub(crate) fn behind_length(mut feed: impl FnMut(&[u8]), part: &[u8]) {
    feed(&length(part));
    feed(part);
}

/// The length before a part.
pub(crate) fn length(part: &[u8]) -> [u8; 8] {
    (part.len() as u64).to_be_bytes()
}

/// The algorithm of a digest of the body (RFC 9530).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DigestAlgorithm {
    /// SHA-256 (FIPS 180-4): 32 bytes, `sha-256`.
    Sha256,
    /// SHA-512 (FIPS 180-4): 64 bytes, `sha-512`.
    Sha512,
}

/// A digest in the making.
#[derive(Clone)]
pub(crate) enum RunningDigest {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl RunningDigest {
    pub(crate) fn new(algorithm: DigestAlgorithm) -> Self {
        match algorithm {
            DigestAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            DigestAlgorithm::Sha512 => Self::Sha512(Box::default()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(digest) => digest.update(bytes),
            Self::Sha512(digest) => digest.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> HashOutput {
        match self {
            Self::Sha256(digest) => HashOutput::new(&digest.finalize()),
            Self::Sha512(digest) => HashOutput::new(&digest.finalize()),
        }
    }

    pub(crate) fn verify(self, claimed: &HashOutput) -> bool {
        self.finish().as_ref().ct_eq(claimed.as_ref()).into()
    }
}
