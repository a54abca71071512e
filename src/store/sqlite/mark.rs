//! A number beside the database: how much was written to it. A database that counts less than that
//! has lost something: its log was deleted or damaged, or an older copy was put in its place.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

/// Written after each transaction, and not synced: it outlives the process, and what it says too
/// little after a crash of the machine is no false alarm.
#[derive(Debug)]
pub(super) struct Mark(File);

impl Mark {
    pub(super) fn open(database: &Path) -> io::Result<Self> {
        let mut path = database.as_os_str().to_owned();
        path.push("-mark");
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        options.open(path).map(Self)
    }

    /// Zero, where nothing was written yet.
    pub(super) fn read(&mut self) -> io::Result<u64> {
        let mut steps = [0; 8];
        self.0.seek(SeekFrom::Start(0))?;
        match self.0.read_exact(&mut steps) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            read => read.map(|()| u64::from_be_bytes(steps)),
        }
    }

    pub(super) fn write(&mut self, steps: u64) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(0))?;
        self.0.write_all(&steps.to_be_bytes())
    }
}
