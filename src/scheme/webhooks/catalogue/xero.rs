//! Xero.

use super::{
    super::challenge::{self, Asks, Challenge},
    row::days,
};
use crate::{error::ConfigError, message::Encoding};

sender! {
    /// Webhooks of
    /// [Xero](https://developer.xero.com/documentation/guides/webhooks/configuring-your-server/).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `x-xero-signature: <base64>` |
    /// | covered | the body. Not the time |
    /// | secret | the webhooks key of the app, as shown, not decoded; the key id is `xero` |
    /// | fresh for | no limit |
    /// | used once by | the body: its events have no ids |
    /// | remembered for | 30 days: Xero [retries](https://developer.xero.com/documentation/guides/webhooks/configuring-your-server/) for up to 24 hours |
    /// | challenge | `events: []`, answered with [`answer_intent_to_receive_at`](Self::answer_intent_to_receive_at) |
    ///
    /// Xero [expects](https://developer.xero.com/documentation/guides/webhooks/configuring-your-server/) 200
    /// within 5 seconds, 401 for a wrong signature, and no answer with a body or a cookie. Refusals over the
    /// signature have no body here, whatever
    /// [`render_rejection`](crate::VerifyLayer::render_rejection) says. Let the handler answer so too, and
    /// do its work afterwards.
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - One delivery may hold several events, and an event may come again in another delivery: tell events
    ///   apart by what they say.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks, because at another path a captured delivery counts as another.
    ///
    /// The format is that of Xero's documentation.
    Xero = XERO "xero" {
        source: "https://developer.xero.com/documentation/guides/webhooks/configuring-your-server/",
        header: "x-xero-signature",
        encoding: Encoding::Base64,
        bare_refusals: true,
        remembered: Some(days(30)),
        retries: Some(days(1)),
        challenge: Some(Challenge::Body {
            member: "events",
            value: Asks::EmptyArray,
            answer: challenge::succeed,
        }),
    }
}

retention!(Xero => "a delivery is remembered", "1 day", "30 days");

impl Xero {
    /// Answers the intent to receive, by which Xero asks whether this path knows the key: a
    /// delivery without events, with 200 and no body, once its signature was verified. Default: the
    /// delivery goes to the handler like any other, as at every other path.
    ///
    /// Xero also sends some with a wrong signature, and they are refused with 401, as Xero wants.
    ///
    /// The path is that of the webhook as it arrives at this server, with the prefix of an Axum
    /// router in which the route is nested. The comparison is byte by byte.
    ///
    /// # Errors
    /// Returns an error if the path does not begin with `/`, or has a query.
    pub fn answer_intent_to_receive_at(
        mut self,
        path: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        self.0.answer_at(path, None)?;
        Ok(self)
    }
}
