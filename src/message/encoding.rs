//! Strict hexadecimal and base64: one text for one value of known length, nothing skipped.

use std::borrow::Cow;

use base64::{
    Engine, alphabet,
    engine::{
        DecodePaddingMode, GeneralPurpose,
        general_purpose::{PAD, STANDARD},
    },
};

/// How bytes are written in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// Hexadecimal digits; written in lower case, read in either case.
    Hex,
    /// Base64 of the standard alphabet with padding (RFC 4648, section 4).
    Base64,
}

impl Encoding {
    /// The word for it, as scheme files and errors have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Base64 => "base64",
        }
    }

    pub(crate) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => base16ct::lower::encode_string(bytes),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }

    /// Decodes into `out`, and only a text that encodes exactly `out.len()` bytes.
    pub(crate) fn decode_exact(self, text: &[u8], out: &mut [u8]) -> Option<()> {
        let read = match self {
            Self::Hex if text.len() == out.len() * 2 => {
                base16ct::mixed::decode(text, out).ok()?.len()
            }
            Self::Base64 if text.len() == out.len().div_ceil(3) * 4 => {
                // The engine wants room for whole groups of three bytes.
                let mut groups = [0; 66];
                let groups = groups.get_mut(..text.len() / 4 * 3)?;
                let read = STANDARD.decode_slice(text, groups).ok()?;
                out.copy_from_slice(groups.get(..read).filter(|b| b.len() == out.len())?);
                read
            }
            _ => return None,
        };
        (read == out.len()).then_some(())
    }
}

pub(crate) fn decode_hex(text: &[u8]) -> Option<Vec<u8>> {
    base16ct::mixed::decode_vec(text).ok()
}

/// Decodes base64 whose padding may be missing.
pub(crate) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    const PADDED_OR_NOT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    PADDED_OR_NOT.decode(text).ok()
}

/// Says what is wrong with a text that could not be decoded. It shows nothing of the text but a
/// character that no such text has, because the text may be a secret.
pub(crate) fn fault(encoding: Encoding, text: &str) -> Cow<'static, str> {
    let is_digit = |c: char| match encoding {
        Encoding::Hex => c.is_ascii_hexdigit(),
        Encoding::Base64 => c.is_ascii_alphanumeric() || "+/".contains(c),
    };
    let digits = match encoding {
        Encoding::Hex => text,
        Encoding::Base64 => text.trim_end_matches('='),
    };
    let foreign = digits.char_indices().find(|(_, c)| !is_digit(*c));
    match (encoding, foreign) {
        (Encoding::Hex, Some((1, 'x' | 'X'))) => "it begins with `0x`; remove that".into(),
        (_, Some((at, c))) if c.is_whitespace() => {
            format!("it has white space at byte {at}; remove that").into()
        }
        (Encoding::Base64, Some((at, c @ ('-' | '_')))) => format!(
            "it has `{c}` at byte {at}: it is not base64, or it is of the URL-safe alphabet, in which \
             `-` and `_` take the place of `+` and `/`"
        )
        .into(),
        (_, Some((at, c))) => {
            format!("it has `{}` at byte {at}; copy it again", c.escape_debug()).into()
        }
        (Encoding::Hex, None) => "it has an odd number of digits; copy it again".into(),
        (Encoding::Base64, None) => {
            "its end is missing, or is changed; copy it again, up to its last character".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(bytes in prop::collection::vec(any::<u8>(), 0..=64)) {
            for encoding in [Encoding::Hex, Encoding::Base64] {
                let mut out = vec![0; bytes.len()];
                encoding.decode_exact(encoding.encode(&bytes).as_bytes(), &mut out).unwrap();
                prop_assert_eq!(&out, &bytes);
            }
        }

        #[test]
        fn no_two_base64_texts_mean_the_same(text in "[A-Za-z0-9+/]{42}[A-Za-z0-9+/=]{2}") {
            let mut out = [0; 32];
            if Encoding::Base64.decode_exact(text.as_bytes(), &mut out).is_some() {
                prop_assert_eq!(Encoding::Base64.encode(&out), text);
            }
        }

        #[test]
        fn any_text_is_read_without_panic(text in prop::collection::vec(any::<u8>(), 0..200), len in 0..64usize) {
            for encoding in [Encoding::Hex, Encoding::Base64] {
                let _ = encoding.decode_exact(&text, &mut vec![0; len]);
            }
        }
    }

    #[test]
    fn truncated_padded_and_surplus_texts_are_refused() {
        let mut out = [0; 3];
        for text in [
            "",
            "61",
            "6162",
            "61626",
            "61 263",
            "616263 ",
            "61626364",
            "0x6162",
            "6162\u{fc}",
        ] {
            assert!(
                Encoding::Hex
                    .decode_exact(text.as_bytes(), &mut out)
                    .is_none(),
                "{text}"
            );
        }
        for text in [
            "", "YWI=", "YW=j", "YWJj=", "YWJjZA==", "YWJ-", "YW J", "YWJj\n",
        ] {
            assert!(
                Encoding::Base64
                    .decode_exact(text.as_bytes(), &mut out)
                    .is_none(),
                "{text}"
            );
        }
        assert!(Encoding::Base64.decode_exact(b"YWJj", &mut out).is_some());
    }
}
