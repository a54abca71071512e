//! Zoom.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response};
use serde_json::{Value, json};

use super::{
    EVENT_HORIZON, Preset, answer, event::member, handshake::HandshakePath, single_header,
};
use crate::{
    error::{ConfigError, Rejection},
    key::{MacAlgorithm, MacKey},
    message::{DigestAlgorithm, Encoding, RunningDigest},
    once::NonceKind,
    proof::Parameters,
    scheme::header::{HeaderScheme, Part},
};

/// The greatest length of a token to be answered, in bytes.
const MAX_TOKEN: usize = 256;

/// Webhooks of [Zoom](https://developers.zoom.us/docs/api/webhooks/).
///
/// | | |
/// | --- | --- |
/// | signature | `x-zm-signature: v0=<hex>`, with `x-zm-request-timestamp` in seconds |
/// | covered | the time and the body |
/// | secret | the secret token of the app, as it stands; the key id is `zoom` |
/// | fresh for | 300 seconds; Zoom's own library does not check |
/// | used once by | the SHA-256 of the body, which has the time of the event in milliseconds: there is no event id |
/// | remembered for | 3 days since the last delivery: Zoom [retries](https://developers.zoom.us/blog/webhook-delays) 3 times, after 5 minutes, 20 more and 60 more |
/// | challenge | `endpoint.url_validation`, answered with [`answer_url_validation_at`](Self::answer_url_validation_at) |
///
/// # What stays open
/// - Method, path and all other headers are not covered: put the layer on the one route that takes
///   these webhooks.
/// - Until it is stale, a captured delivery can be posted to another path behind the same layer, where
///   it counts as another.
/// - Two events whose bodies are alike to the last byte are one.
/// - Zoom does not say whether a retry is dated anew. If retries arrive too old, give them
///   [`max_age`](crate::request::VerifierBuilder::max_age) of 2 hours.
///
/// The format is that of Zoom's library `@zoom/rivet` 0.4.0, which does not verify the bytes as they
/// arrived, but the body parsed and written anew.
#[derive(Clone, Debug)]
pub struct Zoom {
    format: HeaderScheme,
    /// The path at which a challenge is answered.
    answers_at: Option<HandshakePath>,
}

impl Zoom {
    /// The format, with every default.
    #[must_use]
    pub fn new() -> Self {
        let mut format = single_header(
            HeaderScheme::builder("x-zm-signature")
                .prefix("v0=")
                .fixed_key_id("zoom")
                .time("x-zm-request-timestamp")
                .signs(Part::joined(
                    ":",
                    [Part::text("v0"), Part::Time, Part::Body],
                )),
        );
        format.profile_mut().event_horizon = Some(EVENT_HORIZON);
        Self {
            format,
            answers_at: None,
        }
    }

    key_id!("zoom", format.set_key_id);

    /// Answers `endpoint.url_validation`, by which Zoom asks every 72 hours whether this path knows the
    /// secret, with the HMAC of its token, once its signature was verified. Default: it goes to the
    /// handler like any event, as it does at every other path.
    ///
    /// Only tokens of letters, digits and `+/=-_` are answered: none of them is a message that Zoom
    /// signs.
    ///
    /// The path is that of the webhook as it arrives at this server, with the prefix of an Axum router
    /// in which the route is nested. It is compared byte by byte.
    ///
    /// # Errors
    /// Returns an error if the path does not begin with `/`, or has a query.
    pub fn answer_url_validation_at(
        mut self,
        path: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        self.answers_at = Some(HandshakePath::new(path)?);
        Ok(self)
    }

    /// For how long an event is remembered, since its last delivery: between 1 second and 1 year
    /// (checked when a verifier is built). Default: 3 days.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.format.profile_mut().event_horizon = Some(retention);
        self
    }
}

impl Preset for Zoom {
    type Format = HeaderScheme;

    fn format(&self) -> &HeaderScheme {
        &self.format
    }

    fn read_covered_body(
        &self,
        parameters: &mut Parameters<'_>,
        body: &Bytes,
    ) -> Result<(), Rejection> {
        let mut digest = RunningDigest::new(DigestAlgorithm::Sha256);
        digest.update(body);
        let id = Encoding::Hex.encode(digest.finish().as_ref());
        parameters.nonce = Some((NonceKind::Event, Cow::Owned(id.into_bytes())));
        Ok(())
    }

    fn answer_verified(
        &self,
        path: &str,
        body: &Bytes,
        secrets: &mut dyn Iterator<Item = &MacKey>,
    ) -> Option<Response<Bytes>> {
        if !self.answers_at.as_ref()?.is(path)
            || member(body, "event").ok()?? != "endpoint.url_validation"
        {
            return None;
        }
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
        Some(answer(content_type, json.to_string()))
    }
}
