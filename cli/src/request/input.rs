//! Reading files and standard input, up to a limit.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use bytes::Bytes;

use crate::exit::Failure;

/// A request that is longer is refused, with its encoding in a HAR file included.
pub(super) const MAX_LEN: u64 = 64 * 1024 * 1024;

/// A request that cannot be read: why, and what to do.
pub(super) struct Unreadable {
    pub(super) why: String,
    pub(super) advice: String,
}

pub(super) fn unreadable(why: impl Into<String>, advice: impl Into<String>) -> Unreadable {
    Unreadable {
        why: why.into(),
        advice: advice.into(),
    }
}

/// Reads a file, or standard input for `-`.
pub(super) fn bytes_of(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = name_of(path);
    let unable = |error: io::Error| {
        Failure::unable(
            format!("cannot read {name}"),
            error.to_string(),
            "check the path, and that you may read the file",
        )
    };
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(MAX_LEN + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MAX_LEN + 1).read_to_end(&mut bytes))
    };
    let length = read.map_err(unable)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > MAX_LEN {
        return Err(Failure::usage(
            format!("{name} is longer than {} MiB", MAX_LEN / 1024 / 1024),
            "the command reads a request whole, and no webhook is that long",
            "save one request in a file of its own",
        ));
    }
    Ok(bytes)
}

pub(super) fn name_of(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        format!("`{}`", path.display())
    }
}

/// Reads a body, byte for byte.
pub(crate) fn body_of(path: &Path) -> Result<Bytes, Failure> {
    bytes_of(path).map(Bytes::from)
}
