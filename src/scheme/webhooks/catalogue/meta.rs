//! Meta.

use super::{
    super::{
        challenge::{Challenge, Subscription},
        sender::Macs,
    },
    row::days,
};
use crate::{error::ConfigError, key::Secret};

sender! {
    /// Webhooks of [Meta](https://developers.facebook.com/docs/graph-api/webhooks/getting-started):
    /// Facebook, Instagram, Messenger, WhatsApp.
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Hub-Signature-256: sha256=<hex>`; that with SHA-1, `X-Hub-Signature`, means nothing |
    /// | covered | the body, as it was sent. Not the time |
    /// | secret | the app secret, as shown; the key id is `meta` |
    /// | fresh for | no limit |
    /// | used once by | the body |
    /// | remembered for | 30 days: Meta retries [for 36 hours](https://developers.facebook.com/docs/graph-api/webhooks/getting-started#frequency), WhatsApp [for 7 days](https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview) |
    /// | challenge | `hub.challenge`, answered with [`answer_subscription_at`](Self::answer_subscription_at) |
    ///
    /// # Limits
    /// - Anybody who captured a delivery can post it again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Two deliveries whose bodies are equal to the last byte count as one. One delivery may hold
    ///   several changes, and a change may come again in another delivery: tell changes apart by
    ///   their own ids.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks, because at another path a captured delivery counts as another.
    ///
    /// A delivery may have up to 3 MiB: see
    /// [`max_body_bytes`](crate::request::VerifierBuilder::max_body_bytes). The format is that of
    /// Meta's documentation.
    Meta = META "meta" {
        source: "https://developers.facebook.com/docs/graph-api/webhooks/getting-started",
        header: "X-Hub-Signature-256",
        macs: Macs::Single { prefix: "sha256=" },
        remembered: Some(days(30)),
        retries: Some(days(7)),
        challenge: Some(Challenge::Query {
            parameter: "hub.challenge",
            also: "",
            subscribes: Some(Subscription {
                mode: ("hub.mode", "subscribe"),
                token: "hub.verify_token",
            }),
        }),
    }
}

retention!(Meta => "a delivery is remembered", "7 days", "30 days");

impl Meta {
    /// Answers the unsigned `GET` by which Meta asks whether this path is the right one, with its
    /// challenge, if the `GET` names this token. Default: the `GET` is refused, as is every request
    /// without a signature.
    ///
    /// The path is that of the webhook as it arrives at this server, with the prefix of an Axum
    /// router in which the route is nested. The comparison is byte by byte. At any other path, the
    /// request is verified.
    ///
    /// ```
    /// use countersign::webhooks::Meta;
    ///
    /// let scheme = Meta::new().answer_subscription_at("/meta", "the token given to the dashboard")?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    ///
    /// Only challenges of up to 256 letters and digits are answered.
    ///
    /// # Errors
    /// Returns an error if the path does not begin with `/`, or has a query, and if the token is
    /// not a [`Secret`].
    pub fn answer_subscription_at<T>(
        mut self,
        path: impl Into<String>,
        verify_token: T,
    ) -> Result<Self, ConfigError>
    where
        T: TryInto<Secret>,
        ConfigError: From<T::Error>,
    {
        self.0.answer_at(path, Some(verify_token.try_into()?))?;
        Ok(self)
    }
}
