//! Values that are signed and not sent: each side takes them from its own state.

use std::fmt;

/// Values that are signed and not sent, by name: a [`Part::supplied`](crate::Part::supplied) of the
/// signed message. The sender signs the version that it has read. The receiver supplies the version
/// of its own locked row, and the MAC matches only if both are the same.
///
/// Each value is 1 to 256 visible ASCII characters; with any other, signing fails, and verifying
/// fails closed. A value that no part names is ignored.
///
/// A [`Signer`](crate::Signer) and a [`SignLayer`](crate::SignLayer) find the values in the
/// extensions of the request:
///
/// ```
/// use countersign::{HeaderScheme, Part, Signer, request::Supplied};
///
/// let scheme = HeaderScheme::builder("x-signature")
///     .fixed_key_id("partner-1")
///     .time("x-timestamp")
///     .nonce("x-nonce")
///     .signs(Part::lines([
///         Part::Method, Part::Path, Part::supplied("version"),
///         Part::Time, Part::Nonce, Part::Body,
///     ]))
///     .build()?;
/// let signer = Signer::new(scheme, "partner-1", "the secret of partner 1")?;
///
/// let request = http::Request::put("https://api.example.com/documents/1")
///     .extension(Supplied::new().with("version", "7"))
///     .body(r#"{"title":"New"}"#)?;
/// let signed = signer.sign(request)?;
/// assert!(signed.headers().values().all(|value| value != "7"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Supplied(Vec<(Box<str>, Box<str>)>);

impl Supplied {
    /// The greatest length of a value, in bytes.
    const MAX_LEN: usize = 256;

    /// Returns no values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value, or replaces the one of this name.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a version is a number or a new text"
    )]
    pub fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        let name = name.into().into_boxed_str();
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value.to_string().into()));
        self
    }

    /// Returns the value of this name, or says why it cannot be signed. The text never has the
    /// value.
    pub(crate) fn value(&self, name: &str) -> Result<&str, String> {
        let known = self.0.iter().find(|(known, _)| **known == *name);
        let (_, value) = known.ok_or_else(|| format!("no value is supplied for `{name}`"))?;
        let is_plain = value.bytes().all(|byte| byte.is_ascii_graphic());
        if is_plain && (1..=Self::MAX_LEN).contains(&value.len()) {
            return Ok(value);
        }
        Err(format!(
            "the value that is supplied for `{name}` is not 1 to {} visible ASCII characters",
            Self::MAX_LEN
        ))
    }
}

/// Without the values, which nobody has sent.
impl fmt::Debug for Supplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|(name, _)| name);
        f.debug_tuple("Supplied")
            .field(&names.collect::<Vec<_>>())
            .finish()
    }
}
