//! RFC 9421, as a scheme.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};

use super::{canonical::FieldType, component::Identifier};
use crate::{message::DigestAlgorithm, scheme::Profile};

/// The only algorithm of RFC 9421 with a shared secret.
pub(super) const ALGORITHM: &str = "hmac-sha256";

/// HTTP Message Signatures (RFC 9421) with `hmac-sha256`, and `Content-Digest` (RFC 9530) for the
/// body: the scheme to use between services.
///
/// ```
/// # use countersign::{HttpMessageSignatures, KeyRing, MemoryStore, Signer, VerifyLayer};
/// let layer = VerifyLayer::builder(HttpMessageSignatures::default())
///     .public_origin("https://api.example.com")
///     .keys(KeyRing::new().with("partner-1", "the secret of partner 1")?)
///     .store(MemoryStore::new())
///     .build()?;
///
/// let signer = Signer::new(HttpMessageSignatures::default(), "partner-1", "the secret of partner 1")?;
/// let request = http::Request::post("https://api.example.com/transfer").body("{}")?;
/// let signed = signer.sign(request)?;
/// assert!(signed.headers().contains_key("signature-input"));
/// assert!(signed.headers().contains_key("content-digest"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Requirements of the default profile
/// | covered | |
/// | --- | --- |
/// | `@method`, `@authority`, `@path`, `@query` | always; `@target-uri` or `@request-target` may replace them |
/// | `content-digest` | with a body, and if the request has the field; each sha-256 and sha-512 must match |
/// | `content-type`, `content-encoding` | if the request has them |
/// | `created`, `keyid`, `nonce` | always |
///
/// More may be covered: every derived component of a request, `@query-param`, and fields in each of
/// their forms (`sf`, `key`, `bs`). The [`VerifiedPayload`](crate::VerifiedPayload) tells exactly
/// what the signature covers; another profile is made by [`builder`](Self::builder).
///
/// A `content-encoding` of only `identity` counts as absent.
///
/// The MAC is compared before any of the body is read. If `alg` is present, it must be
/// `hmac-sha256`. The name of a label does not matter, but a label in only one of `signature` and
/// `signature-input` makes the request malformed (RFC 9421, section 4). If signatures have no
/// `keyid`, because both sides agreed on one key, set
/// [`fixed_key_id`](super::HttpMessageSignaturesBuilder::fixed_key_id). If there are several
/// signatures, only those under a known key count, and only those with the configured
/// [`tag`](super::HttpMessageSignaturesBuilder::tag), or without a tag if none is configured.
///
/// Up to 16 signatures in 16 KiB are read, each with 64 components and parameters. A signed message
/// is built only for a signature that is fresh and under a known key. For one head, fields and
/// query of 64 KiB are read for messages, and 64 KiB go into MACs, over all signatures and secrets.
/// Anything beyond is refused.
///
/// # Other languages
/// [Short programs](crate::guide::other_languages) in Python, Node, PHP, Ruby, Go, Java, and for curl
/// sign under the default profile.
///
/// # curl
/// curl signs since 8.22 (if it was built with HTTP Message Signatures), without a nonce and without
/// a digest of its own. A profile [without a
/// nonce](super::HttpMessageSignaturesBuilder::danger_without_nonce) verifies its requests, if curl
/// is told to cover what the profile requires:
///
/// ```sh
/// digest=$(printf %s "$body" | openssl dgst -sha256 -binary | base64)
/// curl --httpsig-algo hmac-sha256 --httpsig-key @secret.hex --httpsig-keyid partner-1 \
///     --httpsig-headers "method authority path query content-type: content-digest:" \
///     -H "Content-Type: application/json" -H "Content-Digest: sha-256=:$digest:" \
///     --data-binary "$body" https://api.example.com/transfer
/// ```
///
/// `secret.hex` is the secret in hexadecimal digits
/// ([`Secret::from_hex`](crate::Secret::from_hex)). Two equal requests within one
/// second count as one.
///
/// # Responses
/// [`SignResponseLayer`](crate::response::SignResponseLayer) and
/// [`VerifyResponseLayer`](crate::response::VerifyResponseLayer) sign and verify responses under
/// the same profile. A response covers
///
/// | of | covered | |
/// | --- | --- | --- |
/// | the response | `@status` | always |
/// | | `content-digest` | with a body, and if the response has the field |
/// | | `content-type`, `content-encoding`, `content-range`, `location` | if the response has them |
/// | | `countersign-outcome`, `countersign-received` | if the response has them; our servers always write the first |
/// | the request | `@method`, `@authority`, `@path`, `@query` | always |
/// | | `content-digest` | if the request has the field |
/// | | one signature, and its member of `signature-input` | if the request is signed |
/// | the signature | `created`, `keyid` | always |
///
/// and what [`response_covers`](super::HttpMessageSignaturesBuilder::response_covers) adds. The
/// request's signature binds the response to this request, and to no other with the same content.
/// The rest of the request is covered too, because a server also answers requests whose signature
/// it has not verified, or has refused: otherwise somebody could send our signature with a request
/// of their own, and present the answer as the answer to our request. If a request has several
/// signatures, the response covers the one that was verified. If none was, it covers the one under
/// the [`label`](super::HttpMessageSignaturesBuilder::label) of the profile, or the first.
///
/// ## Statements of a response
/// Somebody on the way can alter uncovered parts of the request, or its body, so that the server
/// refuses it, and can deliver the genuine request later. So a refusal alone is not final. Two
/// fields of the response, which the server writes and covers, say what is final:
///
/// | field | value | meaning |
/// | --- | --- | --- |
/// | `countersign-outcome` | `used` | the nonce of this signed request is recorded for good: final |
/// | | `never;since=1700000307` | since that time, in seconds, no server of the namespace accepts this signed request, and none ever will |
/// | | `open`, any other value, or no field | nothing is final |
/// | `countersign-received` | `sha-256=:…:`, or `sha-512=:…:` | the digest of the whole body that the server received |
/// | | no field | the server read no body, or it broke off, or was refused before its end |
///
/// A server states `used` when the nonce was recorded: with
/// [`Retryable`](crate::Processing::Retryable), once the request is completed, and with
/// [`InTransaction`](crate::Processing::InTransaction), once it is known that the transaction was
/// committed. It states `never` when the request is older than `max_age`, the clock difference and
/// the time for a claim together, or when the store says that its refusal [is
/// final](crate::error::StoreError::for_good_since), as `MemoryStore` and `SqliteStore` do.
/// Everything else is `open`: other refusals, a lease that was released, a store that gave no
/// answer, and a profile without `created`.
///
/// A request that is refused for good may have been accepted before, and somebody may have held its
/// first response back. So a client believes `never` only if it sent the request after that time,
/// by the clock of the server: after the signed time of the response less the time for which the
/// request was on its way. A client refuses a response whose `countersign-received` contradicts the
/// `content-digest` of its request. [`SignedBy::outcome`](crate::response::SignedBy::outcome)
/// returns the outcome after these checks.
///
/// # Limits
/// RFC 9421 gives some different requests one signed message, and no verifier can distinguish them:
/// - `/x` and `/x?`: `@query` is `?` for both, and the payload's query is empty for both;
/// - a field in two lines, and in one line with `, ` between them, and with white space around
///   either; the payload has the one line;
/// - with `sf` and `key`, spellings of one structured field; the payload has the strict one;
/// - with `@query-param`, spellings of one parameter (`%61` for `a`, `+` for `%20`), its place in
///   the query, and all other parameters.
///
/// A signature has several spellings too: another label, spaces, zeros in front of a number, and
/// the padding of a byte sequence. They make no second request.
#[derive(Clone, Debug)]
pub struct HttpMessageSignatures(pub(super) Arc<Settings>);

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) label: String,
    pub(super) tag: Option<String>,
    /// The key id of signatures that name none.
    pub(super) key_id: Option<String>,
    /// The components that every signature must cover.
    pub(super) required: Vec<Identifier<'static>>,
    /// The components that must be covered whenever the request has them.
    pub(super) if_present: Vec<HeaderName>,
    /// The same of responses: `@status`, and what a profile adds, of the response and its request.
    pub(super) response_required: Vec<Identifier<'static>>,
    pub(super) response_if_present: Vec<HeaderName>,
    pub(super) nonce_required: bool,
    pub(super) digest: DigestAlgorithm,
    pub(super) expires_after: Option<Duration>,
    pub(super) types: Vec<(HeaderName, FieldType)>,
    /// The challenges of a 401, by which of `if_present` a request has: the first is bit 0. The last bit
    /// is that of `idempotency-key`.
    pub(super) accept: [HeaderValue; 8],
    pub(super) profile: Profile,
}
