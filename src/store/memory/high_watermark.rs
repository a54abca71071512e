//! The high watermark: a file that says, to the next process, how far signed times were accepted.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::{
    clock::Timestamp,
    error::{ConfigError, ConfigErrorKind, StoreError},
    once::History,
    store::file::{self, beside, sync_folder},
};

/// The content of the file: what may have been accepted by an earlier process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marked {
    /// Before this moment, any claim may have been accepted; the epoch says that none was.
    pub(super) since: Timestamp,
    /// No request that was signed later than this has been accepted.
    pub(super) mark: Timestamp,
}

impl Marked {
    const MAGIC: [u8; 8] = *b"csmark01";

    /// The length of the file: a magic number, two times, and a checksum.
    const BYTES: u64 = 8 + 2 * 8 + 32;

    pub(super) fn history(self) -> History {
        History::since(self.since).accepted_up_to(self.mark)
    }

    fn to_bytes(self) -> Vec<u8> {
        let millis = |time: Timestamp| time.as_millis().to_be_bytes();
        let mut bytes = [Self::MAGIC, millis(self.since), millis(self.mark)].concat();
        bytes.extend(Sha256::digest(&bytes));
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (content, checksum) = bytes.split_last_chunk::<32>()?;
        let (magic, times) = content.split_first_chunk::<8>()?;
        let (since, mark) = times.split_first_chunk::<8>()?;
        let whole = *magic == Self::MAGIC && Sha256::digest(content).as_slice() == checksum;
        let time = |millis: [u8; 8]| Timestamp::from_millis(u64::from_be_bytes(millis));
        whole.then_some(Self {
            since: time(*since)?,
            mark: time(mark.try_into().ok()?)?,
        })
    }
}

/// How far ahead of the latest signed time the file says.
const AHEAD: Duration = Duration::from_secs(1);

/// Keeps the file ahead of what is claimed, on a thread of its own: no claim writes.
pub(super) struct HighWatermark {
    shared: Arc<Shared>,
    /// `None` only while it is dropped.
    prod: Option<SyncSender<()>>,
    answers: watch::Receiver<Option<StoreError>>,
    writer: Option<JoinHandle<()>>,
    /// Held until the writer has ended.
    _lock: Lock,
}

/// In milliseconds since the Unix epoch.
struct Shared {
    /// The latest signed time that was asked for.
    wanted: AtomicU64,
    /// The mark that the file holds.
    written: AtomicU64,
}

