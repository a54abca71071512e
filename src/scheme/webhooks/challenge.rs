//! Challenges: how a sender asks whether this is the right place, and where it is answered.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, Uri,
    header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    uri::PathAndQuery,
};
use serde_json::{Value, json};

use super::event::member;
use crate::{
    error::{ConfigError, ConfigErrorKind},
    key::{MacAlgorithm, MacKey, Secret},
    message::{Encoding, has_media_type, query},
};

/// The question of a sender.
#[derive(Clone, Copy, Debug)]
pub(super) enum Challenge {
    /// An unsigned `GET`, answered with one parameter of its query.
    Query {
        /// The parameter: up to [`MAX_QUERY`] letters and digits.
        parameter: &'static str,
        /// The other characters that it may hold.
        also: &'static str,
        /// The rest of the query, for a sender that proves that it was told where to ask.
        subscribes: Option<Subscription>,
    },
    /// An unsigned `HEAD`, answered with success.
    Head,
    /// An unsigned `POST` that brings the secret, answered while the application waits for one.
    Secret(SecretIn),
    /// A signed body in which a member says that it is the question.
    Body {
        member: &'static str,
        value: Asks,
        answer: fn(&Bytes, &mut dyn Iterator<Item = &MacKey>) -> Option<Response<Bytes>>,
    },
}

/// The value of a member whose body is the question.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asks {
    Text(&'static str),
    /// No events.
    EmptyArray,
}

impl Asks {
    fn is(self, found: &Value) -> bool {
        match self {
            Self::Text(text) => *found == *text,
            Self::EmptyArray => found.as_array().is_some_and(Vec::is_empty),
        }
    }
}

/// Where a sender brings the secret.
#[derive(Clone, Copy, Debug)]
pub(super) enum SecretIn {
    /// In this header, which the answer repeats.
    Header(&'static str),
    /// In this member of the body.
    Member(&'static str),
}

/// Parameters of a query: one with a fixed value, and one that holds the token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscription {
    pub(super) mode: (&'static str, &'static str),
    pub(super) token: &'static str,
}

/// Parameters of a form: one with a fixed value, by which a sender asks, and one that may be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct FormCheck {
    pub(super) asks: (&'static str, &'static str),
    pub(super) also: &'static str,
}

/// The greatest length of a challenge in a query, in bytes.
const MAX_QUERY: usize = 256;

/// The greatest length of a challenge in a body, in bytes.
const MAX_BODY: usize = 1024;

/// The greatest length of a token to be answered with its MAC, in bytes.
const MAX_TOKEN: usize = 256;

/// The one path at which a challenge is answered, and the token that must come with it. At every
/// other path, a request that looks like a challenge is a request to another handler.
#[derive(Clone, Debug)]
pub(super) struct AnswersAt {
    path: String,
    token: Option<Secret>,
}

impl AnswersAt {
    pub(super) fn new(path: impl Into<String>, token: Option<Secret>) -> Result<Self, ConfigError> {
        let path = path.into();
        let whole = path.parse::<PathAndQuery>();
        if path.starts_with('/') && whole.is_ok_and(|whole| whole.path() == path) {
            return Ok(Self { path, token });
        }
        let why = format!(
            "a handshake is answered at a path such as `/webhooks`, without a query; `{}` is not one",
            path.escape_debug()
        );
        Err(ConfigErrorKind::Scheme(why.into()).into())
    }

    pub(super) fn unsigned(
        &self,
        challenge: &Challenge,
        method: &Method,
        uri: &Uri,
    ) -> Option<Response<Bytes>> {
        let (parameter, also, subscribes) = match challenge {
            Challenge::Query {
                parameter,
                also,
                subscribes,
            } => (parameter, also, subscribes),
            Challenge::Head => {
                let asks = method == Method::HEAD && self.path == uri.path();
                return asks.then(|| plain_text(Bytes::new()));
            }
            Challenge::Secret(_) | Challenge::Body { .. } => return None,
        };
        if method != Method::GET || self.path != uri.path() {
            return None;
        }
        let query = uri.query()?;
        let param = |name| query::param(query, name).ok();
        let challenge = param(parameter)?;
        let mut bytes = challenge.bytes();
        if !(1..=MAX_QUERY).contains(&challenge.len())
            || !bytes.all(|b| b.is_ascii_alphanumeric() || also.as_bytes().contains(&b))
        {
            return None;
        }
        if let Some(Subscription { mode, token }) = subscribes
            && !(param(mode.0)? == mode.1 && self.token.as_ref()?.is(param(token)?.as_bytes()))
        {
            return None;
        }
        Some(plain_text(challenge))
    }

