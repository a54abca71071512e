//! Other keys that a sender may have made of the secret.

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

/// The prefixes with which providers show their secrets.
const PREFIXES: [&str; 5] = ["whsec_", "pdl_ntfset_", "lin_wh_", "sk_", "key-"];

/// How the text of a secret becomes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// As the scheme says.
    OfScheme,
    Text,
    Hex,
    Base64,
    Base64Url,
    /// Both alphabets of base64 at once, as Node reads it: a prefix is then read along.
    AnyBase64,
}

/// The text of a secret, and how it is read.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) text: Zeroizing<Vec<u8>>,
    pub(super) reading: Reading,
}

const fn lenient(alphabet: &base64::alphabet::Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(alphabet, config)
}

pub(super) const BASE64: GeneralPurpose = lenient(&STANDARD);
pub(super) const BASE64_URL: GeneralPurpose = lenient(&URL_SAFE);

pub(super) fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.len() % 2 == 0)?;
    let digits = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let all = (0..text.len()).step_by(2).map(digits);
    let is_hex = text.bytes().all(|b| b.is_ascii_hexdigit());
    all.collect::<Option<Vec<u8>>>().filter(|_| is_hex)
}

impl Key {
    fn read(&self, reading: Reading) -> Self {
        Self {
            text: self.text.clone(),
            reading,
        }
    }

    fn with(&self, text: &[u8]) -> Self {
        Self {
            text: Zeroizing::new(text.to_vec()),
            // The scheme reads its own form alone.
            reading: match self.reading {
                Reading::OfScheme => Reading::Text,
                reading => reading,
            },
        }
    }

    /// The bytes of the key; `None` if the text cannot be read so. A secret that the scheme reads is not
    /// known here.
    pub(super) fn bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        let text = self.text.as_slice();
        let bytes = match self.reading {
            Reading::OfScheme => return None,
            Reading::Text => text.to_vec(),
            Reading::Hex => hex(text)?,
            Reading::Base64 => BASE64.decode(text).ok()?,
            Reading::Base64Url => BASE64_URL.decode(text).ok()?,
            Reading::AnyBase64 => {
                let mut text = text.to_vec();
                for byte in &mut text {
                    match byte {
                        b'-' => *byte = b'+',
                        b'_' => *byte = b'/',
                        _ => {}
                    }
                }
                // A last character that is less than a byte is dropped, as Node drops it.
                while text.last() == Some(&b'=') || text.len() % 4 == 1 {
                    text.pop();
                }
                BASE64.decode(text).ok()?
            }
        };
        Some(Zeroizing::new(bytes))
    }
}

pub(super) fn as_text(key: &Key) -> Vec<Key> {
    vec![key.read(Reading::Text)]
}

pub(super) fn as_hex(key: &Key) -> Vec<Key> {
    vec![key.read(Reading::Hex)]
}

/// The text in hexadecimal digits, themselves used as text.
pub(super) fn as_hex_text(key: &Key) -> Vec<Key> {
    let digits: Zeroizing<String> =
        Zeroizing::new(key.text.iter().map(|byte| format!("{byte:02x}")).collect());
    vec![key.with(digits.as_bytes())]
}

pub(super) fn as_base64(key: &Key) -> Vec<Key> {
    vec![key.read(Reading::Base64)]
}

pub(super) fn as_base64_with_prefix(key: &Key) -> Vec<Key> {
    let has_one = PREFIXES
        .iter()
        .any(|prefix| key.text.starts_with(prefix.as_bytes()));
    if has_one {
        vec![key.read(Reading::AnyBase64)]
    } else {
        Vec::new()
    }
}

pub(super) fn as_base64_url(key: &Key) -> Vec<Key> {
    vec![key.read(Reading::Base64Url)]
}

pub(super) fn without_prefix(key: &Key) -> Vec<Key> {
    let stripped = PREFIXES
        .iter()
        .filter_map(|prefix| key.text.strip_prefix(prefix.as_bytes()));
    stripped.map(|text| key.with(text)).collect()
}

pub(super) fn with_prefix(key: &Key) -> Vec<Key> {
    let has_one = PREFIXES
        .iter()
        .any(|prefix| key.text.starts_with(prefix.as_bytes()));
    let added = PREFIXES.iter().filter(|_| !has_one);
    added
        .map(|prefix| key.with(&[prefix.as_bytes(), &key.text].concat()))
        .collect()
}

pub(super) fn with_line_end(key: &Key) -> Vec<Key> {
    let ends = [&b"\n"[..], b"\r\n"];
    ends.iter()
        .map(|end| key.with(&[&key.text, *end].concat()))
        .collect()
}

pub(super) fn trimmed(key: &Key) -> Vec<Key> {
    let text = key.text.trim_ascii();
    let quotes = [b'"', b'\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(&[quote])?.strip_suffix(&[quote]));
    let text = quotes.unwrap_or(text);
    if text == key.text.as_slice() || text.is_empty() {
        return Vec::new();
    }
    vec![key.with(text)]
}

pub(super) fn in_capitals(key: &Key) -> Vec<Key> {
    let is_hex = key.text.iter().all(u8::is_ascii_hexdigit);
    let cases = [key.text.to_ascii_uppercase(), key.text.to_ascii_lowercase()];
    let others = cases.iter().filter(|case| is_hex && **case != *key.text);
    others.map(|case| key.with(case)).collect()
}
