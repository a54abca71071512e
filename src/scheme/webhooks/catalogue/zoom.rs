//! Zoom.

use super::{
    super::{
        challenge::{self, Asks, Challenge},
        sender::{Macs, Once, Part, Time},
    },
    row::{days, hours, minutes},
};
use crate::{error::ConfigError, message::TimeUnit::Seconds};

sender! {
    /// Webhooks of [Zoom](https://developers.zoom.us/docs/api/webhooks/).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `x-zm-signature: v0=<hex>`, with `x-zm-request-timestamp` in seconds |
    /// | covered | the time and the body |
    /// | secret | the secret token of the app, as shown; the key id is `zoom` |
    /// | fresh for | 2 hours: Zoom does not say whether a retry is dated again. Its own library does not check the time |
    /// | used once by | the SHA-256 of the body, which has the time of the event in milliseconds: there is no event id |
    /// | remembered for | 3 days since the last delivery: Zoom [retries](https://developers.zoom.us/blog/webhook-delays) 3 times, after 5 minutes, 20 more and 60 more |
    /// | challenge | `endpoint.url_validation`, answered with [`answer_url_validation_at`](Self::answer_url_validation_at) |
    ///
    /// # Limits
    /// - After a restart, a store that forgets refuses the deliveries that were dated before it
    ///   (503, `sign_again`), and Zoom may never date them again: use a store that survives
    ///   restarts. With a [`high_watermark`](crate::store::MemoryStoreBuilder::high_watermark) it
    ///   refuses only the deliveries that were dated up to the mark, retries among them.
    /// - Method, path and all other headers are not covered: put the layer on the one route that
    ///   takes these webhooks.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same
    ///   layer, where it counts as another.
    /// - Two events whose bodies are equal to the last byte count as one.
    ///
    /// The format is that of Zoom's library `@zoom/rivet` 0.4.0, which does not verify the bytes as
    /// they arrived, but the body parsed and written again.
    Zoom = ZOOM "zoom" {
        source: "https://developers.zoom.us/docs/api/webhooks/",
        header: "x-zm-signature",
        macs: Macs::Single { prefix: "v0=" },
        time: Time::Header("x-zm-request-timestamp", Seconds),
        before: &[Part::Text("v0:"), Part::Time, Part::Text(":")],
        once: Once::Body,
        max_age: Some(hours(2)),
        remembered: Some(days(3)),
        retries: Some(minutes(85)),
        challenge: Some(Challenge::Body {
            member: "event",
            value: Asks::Text("endpoint.url_validation"),
            answer: challenge::prove_secret,
        }),
    }
}

retention!(Zoom => "an event is remembered, since its last delivery", "85 minutes", "3 days");

impl Zoom {
    /// Answers `endpoint.url_validation`, by which Zoom asks every 72 hours whether this path knows
    /// the secret, with the HMAC of its token, once its signature was verified. Default: the
    /// question goes to the handler like any event, as at every other path.
    ///
    /// Only tokens of letters, digits and `+/=-_` are answered: none of them is a message that Zoom
    /// signs.
    ///
    /// The path is that of the webhook as it arrives at this server, with the prefix of an Axum
    /// router in which the route is nested. The comparison is byte by byte.
    ///
    /// # Errors
    /// Returns an error if the path does not begin with `/`, or has a query.
    pub fn answer_url_validation_at(
        mut self,
        path: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        self.0.answer_at(path, None)?;
        Ok(self)
    }
}
