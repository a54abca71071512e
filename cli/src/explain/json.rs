//! JSON written again, as the common libraries write it.

use std::fmt::Write as _;

/// The depth to which documents are read.
const MAX_DEPTH: usize = 100;

/// How many values a document has at most. Each takes some 100 bytes more here than as text.
const MAX_VALUES: usize = 256 * 1024;

/// A document, with its numbers as they were written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    /// `null`, `true`, `false`, or a number.
    Plain(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// How numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    AsSent,
    /// `JSON.stringify`: `1.0` is `1`.
    JavaScript,
    /// `json.dumps`: `1.50` is `1.5`, and `1.0` stays.
    Python,
}

/// How a document is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) comma: &'static str,
    pub(super) colon: &'static str,
    pub(super) indent: usize,
    pub(super) sorted: bool,
    pub(super) ascii: bool,
    pub(super) slashes: bool,
    pub(super) numbers: Numbers,
}

impl Style {
    pub(super) const COMPACT: Self = Self {
        comma: ",",
        colon: ":",
        indent: 0,
        sorted: false,
        ascii: false,
        slashes: false,
        numbers: Numbers::JavaScript,
    };
    pub(super) const PYTHON: Self = Self {
        comma: ", ",
        colon: ": ",
        ascii: true,
        numbers: Numbers::Python,
        ..Self::COMPACT
    };
    pub(super) const fn indented(indent: usize) -> Self {
        Self {
            comma: ",",
            colon: ": ",
            indent,
            ..Self::COMPACT
        }
    }
}

/// Reads a document. Strict, except for the space around it.
pub(super) fn parse(bytes: &[u8]) -> Option<Json> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut reader = Reader {
        rest: text.trim_ascii_start(),
        values: 0,
    };
    let value = reader.value(0)?;
    reader.rest.trim_ascii().is_empty().then_some(value)
}

struct Reader<'t> {
    rest: &'t str,
    values: usize,
}

impl Reader<'_> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn take(&mut self, token: char) -> Option<()> {
        self.skip();
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.values += 1;
        if depth > MAX_DEPTH || self.values > MAX_VALUES {
            return None;
        }
        self.skip();
        match self.rest.bytes().next()? {
            b'{' => {
                let mut members = Vec::new();
                self.take('{')?;
                if self.take('}').is_some() {
                    return Some(Json::Object(members));
                }
                loop {
                    self.skip();
                    let name = self.string()?;
                    self.take(':')?;
                    members.push((name, self.value(depth + 1)?));
                    if self.take(',').is_none() {
                        self.take('}')?;
                        return Some(Json::Object(members));
                    }
                }
            }
            b'[' => {
                let mut items = Vec::new();
                self.take('[')?;
                if self.take(']').is_some() {
                    return Some(Json::List(items));
                }
                loop {
                    items.push(self.value(depth + 1)?);
                    if self.take(',').is_none() {
                        self.take(']')?;
                        return Some(Json::List(items));
                    }
                }
            }
            b'"' => self.string().map(Json::Text),
            _ => {
                let end = self
                    .rest
                    .find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
                let (word, rest) = self.rest.split_at_checked(end.unwrap_or(self.rest.len()))?;
                let is_word = ["null", "true", "false"].contains(&word);
                let is_number = word.starts_with(|c: char| c == '-' || c.is_ascii_digit())
                    && word.parse::<f64>().is_ok();
                if !is_word && !is_number {
                    return None;
                }
                self.rest = rest;
                Some(Json::Plain(word.to_owned()))
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        self.rest = self.rest.strip_prefix('"')?;
        let mut text = String::new();
        loop {
            let end = self.rest.find(['"', '\\'])?;
            let (plain, rest) = self.rest.split_at_checked(end)?;
            text.push_str(plain);
            if let Some(rest) = rest.strip_prefix('"') {
                self.rest = rest;
                return Some(text);
            }
            let escape = rest.as_bytes().get(1)?;
            self.rest = rest.get(2..)?;
            text.push(match escape {
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'u' => self.escaped()?,
                c @ (b'"' | b'\\' | b'/') => char::from(*c),
                _ => return None,
            });
        }
    }

    /// `\u` was read; here are its digits, and those of a second half.
    fn escaped(&mut self) -> Option<char> {
        let high = self.unit()?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high);
        }
        self.rest = self.rest.strip_prefix("\\u")?;
        let low = self.unit()?;
        let is_low = (0xdc00..0xe000).contains(&low);
        is_low.then(|| char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)))?
    }

    fn unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        u32::from_str_radix(digits, 16).ok()
    }
}

