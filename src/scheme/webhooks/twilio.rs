//! Twilio.

use std::{borrow::Cow, str::FromStr as _};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Uri,
    header::CONTENT_TYPE,
    request::Parts,
    uri::{PathAndQuery, Scheme},
};

use super::{
    account::Account,
    format::PROFILE,
    url::{outgoing_target, push_url_scheme},
};
use crate::{
    error::{ConfigError, ConfigErrorKind, Fault, FaultKind, SignError, malformed},
    key::MacAlgorithm,
    message::{
        BodyDigest, BodyForm, DigestAlgorithm, Encoding, Formed, HashOutput, Head, Message, Part,
        RunningDigest, Target, default_port, has_media_type, query,
    },
    proof::{Build, Candidate, Parameters, Unsigned},
    scheme::{
        Describe, Profile, Reading, Signing,
        fields::{decode_mac, header_value, signature},
        signs_under,
    },
};

const KEY_ID: &str = "twilio";
const SIGNATURE: HeaderName = HeaderName::from_static("x-twilio-signature");

/// The parameter of the query that holds the SHA-256 of a body that is no form.
const BODY_DIGEST: &str = "bodySHA256";

/// A parameter of every form that Twilio makes by itself.
const OF_EVERY_FORM: &str = "AccountSid";

/// Webhooks of [Twilio](https://www.twilio.com/docs/usage/webhooks/webhooks-security): forms by
/// [`new`](Self::new), JSON by [`json_at`](Self::json_at).
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
/// | signature | `X-Twilio-Signature: <base64>`, with HMAC-SHA1. Signatures with HMAC-SHA256 under a shared key are not read |
/// | covered | the URL, with its query. With `new` also the parameters of a form; with `json_at` also the body, by its SHA-256 in the query. Not the method, and no time |
/// | secret | the auth token, as shown; the key id is `twilio` |
/// | fresh for | no limit |
/// | used once by | nothing: two equal callbacks may both be meant |
/// | remembered for | not at all, so that no store is needed |
///
/// The URL is put together from the [public
/// origin](crate::request::VerifierBuilder::public_origin), which must be given, and what the
/// request asks for. The URL is tried with its port and without, because Twilio signs either. Give
/// the origin as it is in the URL that is configured at Twilio:
///
/// - `wss://example.com` for Media Streams and other WebSockets, with
///   [`danger_websocket_handshakes`](crate::request::VerifierBuilder::danger_websocket_handshakes).
///   The signature covers the handshake and no message after it. Webhooks of the same host need a
///   layer of their own, with `https://example.com`.
/// - `https://user:password@example.com` if the URL has user and password. Twilio first asks
///   without `Authorization` and expects a 401 with `WWW-Authenticate: Basic`, which a layer around
///   this one must answer. The layer compares only the signature, not the password that was sent.
/// - `https://example.com:8443` if the URL has a port.
///
/// A URL with a fragment, or with a host that is not ASCII, cannot be verified: neither is part of
/// the request.
///
/// # Forms or JSON
/// One layer reads forms or JSON, and no request chooses between them. Twilio signs a form without
/// delimiters: the URL, then name after value after name. A text message `&bodySHA256=…` inside a
/// form looks, signed, like the end of a URL, and would there vouch for any body. So each mode
/// refuses the messages of the other:
///
/// - [`Twilio::new`] reads forms. A body is a form, or empty. The handler is given the form as it
///   was signed: its parameters sorted by name, and only one of several that are equal in name and
///   value. A form is refused as malformed if a parameter has no `=` or no name, or if it is no
///   UTF-8; so is a form in several parts (`multipart/form-data`). A request is refused too if its
///   query has `bodySHA256`, or if its form, signed, ends in `bodySHA256=` and a digest. The signer
///   refuses a body whose `Content-Type` names no form.
/// - [`Twilio::json_at`] reads bodies of any other type, at one URL. The request asks for exactly
///   the path and query that are configured, followed by `bodySHA256=` and the digest of the body.
///   A request for another URL is refused as one with another signature would be, and a request
///   whose `Content-Type` names a form is refused as malformed. The signer writes `bodySHA256` if
///   it is not there, and refuses forms and other URLs.
///
/// A callback that Twilio makes by itself always has the parameter `AccountSid`, in its form or in
/// its query. This name is part of the signed text, and of no URL that `json_at` accepts. So no
/// callback passes for JSON, whichever route it was signed for, and whatever strangers wrote into
/// it.
///
/// # Limits
/// - **Anybody who captured a request can post it again**, at any time and as often as they like. Let
///   the handler do no harm when it runs twice: by `CallSid`, `MessageSid` and the status in the
///   body.
/// - **Parameters are signed without delimiters**, name after value after name, and the URL before
///   them likewise. Anybody who captured a request can move bytes between neighbours: `To=12` and
///   `T=o12` have one signature, and so have `/hook?a=1` with `To=2`, `/hook?a=1To2` without a
///   form, and `/hook` with a parameter whose name begins with `?a=1`. The text of a message can so
///   become parameters of the form or of the query. The moved bytes are still nothing but what Twilio
///   wrote, in its order. Refuse a request with a parameter that a callback never has, or
///   without one that it always has, such as `AccountSid`.
/// - **A form without `AccountSid`, or a URL, that a Studio flow makes of a stranger's words** can
///   pass for JSON. For a form, its URL must be the beginning of the URL of the JSON, and the rest
///   of that URL must begin with the name of the form's first parameter: `https://example.com/` and
///   `events`, if the JSON goes to `https://example.com/events`. Let no flow post a form to such a
///   URL, and let no stranger write into a URL that Twilio requests.
/// - The method is not covered: put the layer on the one route and method that takes these
///   webhooks.
/// - If the public origin has a port of its own, a request that was signed without the port is
///   accepted too, although it may have been meant for another service on that host. The payload
///   then has `None` for the authority.
///
/// The format is that of Twilio's library `twilio` 9.13.0 for Python.
#[derive(Clone, Debug)]
pub struct Twilio {
    account: Account,
    mode: Mode,
    profile: Profile,
}

