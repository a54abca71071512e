//! Twilio.

use std::borrow::Cow;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Uri,
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
        Announced, BodyDigest, BodyForm, Candidate, Coverage, Describe, Formed, Head, Parameters,
        Reading, Signing, SigningInput, header::header_value, http_message_signatures::query,
        signs_under,
    },
    target::Target,
};

const KEY_ID: &str = "twilio";
const SIGNATURE: HeaderName = HeaderName::from_static("x-twilio-signature");

/// The parameter of the query that holds the SHA-256 of a body that is no form.
const BODY_DIGEST: &str = "bodySHA256";

/// Webhooks of [Twilio](https://www.twilio.com/docs/usage/webhooks/webhooks-security): forms by
/// [`new`](Self::new), JSON by [`json`](Self::json).
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
/// | covered | the URL, with its query. With `new` also the parameters of a form; with `json` also the body, by its SHA-256 in the query. Not the method, and no time |
/// | secret | the auth token, as it stands; the key id is `twilio` |
/// | fresh for | ever |
/// | used once by | nothing: two callbacks that are alike may both be meant |
/// | remembered for | not at all, so that no store is needed |
///
/// The URL is put together from the [public origin](crate::VerifierBuilder::public_origin), which has
/// to be given, and what the request asks for. It is tried with its port and without, for Twilio signs
/// now the one, now the other.
///
/// # Forms or JSON
/// One layer reads one of the two, and the request has no say in it. Twilio signs forms without
/// delimiters: a text message `&bodySHA256=…` can be moved into the URL, and would there vouch for any
/// body.
///
/// - [`Twilio::new`] reads forms. A body is a form, or empty. `bodySHA256` of the query means nothing.
///   The handler is given the form as it was signed: its parameters sorted by name, and of several that
///   are alike in name and value only one. A form is refused as malformed if a parameter has no `=` or
///   no name, or if it is no UTF-8; so is a form in several parts (`multipart/form-data`). The signer
///   refuses a body whose `Content-Type` names no form.
/// - [`Twilio::json`] reads bodies of any other type. The query names `bodySHA256` once, as its last
///   parameter, and the body has this digest. Each parameter of the query has a name and `=`, and path
///   and query hold only what RFC 3986 allows there. A request whose `Content-Type` names a form is
///   refused as malformed. The signer writes `bodySHA256` if it is not there, and refuses forms.
///
/// # What stays open
/// - **Whoever captured a request can post it again**, at any time and as often as they like. Let the
///   handler do no harm when it runs twice: by `CallSid`, `MessageSid` and the status in the body.
/// - **Parameters are signed without delimiters**, name after value after name, and the URL before
///   them likewise. Whoever captured a request can move bytes between neighbours: `To=12` and `T=o12`
///   have one signature, and so have `/hook?a=1` with `To=2`, `/hook?a=1To2` without a form, and
///   `/hook` with a parameter whose name begins with `?a=1`. The text of a message can so become
///   parameters of the form or of the query. What was moved is still nothing but what Twilio wrote, in
///   its order. Refuse parameters that a callback never has, and miss none that it always has,
///   `AccountSid` first of all.
/// - **A form can pass for JSON** if the value of its last parameter, by name, ends in `&bodySHA256=`
///   and a digest, and everything signed before that value can appear in a URL. An attacker who captured
///   the form can then send any body to a route with [`Twilio::json`]. If the form's URL had a query, the
///   attacker's request has the same path. If it had none, the path goes on with the parameters, and only
///   a wildcard route takes it. No parser can tell the two apart. Do not use one auth token for forms and
///   for JSON if a route of one mode takes a path that begins with a path of the other mode. Two accounts
///   or subaccounts have two tokens.
/// - A request with JSON can likewise pass for one without a body, or, its URL cut in two, for a form,
///   where such a path is taken by a route with [`Twilio::new`]. Its body does not pass.
/// - The method is not covered: put the layer on the one route and method that takes these webhooks.
/// - Where the public origin has a port of its own, a request that was signed without the port counts
///   too, though it may have been meant for another service on that host. The payload then answers
///   `None` for the authority.
///
/// The format is that of Twilio's library `twilio` 9.13.0 for Python.
#[derive(Clone, Debug)]
pub struct Twilio {
    mode: Mode,
    profile: Profile,
}

