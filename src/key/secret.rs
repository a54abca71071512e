//! Secret bytes: redacted in `Debug`, wiped on drop, never shorter than they may be.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::mac::MacAlgorithm;
use crate::{
    error::{ConfigError, ConfigErrorKind},
    message::{Encoding, encoding},
};

/// The bytes of a shared secret.
///
/// A secret is redacted in `Debug`, wiped from memory when it is dropped, and cannot be read back
/// outside of this crate. It has at least [`Secret::MIN_LEN`] bytes, not counting zeros at its end:
/// HMAC pads a key with zeros, so zeros at the end of a secret add no strength.
///
/// ```
/// use countersign::Secret;
///
/// let secret = Secret::new("9f1c1b2e0a7d4c55")?;
/// assert_eq!(format!("{secret:?}"), "Secret(redacted)");
/// assert!(Secret::new("short").is_err());
/// # Ok::<_, countersign::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Secret {
    bytes: Zeroizing<Vec<u8>>,
    algorithm: Option<MacAlgorithm>,
}

impl Secret {
    /// The least number of bytes of a secret: 16 bytes, or 128 bits.
    pub const MIN_LEN: usize = 16;

    /// The greatest number of bytes of a secret: 4 KiB.
    pub const MAX_LEN: usize = 4096;

