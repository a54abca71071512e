//! `HttpMessageSignatures`: RFC 9421 with hmac-sha256, and the digest of RFC 9530 for the body.

use std::{borrow::Cow, fmt::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, request::Parts};
use sfv::{BareItemFromInput, StringRef};

use super::{
    BodyDigest, Candidate, Coverage, Describe, Head, Parameters, Profile, Reading, Signing,
    SigningInput,
};
use crate::{
    clock::Timestamp,
    encoding::Encoding,
    error::SignError,
    key::KeyId,
    mac::{DigestAlgorithm, HashOutput},
    nonce::NonceKind,
    rejection::{Rejection, RejectionKind, malformed},
    target::Target,
};

mod accept;
mod base;
mod builder;
mod canonical;
mod component;
mod digest;
mod fields;
mod query;
#[cfg(test)]
mod tests;

pub use accept::AcceptSignature;
pub use builder::HttpMessageSignaturesBuilder;
pub use canonical::FieldType;
pub use component::Component;
pub(crate) use fields::ACCEPT_SIGNATURE;

use base::Message;
use component::{Fault, Identifier, Name};
use fields::{CONTENT_DIGEST, Input, Member, SIGNATURE, SIGNATURE_INPUT, joined};

/// The only algorithm of RFC 9421 with a shared secret.
const ALGORITHM: &str = "hmac-sha256";

/// The greatest length of a nonce, in bytes.
const MAX_NONCE: usize = 256;

/// HTTP Message Signatures (RFC 9421) with `hmac-sha256`, and `Content-Digest` (RFC 9530) for the
/// body: the scheme to use between services.
///
/// ```
/// # use countersign::*;
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
/// # What the default profile requires
/// | covered | |
/// | --- | --- |
/// | `@method`, `@authority`, `@path`, `@query` | always; `@target-uri` or `@request-target` may stand for what they hold |
/// | `content-digest` | with a body, and whenever the field is there; sha-256 or sha-512, and each of the two that is there has to match |
/// | `content-type`, `content-encoding` | whenever they are there |
/// | `created`, `keyid`, `nonce` | always |
///
/// More may be covered: every derived component of a request, `@query-param`, and fields in each of
/// their forms (`sf`, `key`, `bs`). What the signature covers is what the
/// [`VerifiedPayload`](crate::VerifiedPayload) tells; another profile is made by
/// [`builder`](Self::builder).
///
/// The MAC is compared before any of the body is read. `alg` has to be `hmac-sha256` where it is
/// given. Labels mean nothing. Of several signatures those under a known key count, and with
/// [`tag`](HttpMessageSignaturesBuilder::tag) those of that tag; without it, those that have none.
///
/// # What stays open
/// RFC 9421 signs some requests alike, and no verifier can tell them apart:
/// - `/x` and `/x?`: `@query` is `?` for both, and the payload's query is empty for both;
/// - a field in two lines, and in one line with `, ` between them; the payload has the one line;
/// - with `sf` and `key`, spellings of one structured field; the payload has the strict one;
/// - with `@query-param`, spellings of one parameter (`%61` for `a`, `+` for `%20`), its place in
///   the query, and all other parameters.
#[derive(Clone, Debug)]
pub struct HttpMessageSignatures(Arc<Settings>);

#[derive(Debug)]
struct Settings {
    label: String,
    tag: Option<String>,
    /// What every signature has to cover.
    required: Vec<Identifier<'static>>,
    /// What has to be covered whenever it is there.
    if_present: Vec<HeaderName>,
    nonce_required: bool,
    digest: DigestAlgorithm,
    expires_after: Option<Duration>,
    types: Vec<(HeaderName, FieldType)>,
    accept: HeaderValue,
    profile: Profile,
}

impl HttpMessageSignatures {
    /// Makes another profile than the default.
    pub fn builder() -> HttpMessageSignaturesBuilder {
        HttpMessageSignaturesBuilder::new()
    }
}

