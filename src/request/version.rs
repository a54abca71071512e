//! The version of a resource that a request was signed for, so that it is not changed as another.

use std::{fmt, str::FromStr};

use http::header::IF_MATCH;
use serde_json::Value;

use super::payload::VerifiedPayload;
use crate::{
    error::{Rejection, RejectionKind},
    message::json::leaf_at,
};

/// The version of a resource that a signed request is about, to be checked in the same statement or
/// transaction as the change.
///
/// It comes from a covered `If-Match` header, as a strong entity tag (`"7"`), or in a field of the
/// body. If there are several tags, one of them must be the current version. `*` and weak tags name
/// no version and do not count.
///
/// In Axum, `SignedVersion` is an extractor, which reads `If-Match`. With
/// [`Processing::InTransaction`](crate::Processing::InTransaction), read it from the payload,
/// because nothing can be read before the nonce is recorded.
///
/// Compare the current version where it is changed, and not earlier: another request may change the
/// row between a check and a later change.
///
/// ```
/// # #[cfg(feature = "postgres")] mod example {
/// use countersign::{Rejection, VerifiedPayload};
///
/// # enum Error { Refused(Rejection), Database(sqlx::Error) }
/// # impl From<Rejection> for Error { fn from(e: Rejection) -> Self { Self::Refused(e) } }
/// # impl From<sqlx::Error> for Error { fn from(e: sqlx::Error) -> Self { Self::Database(e) } }
/// async fn rename(
///     tx: &mut sqlx::PgTransaction<'_>,
///     payload: &VerifiedPayload,
///     (id, name): (i64, &str),
/// ) -> Result<(), Error> {
///     let version = payload.signed_version()?; // 428 without a version
///     let updated = sqlx::query(
///         "UPDATE documents SET name = $3, version = version + 1 WHERE id = $1 AND version = $2",
///     )
///     .bind(id)
///     .bind(version.parse::<i64>()?) // 412 if it is not a number
///     .bind(name)
///     .execute(&mut **tx)
///     .await?;
///     Ok(version.require_changed(updated.rows_affected())?) // 0 rows: 412
/// }
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SignedVersion {
    first: Box<str>,
    others: Vec<Box<str>>,
}

impl VerifiedPayload {
    /// Returns the version in the covered `If-Match` header.
    ///
    /// # Errors
    /// Returns 428, `version_required`, if the header is missing, cannot be read, is not covered,
    /// or has only `*` or weak tags.
    pub fn signed_version(&self) -> Result<SignedVersion, Rejection> {
        let mut tags = Vec::new();
        let values = self.covered_headers().filter(|(name, _)| name == IF_MATCH);
        for (_, value) in values {
            let value = value.as_bytes();
            if !read_tags(value, &mut tags) {
                let detail = format!(
                    "`if-match` is not a list of entity tags: {}",
                    value.escape_ascii()
                );
                return Err(Rejection::new(RejectionKind::VersionRequired, detail));
            }
        }
        let mut tags = tags.into_iter();
        let first = tags.next().ok_or_else(|| {
            Rejection::new(
                RejectionKind::VersionRequired,
                "no strong entity tag in a covered `if-match`",
            )
        })?;
        Ok(SignedVersion {
            first,
            others: tags.collect(),
        })
    }

    /// Returns the version in a field of the JSON body, such as `/version` (a JSON pointer, RFC
    /// 6901): a string that is not empty, or a whole number.
    ///
    /// # Errors
    /// Returns 428, `version_required`, if the body is not JSON, if the field is missing or has
    /// another type, or if an object has a name of the pointer twice: two readers could then see
    /// two versions.
    pub fn signed_version_at(&self, pointer: &str) -> Result<SignedVersion, Rejection> {
        let version = leaf_at(self.bytes(), pointer).map_err(|error| {
            Rejection::with_source(
                RejectionKind::VersionRequired,
                "the body is not JSON that can be read in only one way, so it names no version",
                error,
            )
        })?;
        let first = match version {
            Some(Value::String(version)) if !version.is_empty() => version.into(),
            Some(Value::Number(version)) if version.is_i64() || version.is_u64() => {
                version.to_string().into()
            }
            _ => {
                let detail = format!("no string or whole number at `{pointer}` of the body");
                return Err(Rejection::new(RejectionKind::VersionRequired, detail));
            }
        };
        Ok(SignedVersion {
            first,
            others: Vec::new(),
        })
    }
}

