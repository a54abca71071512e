//! The folder that files are opened beneath.

use std::{fmt, fs::File, io, os::unix::fs::FileExt as _, path::Path, sync::Arc, time::Duration};

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Mode, OFlags, openat},
};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use super::{
    digest::FileDigest,
    hash::Blocks,
    verified::{Verified, VerifiedFile},
};
use crate::error::{ConfigError, ConfigErrorKind, Rejection, RejectionKind};

/// A folder, beneath which [`VerifiedFile`]s are opened.
///
/// Clones share the folder. It is held open: if somebody moves it, or puts another in its place,
/// files are still opened beneath the one that was there at the start.
#[derive(Clone)]
pub struct FileRoot {
    folder: Arc<OwnedFd>,
    max_bytes: u64,
    /// A permit for each file that is being hashed.
    hashing: Arc<Semaphore>,
}

/// The longest name, in bytes: that of Linux for a path.
const MAX_NAME_LEN: usize = 4096;

/// How long a file waits for others to be hashed. A read that never ends keeps its permit.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Nothing is waited for when it is opened: a pipe would wait for its other end.
const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

impl FileRoot {
    /// Opens the folder. Links in this path are followed: it is yours.
    ///
    /// # Errors
    /// Returns an error if there is no folder that can be opened.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let folder = folder.as_ref();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
        let opened = rustix::fs::open(folder, flags, Mode::empty())
            .map_err(|error| ConfigErrorKind::Folder(format!("{}: {error}", folder.display())))?;
        Ok(Self {
            folder: Arc::new(opened),
            max_bytes: 1024 * 1024 * 1024,
            hashing: Arc::new(Semaphore::new(16)),
        })
    }

    /// Bounds the length of a file, in bytes. Default: 1 GiB. Range: 0 to 64 GiB. An 8192nd of the
    /// length of a file is kept in memory while it is served.
    ///
    /// # Errors
    /// Returns an error if the limit is out of its range.
    pub fn max_bytes(mut self, bytes: u64) -> Result<Self, ConfigError> {
        const MOST: u64 = 64 * 1024 * 1024 * 1024;
        ConfigError::unless(bytes <= MOST, "`max_bytes` must be at most 64 GiB")?;
        self.max_bytes = bytes;
        Ok(self)
    }

    /// Bounds how many files are hashed at once, by all clones together. Others wait for at most 30
    /// seconds. Default: 16. Range: 1 to 10,000.
    ///
    /// # Errors
    /// Returns an error if the number is out of its range.
    pub fn max_hashing(mut self, files: usize) -> Result<Self, ConfigError> {
        ConfigError::unless(
            (1..=10_000).contains(&files),
            "`max_hashing` must be between 1 and 10,000",
        )?;
        self.hashing = Arc::new(Semaphore::new(files));
        Ok(self)
    }

    /// Opens a file of this name, hashes it, and compares it with the digest.
    ///
    /// The name is relative, with `/` between its parts: `reports/2026.pdf`. No part of it is
    /// empty, `.` or `..`, and no link is followed, neither that of the file nor that of a folder
    /// on the way.
    ///
    /// The file is read on a thread where work may block. A future that is dropped leaves that work
    /// to its end, and it counts among the files that are hashed.
    ///
    /// # Errors
    /// - 404, `file_not_found`, if the folder has no regular file of that name.
    /// - 412, `file_mismatch`, if its bytes are not those of the digest.
    /// - 500, `file_unreadable`, if it is longer than [`max_bytes`](Self::max_bytes), or cannot be
    ///   read.
    /// - 503, `files_exhausted`, if [`max_hashing`](Self::max_hashing) files are still being hashed
    ///   after 30 seconds, such as files of a network folder whose server does not answer.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with its timer.
    pub async fn verify(&self, name: &str, digest: FileDigest) -> Result<VerifiedFile, Rejection> {
        let stopped = || {
            Rejection::new(
                RejectionKind::FileUnreadable,
                "the runtime is shutting down",
            )
        };
        let permit = Arc::clone(&self.hashing).acquire_owned();
        let Ok(permit) = timeout(LONGEST_WAIT, permit).await else {
            let detail = "as many files as `max_hashing` allows are being hashed";
            return Err(Rejection::new(RejectionKind::FilesExhausted, detail));
        };
        let permit = permit.map_err(|_| stopped())?;
        let (root, name) = (self.clone(), name.to_owned());
        let verified = spawn_blocking(move || {
            let _permit = permit;
            root.verify_now(&name, digest)
        });
        verified.await.map_err(|_| stopped())?
    }

    fn verify_now(&self, name: &str, digest: FileDigest) -> Result<VerifiedFile, Rejection> {
        let file = File::from(self.opened(name)?);
        let unreadable = |error: io::Error| {
            let detail = format!("`{}` cannot be read", name.escape_debug());
            Rejection::with_source(RejectionKind::FileUnreadable, detail, error)
        };
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(not_found(name, "it is not a regular file"));
        }
        if metadata.len() > self.max_bytes {
            let detail = format!(
                "`{}` has {} bytes, and `max_bytes` is {}",
                name.escape_debug(),
                metadata.len(),
                self.max_bytes
            );
            return Err(Rejection::new(RejectionKind::FileUnreadable, detail));
        }
        let hashed = Blocks::of(metadata.len(), |to, at| file.read_exact_at(to, at));
        let blocks = match hashed {
            Ok(blocks) => blocks,
            // It was cut off while it was hashed.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(mismatch(name));
            }
            Err(error) => return Err(unreadable(error)),
        };
        if !digest.is(&blocks.digest()) {
            return Err(mismatch(name));
        }
        Ok(VerifiedFile::new(Verified { file, blocks }))
    }

    /// Opens what has this name, whatever it is.
    fn opened(&self, name: &str) -> Result<OwnedFd, Rejection> {
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        if name.len() > MAX_NAME_LEN || !name.split('/').all(is_part) {
            return Err(not_found(
                name,
                "it is not a relative path without `.` and `..`",
            ));
        }
        let opened = match open_beneath(&self.folder, name) {
            // An older kernel, another system, or a sandbox that does not know the call.
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => walk(&self.folder, name),
            opened => opened,
        };
        opened.map_err(|error| {
            let why = format!("it cannot be opened without following a link: {error}");
            not_found(name, &why)
        })
    }
}