impl Settings {
    fn candidate(
        &self,
        head: &Head<'_>,
        input: &Input<'_>,
        mac: HashOutput,
        digests: Option<&[BodyDigest]>,
    ) -> Result<Candidate<'static>, Rejection> {
        let label = input.label;
        let parameters = self.parameters(input)?;
        let (message, coverage) = base::base(Message::Request(head), input, &self.types)
            .map_err(|fault| malformed(format!("signature `{label}`: {fault}")))?;
        self.check_coverage(head, input, &coverage, digests)?;
        Ok(Candidate {
            parameters,
            mac,
            input: SigningInput::Head {
                message,
                body: digests.unwrap_or_default().to_vec(),
            },
            coverage: Cow::Owned(coverage),
        })
    }

    fn parameters(&self, input: &Input<'_>) -> Result<Parameters<'static>, Rejection> {
        let label = input.label;
        let given = &input.parameters;
        if let Some(alg) = given.alg.as_deref().filter(|alg| *alg != ALGORITHM) {
            return Err(Rejection::new(
                RejectionKind::SignatureInvalid,
                format!("signature `{label}` is made with `{alg}`, and not with `{ALGORITHM}`"),
            ));
        }
        let lacks = |what| insufficient(format!("signature `{label}` has no `{what}`"));
        let key_id = given.key_id.as_deref().ok_or_else(|| lacks("keyid"))?;
        if !KeyId::is_valid(key_id.as_bytes()) {
            return Err(malformed(format!(
                "signature `{label}`: its `keyid` is not 1 to 128 visible characters"
            )));
        }
        if given.created.is_none() && self.profile.untimed_retention.is_none() {
            return Err(lacks("created"));
        }
        let time = |seconds: Option<u64>| match seconds.map(Timestamp::from_secs) {
            Some(None) => Err(malformed(format!(
                "signature `{label}`: a time that is out of range"
            ))),
            time => Ok(time.flatten()),
        };
        let nonce = match given.nonce.as_deref() {
            Some(nonce) => {
                check_nonce(nonce.as_bytes()).map_err(malformed)?;
                Some((NonceKind::Covered, Cow::Owned(nonce.as_bytes().to_vec())))
            }
            None if self.nonce_required => return Err(lacks("nonce")),
            None => None,
        };
        Ok(Parameters {
            key_id: Cow::Owned(key_id.to_owned()),
            signed_at: time(given.created)?,
            expires_at: time(given.expires)?,
            nonce,
        })
    }

    fn check_coverage(
        &self,
        head: &Head<'_>,
        input: &Input<'_>,
        coverage: &Coverage,
        digests: Option<&[BodyDigest]>,
    ) -> Result<(), Rejection> {
        let label = input.label;
        let covers = |wanted: &Identifier<'_>| match wanted.name {
            Name::Method => coverage.method,
            Name::Authority => coverage.authority,
            Name::Path => coverage.path,
            Name::Query => coverage.query,
            _ => input
                .components
                .iter()
                .any(|(covered, _)| covered.includes(wanted)),
        };
        if let Some(missing) = self.required.iter().find(|wanted| !covers(wanted)) {
            return Err(insufficient(format!(
                "signature `{label}` does not cover {missing}; it covers {}",
                input.text
            )));
        }
        for name in &self.if_present {
            if head.headers.contains_key(name) && !coverage.has_header(name) {
                return Err(insufficient(format!(
                    "signature `{label}` does not cover `{name}`, which is there"
                )));
            }
        }
        let Some(digests) = digests else {
            return Ok(());
        };
        let covered = |digest: &BodyDigest| coverage.has_digest(digest.algorithm);
        if digests.iter().any(covered) {
            Ok(())
        } else {
            Err(insufficient(format!(
                "signature `{label}` does not cover `content-digest` with sha-256 or sha-512"
            )))
        }
    }

    /// What a new signature covers and says about itself, as it stands in `Signature-Input`.
    fn describe(&self, parts: &Parts, signing: &Signing<'_>, nonce: &str) -> String {
        let mut text = String::from("(");
        let mut cover = |component: &dyn std::fmt::Display| {
            if text.len() > 1 {
                text.push(' ');
            }
            let _ = write!(text, "{component}");
        };
        for required in &self.required {
            cover(required);
        }
        for name in [&CONTENT_DIGEST].into_iter().chain(&self.if_present) {
            let identifier = Identifier {
                name: Name::Field(name.clone()),
                form: component::Form::Plain,
                req: false,
            };
            let covered = self.required.iter().any(|r| r.includes(&identifier));
            if parts.headers.contains_key(name) && !covered {
                cover(&identifier);
            }
        }
        text.push(')');
        let created = signing.now.as_secs();
        let _ = write!(text, ";created={created}");
        if let Some(expires_after) = self.expires_after {
            let expires = created.saturating_add(expires_after.as_secs());
            let _ = write!(text, ";expires={expires}");
        }
        push_string(&mut text, "nonce", nonce);
        push_string(&mut text, "alg", ALGORITHM);
        push_string(&mut text, "keyid", signing.key_id.as_str());
        if let Some(tag) = &self.tag {
            push_string(&mut text, "tag", tag);
        }
        text
    }
}

