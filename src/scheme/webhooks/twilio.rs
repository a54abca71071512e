//! Twilio.

use std::{borrow::Cow, collections::BTreeSet};

use bytes::Bytes;
use http::{
    HeaderName, Uri,
    header::CONTENT_TYPE,
    request::Parts,
    uri::{PathAndQuery, Scheme},
};

use super::{PROFILE, Profile, outgoing_target, read_mac, url};
use crate::{
    encoding::Encoding,
    error::SignError,
    mac::{DigestAlgorithm, HashOutput, MacAlgorithm, RunningDigest},
    rejection::{Rejection, malformed},
    scheme::{
        BodyDigest, BodyForm, Candidate, Coverage, Describe, Formed, Head, Parameters, Reading,
        Signing, SigningInput, header::header_value, http_message_signatures::query, signs_under,
    },
    target::Target,
};

const KEY_ID: &str = "twilio";
const SIGNATURE: HeaderName = HeaderName::from_static("x-twilio-signature");

/// The parameter of the query that holds the SHA-256 of a body that is no form.
const BODY_DIGEST: &str = "bodySHA256";

/// Webhooks of [Twilio](https://www.twilio.com/docs/usage/webhooks/webhooks-security), with forms and
/// with JSON.
///
/// ```
/// # use countersign::{VerifyLayer, webhooks::Twilio};
/// let layer = VerifyLayer::builder(Twilio::new())
///     .public_origin("https://example.com")
///     .secret("the auth token of the account")
///     .build()?;
/// # Ok::<_, countersign::ConfigError>(())
/// ```
///
/// | | |
/// | --- | --- |
/// | signature | `X-Twilio-Signature: <base64>`, with HMAC-SHA1. Those with HMAC-SHA256 under a shared key are not read |
/// | covered | the URL, with its query, and the parameters of a form; a JSON body by its SHA-256, `bodySHA256` of the query. Not the method, and no time |
/// | secret | the auth token, as it stands; the key id is `twilio` |
/// | fresh for | ever |
/// | used once by | nothing: two callbacks that are alike may both be meant |
/// | remembered for | not at all, so that no store is needed |
///
/// The URL is put together from the [public origin](crate::VerifierBuilder::public_origin), which has
/// to be given, and what the request asks for. It is tried with its port and without, for Twilio signs
/// now the one, now the other.
///
/// A form is handed to the handler as it was signed: its parameters sorted by name, and of several
/// that are alike in name and value only one. One with a parameter without `=` or without a name, or
/// which is no UTF-8, is refused as malformed; so is a form in several parts (`multipart/form-data`).
///
/// A signer signs a body as a form if its `Content-Type` says so, and else writes `bodySHA256` into
/// the query.
///
/// # What stays open
/// - **Whoever captured a request can post it again**, at any time and as often as they like. Let the
///   handler do no harm when it runs twice: by `CallSid`, `MessageSid` and the status in the body.
/// - **Parameters are signed without delimiters**, name after value after name, and the URL before
///   them likewise. Whoever captured a request can move bytes between neighbours: `To=12` and `T=o12`
///   have one signature, and so have `/hook?a=1` with `To=2`, `/hook?a=1To2` without a form, and
///   `/hook` with a parameter whose name begins with `?a=1`. What was moved is still nothing but what
///   Twilio wrote, in its order. Refuse parameters that a callback never has, and miss none that it
///   always has, `AccountSid` first of all.
/// - The method is not covered: put the layer on the one route and method that takes these webhooks.
/// - Where the public origin has a port of its own, a request that was signed without the port counts
///   too, though it may have been meant for another service on that host. The payload then answers
///   `None` for the authority.
///
/// The format is that of Twilio's library `twilio` 9.13.0 for Python.
#[derive(Clone, Debug)]
pub struct Twilio {
    profile: Profile,
}

impl Twilio {
    /// The format, with every default.
    #[must_use]
    pub fn new() -> Self {
        Self {
            profile: Profile {
                algorithm: MacAlgorithm::HmacSha1,
                covers_authority: true,
                may_repeat: true,
                ..PROFILE
            },
        }
    }
}

/// Like `a.example` and `a.example:443`.
struct Authority {
    text: String,
    /// Whether it says no less than the one that was asked for.
    is_whole: bool,
}

/// The authority in both forms, that of the target first.
fn authorities(target: &Target<'_>) -> [Authority; 2] {
    let text = target.authority.to_string();
    let port = text.rsplit_once(':');
    let other = match port.filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())) {
        Some((host, _)) => Authority {
            text: host.to_owned(),
            is_whole: false,
        },
        None => {
            let is_http = target.scheme == Some(&Scheme::HTTP);
            Authority {
                text: format!("{text}:{}", if is_http { 80 } else { 443 }),
                is_whole: true,
            }
        }
    };
    let asked = Authority {
        text,
        is_whole: true,
    };
    [asked, other]
}

/// The SHA-256 of the body that the query names, if it does.
fn body_digest(query: &str) -> Result<Option<HashOutput>, Rejection> {
    let named = query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == BODY_DIGEST).then_some(value)
    });
    let mut found = None;
    for value in named {
        let mut digest = [0; 32];
        let read = Encoding::Hex.decode_exact(value.as_bytes(), &mut digest);
        if read.is_none() || found.replace(HashOutput::new(&digest)).is_some() {
            return Err(malformed(format!(
                "`{BODY_DIGEST}` of the query is not one SHA-256 in hexadecimal digits"
            )));
        }
    }
    Ok(found)
}

