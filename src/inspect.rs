//! Reads the signatures of a request, and shows the signed message of each, piece by piece.
//!
//! This module is for tools that tell a person why a signature does not match. It verifies nothing:
//! it looks up no key, checks no time and claims nothing. Serve requests with a
//! [`Verifier`](crate::Verifier), whose stages ([`Verifier::parse`](crate::Verifier::parse) and
//! those after it) each say what they refuse.
//!
//! ```
//! use bytes::Bytes;
//! use countersign::{Signer, inspect::{Inspector, Source}, webhooks::Stripe};
//!
//! let secret = "whsec_the signing secret of the endpoint";
//! let signer = Signer::with_secret(Stripe::new(), secret)?;
//! let request = http::Request::post("/").body(Bytes::from("{}"))?;
//! let (head, body) = signer.sign(request)?.into_parts();
//!
//! let inspector = Inspector::new(Stripe::new());
//! let signatures = inspector.inspect(&head, &body)?;
//! let pieces = signatures[0].pieces();
//! assert_eq!(pieces[0].sources(), [Source::Time]);
//! assert_eq!(pieces[1].bytes(), b".");
//! assert_eq!(pieces[2].sources(), [Source::Body]);
//! assert!(signatures[0].matches(&inspector.read_secret(secret)?));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::fmt;

use bytes::Bytes;
use http::{HeaderName, request::Parts};

use crate::{
    clock::Timestamp,
    error::{ConfigError, Rejection, malformed},
    key::{MacAlgorithm, RunningMac, Secret},
    message::{
        BodyPlace, HashOutput, Head, Message, Origin, Origins, Part, RunningDigest, Supplied,
    },
    proof::{Candidate, Candidates, Room},
    routed::routed,
    scheme::{Describe, Reading, Scheme},
};

/// The least number of bytes of a MAC that count as a match: 128 bits.
const LEAST_MATCH: usize = 16;

/// Reads what requests are signed with, under one scheme.
pub struct Inspector {
    scheme: Box<dyn Describe>,
    origins: Origins,
    supplied: Supplied,
}

impl Inspector {
    /// Returns an inspector of requests under this scheme, for any authority.
    pub fn new(scheme: impl Scheme) -> Self {
        let mut origins = Origins::default();
        origins.allow_any();
        Self {
            scheme: Box::new(scheme.format()),
            origins,
            supplied: Supplied::new(),
        }
    }

    /// Sets the values that are signed and not sent:
    /// [`Part::supplied`](crate::Part::supplied). Default: none, so that a request under a scheme
    /// with such a part cannot be read.
    #[must_use]
    pub fn supplied(mut self, supplied: Supplied) -> Self {
        self.supplied = supplied;
        self
    }