/// Says how a body is read. The configuration decides, because the request can be forged.
#[derive(Clone, Debug)]
enum Mode {
    Form,
    /// Path and query of the request, up to the digest: such as `/hook?bodySHA256=`.
    Json {
        before_digest: String,
    },
}

impl Twilio {
    /// Returns the format of webhooks with forms, and of those without a body.
    #[must_use]
    pub fn new() -> Self {
        Self::in_mode(Mode::Form)
    }

    /// Returns the format of webhooks with JSON, or with another body that is no form, at the one
    /// URL with this path and query. `bodySHA256` behind it is the digest of the body.
    ///
    /// Path and query are those of the URL that is configured at Twilio, to the byte. The
    /// [public origin](crate::request::VerifierBuilder::public_origin) says the rest of the URL.
    ///
    /// ```
    /// # use countersign::{VerifyLayer, webhooks::Twilio};
    /// // Configured at Twilio: https://example.com/twilio/events?tenant=7
    /// let layer = VerifyLayer::builder(Twilio::json_at("/twilio/events?tenant=7")?)
    ///     .public_origin("https://example.com")
    ///     .secret("the auth token of the account")
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if this does not begin with `/`, ends in `?`, cannot be part of a URL, or
    /// has `AccountSid` or `bodySHA256` in it.
    pub fn json_at(path_and_query: impl Into<String>) -> Result<Self, ConfigError> {
        let text = path_and_query.into();
        let read = PathAndQuery::from_str(&text);
        let is_whole = read.is_ok_and(|read| read.as_str() == text && read.query() != Some(""));
        let is_apart = !text.contains(OF_EVERY_FORM) && !text.contains(BODY_DIGEST);
        if !(text.starts_with('/') && is_whole && is_apart) {
            let why = format!(
                "JSON of Twilio is read at a path with or without a query, such as `/hook?a=1`, \
                 without `{OF_EVERY_FORM}` and `{BODY_DIGEST}`; `{}` is not one",
                text.escape_debug()
            );
            return Err(ConfigErrorKind::Scheme(why.into()).into());
        }
        Ok(Self::in_mode(Mode::Json {
            before_digest: before_digest(&text),
        }))
    }

    key_id!("twilio", set_key_id);

    fn set_key_id(&mut self, id: String) {
        self.account.set_id(id);
        self.profile.key_id_is_own = false;
    }

    key_id_from_path!(Twilio, set_key_parameter);

    fn set_key_parameter(&mut self, name: String) {
        self.account.set_parameter(name);
        self.profile.key_id_is_own = false;
    }