impl Json {
    /// Writes the document in this style. Returns `None` if that takes more than `most` bytes: the
    /// indent of nested lists can be much longer than the lists.
    pub(super) fn write(&self, style: Style, most: usize) -> Option<Vec<u8>> {
        let mut text = String::new();
        self.push(style, 0, most, &mut text)?;
        (text.len() <= most).then(|| text.into_bytes())
    }

    fn push(&self, style: Style, depth: usize, most: usize, to: &mut String) -> Option<()> {
        if to.len() > most {
            return None;
        }
        let line = |to: &mut String, depth: usize| {
            if style.indent > 0 {
                to.push('\n');
                to.extend(std::iter::repeat_n(' ', style.indent * depth));
            }
        };
        match self {
            Self::Plain(word) => to.push_str(&number(word, style.numbers)),
            Self::Text(text) => push_string(text, style, to),
            Self::List(items) if items.is_empty() => to.push_str("[]"),
            Self::Object(members) if members.is_empty() => to.push_str("{}"),
            Self::List(items) => {
                to.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        to.push_str(style.comma);
                    }
                    line(to, depth + 1);
                    item.push(style, depth + 1, most, to)?;
                }
                line(to, depth);
                to.push(']');
            }
            Self::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                if style.sorted {
                    members.sort_by(|(one, _), (other, _)| one.cmp(other));
                }
                to.push('{');
                for (index, (name, value)) in members.into_iter().enumerate() {
                    if index > 0 {
                        to.push_str(style.comma);
                    }
                    line(to, depth + 1);
                    push_string(name, style, to);
                    to.push_str(style.colon);
                    value.push(style, depth + 1, most, to)?;
                }
                line(to, depth);
                to.push('}');
            }
        }
        Some(())
    }
}

fn push_string(text: &str, style: Style, to: &mut String) {
    to.push('"');
    for c in text.chars() {
        match c {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            '\u{8}' => to.push_str("\\b"),
            '\u{c}' => to.push_str("\\f"),
            '/' if style.slashes => to.push_str("\\/"),
            c if c < ' ' => push_escape(u32::from(c), to),
            c if style.ascii && !c.is_ascii() => push_escaped(c, to),
            // Python escapes it too.
            '\u{7f}' if style.ascii && style.numbers == Numbers::Python => push_escaped(c, to),
            c => to.push(c),
        }
    }
    to.push('"');
}

fn push_escaped(c: char, to: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        push_escape(u32::from(*unit), to);
    }
}

fn push_escape(unit: u32, to: &mut String) {
    let _ = write!(to, "\\u{unit:04x}");
}

fn number(word: &str, numbers: Numbers) -> String {
    let is_whole = !word.contains(['.', 'e', 'E']);
    let is_word = word.starts_with(|c: char| c.is_ascii_alphabetic());
    let Ok(value) = word.parse::<f64>() else {
        return word.to_owned();
    };
    if is_word || numbers == Numbers::AsSent || (is_whole && numbers == Numbers::Python) {
        return word.to_owned();
    }
    let size = value.abs();
    let (plain_below, plain_from) = match numbers {
        Numbers::Python => (1e16, 1e-4),
        _ => (1e21, 1e-6),
    };
    if size != 0.0 && !(plain_from..plain_below).contains(&size) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        let width = if numbers == Numbers::Python { 2 } else { 1 };
        return format!("{digits}e{sign}{exponent:0>width$}");
    }
    if numbers == Numbers::Python {
        return format!("{value:?}");
    }
    // `-0` is `0` there.
    format!("{}", if value == 0.0 { 0.0 } else { value })
}

/// Writes each character that is not ASCII as an escape, and changes nothing else.
pub(super) fn escape(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            escaped.push(c);
        } else {
            push_escaped(c, &mut escaped);
        }
    }
    Some(escaped.into_bytes())
}

/// Writes each escape of a character that is not ASCII as the character, and changes nothing else.
pub(super) fn unescape(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at_checked(at)?;
        plain.push_str(before);
        let mut reader = Reader {
            rest: escape.get(2..).unwrap_or_default(),
            values: 0,
        };
        match escape.strip_prefix("\\u").and_then(|_| reader.escaped()) {
            Some(c) if !c.is_ascii() => {
                plain.push(c);
                rest = reader.rest;
            }
            _ => {
                let (kept, after) = escape.split_at_checked(2)?;
                plain.push_str(kept);
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    Some(plain.into_bytes())
}
