//! The builder of a `HeaderScheme`: what it takes, and what it refuses.

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{
    HeaderName,
    header::{HOST, TRANSFER_ENCODING},
};

use super::{Description, Element, HeaderScheme, KeySource, TimeUnit, decodable::undelimited};
use crate::{
    encoding::Encoding,
    error::{ConfigError, ConfigErrorKind},
    key::KeyId,
    mac::MacAlgorithm,
    nonce::NonceKind,
    scheme::{Coverage, Profile},
};

/// For as long as senders are known to retry.
const EVENT_HORIZON: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// A part of the signed message of a [`HeaderScheme`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// Fixed text: a delimiter, or a version such as `v0:`.
    Text(String),
    /// The method, as it was sent: `POST`.
    Method,
    /// The authority, in lower case and without the default port: `api.example.com`. It must be a
    /// [public origin](crate::VerifierBuilder::public_origin).
    Authority,
    /// The path, with its percent-encoding as it was sent.
    Path,
    /// The query without its `?`; nothing where there is none. A target that ends in `?` is
    /// refused.
    Query,
    /// The path, and where there is a query, `?` and the query: all as it was sent.
    PathAndQuery,
    /// The value of this header, which must be there, once. Its name is not part of the message.
    Header(String),
    /// The signed time, as it stands in its header.
    Time,
    /// The nonce or event id, as it stands in its header.
    Nonce,
    /// The key id, as it stands in its header.
    KeyId,
    /// The body, as it was received.
    Body,
}

impl Part {
    /// Fixed text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The value of this header.
    #[must_use]
    pub fn header(name: impl Into<String>) -> Self {
        Self::Header(name.into())
    }

    /// Parts with a line feed between them, which no part but the body and other text can hold.
    #[must_use]
    pub fn lines(parts: impl IntoIterator<Item = Self>) -> Vec<Self> {
        Self::joined("\n", parts)
    }

    /// Parts with a delimiter between them.
    #[must_use]
    pub fn joined(delimiter: &str, parts: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut joined = Vec::new();
        for part in parts {
            if !joined.is_empty() {
                joined.push(Self::text(delimiter));
            }
            joined.push(part);
        }
        joined
    }
}

/// Describes a [`HeaderScheme`].
#[derive(Clone, Debug)]
#[must_use]
pub struct HeaderSchemeBuilder {
    signature: String,
    algorithm: MacAlgorithm,
    encoding: Encoding,
    prefix: String,
    key_header: Option<String>,
    key_fixed: Option<String>,
    time: Option<(String, TimeUnit)>,
    nonce: Option<(String, NonceKind)>,
    event_horizon: Duration,
    untimed_retention: Option<Duration>,
    parts: Vec<Part>,
}

impl HeaderSchemeBuilder {
    pub(super) fn new(signature: String) -> Self {
        Self {
            signature,
            algorithm: MacAlgorithm::HmacSha256,
            encoding: Encoding::Hex,
            prefix: String::new(),
            key_header: None,
            key_fixed: None,
            time: None,
            nonce: None,
            event_horizon: EVENT_HORIZON,
            untimed_retention: None,
            parts: Vec::new(),
        }
    }