    /// Adds an origin where clients reach the service, as
    /// [`public_origin`](crate::request::VerifierBuilder::public_origin) of a verifier does. Other
    /// authorities are still read.
    ///
    /// # Errors
    /// Returns an error if this is not an origin, or an authority that was added before.
    pub fn public_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        self.origins.add(Origin::parse(origin)?)?;
        Ok(self)
    }

    /// Returns the algorithm of the scheme's MACs.
    #[must_use]
    pub fn algorithm(&self) -> MacAlgorithm {
        self.scheme.profile().algorithm
    }

    /// Returns whether every signature of the scheme covers method and path. If not, the same
    /// signature passes at every place that has the secret.
    #[must_use]
    pub fn covers_place(&self) -> bool {
        self.scheme.profile().covers_place
    }

    /// Reads a secret in the form in which the scheme's provider shows it.
    ///
    /// # Errors
    /// Returns an error if the text is not such a secret.
    pub fn read_secret(&self, text: &str) -> Result<Secret, ConfigError> {
        self.scheme.read_secret(text)
    }

    /// Reads all signatures of a request, whatever their time and their key. Leaves out those that
    /// cannot be read, if others can.
    ///
    /// # Errors
    /// Returns the rejection of a verifier if the request has no signature, or if its signatures
    /// or what they cover cannot be read.
    pub fn inspect(&self, head: &Parts, body: &Bytes) -> Result<Vec<Inspected>, Rejection> {
        let mut head = self.origins.head(head, routed(head))?;
        head.supplied = Some(&self.supplied);
        let candidates: Candidates<'_> = match self.scheme.read(&head)? {
            Reading::InHead(candidates) => candidates,
            Reading::AfterBody(key_id) => {
                Candidates::from_vec(self.scheme.read_body(key_id.into_owned(), body)?)
            }
        };
        let names_key = self.scheme.names_key();
        let mut room = Room::new();
        let (mut inspected, mut refused) = (Vec::with_capacity(candidates.len()), None);
        for candidate in candidates {
            match self.build(candidate, &head, names_key, &mut room, body) {
                Ok(signature) => inspected.push(signature),
                Err(rejection) => refused = refused.or(Some(rejection)),
            }
        }
        match refused {
            Some(rejection) if inspected.is_empty() => Err(rejection),
            _ => Ok(inspected),
        }
    }

    fn build(
        &self,
        candidate: Candidate<'_>,
        head: &Head<'_>,
        names_key: bool,
        room: &mut Room,
        body: &Bytes,
    ) -> Result<Inspected, Rejection> {
        let Candidate {
            parameters,
            mac,
            message,
        } = candidate;
        let message = message(head, room)?;
        parameters.check(&message, names_key)?;
        let signed_body = message.rewrite_body(body).map_err(malformed)?;
        Ok(Inspected {
            algorithm: self.algorithm(),
            key_id: parameters.key_id.into_owned(),
            signed_at: parameters.signed_at,
            mac,
            message,
            signed_body: signed_body.unwrap_or_else(|| body.clone()),
        })
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

/// A signature as a request claims it, with its signed message. Nothing of it is believed.
pub struct Inspected {
    algorithm: MacAlgorithm,
    key_id: String,
    signed_at: Option<Timestamp>,
    mac: HashOutput,
    message: Message,
    signed_body: Bytes,
}

impl Inspected {
    /// Returns the key id that the signature is under.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Returns the signed time. `None` if the head of the request says none.
    #[must_use]
    pub fn signed_at(&self) -> Option<Timestamp> {
        self.signed_at
    }

    /// Returns the MAC that the request claims.
    #[must_use]
    pub fn mac(&self) -> &[u8] {
        self.mac.as_ref()
    }

    /// Returns the signed message as a verifier builds it, piece by piece, in order.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece<'_>> {
        let pieces = self
            .message
            .pieces()
            .into_iter()
            .map(|piece| match piece.bytes {
                Some(bytes) => Piece {
                    sources: piece.parts.into_iter().map(Source::of).collect(),
                    bytes,
                },
                None => Piece {
                    sources: vec![Source::Body],
                    bytes: &self.signed_body,
                },
            });
        pieces.collect()
    }

    /// Returns whether the MAC is that of the message under this secret, compared in constant time.
    /// If the message holds digests of the body, they are compared by
    /// [`digests_match`](Self::digests_match).
    #[must_use]
    pub fn matches(&self, secret: &Secret) -> bool {
        let pieces = self.pieces();
        let message: Vec<&[u8]> = pieces.iter().map(Piece::bytes).collect();
        matches(self.algorithm, secret, &message, self.mac())
    }

    /// Returns whether the digests that the message holds are those of this body, compared in
    /// constant time. `None` if the message holds the body itself.
    #[must_use]
    pub fn digests_match(&self, body: &[u8]) -> Option<bool> {
        let BodyPlace::Digests(digests) = self.message.body_place() else {
            return None;
        };
        if digests.is_empty() {
            return Some(body.is_empty());
        }
        Some(digests.iter().all(|claimed| {
            let mut digest = RunningDigest::new(claimed.algorithm);
            digest.update(body);
            digest.verify(&claimed.claimed)
        }))
    }
}

/// Without the bytes, which may be confidential.
impl fmt::Debug for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspected")
            .field("key_id", &self.key_id)
            .field("signed_at", &self.signed_at)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

/// A piece of a signed message: its bytes, and what of the request they are.
#[derive(Clone)]
pub struct Piece<'m> {
    sources: Vec<Source>,
    bytes: &'m [u8],
}

