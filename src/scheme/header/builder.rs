//! The builder of a `HeaderScheme`: what it takes, and what it refuses.

use std::{sync::Arc, time::Duration};

use http::HeaderName;

use super::{
    decodable::{remedy, undelimited},
    element::Element,
    part::{Part, elements, header_name, refuse},
    scheme::{Description, HeaderScheme, KeySource},
    without_body::{self, WithoutBody},
};
use crate::{
    error::ConfigError,
    key::{KeyId, MacAlgorithm},
    message::{self, Encoding, MAX_DIGITS, TimeUnit},
    once::NonceKind,
    scheme::Profile,
};

impl HeaderScheme {
    /// Describes a format whose signature is in this header.
    pub fn builder(signature_header: impl Into<String>) -> HeaderSchemeBuilder {
        HeaderSchemeBuilder::new(signature_header.into())
    }
}

/// For as long as senders are known to retry.
const EVENT_HORIZON: Duration = Duration::from_secs(3 * 24 * 60 * 60);

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
    time_width: Option<usize>,
    without_body: Option<WithoutBody>,
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
            time_width: None,
            without_body: None,
            nonce: None,
            event_horizon: EVENT_HORIZON,
            untimed_retention: None,
            parts: Vec::new(),
        }
    }

    /// Sets the algorithm of the MAC: HMAC-SHA256 or HMAC-SHA512. Default: HMAC-SHA256.
    ///
    /// HMAC-SHA1 is refused. Only the [webhooks](crate::webhooks) of senders that know nothing else
    /// are verified with it.
    pub fn algorithm(mut self, algorithm: MacAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Sets how the MAC is written. Default: [`Encoding::Hex`].
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Sets the text before the MAC in its header, such as `sha256=`. Default: nothing.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the header that holds the key id, a [`KeyId`](crate::KeyId). It must be covered, by
    /// [`Part::KeyId`]. No default: either this or [`fixed_key_id`](Self::fixed_key_id) must be
    /// given.
    pub fn key_id(mut self, header: impl Into<String>) -> Self {
        self.key_header = Some(header.into());
        self
    }

    /// Sets one key id for every request, for a format that does not name one.
    ///
    /// The key id is part of what a store records. After a change, requests that were used under
    /// the former key id are new to the store. A request that covers a time is new again only while
    /// it is fresh: stop the servers, wait for `max_age` and `max_skew`, and start them with the
    /// new key id. For a format that covers no time, or has event ids, keep the key id for as long
    /// as the store keeps its records. Rotate the secret under the same key id instead.
    pub fn fixed_key_id(mut self, id: impl Into<String>) -> Self {
        self.key_fixed = Some(id.into());
        self
    }

    /// Sets the header that holds the signed time, in seconds since 1970. It must be covered, by
    /// [`Part::Time`].
    pub fn time(mut self, header: impl Into<String>) -> Self {
        self.time = Some((header.into(), TimeUnit::Seconds));
        self
    }

    /// Sets the header that holds the signed time, in milliseconds since 1970. It must be covered,
    /// by [`Part::Time`].
    pub fn time_millis(mut self, header: impl Into<String>) -> Self {
        self.time = Some((header.into(), TimeUnit::Millis));
        self
    }

    /// Sets in how many digits every time is written: between 1 and 15. Seconds have 10 digits
    /// until the year 2286, and milliseconds 13. Requests with another number of digits are
    /// refused. Default: any number.
    ///
    /// Such a time needs no delimiter behind it in the message.
    ///
    /// ```
    /// use countersign::{HeaderScheme, Part};
    ///
    /// let scheme = HeaderScheme::builder("x-signature")
    ///     .fixed_key_id("sender")
    ///     .time("x-timestamp")
    ///     .time_width(10)
    ///     .signs([Part::Time, Part::Body])
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    pub fn time_width(mut self, digits: usize) -> Self {
        self.time_width = Some(digits);
        self
    }

    /// Sets how a request without a body is signed, by a format that signs the body as JSON.
    /// Default: such a request is refused if the body is [`Part::CanonicalBody`], because an empty
    /// text is no document.
    ///
    /// A request whose body would be signed alike, such as the body `null` with
    /// [`WithoutBody::Null`], is refused.
    ///
    /// ```
    /// use countersign::{
    ///     HeaderScheme, Part,
    ///     scheme::{JsonObject, PythonJson, WithoutBody},
    /// };
    ///
    /// let message = JsonObject::new(PythonJson::sorted())
    ///     .string("method", Part::Method)
    ///     .string("path", Part::Path)
    ///     .string("timestamp", Part::Time)
    ///     .value("body", Part::canonical_body(PythonJson::sorted()));
    /// let scheme = HeaderScheme::builder("x-signature")
    ///     .fixed_key_id("shop")
    ///     .time("x-timestamp")
    ///     .without_body(WithoutBody::Null)
    ///     .signs([Part::Json(message)])
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    pub fn without_body(mut self, without: WithoutBody) -> Self {
        self.without_body = Some(without);
        self
    }

    /// Sets the header that holds a nonce, new for each signed request: 1 to 256 visible ASCII
    /// characters. It must be covered, by [`Part::Nonce`].
    ///
    /// Default: none; the SHA-256 of the signed message then serves as the nonce, and two requests
    /// that are alike to the last byte are one.
    pub fn nonce(mut self, header: impl Into<String>) -> Self {
        self.nonce = Some((header.into(), NonceKind::Covered));
        self
    }

    /// Sets the header that holds an event id, which the sender keeps over its retries: 1 to 256
    /// visible ASCII characters. It must be covered, by [`Part::Nonce`].
    ///
    /// A retry that was signed again, with a later time, is then the same event. The id is
    /// remembered for at least [`event_horizon`](Self::event_horizon), counted again from each
    /// duplicate.
    pub fn event_id(mut self, header: impl Into<String>) -> Self {
        self.nonce = Some((header.into(), NonceKind::Event));
        self
    }

    /// Sets for how long the sender may go on retrying an event: between 1 second and 1 year
    /// (checked when a verifier is built). Default: 3 days. Without an [`event_id`](Self::event_id)
    /// it has no effect.
    pub fn event_horizon(mut self, horizon: Duration) -> Self {
        self.event_horizon = horizon;
        self
    }

    /// Sets the signed message: its parts, in order.
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

    /// Accepts a format that covers no time. A request is then always fresh, and is remembered for
    /// `retention`. Anybody who captured it can send it again after that time, or after a restart
    /// of a store that does not survive restarts. Range: 1 hour to 1 year, checked when a verifier
    /// is built.
    pub fn danger_without_time(mut self, retention: Duration) -> Self {
        self.untimed_retention = Some(retention);
        self
    }

    /// Checks the description.
    ///
    /// # Errors
    /// Returns an error if the algorithm is HMAC-SHA1, a name is not valid or is given twice, a
    /// parameter is named but not covered or covered but not named, no time is covered, or two
    /// different requests could share a signed message.
    pub fn build(self) -> Result<HeaderScheme, ConfigError> {
        let signature = header_name(&self.signature)?;
        if !self.prefix.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(refuse("the prefix is not visible ASCII"));
        }
        if self.algorithm == MacAlgorithm::HmacSha1 {
            return Err(refuse(
                "HMAC-SHA1 is for the webhooks of senders that know nothing else; sign with \
                 HMAC-SHA256 or HMAC-SHA512",
            ));
        }
        let mut elements = elements(&self.parts)?;
        let parts: Vec<&Element> = elements.iter().map(Element::unquoted).collect();
        let has = |element| parts.contains(&&element);

        let key = match (self.key_header, self.key_fixed) {
            (Some(name), None) if has(Element::KeyId) => KeySource::Header(header_name(&name)?),
            (None, Some(id)) if !has(Element::KeyId) => {
                KeySource::Fixed(KeyId::new(id)?.to_string())
            }
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
        if self
            .time_width
            .is_some_and(|width| time.is_none() || !(1..=MAX_DIGITS).contains(&width))
        {
            return Err(refuse(format!(
                "`time_width` must be between 1 and {MAX_DIGITS} digits of a time that is named"
            )));
        }
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
        let covered = parts.iter().filter_map(|part| match part {
            Element::Header(name) => Some(name),
            _ => None,
        });
        for name in parameters.into_iter().flatten().chain(covered) {
            if *name == signature || headers.contains(name) {
                return Err(refuse(format!("header `{name}` is named twice")));
            }
            headers.push(name.clone());
        }

        let mut supplied = Vec::new();
        for name in parts.iter().filter_map(|part| part.supplied()) {
            if supplied.contains(&name) {
                let what = format!("the supplied value `{name}` is in the message twice");
                return Err(refuse(what));
            }
            supplied.push(name);
        }

        let bodies = elements.iter().filter_map(Element::body_form);
        if bodies.count() > 1 {
            return Err(refuse("the body is in the message twice"));
        }
        let is_bare = |part: &Part| matches!(part, Part::CanonicalBody(_));
        let may_vanish =
            self.without_body == Some(WithoutBody::EmptyText) && self.parts.iter().any(is_bare);
        let to_check: Vec<_> = elements
            .iter()
            .map(|element| match (element, self.time_width) {
                (Element::Time, Some(width)) => Element::TimeOf(width),
                // A document that may be empty does not tell where it ends.
                (Element::Document(_), _) if may_vanish => Element::Body,
                (element, _) => element.clone(),
            })
            .collect();
        if let Some(element) = undelimited(&to_check) {
            let help = remedy(&to_check).map_or_else(String::new, |help| {
                format!("; if the format is given, this makes it unambiguous: {help}")
            });
            let part = element.in_words();
            return Err(refuse(format!(
                "bytes could move between {part} and its neighbour, so that two \
                 requests would share one signed message; put a delimiter there that {part} cannot \
                 hold, such as `Part::text(\"\\n\")`{help}"
            )));
        }
        if elements
            .iter()
            .all(|element| matches!(element, Element::Text(_)))
        {
            return Err(refuse("the message has no part of the request"));
        }

        let covers = |part| elements.iter().any(|element| element.covers(&part));
        let (method, path) = (covers(message::Part::Method), covers(message::Part::Path));
        let event = nonce
            .as_ref()
            .is_some_and(|(_, kind)| *kind == NonceKind::Event);
        let profile = Profile {
            algorithm: self.algorithm,
            covers_authority: covers(message::Part::Authority),
            covers_method: method,
            covers_place: method && path,
            untimed_retention: self.untimed_retention,
            event_horizon: event.then_some(self.event_horizon),
            retried_for: Duration::ZERO,
            may_repeat: false,
            key_id_is_own: false,
            max_age: None,
            sends_batches: false,
            sender_retries: false,
            signs_configured_url: false,
            malformed_is_unauthorized: false,
            bare_refusals: false,
        };
        if let Some(without) = self.without_body {
            without_body::allow(&self.parts, &mut elements, without)?;
        }
        Ok(HeaderScheme(Arc::new(Description {
            signature,
            encoding: self.encoding,
            prefix: self.prefix,
            key,
            time,
            time_width: self.time_width,
            nonce,
            elements,
            profile,
        })))
    }
}