    /// The algorithm of the MAC. Default: HMAC-SHA256.
    pub fn algorithm(mut self, algorithm: MacAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// How the MAC is written. Default: [`Encoding::Hex`].
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// What stands before the MAC in its header, such as `sha256=`. Default: nothing.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The header that holds the key id, a [`KeyId`](crate::KeyId). It must be covered, by
    /// [`Part::KeyId`]. No default: either this or [`fixed_key_id`](Self::fixed_key_id) has to be
    /// given.
    pub fn key_id(mut self, header: impl Into<String>) -> Self {
        self.key_header = Some(header.into());
        self
    }

    /// One key id for every request, where the format does not name one.
    pub fn fixed_key_id(mut self, id: impl Into<String>) -> Self {
        self.key_fixed = Some(id.into());
        self
    }

    /// The header that holds the signed time, in seconds since 1970. It must be covered, by
    /// [`Part::Time`].
    pub fn time(mut self, header: impl Into<String>) -> Self {
        self.time = Some((header.into(), TimeUnit::Seconds));
        self
    }

    /// The header that holds the signed time, in milliseconds since 1970. It must be covered, by
    /// [`Part::Time`].
    pub fn time_millis(mut self, header: impl Into<String>) -> Self {
        self.time = Some((header.into(), TimeUnit::Millis));
        self
    }

    /// The header that holds a nonce, new for each signed request: 1 to 256 visible ASCII
    /// characters. It must be covered, by [`Part::Nonce`].
    ///
    /// Default: none; the SHA-256 of the signed message then serves as the nonce, and two requests
    /// that are alike to the last byte are one.
    pub fn nonce(mut self, header: impl Into<String>) -> Self {
        self.nonce = Some((header.into(), NonceKind::Covered));
        self
    }

    /// The header that holds an event id, which the sender keeps over its retries: 1 to 256 visible
    /// ASCII characters. It must be covered, by [`Part::Nonce`].
    ///
    /// A retry that was signed anew, with a later time, is then the same event. The id is
    /// remembered for at least [`event_horizon`](Self::event_horizon), counted anew from each
    /// duplicate.
    pub fn event_id(mut self, header: impl Into<String>) -> Self {
        self.nonce = Some((header.into(), NonceKind::Event));
        self
    }

    /// For how long the sender may go on retrying an event: between 1 second and 1 year (checked when
    /// a verifier is built). Default: 3 days. Without an [`event_id`](Self::event_id) it has no
    /// effect.
    pub fn event_horizon(mut self, horizon: Duration) -> Self {
        self.event_horizon = horizon;
        self
    }

    /// The signed message: its parts, in order.
    ///
    /// ```
    /// use countersign::{HeaderScheme, Part};
    ///
    /// // As many webhooks do: `v0:<time>:<body>`
    /// let parts = [Part::text("v0:"), Part::Time, Part::text(":"), Part::Body];
    /// let scheme = HeaderScheme::builder("x-signature")
    ///     .fixed_key_id("sender")
    ///     .time("x-timestamp")
    ///     .signs(parts)
    ///     .build()?;
    ///
    /// // The time and the body, without a delimiter, could trade digits:
    /// let parts = [Part::Time, Part::Body];
    /// let refused = HeaderScheme::builder("x-signature")
    ///     .fixed_key_id("sender")
    ///     .time("x-timestamp")
    ///     .signs(parts)
    ///     .build();
    /// assert!(refused.is_err());
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    pub fn signs(mut self, parts: impl IntoIterator<Item = Part>) -> Self {
        self.parts = parts.into_iter().collect();
        self
    }

    /// Accepts a format that covers no time. A request is then fresh for ever: it is remembered for
    /// `retention`, and whoever captured it can send it again after that, or after a store that
    /// does not survive a restart was started anew. The retention is between 1 hour and 1 year
    /// (checked when a verifier is built).
    pub fn danger_without_time(mut self, retention: Duration) -> Self {
        self.untimed_retention = Some(retention);
        self
    }

    /// Checks the description.
    ///
    /// # Errors
    /// When a name is not valid or is given twice, a parameter is named but not covered or covered
    /// but not named, no time is covered, or two different requests could share a signed message.
    pub fn build(self) -> Result<HeaderScheme, ConfigError> {
        let signature = header_name(&self.signature)?;
        if !self.prefix.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(refuse("the prefix is not visible ASCII"));
        }
        let elements = elements(&self.parts)?;
        let has = |element| elements.contains(&element);

        let key = match (self.key_header, self.key_fixed) {
            (Some(name), None) if has(Element::KeyId) => KeySource::Header(header_name(&name)?),
            (None, Some(id)) if !has(Element::KeyId) => KeySource::Fixed(KeyId::new(id)?),
            (Some(_), None) => {
                return Err(refuse(
                    "the key id is not covered; add `Part::KeyId` to the message",
                ));
            }
            _ => {
                return Err(refuse(
                    "name the header of the key id and cover it with `Part::KeyId`, or give \
                     `fixed_key_id`, but not both",
                ));
            }
        };
        let named =
            |what: Option<&str>, element: Element, name: &str| match (what.is_some(), has(element))
            {
                (true, false) => Err(refuse(format!(
                    "the {name} is not covered; add `Part::{name}` to the message"
                ))),
                (false, true) => Err(refuse(format!(
                    "`Part::{name}` is in the message, and no header is named that holds it"
                ))),
                _ => Ok(what.map(header_name).transpose()?),
            };
        let (time, unit) = self.time.unzip();
        let time = named(time.as_deref(), Element::Time, "Time")?.zip(unit);
        let (nonce, kind) = self.nonce.unzip();
        let nonce = named(nonce.as_deref(), Element::Nonce, "Nonce")?.zip(kind);
        if time.is_some() == self.untimed_retention.is_some() {
            return Err(refuse(
                "cover a time with `time` and `Part::Time`, or say `danger_without_time`, but not \
                 both",
            ));
        }

        let mut headers: Vec<HeaderName> = Vec::new();
        let parameters = [
            match &key {
                KeySource::Header(name) => Some(name),
                KeySource::Fixed(_) => None,
            },
            time.as_ref().map(|(name, _)| name),
            nonce.as_ref().map(|(name, _)| name),
        ];
        let covered = elements.iter().filter_map(|element| match element {
            Element::Header(name) => Some(name),
            _ => None,
        });
        for name in parameters.into_iter().flatten().chain(covered) {
            if *name == signature || headers.contains(name) {
                return Err(refuse(format!("header `{name}` is named twice")));
            }
            headers.push(name.clone());
        }

        let bodies = elements.iter().filter(|element| **element == Element::Body);
        if bodies.count() > 1 {
            return Err(refuse("the body is in the message twice"));
        }
        if let Some(element) = undelimited(&elements) {
            return Err(refuse(format!(
                "bytes could move between {element:?} and what stands beside it, so that two \
                 requests would share one signed message; put a delimiter there that it cannot \
                 hold, such as `Part::text(\"\\n\")`"
            )));
        }
        if elements
            .iter()
            .all(|element| matches!(element, Element::Text(_)))
        {
            return Err(refuse("the message has no part of the request"));
        }

        let path = has(Element::Path) || has(Element::PathAndQuery);
        let coverage = Coverage {
            method: has(Element::Method),
            authority: has(Element::Authority),
            path,
            query: has(Element::Query) || has(Element::PathAndQuery),
            headers,
            parts: Vec::new(),
        };
        let event = nonce
            .as_ref()
            .is_some_and(|(_, kind)| *kind == NonceKind::Event);
        let profile = Profile {
            algorithm: self.algorithm,
            covers_authority: coverage.authority,
            covers_place: coverage.method && path,
            untimed_retention: self.untimed_retention,
            event_horizon: event.then_some(self.event_horizon),
            may_repeat: false,
            sender_retries: false,
        };
        Ok(HeaderScheme(Arc::new(Description {
            signature,
            encoding: self.encoding,
            prefix: self.prefix,
            key,
            time,
            nonce,
            elements,
            coverage,
            profile,
        })))
    }
}