impl<'m> Piece<'m> {
    /// Returns the parts of the request that the piece holds: several if one text holds several
    /// parts, and none if the piece is fixed text, or a part in a form that covers nothing.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Returns the bytes, as they go into the MAC.
    #[must_use]
    pub fn bytes(&self) -> &'m [u8] {
        self.bytes
    }
}

/// Without the bytes, which may be confidential.
impl fmt::Debug for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Piece")
            .field("sources", &self.sources)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// A part of a request, as a signed message holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The method.
    Method,
    /// The authority, in lower case and without the default port.
    Authority,
    /// The path, with its percent-encoding.
    Path,
    /// The query.
    Query,
    /// The value of this header.
    Header(HeaderName),
    /// The member with this key of a header that is a dictionary.
    Member(HeaderName, String),
    /// The parameter of the query with this name, decoded.
    QueryParam(String),
    /// The signed time.
    Time,
    /// When the signature expires by its own word.
    Expires,
    /// The nonce or event id.
    Nonce,
    /// The key id.
    KeyId,
    /// A value of this name that is signed and not sent.
    Supplied(String),
    /// The body, in the form in which it is signed.
    Body,
}

impl Source {
    fn of(part: &Part) -> Self {
        match part {
            Part::Method => Self::Method,
            Part::Authority => Self::Authority,
            Part::Path => Self::Path,
            Part::Query => Self::Query,
            Part::Header(name) => Self::Header(name.clone()),
            Part::Member(member) => Self::Member(member.0.clone(), member.1.to_string()),
            Part::QueryParam(name) => Self::QueryParam(name.to_string()),
            Part::Time(_) => Self::Time,
            Part::Expires(_) => Self::Expires,
            Part::Nonce => Self::Nonce,
            Part::KeyId => Self::KeyId,
            Part::Supplied(name) => Self::Supplied(name.to_string()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method => f.write_str("method"),
            Self::Authority => f.write_str("authority"),
            Self::Path => f.write_str("path"),
            Self::Query => f.write_str("query"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Member(name, key) => write!(f, "member {key} of header {name}"),
            Self::QueryParam(name) => write!(f, "query parameter {name}"),
            Self::Time => f.write_str("time"),
            Self::Expires => f.write_str("time of expiry"),
            Self::Nonce => f.write_str("nonce"),
            Self::KeyId => f.write_str("key id"),
            Self::Supplied(name) => write!(f, "supplied value {name}"),
            Self::Body => f.write_str("body"),
        }
    }
}

/// Returns whether this is the MAC of the message under the secret, or its first 16 bytes or more:
/// compared in constant time. The message comes in any number of slices.
///
/// A verifier accepts nothing but whole MACs. A tool that looks for the cause of a mismatch also
/// learns from one that is cut off; 128 bits do not agree by chance.
#[must_use]
pub fn matches(algorithm: MacAlgorithm, secret: &Secret, message: &[&[u8]], mac: &[u8]) -> bool {
    if !(LEAST_MATCH..=algorithm.mac_len()).contains(&mac.len()) {
        return false;
    }
    // For one message: a key schedule of each algorithm would not be used again.
    let mut running = RunningMac::new(algorithm, secret.expose());
    for slice in message {
        running.update(slice);
    }
    running.verify_left(&HashOutput::new(mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_matches_whole_or_by_its_first_16_bytes_at_least() {
        // RFC 4231, test case 2.
        let mac = b"\x5b\xdc\xc1\x46\xbf\x60\x75\x4e\x6a\x04\x24\x26\x08\x95\x75\xc7\
                    \x5a\x00\x3f\x08\x9d\x27\x39\x83\x9d\xec\x58\xb9\x64\xec\x38\x43";
        let secret = Secret::danger_short("Jefe").unwrap();
        let message: &[&[u8]] = &[b"what do ya want ", b"for nothing?"];
        let is = |mac: &[u8]| matches(MacAlgorithm::HmacSha256, &secret, message, mac);
        for len in 0..=32 {
            assert_eq!(is(&mac[..len]), len >= LEAST_MATCH, "{len}");
        }
        let mut wrong = *mac;
        wrong[15] ^= 1;
        assert!(!is(&wrong) && !is(&wrong[..16]));
        assert!(!is(&[mac.as_slice(), &[0]].concat()), "longer than a MAC");
    }
}
