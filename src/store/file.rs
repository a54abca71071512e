//! The files that a store keeps for itself.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// As many links as Linux follows in one path.
const MAX_LINKS: usize = 40;

/// Returns the path of the file itself, behind all symbolic links, whether or not the file is
/// there.
///
/// A file that is replaced, or that has others beside it, must be known by this path: under the
/// name of a link, the link would be replaced, and the other files would be next to the link.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let missing = match fs::canonicalize(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => error,
            resolved => return resolved,
        };
        let Some(name) = path.file_name() else {
            return Err(missing);
        };
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = fs::canonicalize(folder.unwrap_or(Path::new(".")))?;
        match fs::read_link(folder.join(name)) {
            Ok(target) => path = folder.join(target),
            Err(_) => return Ok(folder.join(name)),
        }
    }
    Err(io::Error::new(
        ErrorKind::InvalidInput,
        "it is behind too many symbolic links",
    ))
}

/// Opens a regular file, or makes it where the options say so. Anything else is refused: to open a
/// named pipe would wait for its other end.
pub(super) fn open(options: &OpenOptions, path: &Path) -> io::Result<File> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is not a regular file",
        )),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => options.open(path),
    }
}

/// Syncs the folder of a file, so that the name of the file is on the disk too. Elsewhere than on
/// Unix, a folder cannot be synced.
#[cfg(unix)]
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|path| !path.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
pub(super) fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns the path of a file beside another.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
