//! The digest that a file must have, and where it comes from.

use std::fmt;

use subtle::ConstantTimeEq as _;

use crate::{
    error::{ConfigError, ConfigErrorKind, Rejection, RejectionKind},
    message::{
        encoding::{decode_base64, decode_hex},
        json::leaf_at,
    },
    proof::Proven,
};

/// The SHA-256 that a file must have: signed with the request, or kept by the application.
///
/// It is given as 64 hexadecimal digits, as base64, or as the value of a `Repr-Digest` header (RFC
/// 9530): `sha-256=:…:`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileDigest([u8; 32]);

impl FileDigest {
    /// Takes the 32 bytes of a digest that the application keeps, such as in a row of its database.
    #[must_use]
    pub fn new(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// Reads a digest that the application keeps as text.
    ///
    /// # Errors
    /// Returns an error if the text is not a SHA-256 in one of the forms above.
    pub fn parse(text: impl AsRef<str>) -> Result<Self, ConfigError> {
        read(text.as_ref().as_bytes()).ok_or_else(|| ConfigErrorKind::FileDigest.into())
    }

    /// Reads the digest from a header that the signature covers.
    ///
    /// # Errors
    /// Returns 400, `file_digest_missing`, if the header is missing, not covered, or has no digest.
    pub fn in_header(request: &impl AsRef<Proven>, name: &str) -> Result<Self, Rejection> {
        let value = request.as_ref().header(name);
        let digest = value.and_then(|value| read(value.as_bytes()));
        digest.ok_or_else(|| missing(format_args!("no digest in a covered header `{name}`")))
    }

    /// Reads the digest from a field of the JSON body, such as `/sha256` (a JSON pointer, RFC
    /// 6901).
    ///
    /// # Errors
    /// Returns 400, `file_digest_missing`, if the body is not JSON, if the field is missing or has
    /// no digest, or if an object has a name of the pointer twice.
    pub fn in_field(request: &impl AsRef<Proven>, pointer: &str) -> Result<Self, Rejection> {
        let found = leaf_at(request.as_ref().bytes(), pointer).ok().flatten();
        let digest = found
            .as_ref()
            .and_then(|value| read(value.as_str()?.as_bytes()));
        digest.ok_or_else(|| missing(format_args!("no digest at `{pointer}` of the body")))
    }

    /// Reads the digest from a segment of the path, if the signature covers the path: of
    /// `/files/9f86…/report.pdf`, segment 1. The first one is segment 0.
    ///
    /// # Errors
    /// Returns 400, `file_digest_missing`, if the path is not covered, has no such segment, or the
    /// segment has no digest.
    pub fn in_path(request: &impl AsRef<Proven>, segment: usize) -> Result<Self, Rejection> {
        let path = request.as_ref().path().unwrap_or_default();
        let found = path.split('/').skip(1).nth(segment);
        let digest = found.and_then(|found| read(found.as_bytes()));
        digest.ok_or_else(|| {
            missing(format_args!(
                "no digest in segment {segment} of a covered path"
            ))
        })
    }

    pub(super) fn is(&self, digest: &[u8; 32]) -> bool {
        self.0.ct_eq(digest).into()
    }
}

fn read(text: &[u8]) -> Option<FileDigest> {
    let item = text
        .strip_prefix(b"sha-256=:")
        .and_then(|rest| rest.strip_suffix(b":"));
    let bytes = match (item, text.len()) {
        (Some(item), _) => decode_base64(item)?,
        (None, 64) => decode_hex(text)?,
        (None, _) => decode_base64(text)?,
    };
    bytes.try_into().map(FileDigest).ok()
}

fn missing(detail: fmt::Arguments<'_>) -> Rejection {
    Rejection::new(RejectionKind::FileDigestMissing, detail.to_string())
}

impl fmt::Debug for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileDigest({self})")
    }
}

/// As 64 hexadecimal digits.
impl fmt::Display for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_in_three_forms_and_nothing_else_is_one() {
        let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let base64 = "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=";
        let header = format!("sha-256=:{base64}:");
        for text in [hex, base64, &header, &hex.to_uppercase()] {
            let digest = FileDigest::parse(text).unwrap();
            assert_eq!(digest.to_string(), hex, "{text}");
        }
        for text in [
            "",
            "sha-256=::",
            &hex[1..],
            &hex[2..],
            &base64[4..],
            "sha-512=:AAAA:",
            &format!("{hex}0"),
        ] {
            let refused = FileDigest::parse(text).unwrap_err();
            assert_eq!(refused.kind(), &ConfigErrorKind::FileDigest, "{text}");
        }
    }
}