/// Says how a body is read. The configuration decides, because the request can be forged.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Form,
    Json,
}

impl Twilio {
    /// The format of webhooks with forms, and of those without a body.
    #[must_use]
    pub fn new() -> Self {
        Self::in_mode(Mode::Form)
    }

    /// The format of webhooks with JSON, or with another body that is no form: `bodySHA256` of the
    /// query is its digest.
    #[must_use]
    pub fn json() -> Self {
        Self::in_mode(Mode::Json)
    }

    fn in_mode(mode: Mode) -> Self {
        Self {
            mode,
            profile: Profile {
                algorithm: MacAlgorithm::HmacSha1,
                covers_authority: true,
                may_repeat: true,
                ..PROFILE
            },
        }
    }

    fn input(&self, target: &Target<'_>, authority: &str) -> Result<SigningInput, Rejection> {
        let url = url(target, authority).into();
        Ok(match self.mode {
            Mode::Form => SigningInput::AroundBody {
                before: url,
                form: BodyForm::Canonical(sort),
                after: Vec::new(),
            },
            Mode::Json => SigningInput::Head {
                message: url,
                body: vec![BodyDigest {
                    algorithm: DigestAlgorithm::Sha256,
                    claimed: body_digest(target.path_and_query.as_str())?,
                }],
            },
        })
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

/// The SHA-256 of the body, which the query names once, as its last parameter.
///
/// A form that was moved into the URL may look like this, too. The more is asked of a URL, the fewer
/// do.
fn body_digest(path_and_query: &str) -> Result<HashOutput, Rejection> {
    let (path, query) = path_and_query
        .split_once('?')
        .unwrap_or((path_and_query, ""));
    if !is_of_uri(path) || !is_of_uri(query) {
        return Err(malformed(
            "the URL holds a character that has to be percent-encoded",
        ));
    }
    let (others, last) = match query.rsplit_once('&') {
        Some((others, last)) => (Some(others), last),
        None => (None, query),
    };
    for pair in others.into_iter().flat_map(|others| others.split('&')) {
        let name = pair
            .split_once('=')
            .and_then(|(name, _)| query::decode(name));
        if name.is_none_or(|name| name.is_empty() || name == BODY_DIGEST) {
            return Err(malformed(format!(
                "a parameter of the query before the last one has no name or no `=`, or is \
                 `{BODY_DIGEST}`"
            )));
        }
    }
    let value = last
        .strip_prefix(BODY_DIGEST)
        .and_then(|v| v.strip_prefix('='));
    let mut digest = [0; 32];
    let read = value.and_then(|v| Encoding::Hex.decode_exact(v.as_bytes(), &mut digest));
    if read.is_none() {
        return Err(malformed(format!(
            "the query does not end in `{BODY_DIGEST}` with one SHA-256 in hexadecimal digits"
        )));
    }
    Ok(HashOutput::new(&digest))
}

/// Whether this may stand in a path or in a query by RFC 3986. The type of a URI allows more.
fn is_of_uri(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&b);
    let mut parts = text.split('%');
    parts.next().unwrap_or_default().bytes().all(is_plain)
        && parts.all(|part| {
            let hex = part.bytes().take(2).filter(u8::is_ascii_hexdigit).count();
            hex == 2 && part.bytes().all(is_plain)
        })
}

fn is_form(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_TYPE).iter().any(|value| {
        let start = value.as_bytes().get(..FORM.len());
        start.is_some_and(|v| v.eq_ignore_ascii_case(FORM))
    })
}

