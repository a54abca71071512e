//! Which of the formats a request is in.

use std::path::Path;

use bytes::Bytes;
use http::Request;

use super::{
    curl, har,
    input::{Unreadable, bytes_of, name_of, unreadable},
    raw,
};
use crate::{exit::Failure, listen::keep, runtime::block_on};

/// Reads a request from a file, from standard input for `-`, or from the records of `listen`.
pub(crate) fn read(path: &Path, entry: Option<usize>) -> Result<Request<Bytes>, Failure> {
    if keep::is_database(path) {
        let id = entry.and_then(|entry| u64::try_from(entry).ok());
        return Ok(block_on(keep::read(path, id))??.request);
    }
    let bytes = bytes_of(path)?;
    parse(&bytes, entry).map_err(|Unreadable { why, advice }| {
        Failure::usage(
            format!("cannot read a request from {}", name_of(path)),
            why,
            advice,
        )
    })
}

fn parse(bytes: &[u8], entry: Option<usize>) -> Result<Request<Bytes>, Unreadable> {
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let text = text.trim_ascii_start();
    let is_har = text.starts_with(b"{");
    if entry.is_some() && !is_har {
        return Err(unreadable(
            "--entry is given, and this is not HAR",
            "leave out --entry",
        ));
    }
    if text.is_empty() {
        return Err(unreadable(
            "it is empty",
            "save the request as raw HTTP/1.1 (head, empty line, body), as HAR or as a curl command",
        ));
    }
    if is_har {
        return har::parse(text, entry);
    }
    if text.starts_with(b"curl ") || text.starts_with(b"curl\t") || text.starts_with(b"curl.exe ") {
        let text = std::str::from_utf8(text)
            .map_err(|_| unreadable("the curl command is not UTF-8", "copy the command again"))?;
        return curl::parse(text);
    }
    raw::parse(text)
}