    pub(super) fn verified(
        &self,
        challenge: &Challenge,
        path: &str,
        body: &Bytes,
        secrets: &mut dyn Iterator<Item = &MacKey>,
    ) -> Option<Response<Bytes>> {
        let Challenge::Body {
            member: name,
            value,
            answer,
        } = challenge
        else {
            return None;
        };
        if self.path != path || !value.is(&member(body, name).ok()??) {
            return None;
        }
        answer(body, secrets)
    }
}

impl AnswersAt {
    /// Whether an unsigned request may ask in its body, so that the body is read.
    pub(super) fn asks_in_form(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let is_form = types
            .next()
            .is_some_and(|value| has_media_type(value, "application/x-www-form-urlencoded"));
        is_form && types.next().is_none() && method == Method::POST && self.path == uri.path()
    }

    /// Whether this is the path, and the form asks and does nothing else.
    pub(super) fn answer_form(
        &self,
        check: &FormCheck,
        path: &str,
        body: &[u8],
    ) -> Option<Response<Bytes>> {
        let (asks, value) = check.asks;
        let text = str::from_utf8(body).ok().filter(|_| self.path == path)?;
        let names = text
            .split('&')
            .map(|pair| pair.split('=').next().unwrap_or_default());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        // Each once: a form that says more is a request to the handler.
        let is_question = names == [asks] || names == [asks, check.also];
        let asked = query::param(text, asks).ok()?;
        (is_question && asked == value).then(|| plain_text(Bytes::new()))
    }
}

/// Answers Slack's `url_verification` with its `challenge`.
pub(super) fn echo(body: &Bytes, _: &mut dyn Iterator<Item = &MacKey>) -> Option<Response<Bytes>> {
    match member(body, "challenge") {
        Ok(Some(Value::String(challenge))) if challenge.len() <= MAX_BODY => {
            Some(plain_text(challenge))
        }
        _ => None,
    }
}

/// Answers Zoom's `endpoint.url_validation` with the MAC of its token. A token that could be a
/// message which Zoom signs is not answered.
pub(super) fn prove_secret(
    body: &Bytes,
    secrets: &mut dyn Iterator<Item = &MacKey>,
) -> Option<Response<Bytes>> {
    let payload = member(body, "payload").ok()??;
    let token = payload.get("plainToken").and_then(Value::as_str)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"+/=-_".contains(&b);
    if !(1..=MAX_TOKEN).contains(&token.len()) || !token.bytes().all(plain) {
        return None;
    }
    let mut mac = secrets.next()?.start(MacAlgorithm::HmacSha256);
    mac.update(token.as_bytes());
    let encrypted = Encoding::Hex.encode(mac.finish().as_ref());
    let json = json!({ "plainToken": token, "encryptedToken": encrypted });
    let content_type = HeaderValue::from_static("application/json");
    Some(respond(content_type, json.to_string()))
}

/// Answers Xero's intent to receive: with success, and nothing else.
pub(super) fn succeed(_: &Bytes, _: &mut dyn Iterator<Item = &MacKey>) -> Option<Response<Bytes>> {
    Some(plain_text(Bytes::new()))
}

/// The answer repeats what the sender wrote, and is read as nothing but text.
pub(super) fn plain_text(body: impl Into<Bytes>) -> Response<Bytes> {
    respond(HeaderValue::from_static("text/plain; charset=utf-8"), body)
}

fn respond(content_type: HeaderValue, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