    fn in_mode(mode: Mode) -> Self {
        Self {
            account: Account::new(KEY_ID),
            mode,
            profile: Profile {
                algorithm: MacAlgorithm::HmacSha1,
                covers_authority: true,
                may_repeat: true,
                signs_configured_url: true,
                ..PROFILE
            },
        }
    }

    fn message(&self, target: &Target<'_>, spelling: &Spelling) -> Result<Message, Fault> {
        if matches!(self.mode, Mode::Form) && names_digest(target.query()) {
            return Err(malformed(format!(
                "the query has `{BODY_DIGEST}`: JSON is read by `Twilio::json_at()`"
            )));
        }
        let mut message = Message::with_room(256, 3);
        push_url_scheme(&mut message, target);
        if let Some(user) = target.user {
            message.text(format!("{}@", user.0));
        }
        match spelling {
            Spelling::AsAsked => message.part(Part::Authority, &*target.authority),
            Spelling::WithPort(port) => {
                message.part(Part::Authority, &*target.authority);
                message.text(port);
            }
            // It may have been meant for another service on that host.
            Spelling::WithoutPort(host) => message.text(host),
        }
        message.path_and_query(target.path(), target.query());
        match &self.mode {
            Mode::Form => message.body(BodyForm::Canonical(sort)),
            Mode::Json { before_digest } => message.digests([BodyDigest {
                algorithm: DigestAlgorithm::Sha256,
                claimed: body_digest(before_digest, target.path_and_query.as_str())?,
            }]),
        }
        Ok(message)
    }
}

impl Default for Twilio {
    fn default() -> Self {
        Self::new()
    }
}

/// Says how the authority is spelled in the URL that is signed.
enum Spelling {
    AsAsked,
    /// A port such as `:443`, for an authority that has none.
    WithPort(&'static str),
    WithoutPort(String),
}

/// The two ways in which Twilio may have spelled the authority.
fn spellings(target: &Target<'_>) -> [Spelling; 2] {
    let port = target.authority.rsplit_once(':');
    let other = match port.filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())) {
        Some((host, _)) => Spelling::WithoutPort(host.to_owned()),
        None => Spelling::WithPort(default_port(target.scheme.unwrap_or(&Scheme::HTTPS))),
    };
    [Spelling::AsAsked, other]
}

/// Returns the path and query of a request, up to the digest of its body.
fn before_digest(path_and_query: &str) -> String {
    let separator = if path_and_query.contains('?') {
        '&'
    } else {
        '?'
    };
    format!("{path_and_query}{separator}{BODY_DIGEST}=")
}

/// The SHA-256 of the body, behind the URL that is configured. Nothing else may be there: a form
/// that was moved into the URL would be.
fn body_digest(before: &str, path_and_query: &str) -> Result<HashOutput, Fault> {
    let Some(value) = path_and_query.strip_prefix(before) else {
        return Err(Fault::new(
            FaultKind::Invalid,
            format!("the request is for another URL: path and query do not begin with `{before}`"),
        ));
    };
    let mut digest = [0; 32];
    Encoding::Hex
        .decode_exact(value.as_bytes(), &mut digest)
        .ok_or_else(|| {
            malformed(format!(
                "the query does not end in `{BODY_DIGEST}` and one SHA-256 in hexadecimal digits"
            ))
        })?;
    Ok(HashOutput::new(&digest))
}

/// Whether a query has a parameter that names the digest.
fn names_digest(query: Option<&str>) -> bool {
    let mut pairs = query.unwrap_or_default().split('&');
    pairs.any(|pair| pair.split('=').next() == Some(BODY_DIGEST))
}

/// Whether the parameters of a form, as they are signed, can be the end of a URL with a digest, cut
/// off before the digest: in front of the name or within it.
fn ends_as_url_of_json(signed: &str) -> bool {
    let digest_at = signed.len().saturating_sub(64);
    let Some((before, digest)) = signed.split_at_checked(digest_at) else {
        return false;
    };
    let Some(before) = before.strip_suffix('=') else {
        return false;
    };
    digest.bytes().all(|b| b.is_ascii_hexdigit())
        && match before.strip_suffix(BODY_DIGEST) {
            Some(before) => before.is_empty() || before.ends_with(['?', '&']),
            None => BODY_DIGEST.ends_with(before),
        }
}

fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    types.any(|value| has_media_type(value, "application/x-www-form-urlencoded"))
}

