//! The lines of a head as its sender wrote them.
//!
//! HTTP does not tell `X-Id` from `x-id`, and the types of requests keep neither the case of names nor
//! the order of headers. Somebody who looks for the difference between two requests wants both. The
//! words are the sender's, and what they say is never: a line is spelled as the sender did only if it
//! says what is to be said anyway.

use std::{
    collections::VecDeque,
    mem::take,
    sync::{Arc, Mutex, PoisonError},
};

use http::HeaderMap;

/// A head that is longer is not followed to its end.
const MAX_HEAD: usize = 512 * 1024;

/// The length of a chunk, with its extensions.
const MAX_SIZE: usize = 16 * 1024;

/// The lines of a head below its first, without their ends.
#[derive(Clone, Debug)]
pub(crate) struct Spelling(Arc<[Box<[u8]>]>);

impl Spelling {
    /// Reads the lines below the first.
    pub(super) fn of_lines(lines: &[u8]) -> Self {
        Self(split(lines).map(Box::from).collect())
    }

    /// Spells these lines as the sender did, and in its order. Lines that it did not write come last.
    pub(super) fn applied(&self, lines: &[u8]) -> Vec<u8> {
        let mut others: Vec<&[u8]> = split(lines).collect();
        let mut spelled = Vec::with_capacity(lines.len());
        let mut add = |line: &[u8]| {
            spelled.extend_from_slice(line);
            spelled.extend_from_slice(b"\r\n");
        };
        for own in &*self.0 {
            if let Some(at) = others.iter().position(|other| says_the_same(own, other)) {
                others.remove(at);
                add(own);
            }
        }
        others.into_iter().for_each(add);
        spelled
    }
}

/// The headers as lines, spelled like this.
pub(super) fn lines(headers: &HeaderMap, spelling: Option<&Spelling>) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in headers {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
    match spelling {
        Some(spelling) => spelling.applied(&lines),
        None => lines,
    }
}

/// The lines, without their ends and without empty ones.
fn split(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = lines.split(|byte| *byte == b'\n');
    lines
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty())
}

/// Name and value of a line.
pub(super) fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    Some((name, value.get(1..)?.trim_ascii()))
}

fn says_the_same(one: &[u8], other: &[u8]) -> bool {
    let (one, other) = (field(one), field(other));
    one.zip(other)
        .is_some_and(|(one, other)| one.0.eq_ignore_ascii_case(other.0) && one.1 == other.1)
}

/// Follows the bytes of a connection of HTTP/1.1, and keeps how each head is spelled until its
/// request is answered. HTTP/2 has no case of names to keep.
#[derive(Clone, Debug, Default)]
pub(super) struct Heads(Arc<Mutex<Followed>>);

#[derive(Debug, Default)]
struct Followed {
    place: Place,
    /// The bytes that were read of a line or of a head.
    read: Vec<u8>,
    heads: VecDeque<Spelling>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    #[default]
    Head,
    /// The number of bytes that are left of the body, or of a chunk and its line end.
    Body(u64),
    Chunk(u64),
    SizeOfChunk,
    Trailers,
    /// Nothing more is followed.
    Lost,
}

impl Heads {
    /// Follows bytes that were read.
    pub(super) fn follow(&self, bytes: &[u8]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .follow(bytes);
    }

    /// Takes the spelling of the next request.
    pub(super) fn next(&self) -> Option<Spelling> {
        let mut followed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        followed.heads.pop_front()
    }
}

