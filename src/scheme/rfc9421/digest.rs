//! `Content-Digest` (RFC 9530): the digests of the body in the head.

use std::convert::Infallible;

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{
    KeyRef, Parser,
    visitor::{DictionaryVisitor, EntryVisitor},
};
use smallvec::smallvec;

use super::{
    canonical::Why,
    fields::{BytesVisitor, check_length, joined, usual_bytes},
    names::CONTENT_DIGEST,
};
use crate::message::{
    BodyDigest, BodyDigests, DigestAlgorithm, Encoding, HashOutput, RunningDigest,
};

/// Algorithms that one field may name, those that are not supported among them.
const MAX_ALGORITHMS: usize = 16;

impl DigestAlgorithm {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
        }
    }

    const fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// The digests under algorithms that we support, each of which must match; `None` where there is
/// no such field. Others, such as `md5`, prove nothing and are passed over.
pub(crate) fn read(headers: &HeaderMap) -> Result<Option<BodyDigests>, Why> {
    read_field(headers, &CONTENT_DIGEST)
}

/// The same of another field of this form.
pub(super) fn read_field(
    headers: &HeaderMap,
    name: &HeaderName,
) -> Result<Option<BodyDigests>, Why> {
    let Some(field) = joined(headers, name)? else {
        return Ok(None);
    };
    check_length(&field)?;
    if let Some((key, claimed)) = usual_bytes(&field)
        && let Some(algorithm) = supported(key)
        && claimed.as_ref().len() == algorithm.len()
    {
        return Ok(Some(smallvec![BodyDigest { algorithm, claimed }]));
    }
    let mut members = Members {
        found: Vec::with_capacity(2),
        fault: None,
    };
    Parser::new(&*field)
        .parse_dictionary_with_visitor(&mut members)
        .map_err(|error| format!("`{name}` cannot be read: {error}"))?;
    if let Some(fault) = members.fault {
        return Err(fault);
    }
    let mut digests = BodyDigests::new();
    for (key, value) in members.found {
        let Some(algorithm) = supported(key) else {
            continue;
        };
        let claimed = value.filter(|value| value.as_ref().len() == algorithm.len());
        digests.push(BodyDigest {
            algorithm,
            claimed: claimed
                .ok_or_else(|| format!("`{name}`: `{key}` is not a digest of that algorithm"))?,
        });
    }
    Ok(Some(digests))
}

fn supported(name: &str) -> Option<DigestAlgorithm> {
    let algorithms = [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512];
    algorithms.into_iter().find(|known| known.name() == name)
}

/// The field that tells the digest of this body.
pub(crate) fn write(algorithm: DigestAlgorithm, body: &[u8]) -> Option<HeaderValue> {
    let mut digest = RunningDigest::new(algorithm);
    digest.update(body);
    value(algorithm, &digest.finish())
}

/// The value of a field that tells this digest.
pub(super) fn value(algorithm: DigestAlgorithm, digest: &HashOutput) -> Option<HeaderValue> {
    let digest = Encoding::Base64.encode(digest.as_ref());
    format!("{}=:{digest}:", algorithm.name()).parse().ok()
}

struct Members<'de> {
    found: Vec<(&'de str, Option<HashOutput>)>,
    fault: Option<Why>,
}

impl<'de> DictionaryVisitor<'de> for &mut Members<'de> {
    type Out = ();
    type Error = Infallible;

    fn entry(&mut self, name: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        let name = name.as_str();
        if self.fault.is_some() {
            return Ok(None);
        }
        if self.found.iter().any(|(other, _)| *other == name) {
            self.fault = Some(format!("`content-digest` names `{name}` twice").into());
        } else if self.found.len() == MAX_ALGORITHMS {
            let fault = format!("`content-digest` names more than {MAX_ALGORITHMS} algorithms");
            self.fault = Some(fault.into());
        }
        if self.fault.is_some() {
            return Ok(None);
        }
        self.found.push((name, None));
        Ok(self.found.last_mut().map(|(_, value)| BytesVisitor(value)))
    }

    fn finish(self) -> Result<(), Infallible> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[&'static str]) -> Result<Option<Vec<DigestAlgorithm>>, Why> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CONTENT_DIGEST, HeaderValue::from_static(line));
        }
        let digests = read(&headers)?;
        Ok(digests.map(|digests| digests.iter().map(|digest| digest.algorithm).collect()))
    }

    const SHA256: &str = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
    const MD5: &str = "md5=:Sd/dVLAcvNLSq16eXua5uQ==:";

    #[test]
    fn digests_that_prove_something_are_read_and_others_passed_over() {
        use DigestAlgorithm::Sha256;
        assert_eq!(fields(&[]).unwrap(), None);
        assert_eq!(fields(&[MD5]).unwrap(), Some(vec![]));
        assert_eq!(fields(&[SHA256, MD5]).unwrap(), Some(vec![Sha256]));
    }

    #[test]
    fn digests_that_have_two_readings_or_none_are_refused() {
        for lines in [
            &[SHA256, SHA256] as &[_],
            &[MD5, MD5],
            &["sha-256=:YQ==:"],
            &["sha-256"],
            &["sha-256=(:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:)"],
            &["sha-512=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"],
            // As RFC 9530 prints it in B.5, B.6, B.11 and C.1: with surplus padding.
            &["sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg==:"],
            &["sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:,"],
        ] {
            assert!(fields(lines).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn what_is_written_is_what_rfc_9530_prints() {
        let written = write(DigestAlgorithm::Sha256, br#"{"hello": "world"}"#).unwrap();
        assert_eq!(written, SHA256);
    }
}
