//! Paths, as routes compare them.
//!
//! A server behind the proxy may decode a path, remove dot segments, or ignore case, and so find a
//! page that another route guards. So routes compare decoded paths without case, and a path that two
//! servers may read in two ways is refused.

use std::fmt;

/// A path that two servers may read in two ways, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unclear(pub(super) &'static str);

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// One segment of a path: as it was sent, and as routes compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment<'p> {
    pub(super) sent: &'p str,
    pub(super) compared: Vec<u8>,
}

/// Reads the segments of a path. A slash at its end makes no segment.
pub(super) fn segments(path: &str) -> Result<Vec<Segment<'_>>, Unclear> {
    let rest = path
        .strip_prefix('/')
        .ok_or(Unclear("the path does not begin with `/`"))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return match path {
            "/" => Ok(Vec::new()),
            _ => Err(EMPTY),
        };
    }
    rest.split('/').map(segment).collect()
}

const EMPTY: Unclear = Unclear("the path has an empty segment, as in `//`");

fn segment(sent: &str) -> Result<Segment<'_>, Unclear> {
    if sent.is_empty() {
        return Err(EMPTY);
    }
    let decoded = decoded(sent.as_bytes())?;
    // Some servers decode a target before they split it.
    let is_separator = |byte: &u8| matches!(byte, b'/' | b'\\' | b'?' | b'#');
    if decoded.iter().any(is_separator) {
        return Err(Unclear(
            "the path has a `?` or `#`, an encoded slash or a backslash",
        ));
    }
    if decoded.iter().any(u8::is_ascii_control) {
        return Err(Unclear("the path has an encoded control character"));
    }
    // Some servers decode twice, and leave a `%` alone that has no two digits.
    let is_encoded = |bytes: &[u8]| match bytes {
        [b'%', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        _ => false,
    };
    if decoded.windows(3).any(is_encoded) {
        return Err(Unclear("the path is encoded twice"));
    }
    // Servers replace such bytes, or read them in an encoding of their own.
    if std::str::from_utf8(&decoded).is_err() {
        return Err(Unclear("the path is not UTF-8"));
    }
    // Some servers take off parameters, as in `..;a=b`.
    let mut compared = decoded;
    if let Some(at) = compared.iter().position(|byte| *byte == b';') {
        compared.truncate(at);
    }
    // Some servers read `/;a/b` as `//b`.
    if compared.is_empty() {
        return Err(EMPTY);
    }
    if matches!(&*compared, b"." | b"..") {
        return Err(Unclear("the path has a dot segment, as in `/../`"));
    }
    compared.make_ascii_lowercase();
    Ok(Segment { sent, compared })
}

fn decoded(bytes: &[u8]) -> Result<Vec<u8>, Unclear> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let mut digit = || char::from(*rest.next()?).to_digit(16);
        let (high, low) = (digit(), digit());
        let value = high.zip(low).map(|(high, low)| high * 16 + low);
        let value = value.and_then(|value| u8::try_from(value).ok());
        decoded.push(value.ok_or(Unclear("the path has a `%` without two digits"))?);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(path: &str) -> Result<String, Unclear> {
        let segments = segments(path)?;
        let texts = segments
            .iter()
            .map(|s| String::from_utf8_lossy(&s.compared).into_owned());
        Ok(texts.collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn a_path_that_two_servers_read_in_two_ways_is_refused() {
        for path in [
            "transfer",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/./a",
            "/a/..",
            "/a/../b",
            "/%2e%2e/a",
            "/.%2E/a",
            "/a/%2e",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a%0d%0ab",
            "/a%0A",
            "/%252e%252e/a",
            "/%252fa",
            "/..;a=b/c",
            "/;a/transfers",
            "/%3ba/transfers",
            "/x/;a/y",
            "/x/;",
            "/health/..%252ftransfer%25",
            "/a%2541",
            "/%25%34%31",
            "/transfers%3fa",
            "/transfers%23a",
            "/a%ff",
            "/a%c0%af",
            "/.;/c",
            "/a%",
            "/a%2",
            "/a%zz",
            "*",
            "",
        ] {
            assert!(segments(path).is_err(), "{path}");
        }
        for (path, read) in [
            ("/", ""),
            ("/a", "a"),
            ("/a/", "a"),
            ("/A/%62", "a|b"),
            ("/a;v=1/b", "a|b"),
            ("/...", "..."),
            ("/100%25", "100%"),
            ("/100%25zz", "100%zz"),
            ("/caf%C3%A9", "caf\u{e9}"),
        ] {
            assert_eq!(compared(path).as_deref(), Ok(read), "{path}");
        }
    }
}