impl HighWatermark {
    /// Locks and reads the file. If it does not exist, creates it with `first`.
    pub(super) fn open(path: &Path, first: Marked) -> Result<(Self, Marked), ConfigError> {
        let refused = |what: &dyn fmt::Display| {
            let path = path.display();
            ConfigError::from(ConfigErrorKind::HighWatermark(format!("{path}: {what}")))
        };
        // The file is replaced at each write, and the name of a link must not be.
        let path = &file::resolve(path).map_err(|error| refused(&error))?;
        let lock = lock(&beside(path, ".lock")).map_err(|error| refused(&error))?;
        let marked = match read(path) {
            Ok(bytes) => Marked::from_bytes(&bytes).ok_or_else(|| {
                refused(
                    &"it is damaged, or not a high watermark; if it was one, delete it: then what \
                      was signed until the next start is refused",
                )
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => first,
            Err(error) => return Err(refused(&error)),
        };
        // Written again at each start: a folder that cannot be written to is found now.
        write(path, marked).map_err(|error| refused(&error))?;

        let mark = marked.mark.as_millis();
        let shared = Arc::new(Shared {
            wanted: AtomicU64::new(mark),
            written: AtomicU64::new(mark),
        });
        let (prod, prods) = sync_channel(1);
        let (answer, answers) = watch::channel(None);
        let writer = Writer {
            path: path.to_owned(),
            since: marked.since,
            shared: Arc::clone(&shared),
            prods,
            answer,
        };
        let writer = thread::Builder::new()
            .name("countersign-watermark".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| refused(&error))?;
        let watermark = Self {
            shared,
            prod: Some(prod),
            answers,
            writer: Some(writer),
            _lock: lock,
        };
        Ok((watermark, marked))
    }

    /// Reads a file that another process may have, and leaves it as it is.
    pub(super) fn look(path: &Path) -> Result<Marked, ConfigError> {
        let read = read(path).and_then(|bytes| {
            let damaged = || io::Error::other("it is damaged, or not a high watermark");
            Marked::from_bytes(&bytes).ok_or_else(damaged)
        });
        read.map_err(|error| {
            let what = format!("{}: {error}", path.display());
            ConfigErrorKind::HighWatermark(what).into()
        })
    }

    /// Returns what the file says: nothing that was signed later has been accepted.
    pub(super) fn written(&self) -> Timestamp {
        Timestamp::from_millis(self.shared.written.load(SeqCst)).unwrap_or(Timestamp::MAX)
    }

    /// Returns whether the file covers this signed time. Has it written further in time for the
    /// next ones.
    pub(super) fn covers(&self, signed_at: Timestamp) -> bool {
        let written = self.written();
        let covered = signed_at <= written;
        if covered && signed_at.saturating_add(AHEAD / 2) > written {
            self.ask(signed_at);
        }
        covered
    }

    /// Waits until the file covers this signed time, or could not be written.
    pub(super) async fn reach(&self, signed_at: Timestamp) -> Result<(), StoreError> {
        let mut answers = self.answers.clone();
        answers.mark_unchanged();
        self.ask(signed_at);
        while signed_at > self.written() {
            if answers.changed().await.is_err() {
                return Err(StoreError::unavailable("the high watermark has no writer"));
            }
            if let Some(error) = &*answers.borrow_and_update() {
                return Err(error.clone());
            }
        }
        Ok(())
    }

    fn ask(&self, signed_at: Timestamp) {
        self.shared.wanted.fetch_max(signed_at.as_millis(), SeqCst);
        if let Some(prod) = &self.prod {
            // If a request is waiting already, it serves this one too.
            let _ = prod.try_send(());
        }
    }
}

impl Drop for HighWatermark {
    fn drop(&mut self) {
        self.prod = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

struct Writer {
    path: PathBuf,
    since: Timestamp,
    shared: Arc<Shared>,
    prods: Receiver<()>,
    answer: watch::Sender<Option<StoreError>>,
}

impl Writer {
    fn run(self) {
        let mut failing = false;
        while self.prods.recv().is_ok() {
            let wanted = Timestamp::from_millis(self.shared.wanted.load(SeqCst));
            let mark = wanted.unwrap_or(Timestamp::MAX).saturating_add(AHEAD);
            if mark.as_millis() <= self.shared.written.load(SeqCst) {
                continue;
            }
            let marked = Marked {
                since: self.since,
                mark,
            };
            let path = self.path.display();
            let answer = match write(&self.path, marked) {
                Ok(()) => {
                    self.shared.written.store(mark.as_millis(), SeqCst);
                    if failing {
                        tracing::info!(%path, "the high watermark is written again");
                    }
                    failing = false;
                    None
                }
                Err(error) => {
                    if !failing {
                        tracing::error!(
                            %path,
                            %error,
                            "the high watermark cannot be written; what is signed after it is \
                             refused until it can: make room on the disk, or give the process \
                             its folder"
                        );
                    }
                    failing = true;
                    let message = "the high watermark cannot be written";
                    Some(StoreError::unavailable(message).with_source(error))
                }
            };
            self.answer.send_replace(answer);
        }
    }
}

/// The lock of a file. It is given back explicitly: a process that another thread has just
/// forked has the file open too, and closing it here alone would keep the lock until that process
/// executes its program.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Taken by one process at a time; the file stays when the lock is given back.
fn lock(path: &Path) -> io::Result<Lock> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false);
    let file = file::open(options, path)?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::new(
            ErrorKind::WouldBlock,
            "another store has it; a memory store serves exactly one live process, so give each \
             its own file, or use a store that processes can share",
        ),
        TryLockError::Error(error) => error,
    })?;
    Ok(Lock(file))
}

/// Reads one byte more than there should be, which shows a file that is too long.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = file::open(OpenOptions::new().read(true), path)?;
    file.take(Marked::BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts a whole new file, which is on the disk, in the place of the old one.
fn write(path: &Path, marked: Marked) -> io::Result<()> {
    let new = beside(path, ".new");
    // A leftover, or a link to something else, is not written through.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create_new(&new)?;
    file.write_all(&marked.to_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_folder(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_and_every_other_length_is_found() {
        let marked = Marked {
            since: Timestamp::from_secs(1_700_000_000).unwrap(),
            mark: Timestamp::from_secs(1_700_000_500).unwrap(),
        };
        let bytes = marked.to_bytes();
        assert_eq!(Marked::from_bytes(&bytes), Some(marked));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            *changed.get_mut(at).unwrap() ^= 1;
            assert_eq!(Marked::from_bytes(&changed), None, "{at}");
            assert_eq!(Marked::from_bytes(bytes.get(..at).unwrap()), None, "{at}");
        }
        assert_eq!(Marked::from_bytes(&[&bytes[..], b"\n"].concat()), None);
    }
}
