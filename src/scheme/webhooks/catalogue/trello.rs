//! Trello.

use std::borrow::Cow;

use super::{
    super::{
        challenge::Challenge,
        sender::{Once, Part},
    },
    row::days,
};
use crate::{error::ConfigError, key::MacAlgorithm, message::Encoding};

sender! {
    /// Webhooks of [Trello](https://developer.atlassian.com/cloud/trello/guides/rest-api/webhooks/).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Trello-Webhook: <base64>`, with HMAC-SHA1 |
    /// | covered | the body and the URL with its query. Neither the method nor the time |
    /// | secret | the secret of the app, as shown: not its token; the key id is `trello` |
    /// | fresh for | no limit |
    /// | used once by | the event id, `action.id` of the body; without one, the signed message |
    /// | remembered for | 30 days since the last delivery: Trello [retries](https://developer.atlassian.com/cloud/trello/guides/rest-api/webhooks/) up to three times in minutes |
    /// | challenge | `HEAD`, answered with [`answer_head_at`](Self::answer_head_at) |
    ///
    /// Trello signs the callback URL as it was given when the webhook was created. Here it is put together
    /// from the [public origin](crate::request::VerifierBuilder::public_origin), which is required, and what
    /// the request asks for: give it with the host in lower case, without `:443`, and with a path.
    ///
    /// Body and URL are signed without a delimiter. So that no byte can move between them, a URL with a `}`
    /// or a `]` is refused, and a body that ends with anything else. HMAC-SHA1 is accepted because Trello has
    /// nothing else. No way to forge an HMAC with SHA-1 is known.
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Trello sends one action to each webhook that watches it. At two paths it counts as two, at one path
    ///   as one, whatever the query: give each webhook a path of its own if the handler acts on `model`.
    /// - The method and the headers are not covered: put the layer on the one route and method that takes
    ///   these webhooks, because under another method a captured delivery counts as another.
    ///
    /// The format is that of Trello's documentation.
    Trello = TRELLO "trello" {
        source: "https://developer.atlassian.com/cloud/trello/guides/rest-api/webhooks/",
        header: "X-Trello-Webhook",
        encoding: Encoding::Base64,
        algorithm: MacAlgorithm::HmacSha1,
        after: &[Part::Url(|url| Cow::Borrowed(url))],
        once: Once::Member(&["action", "id"]),
        remembered: Some(days(30)),
        challenge: Some(Challenge::Head),
    }
}

retention!(Trello => "an event is remembered, since its last delivery", "1 hour", "30 days");

impl Trello {
    /// Answers the unsigned `HEAD` by which Trello tries the callback URL of a new webhook, with 200.
    /// Default: the `HEAD` is refused, as is every request without a signature.
    ///
    /// Anybody can ask, and learns nothing. The path is that of the webhook as it arrives at this
    /// server, with the prefix of an Axum router in which the route is nested. The comparison is
    /// byte by byte.
    ///
    /// # Errors
    /// Returns an error if the path does not begin with `/`, or has a query.
    pub fn answer_head_at(mut self, path: impl Into<String>) -> Result<Self, ConfigError> {
        self.0.answer_at(path, None)?;
        Ok(self)
    }
}
