//! Other bodies that a sender may have signed in place of the one that arrived.

use std::io::Read as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;

use super::json::{self, Json, Numbers, Style};

/// The most bytes that are read of a compressed body.
const MAX_PLAIN: u64 = 8 * 1024 * 1024;

/// All variants of one row together are so long at most, or twice as long as the body.
const MAX_OF_ROW: usize = 32 * 1024 * 1024;

pub(super) type Variants = Vec<Vec<u8>>;

/// The variants that are not the body, and not one another: the first ones, within a bound.
fn differing(body: &[u8], variants: impl IntoIterator<Item = Vec<u8>>) -> Variants {
    let mut all: Variants = Vec::new();
    let mut held = 0_usize;
    for variant in variants {
        if variant != body && !all.contains(&variant) {
            held = held.saturating_add(variant.len());
            if held > MAX_OF_ROW.max(body.len().saturating_mul(2)) {
                break;
            }
            all.push(variant);
        }
    }
    all
}

pub(super) fn with_line_end(body: &[u8]) -> Variants {
    vec![[body, b"\n"].concat(), [body, b"\r\n"].concat()]
}

pub(super) fn without_line_end(body: &[u8]) -> Variants {
    let Some(text) = body.strip_suffix(b"\n") else {
        return Vec::new();
    };
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    vec![text.to_vec()]
}

pub(super) fn crlf_as_lf(body: &[u8]) -> Variants {
    let mut plain = Vec::with_capacity(body.len());
    for (index, byte) in body.iter().enumerate() {
        if !(*byte == b'\r' && body.get(index + 1) == Some(&b'\n')) {
            plain.push(*byte);
        }
    }
    differing(body, [plain])
}

pub(super) fn lf_as_crlf(body: &[u8]) -> Variants {
    let mut wide = Vec::with_capacity(body.len() + 16);
    let mut before = 0;
    for byte in body {
        if *byte == b'\n' && before != b'\r' {
            wide.push(b'\r');
        }
        wide.push(*byte);
        before = *byte;
    }
    differing(body, [wide])
}

/// The longest document that is written in place of this one. Escapes make a text three times as
/// long at most; the indent of deep lists has no bound.
pub(super) fn longest(body: &[u8]) -> usize {
    body.len().saturating_mul(4).saturating_add(64 * 1024)
}

/// Only objects and lists: a bare number or string is the same in each style.
fn written(body: &[u8], styles: &[Style]) -> Variants {
    match json::parse(body) {
        Some(document @ (Json::Object(_) | Json::List(_))) => {
            let styles = styles.iter().flat_map(|style| {
                let as_sent = Style {
                    numbers: Numbers::AsSent,
                    ..*style
                };
                [*style, as_sent]
            });
            let most = longest(body);
            differing(body, styles.filter_map(|style| document.write(style, most)))
        }
        _ => Vec::new(),
    }
}

const fn ascii(style: Style, ascii: bool) -> Style {
    Style { ascii, ..style }
}

const fn sorted(style: Style) -> Style {
    Style {
        sorted: true,
        ..style
    }
}

const fn both(style: Style) -> [Style; 2] {
    [ascii(style, false), ascii(style, true)]
}

pub(super) fn compact(body: &[u8]) -> Variants {
    let python = Style {
        numbers: Numbers::Python,
        ..ascii(Style::COMPACT, true)
    };
    written(body, &[Style::COMPACT, python])
}

pub(super) fn python(body: &[u8]) -> Variants {
    written(body, &[Style::PYTHON])
}

pub(super) fn python_unicode(body: &[u8]) -> Variants {
    let wide = ascii(Style::PYTHON, false);
    let compact = Style {
        numbers: Numbers::Python,
        ..Style::COMPACT
    };
    written(body, &[wide, compact])
}

pub(super) fn sorted_compact(body: &[u8]) -> Variants {
    let python = Style {
        numbers: Numbers::Python,
        ..Style::COMPACT
    };
    let [a, b] = both(sorted(Style::COMPACT));
    let [c, d] = both(sorted(python));
    written(body, &[a, b, c, d])
}

pub(super) fn sorted_python(body: &[u8]) -> Variants {
    written(body, &both(sorted(Style::PYTHON)))
}

fn indented(body: &[u8], indent: usize) -> Variants {
    let python = Style {
        numbers: Numbers::Python,
        ..Style::indented(indent)
    };
    let [a, b] = both(Style::indented(indent));
    let [c, d] = both(python);
    let [e, f] = both(sorted(python));
    written(body, &[a, b, c, d, e, f])
}