fn input(url: String, digest: Option<HashOutput>) -> SigningInput {
    match digest {
        Some(claimed) => SigningInput::Head {
            message: url.into(),
            body: vec![BodyDigest {
                algorithm: DigestAlgorithm::Sha256,
                claimed,
            }],
        },
        None => SigningInput::AroundBody {
            before: url.into(),
            form: BodyForm::Canonical(sort),
            after: Vec::new(),
        },
    }
}

/// The parameters of a form, sorted by name and then by value, each pair once.
fn sort(body: &Bytes) -> Result<Formed, Cow<'static, str>> {
    let unreadable = "the body is not a form of parameters in UTF-8, each a name, `=` and a value";
    let text = std::str::from_utf8(body).map_err(|_| unreadable)?;
    let mut pairs = BTreeSet::new();
    if !text.is_empty() {
        for pair in text.split('&') {
            let (name, value) = pair.split_once('=').ok_or(unreadable)?;
            let name = query::decode(name).filter(|name| !name.is_empty());
            let value = query::decode(value);
            pairs.insert(name.zip(value).ok_or(unreadable)?);
        }
    }
    let (mut signed, mut given) = (String::new(), String::new());
    for (name, value) in &pairs {
        signed.extend([name.as_str(), value]);
        if !given.is_empty() {
            given.push('&');
        }
        given.extend([&query::encode(name), "=", &query::encode(value)]);
    }
    Ok(Formed {
        signed: signed.into(),
        given: given.into(),
        uncovered: None,
    })
}

fn candidate(input: SigningInput, mac: HashOutput, covers_authority: bool) -> Candidate<'static> {
    Candidate {
        parameters: Parameters {
            key_id: Cow::Borrowed(KEY_ID),
            signed_at: None,
            expires_at: None,
            nonce: None,
        },
        mac,
        input,
        coverage: Cow::Owned(Coverage {
            authority: covers_authority,
            path: true,
            query: true,
            ..Coverage::default()
        }),
    }
}

/// Writes the digest of a body that is no form into the query, unless one stands there.
fn add_digest(parts: &mut Parts, body: &[u8]) -> Result<(), SignError> {
    let content_type = parts.headers.get(CONTENT_TYPE).map(|v| v.as_bytes());
    let is_form = content_type.is_some_and(|v| {
        v.get(..FORM.len())
            .is_some_and(|v| v.eq_ignore_ascii_case(FORM))
    });
    let present = body_digest(parts.uri.query().unwrap_or_default())?;
    if (is_form || body.is_empty()) && present.is_none() {
        return Ok(());
    }
    let mut digest = RunningDigest::new(DigestAlgorithm::Sha256);
    digest.update(body);
    if let Some(present) = present {
        return if digest.verify(&present) {
            Ok(())
        } else {
            Err(SignError::new(
                "the query names the digest of another body in `bodySHA256`",
            ))
        };
    }
    let digest = Encoding::Hex.encode(digest.finish().as_ref());
    let separator = if parts.uri.query().is_some() {
        '&'
    } else {
        '?'
    };
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let path = format!("{path}{separator}{BODY_DIGEST}={digest}");
    let unwritable = || SignError::new("the URI has no room for `bodySHA256`");
    let mut uri = parts.uri.clone().into_parts();
    uri.path_and_query = Some(path.parse().map_err(|_| unwritable())?);
    parts.uri = Uri::from_parts(uri).map_err(|_| unwritable())?;
    Ok(())
}

const FORM: &[u8] = b"application/x-www-form-urlencoded";

impl Describe for Twilio {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn fixed_key_id(&self) -> Option<&str> {
        Some(KEY_ID)
    }

    fn read<'h>(&'h self, head: &Head<'h>, _: Option<&Bytes>) -> Result<Reading<'h>, Rejection> {
        let mac = read_mac(head, &SIGNATURE, self.profile.algorithm, Encoding::Base64)?;
        let digest = body_digest(head.target.query().unwrap_or_default())?;
        let candidates = authorities(&head.target).map(|authority| {
            let input = input(url(&head.target, &authority.text), digest);
            candidate(input, mac, authority.is_whole)
        });
        Ok(Reading::Candidates(candidates.into()))
    }

    fn prepare(
        &self,
        parts: &mut Parts,
        signing: &Signing<'_>,
    ) -> Result<Candidate<'static>, SignError> {
        signs_under(KEY_ID, signing)?;
        add_digest(parts, signing.body)?;
        let target = outgoing_target(parts)?;
        let digest = body_digest(target.query().unwrap_or_default())?;
        let input = input(url(&target, &target.authority), digest);
        Ok(candidate(input, HashOutput::new(&[]), true))
    }

    fn write(
        &self,
        parts: &mut Parts,
        _: &Candidate<'_>,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        let value = header_value(Encoding::Base64.encode(mac.as_ref()).as_bytes())?;
        parts.headers.insert(SIGNATURE, value);
        Ok(())
    }
}
