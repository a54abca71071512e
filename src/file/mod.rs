//! Files that are served as they were signed (feature `fs`, on Unix).
//!
//! Between the check of a file and its use lies a gap: the name is resolved twice, and somebody
//! puts a link, or other bytes, in between. Here a file is opened once, beneath a [`FileRoot`],
//! without following a link. Its bytes are hashed from that handle, and compared with the digest
//! that the request signed, or that the application keeps. The same handle serves them, and each
//! block is compared once more before it leaves.
//!
//! ```
//! use axum::extract::State;
//! use axum::response::{IntoResponse, Response};
//! use countersign::{
//!     Rejection, VerifiedPayload,
//!     file::{FileDigest, FileRoot},
//! };
//! use http::{HeaderMap, Method};
//!
//! /// `GET /files/report.pdf`, with a covered `x-file-digest`.
//! async fn report(
//!     State(files): State<FileRoot>,
//!     payload: VerifiedPayload,
//!     method: Method,
//!     headers: HeaderMap,
//! ) -> Result<Response, Rejection> {
//!     let digest = FileDigest::in_header(&payload, "x-file-digest")?;
//!     let file = files.verify("report.pdf", digest).await?;
//!     Ok(file.respond(&method, &headers).into_response())
//! }
//! ```
//!
//! # Guarantees
//! - **No link is followed**, neither for the file nor for a folder on the way. Nothing outside of
//!   the folder is opened, even if somebody replaces files and folders meanwhile.
//! - **Regular files only**, of a bounded size. A pipe or a device is refused, and is not waited
//!   for.
//! - **No unverified byte leaves.** The first pass keeps the state of SHA-256 at each block of 256
//!   KiB. A block that is sent must lead from one state to the next: another block that does so
//!   would be a collision of SHA-256. If a block differs, the body ends with an error.
//! - **Memory**: 32 bytes for each 256 KiB of the file, and the block that is being sent.
//! - **No thread of the runtime blocks**: files are read where work may block.
//!
//! # Why `rustix`
//! On Linux the name is resolved by the kernel, in one call of `openat2` with `RESOLVE_BENEATH` and
//! `RESOLVE_NO_SYMLINKS`, which no race can confuse. On other systems, and where that call is
//! missing, each folder is opened from the one before with `O_NOFOLLOW`; the name has no `..` that
//! would lead back. `cap-std` does the same, and follows links within the root, which has no
//! switch: a link would be resolved again with each request. `cap-std` is built on `rustix`, which
//! makes these calls without unsafe code here.
//!
//! # Limits
//! - The whole file is read before its first byte leaves. Keep a [`VerifiedFile`] to serve it
//!   again; nothing of it is stale.
//! - Anybody who can write to the folder can make requests fail, by changing a file while it is
//!   sent.
//! - A hard link is a file like any other: the digest decides.

#[cfg(not(unix))]
compile_error!(
    "the feature `fs` of countersign needs Unix: it opens files beneath a folder without following \
     links, which needs `openat`; leave the feature out for other targets"
);

mod digest;
mod hash;
mod respond;
mod root;
mod verified;

pub use digest::FileDigest;
pub use root::FileRoot;
pub use verified::{FileBody, VerifiedFile};