    /// Takes the bytes as they are; a string is taken as its UTF-8 bytes.
    ///
    /// # Errors
    /// Returns an error if the bytes, zeros at the end not counted, are fewer than
    /// [`Secret::MIN_LEN`], or more than [`Secret::MAX_LEN`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, ConfigError> {
        Self::at_least(Self::MIN_LEN, bytes.into())
    }

    /// Takes a secret that is shorter than [`Secret::MIN_LEN`], but not empty.
    ///
    /// If a secret can be guessed, this crate promises nothing. Use it only for a partner who
    /// cannot use a longer one.
    ///
    /// # Errors
    /// Returns an error if the bytes are empty or all zero, which HMAC does not tell apart.
    pub fn danger_short(bytes: impl Into<Vec<u8>>) -> Result<Self, ConfigError> {
        Self::at_least(1, bytes.into())
    }

    /// Decodes hexadecimal digits, of either case. White space at the ends is ignored.
    ///
    /// # Errors
    /// Returns an error if the text is not hexadecimal, or decodes to too few bytes.
    pub fn from_hex(text: &str) -> Result<Self, ConfigError> {
        Self::decoded(Encoding::Hex, "hex", text, encoding::decode_hex)
    }

    /// Decodes base64 of the standard alphabet (RFC 4648, section 4). Its padding may be missing,
    /// and white space at the ends is ignored.
    ///
    /// # Errors
    /// Returns an error if the text is not base64, or decodes to too few bytes.
    pub fn from_base64(text: &str) -> Result<Self, ConfigError> {
        Self::decoded(Encoding::Base64, "base64", text, encoding::decode_base64)
    }

    fn decoded(
        encoding: Encoding,
        name: &'static str,
        text: &str,
        decode: fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<Self, ConfigError> {
        let text = text.trim();
        match decode(text.as_bytes()) {
            Some(bytes) => Self::new(bytes),
            None => {
                let what = encoding::fault(encoding, text);
                Err(ConfigErrorKind::SecretEncoding(name, what).into())
            }
        }
    }

    /// Takes a text. White space at its ends comes from a file or a terminal: it would be part of
    /// the secret, and no signature would match.
    fn from_text(text: &str) -> Result<Self, ConfigError> {
        let named = |c: Option<char>| match c.filter(|c| c.is_whitespace())? {
            '\n' => Some("a line feed"),
            '\r' => Some("a carriage return"),
            '\t' => Some("a tab"),
            ' ' => Some("a space"),
            _ => Some("white space"),
        };
        if let Some(what) = named(text.chars().next()) {
            return Err(ConfigErrorKind::SecretWhiteSpace("begins", what).into());
        }
        if let Some(what) = named(text.chars().next_back()) {
            return Err(ConfigErrorKind::SecretWhiteSpace("ends", what).into());
        }
        Self::new(text)
    }

    /// Ties the secret to one algorithm: it makes and verifies no MAC of another. Default: the
    /// algorithm of the scheme that the secret is used with.
    ///
    /// Tie a secret that a partner made for one algorithm, or that comes from a key store whose
    /// entries state one. A scheme with another algorithm is then refused when it is built with
    /// keys that are known. A request whose key is looked up, and is tied to another algorithm, is
    /// refused like an outage of the key store: 503, `store_unavailable`.
    ///
    /// ```
    /// use countersign::{HttpMessageSignatures, Secret, Signer, scheme::MacAlgorithm};
    ///
    /// let secret = Secret::new("the secret of partner 1")?.for_algorithm(MacAlgorithm::HmacSha512);
    /// // RFC 9421 has HMAC with SHA-256 only:
    /// assert!(Signer::new(HttpMessageSignatures::default(), "partner-1", secret).is_err());
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    #[must_use]
    pub fn for_algorithm(mut self, algorithm: MacAlgorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// The algorithm that the secret is tied to.
    pub(crate) fn algorithm(&self) -> Option<MacAlgorithm> {
        self.algorithm
    }

    fn at_least(min: usize, bytes: Vec<u8>) -> Result<Self, ConfigError> {
        let bytes = Zeroizing::new(bytes);
        let effective = bytes.iter().rposition(|&b| b != 0).map_or(0, |i| i + 1);
        if effective < min || bytes.len() > Self::MAX_LEN {
            return Err(ConfigErrorKind::SecretLength {
                found: if effective < min {
                    effective
                } else {
                    bytes.len()
                },
                min,
                max: Self::MAX_LEN,
            }
            .into());
        }
        Ok(Self {
            bytes,
            algorithm: None,
        })
    }

    /// Returns whether these are the secret's bytes, compared in constant time. Only a difference of the
    /// lengths can be seen.
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        self.bytes.ct_eq(bytes).into()
    }

    /// The one place where the bytes of a secret are read.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

macro_rules! try_from {
    ($($bytes:ty),*) => {$(
        impl TryFrom<$bytes> for Secret {
            type Error = ConfigError;

            fn try_from(bytes: $bytes) -> Result<Self, ConfigError> {
                Self::new(bytes)
            }
        }
    )*};
}

try_from!(&[u8], Vec<u8>);

/// A text with white space at its ends is an error.
impl TryFrom<&str> for Secret {
    type Error = ConfigError;

    fn try_from(text: &str) -> Result<Self, ConfigError> {
        Self::from_text(text)
    }
}

/// A text with white space at its ends is an error.
impl TryFrom<String> for Secret {
    type Error = ConfigError;

    fn try_from(text: String) -> Result<Self, ConfigError> {
        Self::from_text(&text)
    }
}

impl<const N: usize> TryFrom<&[u8; N]> for Secret {
    type Error = ConfigError;

    fn try_from(bytes: &[u8; N]) -> Result<Self, ConfigError> {
        Self::new(bytes)
    }
}

impl<const N: usize> TryFrom<[u8; N]> for Secret {
    type Error = ConfigError;

    fn try_from(bytes: [u8; N]) -> Result<Self, ConfigError> {
        Self::new(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_at_least_sixteen_bytes_that_count() {
        assert!(Secret::new([7; 15]).is_err());
        assert!(Secret::new([7; 16]).is_ok());
        assert!(Secret::new([7; Secret::MAX_LEN + 1]).is_err());
        let mut padded = vec![7; 15];
        padded.extend([0; 64]);
        assert!(Secret::new(padded).is_err(), "zeros at the end add nothing");
        assert!(Secret::new([0; 64]).is_err(), "equal to the empty secret");
    }

    #[test]
    fn a_short_secret_needs_the_word_danger_and_is_never_empty() {
        assert!(Secret::danger_short("k").is_ok());
        assert!(Secret::danger_short("").is_err());
        assert!(Secret::danger_short([0; 20]).is_err());
    }

    #[test]
    fn a_secret_is_its_own_bytes_and_no_others() {
        let secret = Secret::new("0123456789abcdef").unwrap();
        assert!(secret.is(b"0123456789abcdef"));
        for other in [
            "",
            "0123456789abcde",
            "0123456789abcdeg",
            "0123456789abcdef0",
        ] {
            assert!(!secret.is(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn encoded_secrets_are_decoded() {
        let raw = Secret::new("0123456789abcdef").unwrap();
        let hex = Secret::from_hex("30313233343536373839616263646566").unwrap();
        let base64 = Secret::from_base64("MDEyMzQ1Njc4OWFiY2RlZg==").unwrap();
        assert_eq!(raw.expose(), hex.expose());
        assert_eq!(raw.expose(), base64.expose());
        assert!(Secret::from_hex("3031323334353637383961626364656").is_err());
        // As it is copied from a file or a page.
        for text in [
            "MDEyMzQ1Njc4OWFiY2RlZg",
            "MDEyMzQ1Njc4OWFiY2RlZg=",
            " MDEyMzQ1Njc4OWFiY2RlZg==\r\n",
        ] {
            assert_eq!(Secret::from_base64(text).unwrap().expose(), raw.expose());
        }
        let hex = Secret::from_hex("\t30313233343536373839616263646566\n").unwrap();
        assert_eq!(raw.expose(), hex.expose());
    }

    #[test]
    fn an_error_says_what_to_remove_and_shows_nothing_of_the_secret() {
        const TEXT: &str = "MDEyMzQ1Njc4OWFiY2RlZg";
        for (text, said) in [
            (format!("{TEXT} {TEXT}"), "white space at byte 22"),
            (format!("whpk_{TEXT}"), "`_` at byte 4"),
            (format!("v1,{TEXT}"), "`,` at byte 2"),
            (format!("{TEXT}==x"), "`=` at byte 22"),
            (TEXT[..21].to_owned(), "its end is missing"),
            (format!("{TEXT}==="), "its end is missing"),
        ] {
            let error = Secret::from_base64(&text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
            assert!(!error.contains("MDEy"), "{error}");
        }
        for (text, said) in [
            ("0x30313233343536373839616263646566", "begins with `0x`"),
            ("30313233343536373839616263646566a", "odd number"),
            ("3031323334353637-3839616263646566", "`-` at byte 16"),
        ] {
            let error = Secret::from_hex(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
            assert!(!error.contains("3031"), "{error}");
        }
        for (text, said) in [
            ("0123456789abcdef\n", "ends with a line feed"),
            ("0123456789abcdef\r\n", "ends with a line feed"),
            ("0123456789abcdef ", "ends with a space"),
            ("\t0123456789abcdef", "begins with a tab"),
        ] {
            let error = Secret::try_from(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
            assert!(!error.contains("0123"), "{error}");
            let owned = Secret::try_from(text.to_owned());
            assert!(owned.is_err() && Secret::new(text).is_ok());
        }
    }
}