/// The parameters of a form, sorted by name and then by value, each pair once.
fn sort(body: &Bytes) -> Result<Formed, Cow<'static, str>> {
    let unreadable = "the body is not a form of parameters in UTF-8, each a name, `=` and a value; \
                      JSON is read by `Twilio::json_at()`";
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
    if ends_as_url_of_json(&signed) {
        return Err("the form ends, as it is signed, like the URL of JSON".into());
    }
    Ok(Formed {
        signed: signed.into(),
        given: given.into(),
        uncovered: None,
    })
}

fn parameters(key_id: Cow<'_, str>) -> Parameters<'_> {
    Parameters {
        delivery_id: None,
        key_id,
        signed_at: None,
        expires_at: None,
        nonce: None,
    }
}

/// Writes the digest of the body into the query, unless the query already has it.
fn add_digest(before: &str, parts: &mut Parts, body: &[u8]) -> Result<(), SignError> {
    let mut digest = RunningDigest::new(DigestAlgorithm::Sha256);
    digest.update(body);
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if before_digest(path) != before {
        return if digest.verify(&body_digest(before, path)?) {
            Ok(())
        } else {
            Err(SignError::new(
                "the query names the digest of another body in `bodySHA256`",
            ))
        };
    }
    let digest = Encoding::Hex.encode(digest.finish().as_ref());
    let unwritable = || SignError::new("the URI has no room for `bodySHA256`");
    let path = format!("{before}{digest}");
    let mut uri = parts.uri.clone().into_parts();
    uri.path_and_query = Some(path.parse().map_err(|_| unwritable())?);
    parts.uri = Uri::from_parts(uri).map_err(|_| unwritable())?;
    Ok(())
}

impl Describe for Twilio {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn name(&self) -> &str {
        "twilio"
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        vec![SIGNATURE]
    }

    fn fixed_key_id(&self) -> Option<&str> {
        self.account.fixed()
    }

    fn names_key(&self) -> bool {
        false
    }

    fn read<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Fault> {
        let algorithm = self.profile.algorithm;
        let text = signature(head, &SIGNATURE)?.as_bytes();
        let mac = decode_mac(algorithm, Encoding::Base64, text).ok_or_else(|| {
            malformed(format!(
                "header `{SIGNATURE}` is not a MAC of {} bytes in Base64",
                algorithm.mac_len()
            ))
        })?;
        if matches!(self.mode, Mode::Json { .. }) && is_form(head.headers) {
            return Err(malformed(
                "the body is said to be a form, which is read by `Twilio::new()`",
            ));
        }
        let key_id = self.account.of(head)?;
        let candidates = spellings(&head.target).map(|spelling| Candidate {
            parameters: parameters(key_id.clone()),
            mac,
            message: Box::new(move |head: &Head<'_>, _: &mut _| {
                self.message(&head.target, &spelling)
            }) as Build<'h>,
        });
        Ok(Reading::InHead(candidates.into_iter().collect()))
    }

    fn prepare(&self, parts: &mut Parts, signing: &Signing<'_>) -> Result<Unsigned, SignError> {
        if let Some(id) = self.account.fixed() {
            signs_under(id, signing)?;
        }
        match (&self.mode, is_form(&parts.headers)) {
            (Mode::Form, true) => {}
            (Mode::Form, false) if signing.body.is_empty() => {}
            (Mode::Form, false) => {
                return Err(SignError::new(
                    "the `Content-Type` names no form; JSON is signed by `Twilio::json_at()`",
                ));
            }
            (Mode::Json { .. }, true) => {
                return Err(SignError::new(
                    "the `Content-Type` names a form, which is signed by `Twilio::new()`",
                ));
            }
            (Mode::Json { before_digest }, false) => {
                add_digest(before_digest, parts, signing.body)?;
            }
        }
        let target = outgoing_target(parts)?;
        Ok(Unsigned {
            parameters: parameters(self.account.id().clone()),
            message: self.message(&target, &Spelling::AsAsked)?,
        })
    }

    fn write(&self, parts: &mut Parts, _: &Unsigned, mac: &HashOutput) -> Result<(), SignError> {
        let value = header_value(Encoding::Base64.encode(mac.as_ref()).as_bytes())?;
        parts.headers.insert(SIGNATURE, value);
        Ok(())
    }
}
