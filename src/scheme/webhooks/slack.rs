//! Slack.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use super::{
    EVENT_HORIZON, Preset,
    event::{member, read_event_id},
    handshake::HandshakePath,
    plain_text, single_header,
};
use crate::{
    error::{ConfigError, Rejection},
    key::MacKey,
    proof::Parameters,
    scheme::header::{HeaderScheme, Part},
};

/// The greatest length of a challenge, in bytes.
const MAX_CHALLENGE: usize = 1024;

/// Requests of [Slack](https://docs.slack.dev/authentication/verifying-requests-from-slack): events,
/// slash commands, interactions.
///
/// | | |
/// | --- | --- |
/// | signature | `X-Slack-Signature: v0=<hex>`, with `X-Slack-Request-Timestamp` in seconds |
/// | covered | the time and the body |
/// | secret | the signing secret of the app, as it stands; the key id is `slack` |
/// | fresh for | 300 seconds, as in Slack's libraries |
/// | used once by | the event id, `event_id` of a JSON body; for commands and interactions, which have none and are not retried, the signed message |
/// | remembered for | 3 days since the last delivery: Slack [retries](https://docs.slack.dev/apis/events-api/#retries) at once, after 1 minute and after 5 more, and then hourly for 24 hours where an app turns on Delayed Events, each time signed anew |
/// | challenge | `url_verification`, answered with [`answer_url_verification_at`](Self::answer_url_verification_at) |
///
/// # What stays open
/// - Method, path and all other headers are not covered: put the layer on the routes that take these
///   requests.
/// - Until it is stale, a captured delivery can be posted to another path behind the same layer, where
///   it counts as another. Commands and events of one app are signed under one secret, and an event
///   can hold any text: read commands with [`VerifiedForm`](crate::axum::VerifiedForm), which refuses JSON, and
///   events as JSON.
///
/// The format is that of Slack's libraries `slack_sdk` 3.48.0 for Python and `@slack/bolt` 5.1.0.
#[derive(Clone, Debug)]
pub struct Slack {
    format: HeaderScheme,
    /// The path at which a challenge is answered.
    answers_at: Option<HandshakePath>,
}

impl Slack {
    /// The format, with every default.
    #[must_use]
    pub fn new() -> Self {
        let mut format = single_header(
            HeaderScheme::builder("x-slack-signature")
                .prefix("v0=")
                .fixed_key_id("slack")
                .time("x-slack-request-timestamp")
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

    key_id!("slack", format.set_key_id);

    /// Answers `url_verification`, by which Slack asks whether this path is the right one, with its
    /// challenge, once its signature was verified. Default: it goes to the handler like any event, as
    /// it does at every other path.
    ///
    /// The path is that of the webhook as it arrives at this server, with the prefix of an Axum router
    /// in which the route is nested. It is compared byte by byte.
    ///
    /// # Errors
    /// Returns an error if the path does not begin with `/`, or has a query.
    pub fn answer_url_verification_at(
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

impl Preset for Slack {
    type Format = HeaderScheme;

    fn format(&self) -> &HeaderScheme {
        &self.format
    }

    fn read_covered_body(
        &self,
        parameters: &mut Parameters<'_>,
        body: &Bytes,
    ) -> Result<(), Rejection> {
        read_event_id(parameters, body, "event_id")
    }

    fn answer_verified(
        &self,
        path: &str,
        body: &Bytes,
        _: &mut dyn Iterator<Item = &MacKey>,
    ) -> Option<Response<Bytes>> {
        if !self.answers_at.as_ref()?.is(path) || member(body, "type").ok()?? != "url_verification"
        {
            return None;
        }
        match member(body, "challenge") {
            Ok(Some(Value::String(challenge))) if challenge.len() <= MAX_CHALLENGE => {
                Some(plain_text(challenge))
            }
            _ => None,
        }
    }
}
