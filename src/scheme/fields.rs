//! The header fields of a scheme: how they are read and written.

use http::{HeaderName, HeaderValue};

use crate::{
    error::{Fault, FaultKind, SignError, malformed},
    key::MacAlgorithm,
    message::{Encoding, HashOutput, Head, MAX_LEN},
};

/// The greatest length of a nonce, in bytes.
pub(super) const MAX_NONCE: usize = 256;

/// The header of the signature: a request without it is not signed.
pub(super) fn signature<'h>(
    head: &Head<'h>,
    header: &HeaderName,
) -> Result<&'h HeaderValue, Fault> {
    head.single(header)?.ok_or_else(|| missing(header))
}

/// Returns what a request without a signature is refused for.
pub(super) fn missing(header: &HeaderName) -> Fault {
    Fault::new(FaultKind::Missing, format!("header `{header}` is missing"))
}

/// A header beside the signature.
pub(super) fn required<'h>(head: &Head<'h>, name: &HeaderName) -> Result<&'h HeaderValue, Fault> {
    head.single(name)?
        .ok_or_else(|| malformed(format!("header `{name}` is missing")))
}

pub(super) fn check_nonce(name: &HeaderName, nonce: &[u8]) -> Result<(), Fault> {
    // Without a way out of the loop, so that it takes many bytes at a time.
    let plain = |nonce: &[u8]| nonce.iter().fold(true, |all, b| all & b.is_ascii_graphic());
    if (1..=MAX_NONCE).contains(&nonce.len()) && plain(nonce) {
        return Ok(());
    }
    Err(malformed(format!(
        "header `{name}` is not 1 to {MAX_NONCE} visible characters"
    )))
}

/// Reads a MAC of exactly the length that the algorithm has.
pub(super) fn decode_mac(
    algorithm: MacAlgorithm,
    encoding: Encoding,
    text: &[u8],
) -> Option<HashOutput> {
    let mut bytes = [0; MAX_LEN];
    let mac = bytes.get_mut(..algorithm.mac_len())?;
    encoding.decode_exact(text, mac)?;
    Some(HashOutput::new(mac))
}

/// Says how a MAC is written, in the words of an error.
pub(super) fn mac_form(prefix: &str, algorithm: MacAlgorithm, encoding: Encoding) -> String {
    let prefix = match prefix {
        "" => String::new(),
        prefix => format!("`{prefix}` and "),
    };
    let (length, encoding) = (algorithm.mac_len(), encoding.name());
    format!("{prefix}a MAC of {length} bytes in {encoding}")
}

pub(super) fn header_value(bytes: &[u8]) -> Result<HeaderValue, SignError> {
    HeaderValue::from_bytes(bytes).map_err(|_| SignError::new("a value that no header can carry"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_a_prefix_only_if_the_scheme_has_one() {
        let form = |prefix| mac_form(prefix, MacAlgorithm::HmacSha256, Encoding::Hex);
        assert_eq!(form(""), "a MAC of 32 bytes in hex");
        assert_eq!(form("sha256="), "`sha256=` and a MAC of 32 bytes in hex");
    }
}
