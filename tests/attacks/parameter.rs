//! The place of a parameter of a signature: in a header of its own, or, as RFC 9421 has it, in
//! `signature-input`.

use std::{fmt, ops::Range};

use http::{HeaderMap, HeaderValue};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is this header.
    Header(&'static str),
    /// It is this string in the first member of `signature-input`.
    String(&'static str),
    /// It is this number there.
    Number(&'static str),
}

impl From<&'static str> for Place {
    fn from(name: &'static str) -> Self {
        Self::Header(name)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const INPUT: &str = "signature-input";

impl Place {
    pub fn name(self) -> &'static str {
        match self {
            Self::Header(name) | Self::String(name) | Self::Number(name) => name,
        }
    }

    pub fn get(self, headers: &HeaderMap) -> Option<String> {
        if let Self::Header(name) = self {
            return Some(headers.get(name)?.to_str().ok()?.to_owned());
        }
        let input = input(headers);
        let text = String::from_utf8(input[self.range(&input)?].to_vec()).ok()?;
        let value = text.split_once('=')?.1;
        Some(match self {
            Self::String(_) => unquoted(value),
            _ => value.to_owned(),
        })
    }

    /// Replaces the value, or puts it behind all others.
    pub fn set(self, headers: &mut HeaderMap, value: &[u8]) {
        if let Self::Header(name) = self {
            headers.insert(name, HeaderValue::from_bytes(value).unwrap());
            return;
        }
        let text = input(headers);
        let range = self.range(&text).unwrap_or(text.len()..text.len());
        self.splice(headers, range, value);
    }

    pub fn append(self, headers: &mut HeaderMap, value: &[u8]) {
        if let Self::Header(name) = self {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
            return;
        }
        let text = input(headers);
        let end = self.range(&text).map_or(text.len(), |range| range.end);
        self.splice(headers, end..end, value);
    }

    pub fn remove(self, headers: &mut HeaderMap) {
        if let Self::Header(name) = self {
            headers.remove(name);
            return;
        }
        let mut text = input(headers);
        if let Some(range) = self.range(&text) {
            text.drain(range);
            headers.insert(INPUT, HeaderValue::from_bytes(&text).unwrap());
        }
    }

    fn splice(self, headers: &mut HeaderMap, range: Range<usize>, value: &[u8]) {
        let mut text = input(headers);
        let mut parameter = format!(";{}=", self.name()).into_bytes();
        match self {
            Self::String(_) => parameter.extend(quoted(value)),
            _ => parameter.extend_from_slice(value),
        }
        text.splice(range, parameter);
        headers.insert(INPUT, HeaderValue::from_bytes(&text).unwrap());
    }

    /// Returns the place of the parameter, from its `;` on.
    fn range(self, input: &[u8]) -> Option<Range<usize>> {
        let begin = format!(";{}=", self.name()).into_bytes();
        let start = input.windows(begin.len()).position(|w| w == begin)?;
        let value = start + begin.len();
        let mut len = 0;
        let (mut inside, mut escaped) = (false, false);
        for byte in &input[value..] {
            match byte {
                b';' | b',' if !inside => break,
                b'"' if !escaped => inside = !inside,
                _ => {}
            }
            escaped = *byte == b'\\' && !escaped;
            len += 1;
        }
        Some(start..value + len)
    }
}

/// All lines of a header in one, as far as they are text.
pub fn joined(headers: &HeaderMap, name: &str) -> String {
    let lines = headers.get_all(name).iter();
    let lines: Vec<_> = lines
        .map(|line| line.to_str().unwrap_or_default().trim())
        .collect();
    lines.join(", ")
}

fn input(headers: &HeaderMap) -> Vec<u8> {
    headers
        .get(INPUT)
        .map_or(Vec::new(), |value| value.as_bytes().to_vec())
}

fn quoted(value: &[u8]) -> Vec<u8> {
    let mut text = vec![b'"'];
    for byte in value {
        if b"\"\\".contains(byte) {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text.push(b'"');
    text
}

fn unquoted(text: &str) -> String {
    let mut characters = text.trim_matches('"').chars();
    let mut value = String::new();
    while let Some(character) = characters.next() {
        value.extend(if character == '\\' {
            characters.next()
        } else {
            Some(character)
        });
    }
    value
}