impl Followed {
    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.place {
                Place::Lost => return,
                Place::Body(left) => {
                    let rest = skip(&mut bytes, left);
                    self.place = if rest == 0 {
                        Place::Head
                    } else {
                        Place::Body(rest)
                    };
                }
                Place::Chunk(left) => {
                    let rest = skip(&mut bytes, left);
                    self.place = match rest {
                        0 => Place::SizeOfChunk,
                        rest => Place::Chunk(rest),
                    };
                }
                Place::Head | Place::SizeOfChunk | Place::Trailers => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
                    bytes = rest;
                    self.read.extend_from_slice(line);
                    if end.is_some() {
                        self.line();
                    }
                    let most = match self.place {
                        Place::SizeOfChunk => MAX_SIZE,
                        _ => MAX_HEAD,
                    };
                    if self.read.len() > most {
                        self.place = Place::Lost;
                    }
                    if matches!(self.place, Place::Lost) {
                        self.read = Vec::new();
                    }
                }
            }
        }
    }

    /// A line has ended.
    fn line(&mut self) {
        let ends_with_an_empty_line =
            |read: &[u8]| read.ends_with(b"\n\r\n") || read.ends_with(b"\n\n");
        match self.place {
            Place::SizeOfChunk => {
                let line = take(&mut self.read);
                let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let size = std::str::from_utf8(size.trim_ascii()).ok();
                self.place = match size.and_then(|size| u64::from_str_radix(size, 16).ok()) {
                    Some(0) => Place::Trailers,
                    Some(size) => Place::Chunk(size.saturating_add(2)),
                    None => Place::Lost,
                };
            }
            Place::Trailers => {
                let is_end = [&b"\r\n"[..], b"\n"].contains(&&*self.read);
                if is_end || ends_with_an_empty_line(&self.read) {
                    self.read.clear();
                    self.place = Place::Head;
                }
            }
            // Empty lines may come before a head.
            Place::Head if self.read.trim_ascii().is_empty() => self.read.clear(),
            Place::Head if ends_with_an_empty_line(&self.read) => {
                let head = take(&mut self.read);
                let first = head
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .unwrap_or_default();
                let (first, lines) = head.split_at(first);
                if first.starts_with(b"PRI * HTTP/2.0") {
                    self.place = Place::Lost;
                    return;
                }
                self.place = behind(lines);
                self.heads.push_back(Spelling::of_lines(lines));
            }
            Place::Head | Place::Body(_) | Place::Chunk(_) | Place::Lost => {}
        }
    }
}

/// Returns what comes behind a head with these lines.
fn behind(lines: &[u8]) -> Place {
    let find = |wanted: &str| {
        let mut fields = split(lines).filter_map(field);
        let found = fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    };
    if find("transfer-encoding").is_some() {
        return Place::SizeOfChunk;
    }
    match find("content-length").map(str::parse) {
        None | Some(Ok(0)) => Place::Head,
        Some(Ok(length)) => Place::Body(length),
        Some(Err(_)) => Place::Lost,
    }
}

/// Skips `count` bytes, and returns how many of them are left to skip.
fn skip(bytes: &mut &[u8], count: u64) -> u64 {
    let here = usize::try_from(count)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    *bytes = bytes.get(here..).unwrap_or_default();
    count.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str =
        "POST /a HTTP/1.1\r\nX-Id:  7\r\nHOST: a\r\nContent-LENGTH: 5\r\n\r\nX: y\n";
    const SECOND: &str = "\r\nPOST /b HTTP/1.1\nTransfer-Encoding: Chunked\nb: 1\n\n\
                          5;a=b\r\n\r\n\r\n\n\r\n0\r\nT: 1\r\n\r\n";
    const THIRD: &str = "GET / HTTP/1.1\r\nb: 1\r\nA: 2\r\nB: 3\r\n\r\n";

    /// However the bytes come, each head is found, and no body is taken for one.
    #[test]
    fn each_head_of_a_connection_is_followed() {
        let bytes = [FIRST, SECOND, THIRD].concat();
        for size in 1..bytes.len() {
            let heads = Heads::default();
            bytes
                .as_bytes()
                .chunks(size)
                .for_each(|read| heads.follow(read));
            let next = || heads.next().map(|Spelling(lines)| lines.concat());
            assert_eq!(
                next().unwrap(),
                b"X-Id:  7HOST: aContent-LENGTH: 5",
                "{size}"
            );
            assert_eq!(next().unwrap(), b"Transfer-Encoding: Chunkedb: 1", "{size}");
            assert_eq!(next().unwrap(), b"b: 1A: 2B: 3", "{size}");
            assert!(next().is_none(), "{size}");
        }
        for lost in [
            "PRI * HTTP/2.0\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        ] {
            let heads = Heads::default();
            heads.follow(lost.as_bytes());
            heads.next();
            heads.follow(THIRD.as_bytes());
            assert!(heads.next().is_none(), "{lost}");
        }
    }

    #[test]
    fn lines_are_spelled_as_the_sender_did_and_say_what_they_said() {
        let spelling = Spelling::of_lines(b"X-Id:  7\r\nB: 1\r\nA: 2\r\nb: 3\r\nGone: 4\r\n");
        let spelled = spelling.applied(b"b: 1\r\nb: 3\r\na: 2\r\nx-id: 7\r\nnew: 5\r\n");
        assert_eq!(spelled, b"X-Id:  7\r\nB: 1\r\nA: 2\r\nb: 3\r\nnew: 5\r\n");
        // Another value is another line.
        assert_eq!(spelling.applied(b"x-id: 8\r\n"), b"x-id: 8\r\n");
    }
}
