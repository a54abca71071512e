//! `IdempotencyKey`: the header, read strictly.

use std::fmt;

use http::HeaderValue;
use sfv::{
    BareItemFromInput, Parser,
    visitor::{ItemVisitor, ParameterVisitor},
};

use crate::error::{Rejection, RejectionKind};

/// The key of an intention: the value of `Idempotency-Key`, without its quotation marks.
///
/// The header is a string of a Structured Field (RFC 9651): visible ASCII and spaces between
/// quotation marks, `\"` and `\\` escaped. Parameters behind it are not part of the key. A key has
/// 1 to 255 characters.
///
/// ```
/// use countersign::idempotency::IdempotencyKey;
///
/// let key = IdempotencyKey::read(br#""8e03978e-40d5""#)?;
/// assert_eq!(key.as_str(), "8e03978e-40d5");
/// // A bare word is not a string.
/// assert!(IdempotencyKey::read(b"8e03978e-40d5").is_err());
/// # Ok::<_, countersign::Rejection>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    /// The greatest length of a key, in characters.
    pub const MAX_LEN: usize = 255;

    /// Takes a key that is not quoted.
    ///
    /// # Errors
    /// Returns [`RejectionKind::IdempotencyKeyMalformed`] if the key is empty, has more than
    /// [`MAX_LEN`](Self::MAX_LEN) characters, or has one that is neither visible ASCII nor a space.
    pub fn new(key: &str) -> Result<Self, Rejection> {
        if !(1..=Self::MAX_LEN).contains(&key.len()) {
            return Err(malformed("it must have 1 to 255 characters"));
        }
        if !key.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return Err(malformed("it is not visible ASCII"));
        }
        Ok(Self(key.into()))
    }

    /// Reads the value of the header.
    ///
    /// # Errors
    /// Returns [`RejectionKind::IdempotencyKeyMalformed`] if the value is not one string of a
    /// Structured Field, or is not a key.
    pub fn read(value: &[u8]) -> Result<Self, Rejection> {
        match usual(value) {
            Some(key) => Self::new(key),
            None => Self::read_any(value),
        }
    }

    fn read_any(value: &[u8]) -> Result<Self, Rejection> {
        let parsed = Parser::new(value).parse_item_with_visitor(OneString);
        let key = parsed.map_err(|_| {
            malformed("it is not one string of a Structured Field, such as `\"k-1\"`")
        })?;
        Self::new(&key)
    }

    /// Returns the key, without quotation marks.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the value of the header.
    ///
    /// ```
    /// use countersign::idempotency::IdempotencyKey;
    ///
    /// assert_eq!(IdempotencyKey::new("k-1")?.to_header(), r#""k-1""#);
    /// # Ok::<_, countersign::Rejection>(())
    /// ```
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a key is visible ASCII and spaces"
    )]
    pub fn to_header(&self) -> HeaderValue {
        let mut quoted = String::with_capacity(self.0.len() + 2);
        quoted.push('"');
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        quoted.push('"');
        HeaderValue::try_from(quoted).expect("a value of visible ASCII")
    }
}

/// The key in its usual form: nothing is escaped, and nothing is around the quotation marks.
fn usual(value: &[u8]) -> Option<&str> {
    let key = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let is_usual = |byte: &u8| (b' '..=b'~').contains(byte) && !matches!(byte, b'"' | b'\\');
    key.iter().all(is_usual).then_some(key)?;
    str::from_utf8(key).ok()
}

fn malformed(why: &str) -> Rejection {
    let detail = format!("`Idempotency-Key` cannot be read: {why}");
    Rejection::new(RejectionKind::IdempotencyKeyMalformed, detail)
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Takes a string, and passes over its parameters.
struct OneString;

/// It is not a string.
#[derive(Debug)]
struct Another;

impl fmt::Display for Another {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a string")
    }
}

impl std::error::Error for Another {}

impl<'de> ItemVisitor<'de> for OneString {
    type Out = String;
    type Error = Another;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = String>, Another> {
        match item {
            BareItemFromInput::String(key) => Ok(Parameters(key.as_str().to_owned())),
            _ => Err(Another),
        }
    }
}

struct Parameters(String);

impl<'de> ParameterVisitor<'de> for Parameters {
    type Out = String;
    type Error = Another;

    fn parameter(&mut self, _: &'de sfv::KeyRef, _: BareItemFromInput<'de>) -> Result<(), Another> {
        Ok(())
    }

    fn finish(self) -> Result<String, Another> {
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_one_string_is_read() {
        for (value, key) in [
            (r#""k""#, Some("k")),
            (r#" "a b" "#, Some("a b")),
            (r#""a\"b\\c""#, Some(r#"a"b\c"#)),
            (r#""k";v=1"#, Some("k")),
            (r#""""#, None),
            ("k", None),
            ("1", None),
            (":aGk=:", None),
            (r#""a", "b""#, None),
            (r#"("a")"#, None),
            (r#""a"#, None),
            (r#""a" b"#, None),
            (r#""a\n""#, None),
            ("\"\u{e9}\"", None),
            ("", None),
        ] {
            let read = IdempotencyKey::read(value.as_bytes()).ok();
            assert_eq!(read.as_ref().map(IdempotencyKey::as_str), key, "{value}");
        }
        let long = |len| IdempotencyKey::read(format!("\"{}\"", "k".repeat(len)).as_bytes());
        assert!(long(255).is_ok() && long(256).is_err());
    }

    proptest! {
        /// The parser of Structured Fields reads each text of the usual form, and to the same key.
        #[test]
        fn the_usual_form_is_read_as_any_other(value in "[\"a\\\\ ~;=\u{7f}\u{e9}]{0,12}|\"[ -~]{0,300}\"") {
            let key = |read: Result<IdempotencyKey, Rejection>| read.map_err(|error| error.kind());
            let any = key(IdempotencyKey::read_any(value.as_bytes()));
            prop_assert_eq!(key(IdempotencyKey::read(value.as_bytes())), any);
        }

        #[test]
        fn what_is_written_is_read_again(key in "[ -~]{1,255}") {
            let key = IdempotencyKey::new(&key).unwrap();
            prop_assert_eq!(IdempotencyKey::read(key.to_header().as_bytes()).unwrap(), key);
        }
    }
}