pub(super) fn elements(parts: &[Part]) -> Result<Vec<Element>, ConfigError> {
    let mut elements: Vec<Element> = Vec::with_capacity(parts.len());
    for part in parts {
        let element = match part {
            Part::Text(text) if text.is_empty() => continue,
            Part::Text(text) => {
                if let Some(Element::Text(before)) = elements.last_mut() {
                    before.extend_from_slice(text.as_bytes());
                    continue;
                }
                Element::Text(text.clone().into_bytes())
            }
            Part::Method => Element::Method,
            Part::Authority => Element::Authority,
            Part::Path => Element::Path,
            Part::Query => Element::Query,
            Part::PathAndQuery => Element::PathAndQuery,
            Part::Header(name) => match header_name(name)? {
                HOST => return Err(refuse("cover `Part::Authority` instead of `host`")),
                TRANSFER_ENCODING => {
                    return Err(refuse(
                        "`transfer-encoding` changes from one hop to the next",
                    ));
                }
                name => Element::Header(name),
            },
            Part::Time => Element::Time,
            Part::Nonce => Element::Nonce,
            Part::KeyId => Element::KeyId,
            Part::Body => Element::Body,
        };
        elements.push(element);
    }
    Ok(elements)
}

fn header_name(name: &str) -> Result<HeaderName, ConfigError> {
    name.parse()
        .map_err(|_| refuse(format!("`{name}` is not the name of a header")))
}

fn refuse(what: impl Into<Cow<'static, str>>) -> ConfigError {
    ConfigErrorKind::Scheme(what.into()).into()
}
