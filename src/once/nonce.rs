//! The nonce: what makes one signed request unique under its key.

use std::fmt;

use smallvec::SmallVec;

/// The value that makes one signed request unique under its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Nonce {
    pub(super) kind: NonceKind,
    /// Most are as short as that: a UUID, a digest.
    pub(super) bytes: SmallVec<[u8; 36]>,
}

/// The source of a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NonceKind {
    /// A covered value that is new for each signed request.
    Covered,
    /// A covered event id, which the sender keeps over its retries.
    Event,
    /// SHA-256 of the signed message, where the scheme covers neither.
    Digest,
}

impl Nonce {
    /// Returns a nonce with these bytes.
    #[must_use]
    pub fn new(kind: NonceKind, bytes: impl AsRef<[u8]>) -> Self {
        Self {
            kind,
            bytes: SmallVec::from_slice(bytes.as_ref()),
        }
    }

    /// Returns where it comes from.
    #[must_use]
    pub fn kind(&self) -> NonceKind {
        self.kind
    }

    /// Returns the covered bytes, or the 32 bytes of the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            NonceKind::Covered => write!(f, "Nonce({})", self.bytes.escape_ascii()),
            NonceKind::Event => write!(f, "Nonce(event {})", self.bytes.escape_ascii()),
            NonceKind::Digest => f.write_str("Nonce(digest of the signed message)"),
        }
    }
}
