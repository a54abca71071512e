//! The records that a person looks for.

use memchr::memchr2_iter;

use crate::listen::Record;

/// Words that are looked for; more are left out.
const MAX_WORDS: usize = 16;

/// Words that all must be found, and the verdict.
#[derive(Debug, Default)]
pub(super) struct Query {
    words: Vec<String>,
    verdict: Option<String>,
    /// Only records before this one.
    pub(super) before: Option<u64>,
}

impl Query {
    /// Reads `q=…&verdict=…&before=…`.
    pub(super) fn parse(query: &str) -> Self {
        let mut parsed = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = decoded(value);
            match name {
                "q" => {
                    let words = value.split_whitespace().take(MAX_WORDS);
                    parsed.words = words.map(str::to_owned).collect();
                }
                "verdict" => parsed.verdict = Some(value).filter(|v| !v.is_empty()),
                "before" => parsed.before = value.parse().ok(),
                _ => {}
            }
        }
        parsed
    }

    /// Returns whether the record has the verdict, and each word in its head, body or reason.
    pub(super) fn finds(&self, record: &Record) -> bool {
        let verdict = record.verdict.word();
        if self
            .verdict
            .as_deref()
            .is_some_and(|wanted| wanted != verdict)
            || self.before.is_some_and(|before| record.id >= before)
        {
            return false;
        }
        if self.words.is_empty() {
            return true;
        }
        let id = format!("#{}", record.id);
        let status = record.status.as_str().to_owned();
        let reason = record.verdict.reason().unwrap_or_default();
        let texts = [
            record.method(),
            record.target(),
            verdict,
            record.verdict.code().unwrap_or_default(),
            &reason,
            &*status,
        ];
        self.words.iter().all(|word| {
            if word.starts_with('#') {
                return *word == id;
            }
            let finds = |text: &[u8]| contains(text, word.as_bytes());
            texts.iter().any(|text| finds(text.as_bytes()))
                || record
                    .request
                    .headers()
                    .iter()
                    .any(|(name, value)| finds(name.as_str().as_bytes()) || finds(value.as_bytes()))
                || finds(record.request.body())
        })
    }
}

/// Returns whether the word is in the text, in upper or lower case.
fn contains(text: &[u8], word: &[u8]) -> bool {
    let Some(first) = word.first() else {
        return true;
    };
    let (lower, upper) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
    memchr2_iter(lower, upper, text).any(|at| {
        text.get(at..)
            .and_then(|rest| rest.get(..word.len()))
            .is_some_and(|here| here.eq_ignore_ascii_case(word))
    })
}

/// Decodes `%20` and `+`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |mut rest: std::str::Bytes<'_>| {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            u8::try_from(high * 16 + low).ok()
        };
        match (byte, hex(rest.clone())) {
            (b'+', _) => bytes.push(b' '),
            (b'%', Some(decoded)) => {
                bytes.push(decoded);
                rest.nth(1);
            }
            (byte, _) => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_decoded_and_found_in_any_case() {
        let query = Query::parse("q=caf%C3%A9+%23%zz&verdict=&before=7");
        assert_eq!(query.words, ["café", "#%zz"]);
        assert_eq!((query.verdict, query.before), (None, Some(7)));
        assert!(contains(b"abcABd", b"abD"));
        assert!(!contains(b"abcAB", b"abD"));
        assert!(!contains(b"", b"a"));
    }
}
