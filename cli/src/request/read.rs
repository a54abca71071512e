//! Finds out which format a request is in.

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

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: [&str; 5] = [
        "POST /a?b=1 HTTP/1.1\r\nhost: a.example\r\ncontent-length: 2\r\n\r\n{}",
        "POST /a HTTP/1.1\ntransfer-encoding: chunked\n\n2;x\n{}\n0\n\n",
        r#"{"log":{"entries":[{"request":{"method":"POST","url":"http://a/","headers":
            [{"name":"a","value":"b"}],"postData":{"text":"e30=","encoding":"base64"}}}]}}"#,
        r"curl -X POST 'http://a/b?c' -H $'a: \u00e9\'' --json {} -G -d @x --data-urlencode 'a=b'",
        "curl -sSXPOST http://a/ -H 'a;' -A b --compressed \\\n --data-raw=x",
    ];

    /// Bytes changed, dropped, doubled and moved, the same in each run (xorshift).
    #[test]
    fn no_input_ends_the_command() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut below = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % u64::try_from(end.max(1)).unwrap()).unwrap()
        };
        let mut read = 0;
        for round in 0..20_000 {
            let mut bytes = SEEDS[round % SEEDS.len()].as_bytes().to_vec();
            for _ in 0..=below(4) {
                let at = below(bytes.len());
                match below(5) {
                    0 => bytes.truncate(at),
                    1 => drop(bytes.splice(at..at, [u8::try_from(below(256)).unwrap()])),
                    2 => drop(bytes.splice(at..bytes.len().min(at + 1 + below(8)), [])),
                    3 => {
                        let piece = bytes[at..].to_vec();
                        let place = below(bytes.len());
                        drop(bytes.splice(place..place, piece));
                    }
                    _ if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
                    _ => {}
                }
            }
            read += usize::from(parse(&bytes, Some(below(3)).filter(|n| *n > 0)).is_ok());
        }
        assert!(read > 100, "{read}: hardly any of them is a request");
    }
}
