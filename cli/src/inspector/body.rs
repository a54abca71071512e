//! A body as JSON, as text and in hex.

use std::fmt::Write as _;

use serde::de::IgnoredAny;

/// The longest text that is shown of a body; the HAR file holds the rest.
pub(super) const MAX_TEXT: usize = 64 * 1024;

/// The most bytes that are shown of a body in hex.
pub(super) const MAX_HEX: usize = 8 * 1024;

const INDENT: &str = "  ";

/// JSON on several lines. Every token stays as it was sent: numbers, escapes, duplicate names.
pub(super) fn json(body: &[u8]) -> Option<String> {
    if body.len() > MAX_TEXT || serde_json::from_slice::<IgnoredAny>(body).is_err() {
        return None;
    }
    let text = std::str::from_utf8(body).ok()?;
    let mut lines = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut chars = text.chars().peekable();
    let new_line = |lines: &mut String, depth: usize| {
        lines.push('\n');
        // The parser above refuses what is nested deeper than 128 times.
        lines.extend(std::iter::repeat_n(INDENT, depth));
    };
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                lines.push('"');
                while let Some(c) = chars.next() {
                    lines.push(c);
                    match c {
                        '\\' => lines.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                lines.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                match chars.next_if(|c| matches!(c, '}' | ']')) {
                    Some(end) => lines.push(end),
                    None => {
                        depth += 1;
                        new_line(&mut lines, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut lines, depth);
                lines.push(c);
            }
            ',' => {
                lines.push(',');
                new_line(&mut lines, depth);
            }
            ':' => lines.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => lines.push(c),
        }
    }
    Some(lines)
}

/// Offset, sixteen bytes, and their characters, a line.
pub(super) fn hex(body: &[u8]) -> String {
    let mut lines = String::new();
    let shown = body.get(..MAX_HEX).unwrap_or(body);
    for (at, row) in shown.chunks(16).enumerate() {
        let mut bytes = String::new();
        let mut characters = String::new();
        for (n, byte) in row.iter().enumerate() {
            let gap = if n == 8 { " " } else { "" };
            let _ = write!(bytes, "{gap}{byte:02x} ");
            let is_shown = byte.is_ascii_graphic() || *byte == b' ';
            characters.push(if is_shown { char::from(*byte) } else { '·' });
        }
        let _ = writeln!(lines, "{:08x}  {bytes:49} {characters}", at * 16);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_nothing_of_it_changes() {
        let body = br#"{"a":[1.50,{"a":"\u00e9,:{"}] , "a":{},"b" : [ ]}"#;
        let expected = "{\n  \"a\": [\n    1.50,\n    {\n      \"a\": \"\\u00e9,:{\"\n    }\n  ],\n  \
                        \"a\": {},\n  \"b\": []\n}";
        assert_eq!(json(body).as_deref(), Some(expected));
        assert_eq!(json(b"{\"a\":}"), None);
        assert_eq!(json("[".repeat(9999).as_bytes()), None);
    }

    #[test]
    fn hex_has_offsets_and_characters() {
        let lines = hex(b"<b>\x00\xff 0123456789a");
        let second = lines.lines().nth(1).unwrap();
        assert!(lines.starts_with("00000000  3c 62 3e 00 ff 20 30 31  32 33"));
        assert!(lines.contains(" <b>·· 0123456789\n"));
        assert_eq!(second, format!("00000010  {:49} a", "61 "));
    }
}