/// The kernel walks, and refuses links of every kind and whatever is not beneath the folder.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn open_beneath(folder: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{ResolveFlags, openat2};

    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(folder, name, FLAGS, Mode::empty(), how)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn open_beneath(_: &OwnedFd, _: &str) -> rustix::io::Result<OwnedFd> {
    Err(rustix::io::Errno::NOSYS)
}

/// Opens folder after folder, none through a link: a name has no `..` that would lead back.
fn walk(folder: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let Some((parents, file)) = name.rsplit_once('/') else {
        return openat(folder, name, FLAGS, Mode::empty());
    };
    let mut parent: Option<OwnedFd> = None;
    for part in parents.split('/') {
        let at = parent.as_ref().unwrap_or(folder).as_fd();
        let opened = openat(at, part, FLAGS | OFlags::DIRECTORY, Mode::empty())?;
        parent = Some(opened);
    }
    openat(
        parent.as_ref().unwrap_or(folder),
        file,
        FLAGS,
        Mode::empty(),
    )
}

fn not_found(name: &str, why: &str) -> Rejection {
    let detail = format!("no file `{}`: {why}", name.escape_debug());
    Rejection::new(RejectionKind::FileNotFound, detail)
}

fn mismatch(name: &str) -> Rejection {
    let detail = format!(
        "the digest of `{}` is not the one that was asked for",
        name.escape_debug()
    );
    Rejection::new(RejectionKind::FileMismatch, detail)
}

impl fmt::Debug for FileRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileRoot")
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Files on a folder that does not answer are hashed forever.
    #[tokio::test(start_paused = true)]
    async fn others_are_refused_while_all_permits_are_held() {
        let folder = tempfile::tempdir().unwrap();
        let root = FileRoot::open(folder.path()).unwrap();
        let root = root.max_hashing(1).unwrap();
        let held = Arc::clone(&root.hashing).try_acquire_owned().unwrap();
        let verify = || root.verify("missing", FileDigest::new([0; 32]));
        let waited = timeout(2 * LONGEST_WAIT, verify()).await;
        let refused = waited.unwrap().unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::FilesExhausted);
        assert!(refused.retry_after().is_some());
        drop(held);
        let refused = verify().await.unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::FileNotFound);
    }

    /// Both ways to open agree on what is beneath the folder, and on what is not.
    #[test]
    fn the_kernel_and_the_walk_follow_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join("root").join(name);
        std::fs::create_dir_all(at("deep/er")).unwrap();
        std::fs::write(folder.path().join("secret"), "outside").unwrap();
        for file in ["a", "deep/b", "deep/er/c"] {
            std::fs::write(at(file), file).unwrap();
        }
        symlink("a", at("link")).unwrap();
        symlink("../secret", at("out")).unwrap();
        symlink("deep", at("dir")).unwrap();
        symlink("..", at("deep/up")).unwrap();
        symlink("/etc", at("etc")).unwrap();
        symlink("/proc/self/cwd", at("magic")).unwrap();
        let refused = FileRoot::open(at("missing")).unwrap_err();
        assert!(matches!(refused.kind(), ConfigErrorKind::Folder(_)));
        let root = FileRoot::open(at("")).unwrap();
        for opens in [open_beneath, walk] {
            for file in ["a", "deep/b", "deep/er/c"] {
                let opened = File::from(opens(&root.folder, file).unwrap());
                assert_eq!(io::read_to_string(opened).unwrap(), file);
            }
            for file in [
                "link",
                "out",
                "dir/b",
                "dir/er/c",
                "deep/up/a",
                "etc/hosts",
                "magic/Cargo.toml",
                "nothing",
                "a/b",
                "deep/nothing/c",
            ] {
                assert!(opens(&root.folder, file).is_err(), "{file}");
            }
        }
        for name in [
            "",
            "/",
            "/etc/hosts",
            "..",
            "../secret",
            "deep/../a",
            "./a",
            "a/",
            "deep//b",
            "a\0",
        ] {
            let refused = root.opened(name).unwrap_err();
            assert_eq!(refused.kind(), RejectionKind::FileNotFound, "{name:?}");
        }
        assert!(root.opened(&"a/".repeat(3000)).is_err());
    }
}