impl Coverage {
    fn has_digest(&self, algorithm: DigestAlgorithm) -> bool {
        self.has_header(&CONTENT_DIGEST) || self.has_member(&CONTENT_DIGEST, algorithm.name())
    }
}

/// A parameter that is a string; what such a string cannot hold was refused before.
fn push_string(to: &mut String, key: &str, value: &str) {
    if let Ok(value) = StringRef::from_str(value) {
        to.push(';');
        to.push_str(key);
        to.push('=');
        canonical::push_bare_item(to, &BareItemFromInput::String(Cow::Borrowed(value)));
    }
}

fn check_nonce(nonce: &[u8]) -> Result<(), Fault> {
    let plain = nonce.iter().all(|b| (0x20..0x7f).contains(b));
    if plain && (1..=MAX_NONCE).contains(&nonce.len()) {
        return Ok(());
    }
    Err(format!("the nonce is not 1 to {MAX_NONCE} characters of ASCII").into())
}

fn insufficient(detail: String) -> Rejection {
    Rejection::new(RejectionKind::SignatureInsufficient, detail)
}

fn missing(detail: impl Into<Cow<'static, str>>) -> Rejection {
    Rejection::new(RejectionKind::SignatureMissing, detail)
}

impl Describe for HttpMessageSignatures {
    fn profile(&self) -> &Profile {
        &self.0.profile
    }

    fn accept_signature(&self) -> Option<&HeaderValue> {
        Some(&self.0.accept)
    }

    fn read<'h>(&'h self, head: &Head<'h>, _: Option<&Bytes>) -> Result<Reading<'h>, Rejection> {
        let settings = &*self.0;
        let inputs = joined(head.headers, &SIGNATURE_INPUT).map_err(malformed)?;
        let signatures = joined(head.headers, &SIGNATURE).map_err(malformed)?;
        let (inputs, signatures) = match (&inputs, &signatures) {
            (Some(inputs), Some(signatures)) => (inputs, signatures),
            (None, None) => return Err(missing("there is no `signature-input`")),
            _ => return Err(malformed("only one of `signature-input` and `signature`")),
        };
        let inputs = fields::read_inputs(inputs).map_err(malformed)?;
        let signatures = fields::read_signatures(signatures).map_err(malformed)?;
        let digests = digest::read(head.headers).map_err(malformed)?;

        // A bad signature blocks nothing, as long as there is a good one.
        let mut candidates = Vec::with_capacity(1);
        let mut first_rejection = None;
        for (label, _) in &signatures {
            if !inputs.iter().any(|member| member.label == *label) {
                first_rejection.get_or_insert_with(|| {
                    malformed(format!(
                        "`signature` has `{label}`, `signature-input` has not"
                    ))
                });
            }
        }
        for Member { label, tag, input } in &inputs {
            if *tag != settings.tag.as_deref().map(Cow::Borrowed) {
                first_rejection.get_or_insert_with(|| settings.other_tag(label, tag.as_deref()));
                continue;
            }
            let mac = signatures.iter().find(|(other, _)| other == label);
            let candidate = match (input, mac) {
                (Ok(input), Some((_, Some(mac)))) => {
                    settings.candidate(head, input, *mac, digests.as_deref())
                }
                (Err(fault), _) => Err(malformed(format!("signature `{label}`: {fault}"))),
                (_, Some(_)) => Err(malformed(format!("signature `{label}` is no MAC"))),
                (_, None) => Err(malformed(format!(
                    "`signature-input` has `{label}`, `signature` has not"
                ))),
            };
            match candidate {
                Ok(candidate) => candidates.push(candidate),
                Err(rejection) => {
                    first_rejection.get_or_insert(rejection);
                }
            }
        }
        match first_rejection {
            Some(rejection) if candidates.is_empty() => Err(rejection),
            None if candidates.is_empty() => Err(missing("`signature-input` is empty")),
            _ => Ok(Reading::Candidates(candidates)),
        }
    }

