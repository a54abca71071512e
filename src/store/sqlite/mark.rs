//! A file beside the database: which database it belongs to, and how much was written to that. A
//! database that is another, or that counts less, is not the one that was used last: its log was
//! deleted or damaged, or a copy was put in its place.

#[cfg(unix)]
use std::{
    fs,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use crate::store::file::{self, beside};

/// Written after each transaction, and not synced: it outlives the process, and what it says too
/// little after a crash of the machine is not a false alarm. It is synced when it is opened, so
/// that it is there after such a crash.
#[derive(Debug)]
pub(super) struct Mark(File);

/// The content of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marked {
    /// Drawn when the tables were made.
    pub(super) identity: [u8; 16],
    pub(super) steps: u64,
}

impl Mark {
    /// Opens the file beside `database`, which must not be a link.
    pub(super) fn open(database: &Path) -> io::Result<Self> {
        let path = beside(database, "-mark");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // For those who may open the database, as SQLite makes its log.
        #[cfg(unix)]
        if let Ok(found) = fs::metadata(database) {
            options.mode(found.permissions().mode() & 0o777);
        }
        let file = file::open(&options, &path)?;
        file::sync_folder(&path)?;
        Ok(Self(file))
    }

    /// Returns `None` where nothing was written yet, or something else.
    pub(super) fn read(&mut self) -> io::Result<Option<Marked>> {
        let mut bytes = Vec::new();
        self.0.seek(SeekFrom::Start(0))?;
        (&self.0).take(25).read_to_end(&mut bytes)?;
        let bytes: Result<[u8; 24], _> = bytes.try_into();
        Ok(bytes.ok().and_then(|bytes| {
            let (identity, steps) = bytes.split_first_chunk()?;
            Some(Marked {
                identity: *identity,
                steps: u64::from_be_bytes(steps.try_into().ok()?),
            })
        }))
    }

    /// Writes the whole file, and has it on the disk.
    pub(super) fn replace(&mut self, marked: Marked) -> io::Result<()> {
        self.0.set_len(24)?;
        self.0.seek(SeekFrom::Start(0))?;
        self.0.write_all(&marked.identity)?;
        self.0.write_all(&marked.steps.to_be_bytes())?;
        self.0.sync_all()
    }

    /// Writes how much was written since, without waiting for the disk.
    pub(super) fn write(&mut self, steps: u64) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(16))?;
        self.0.write_all(&steps.to_be_bytes())
    }
}