/// The parameters of a form, sorted by name and then by value, each pair once.
fn sort(body: &Bytes) -> Result<Formed, Cow<'static, str>> {
    let unreadable = "the body is not a form of parameters in UTF-8, each a name, `=` and a value; \
                      JSON is read by `Twilio::json()`";
    let text = std::str::from_utf8(body).map_err(|_| unreadable)?;
    let mut pairs = Vec::new();
    if !text.is_empty() {
        for pair in text.split('&') {
            let (name, value) = pair.split_once('=').ok_or(unreadable)?;
            let name = query::decode(name).filter(|name| !name.is_empty());
            let value = query::decode(value);
            pairs.push(name.zip(value).ok_or(unreadable)?);
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    let (mut signed, mut given) = (String::new(), String::new());
    for (name, value) in &pairs {
        signed.extend([&**name, value]);
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

fn parameters() -> Parameters<'static> {
    Parameters {
        key_id: Cow::Borrowed(KEY_ID),
        signed_at: None,
        expires_at: None,
        nonce: None,
    }
}

fn covered(covers_authority: bool) -> Cow<'static, Coverage> {
    Cow::Owned(Coverage {
        authority: covers_authority,
        path: true,
        query: true,
        ..Coverage::default()
    })
}

/// Writes the digest of the body into the query, unless the query already has it.
fn add_digest(parts: &mut Parts, body: &[u8]) -> Result<(), SignError> {
    let mut digest = RunningDigest::new(DigestAlgorithm::Sha256);
    digest.update(body);
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let query = parts.uri.query().unwrap_or_default();
    if query.split('&').any(is_digest) {
        return if digest.verify(&body_digest(path)?) {
            Ok(())
        } else {
            Err(SignError::new(
                "the query names the digest of another body in `bodySHA256`",
            ))
        };
    }
    let digest = Encoding::Hex.encode(digest.finish().as_ref());
    let separator = match parts.uri.query() {
        None => "?",
        Some("") => "",
        Some(_) => "&",
    };
    let path = format!("{path}{separator}{BODY_DIGEST}={digest}");
    let unwritable = || SignError::new("the URI has no room for `bodySHA256`");
    let mut uri = parts.uri.clone().into_parts();
    uri.path_and_query = Some(path.parse().map_err(|_| unwritable())?);
    parts.uri = Uri::from_parts(uri).map_err(|_| unwritable())?;
    Ok(())
}

/// Whether this parameter of a query names the digest.
fn is_digest(pair: &str) -> bool {
    pair.split('=').next() == Some(BODY_DIGEST)
}

const FORM: &[u8] = b"application/x-www-form-urlencoded";

impl Describe for Twilio {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn fixed_key_id(&self) -> Option<&str> {
        Some(KEY_ID)
    }

    fn read<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Rejection> {
        let mac = read_mac(head, &SIGNATURE, self.profile.algorithm, Encoding::Base64)?;
        if matches!(self.mode, Mode::Json) && is_form(head.headers) {
            return Err(malformed(
                "the body is said to be a form, which is read by `Twilio::new()`",
            ));
        }
        let announced = authorities(&head.target).map(|authority| Announced {
            parameters: parameters(),
            mac,
            build: Box::new(move |head, _| {
                let input = self.input(&head.target, &authority.text)?;
                Ok((input, covered(authority.is_whole)))
            }),
        });
        Ok(Reading::Announced(announced.into()))
    }

    fn prepare(
        &self,
        parts: &mut Parts,
        signing: &Signing<'_>,
    ) -> Result<Candidate<'static>, SignError> {
        signs_under(KEY_ID, signing)?;
        match (self.mode, is_form(&parts.headers)) {
            (Mode::Form, true) => {}
            (Mode::Form, false) if signing.body.is_empty() => {}
            (Mode::Form, false) => {
                return Err(SignError::new(
                    "the `Content-Type` names no form; JSON is signed by `Twilio::json()`",
                ));
            }
            (Mode::Json, true) => {
                return Err(SignError::new(
                    "the `Content-Type` names a form, which is signed by `Twilio::new()`",
                ));
            }
            (Mode::Json, false) => add_digest(parts, signing.body)?,
        }
        let target = outgoing_target(parts)?;
        let input = self.input(&target, &target.authority)?;
        Ok(Candidate {
            parameters: parameters(),
            mac: HashOutput::new(&[]),
            input,
            coverage: covered(true),
        })
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
