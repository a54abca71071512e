//! A file whose bytes were compared with a digest, and are compared again before they leave.

use std::{
    fmt,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use super::hash::{BLOCK, Blocks};

/// A file that is open, and whose bytes had the digest that was asked for when it was opened.
///
/// It serves those bytes and no others, whatever happens to the file: each block of 256 KiB is read
/// once more from the same handle, and compared with what was hashed, before any byte of it leaves.
/// If the file was overwritten, truncated or replaced in place, the body ends with an error, so
/// that the client sees a response that is broken off, and no byte that was not verified.
///
/// Clones share the handle. [`FileRoot::verify`](super::FileRoot::verify) makes it.
#[derive(Clone)]
pub struct VerifiedFile(Arc<Verified>);

pub(super) struct Verified {
    pub(super) file: File,
    pub(super) blocks: Blocks,
}

impl Verified {
    /// Reads a block, and checks it.
    fn block(&self, number: u64) -> io::Result<Bytes> {
        let mut bytes = vec![0; self.blocks.len_of(number)];
        let at = number.saturating_mul(BLOCK as u64);
        self.file.read_exact_at(&mut bytes, at)?;
        if self.blocks.is(number, &bytes) {
            return Ok(bytes.into());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file was changed after it was verified",
        ))
    }
}

impl VerifiedFile {
    pub(super) fn new(verified: Verified) -> Self {
        Self(Arc::new(verified))
    }

    /// Returns the length, in bytes.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a file is asked for its length"
    )]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.blocks.len()
    }

    /// Returns the digest that the file has: its SHA-256.
    #[must_use]
    pub fn digest(&self) -> super::FileDigest {
        super::FileDigest::new(self.0.blocks.digest())
    }

    /// Returns the bytes as a body. It reads on a thread where work may block, a block at a time.
    #[must_use]
    pub fn body(&self) -> FileBody {
        self.body_of(0..self.len())
    }

    /// Returns some of the bytes as a body; only the blocks that hold them are read.
    /// A range beyond the end is cut off.
    #[must_use]
    pub fn body_of(&self, range: Range<u64>) -> FileBody {
        let end = range.end.min(self.len());
        FileBody {
            file: self.clone(),
            left: range.start.min(end)..end,
            reading: None,
        }
    }
}

/// The body of a [`VerifiedFile`]: it must be polled in a Tokio runtime.
pub struct FileBody {
    file: VerifiedFile,
    left: Range<u64>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    /// The block that the next byte is in.
    fn number(&self) -> u64 {
        self.left.start / BLOCK as u64
    }

    fn part_of(&self, block: &Bytes) -> io::Result<Bytes> {
        let offset = |at: u64| usize::try_from(at - self.number() * BLOCK as u64).ok();
        let from = offset(self.left.start).filter(|from| *from < block.len());
        let to = offset(self.left.end).map_or(block.len(), |to| to.min(block.len()));
        let part = from.map(|from| block.slice(from..to.max(from)));
        part.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let number = self.number();
        let verified = Arc::clone(&self.file.0);
        let reading = self
            .reading
            .get_or_insert_with(|| spawn_blocking(move || verified.block(number)));
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        let part = read
            .unwrap_or_else(|_| Err(io::Error::other("the runtime is shutting down")))
            .and_then(|block| self.part_of(&block));
        Poll::Ready(Some(match part {
            Ok(part) => {
                self.left.start += part.len() as u64;
                Ok(Frame::data(part))
            }
            Err(error) => {
                tracing::error!(%error, "the body of a verified file is broken off");
                self.left = 0..0;
                Err(error)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.end - self.left.start)
    }
}

impl fmt::Debug for VerifiedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedFile")
            .field("len", &self.len())
            .field("digest", &self.digest())
            .finish()
    }
}

impl fmt::Debug for FileBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBody")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