pub(super) fn indented_by_2(body: &[u8]) -> Variants {
    indented(body, 2)
}

pub(super) fn indented_by_4(body: &[u8]) -> Variants {
    indented(body, 4)
}

pub(super) fn escaped_slashes(body: &[u8]) -> Variants {
    if !body.contains(&b'/') {
        return Vec::new();
    }
    let php = Style {
        slashes: true,
        ..Style::COMPACT
    };
    let mut in_place = Vec::with_capacity(body.len() + 16);
    let mut before = 0;
    for byte in body {
        if *byte == b'/' && before != b'\\' {
            in_place.push(b'\\');
        }
        in_place.push(*byte);
        before = *byte;
    }
    let is_json = json::parse(body).is_some();
    let rewritten = written(body, &both(php));
    differing(
        body,
        rewritten.into_iter().chain(is_json.then_some(in_place)),
    )
}

pub(super) fn plain_slashes(body: &[u8]) -> Variants {
    let text = std::str::from_utf8(body)
        .ok()
        .filter(|text| text.contains("\\/"));
    text.map(|text| text.replace("\\/", "/").into_bytes())
        .into_iter()
        .collect()
}

pub(super) fn escaped_unicode(body: &[u8]) -> Variants {
    let escaped = json::parse(body).and_then(|_| json::escape(body));
    differing(body, escaped)
}

pub(super) fn plain_unicode(body: &[u8]) -> Variants {
    let plain = json::parse(body).and_then(|_| json::unescape(body));
    differing(body, plain)
}

/// A body that can be a form: pairs, and no white space.
fn form(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'{' | b'"' | b'<');
    (text.contains('=') && text.bytes().all(is_plain)).then_some(text)
}

pub(super) fn percent_spaces(body: &[u8]) -> Variants {
    let text = form(body).map(|text| text.replace('+', "%20").into_bytes());
    differing(body, text)
}

pub(super) fn plus_spaces(body: &[u8]) -> Variants {
    let text = form(body).map(|text| text.replace("%20", "+").into_bytes());
    differing(body, text)
}

pub(super) fn sorted_form(body: &[u8]) -> Variants {
    let sorted = form(body).map(|text| {
        let mut pairs: Vec<&str> = text.split('&').collect();
        pairs.sort_by_key(|pair| pair.split('=').next());
        pairs.join("&").into_bytes()
    });
    differing(body, sorted)
}

pub(super) fn decoded_form(body: &[u8]) -> Variants {
    let decoded = form(body).map(|text| decoded(&text.replace('+', " ")));
    differing(body, decoded)
}

/// Percent-decodes, where there are two digits.
pub(super) fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

pub(super) fn latin_1(body: &[u8]) -> Variants {
    let text = std::str::from_utf8(body)
        .ok()
        .filter(|text| !text.is_ascii());
    let bytes: Option<Vec<u8>> = text.and_then(|text| {
        text.chars()
            .map(|c| u8::try_from(u32::from(c)).ok())
            .collect()
    });
    bytes.into_iter().collect()
}

pub(super) fn utf_8(body: &[u8]) -> Variants {
    if body.is_ascii() {
        return Vec::new();
    }
    let text: String = body.iter().map(|byte| char::from(*byte)).collect();
    vec![text.into_bytes()]
}

const BOM: &[u8] = "\u{feff}".as_bytes();

pub(super) fn with_bom(body: &[u8]) -> Variants {
    vec![[BOM, body].concat()]
}

pub(super) fn without_bom(body: &[u8]) -> Variants {
    body.strip_prefix(BOM)
        .map(<[u8]>::to_vec)
        .into_iter()
        .collect()
}

pub(super) fn gunzipped(body: &[u8]) -> Variants {
    if !body.starts_with(b"\x1f\x8b") {
        return Vec::new();
    }
    let mut plain = Vec::new();
    let read = GzDecoder::new(body).take(MAX_PLAIN).read_to_end(&mut plain);
    read.map(|_| plain).into_iter().collect()
}

pub(super) fn from_base64(body: &[u8]) -> Variants {
    let is_long = body.len() >= 8;
    let decoded = STANDARD.decode(body.trim_ascii()).ok().filter(|_| is_long);
    decoded.into_iter().collect()
}

pub(super) fn to_base64(body: &[u8]) -> Variants {
    differing(body, [STANDARD.encode(body).into_bytes()])
}

pub(super) fn empty(body: &[u8]) -> Variants {
    differing(body, [Vec::new()])
}

pub(super) fn trimmed(body: &[u8]) -> Variants {
    differing(body, [body.trim_ascii().to_vec()])
}