impl SignedVersion {
    /// Returns the versions that were signed, without their quotes: at least one.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.first)
            .chain(&self.others)
            .map(AsRef::as_ref)
    }

    /// Returns the signed version as a value of this type, such as a number.
    ///
    /// # Errors
    /// Returns 412, `version_mismatch`, if the version is not of this type, because it then cannot
    /// be the current one. Returns 428, `version_required`, if several versions were signed.
    pub fn parse<T: FromStr>(&self) -> Result<T, Rejection> {
        if !self.others.is_empty() {
            return Err(Rejection::new(
                RejectionKind::VersionRequired,
                format!("{self} are several versions; sign only one"),
            ));
        }
        self.first.parse().map_err(|_| {
            Rejection::new(
                RejectionKind::VersionMismatch,
                format!("{self} is not a version of this resource"),
            )
        })
    }

    /// Checks that the current version is one that was signed. Call it while the row is locked.
    ///
    /// # Errors
    /// Returns 412, `version_mismatch`, if the current version is not one that was signed.
    pub fn require(&self, present: impl AsRef<str>) -> Result<(), Rejection> {
        let present = present.as_ref();
        if self.iter().any(|signed| signed == present) {
            return Ok(());
        }
        let detail = format!("signed for {self}, the current version is \"{present}\"");
        Err(Rejection::new(RejectionKind::VersionMismatch, detail))
    }
}

/// As in `If-Match`.
impl fmt::Display for SignedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.first)?;
        self.others
            .iter()
            .try_for_each(|tag| write!(f, ", \"{tag}\""))
    }
}

impl fmt::Debug for SignedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedVersion({self})")
    }
}

/// Adds the strong tags of a list (RFC 9110, section 13.1.1) and passes over weak ones and `*`;
/// `false` where it is no such list.
fn read_tags(list: &[u8], strong: &mut Vec<Box<str>>) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        // A list may have empty members.
        while let [b',' | b' ' | b'\t', after @ ..] = rest {
            rest = after;
        }
        if rest.is_empty() {
            return true;
        }
        let is_weak = rest.starts_with(b"W/");
        let quoted = rest.strip_prefix(b"W/").unwrap_or(rest);
        let Some(opened) = quoted.strip_prefix(b"\"") else {
            return false;
        };
        let Some(end) = opened.iter().position(|byte| *byte == b'"') else {
            return false;
        };
        let (tag, closed) = opened.split_at(end);
        if !tag.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e)) {
            return false;
        }
        if !is_weak {
            strong.push(String::from_utf8_lossy(tag).into());
        }
        rest = closed.get(1..).unwrap_or_default().trim_ascii_start();
        if !(rest.is_empty() || rest.starts_with(b",")) {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strong(list: &str) -> Option<Vec<String>> {
        let mut tags = Vec::new();
        read_tags(list.as_bytes(), &mut tags).then(|| tags.into_iter().map(String::from).collect())
    }

    #[test]
    fn strong_tags_count_and_weak_ones_and_a_star_do_not() {
        for (list, expected) in [
            ("\"7\"", &["7"][..]),
            (" \"7\" , \"8\"", &["7", "8"]),
            ("W/\"7\", \"8\"", &["8"]),
            ("\"a,b\",,\"c\"", &["a,b", "c"]),
            ("\"*\"", &["*"]),
            ("\"W/\"", &["W/"]),
            ("\"\"", &[""]),
            ("W/\"7\"", &[]),
            ("*", &[]),
            ("", &[]),
        ] {
            assert_eq!(strong(list).unwrap(), expected, "{list}");
        }
    }

    #[test]
    fn what_is_no_list_of_tags_names_no_version() {
        for list in [
            "7",
            "\"7",
            "7\"",
            "\"7\"\"8\"",
            "\"7\" \"8\"",
            "w/\"7\"",
            "\"7\", *",
            "*, \"7\"",
            "\"7 8\"",
            "\"\u{e9}\"",
            "\"7\"x",
            "W/7",
        ] {
            assert_eq!(strong(list), None, "{list}");
        }
    }
}