    fn prepare(
        &self,
        parts: &mut Parts,
        signing: &Signing<'_>,
    ) -> Result<Candidate<'static>, SignError> {
        let settings = &*self.0;
        let nonce = std::str::from_utf8(signing.nonce)
            .ok()
            .filter(|nonce| check_nonce(nonce.as_bytes()).is_ok())
            .ok_or_else(|| {
                SignError::new(format!(
                    "the nonce is not 1 to {MAX_NONCE} characters of ASCII"
                ))
            })?;
        let digest_wanted = !signing.body.is_empty()
            || parts.headers.contains_key(CONTENT_DIGEST)
            || settings
                .required
                .iter()
                .any(|r| r.name == Name::Field(CONTENT_DIGEST));
        if digest_wanted && let Some(digest) = digest::write(settings.digest, signing.body) {
            parts.headers.insert(CONTENT_DIGEST, digest);
        }
        let described = format!(
            "{}={}",
            settings.label,
            settings.describe(parts, signing, nonce)
        );
        let members = fields::read_inputs(&described).map_err(SignError::new)?;
        let input = members.into_iter().next().map(|member| member.input);
        let input = input
            .unwrap_or_else(|| Err("there is no label".into()))
            .map_err(SignError::new)?;

        let head = Head {
            method: &parts.method,
            target: Target::of_outgoing(&parts.uri, &parts.headers)?,
            headers: &parts.headers,
        };
        let digests = digest::read(&parts.headers).map_err(SignError::new)?;
        let candidate =
            settings.candidate(&head, &input, HashOutput::new(&[]), digests.as_deref())?;
        append(parts, &SIGNATURE_INPUT, &settings.label, &described)?;
        Ok(candidate)
    }

    fn write(
        &self,
        parts: &mut Parts,
        _: &Candidate<'_>,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        let label = &self.0.label;
        let mac = Encoding::Base64.encode(mac.as_ref());
        append(parts, &SIGNATURE, label, &format!("{label}=:{mac}:"))
    }
}

impl Settings {
    fn other_tag(&self, label: &str, tag: Option<&str>) -> Rejection {
        let quoted = |tag: Option<&str>| match tag {
            Some(tag) => format!("the tag `{}`", tag.escape_debug()),
            None => "no tag".to_owned(),
        };
        missing(format!(
            "signature `{label}` has {}, and those for this service have {}",
            quoted(tag),
            quoted(self.tag.as_deref()),
        ))
    }
}

/// Adds a signature beside those that others made, under a label of its own.
fn append(
    parts: &mut Parts,
    name: &HeaderName,
    label: &str,
    member: &str,
) -> Result<(), SignError> {
    let others = joined(&parts.headers, name).map_err(SignError::new)?;
    let taken = |others: &str| {
        let labels = fields::read_signatures(others).map_err(SignError::new)?;
        Ok::<_, SignError>(labels.iter().any(|(other, _)| *other == label))
    };
    if let Some(others) = &others
        && taken(others)?
    {
        return Err(SignError::new(format!(
            "`{name}` has a signature `{label}` already; sign under another label"
        )));
    }
    let value = HeaderValue::from_str(member)
        .map_err(|_| SignError::new("the signature cannot stand in a header"))?;
    parts.headers.append(name, value);
    Ok(())
}
