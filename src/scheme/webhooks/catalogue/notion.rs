//! Notion.

use super::{
    super::{
        challenge::{Challenge, SecretIn},
        registration::Registrations,
        sender::{Macs, Once},
    },
    row::days,
};

sender! {
    /// Webhooks of [Notion](https://developers.notion.com/reference/webhooks).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Notion-Signature: sha256=<hex>` |
    /// | covered | the body. Not the time |
    /// | secret | the verification token of the subscription, as shown; the key id is `notion` |
    /// | fresh for | no limit |
    /// | used once by | the event id, `id` of the body; without one, the signed message. `attempt_number` differs from retry to retry |
    /// | remembered for | 30 days since the last delivery: Notion [retries](https://developers.notion.com/reference/webhooks-events-delivery) for about a day |
    /// | challenge | `verification_token`, answered with [`answer_registrations`](Self::answer_registrations) |
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks, because at another path a captured delivery counts as another.
    ///
    /// The format is that of Notion's library `@notionhq/client` 5.26.0.
    Notion = NOTION "notion" {
        source: "https://developers.notion.com/reference/webhooks",
        header: "X-Notion-Signature",
        macs: Macs::Single { prefix: "sha256=" },
        once: Once::Member(&["id"]),
        remembered: Some(days(30)),
        retries: Some(days(1)),
        challenge: Some(Challenge::Secret(SecretIn::Member("verification_token"))),
    }
}

retention!(Notion => "an event is remembered, since its last delivery", "1 day", "30 days");

impl Notion {
    /// Answers the unsigned request in which Notion brings the verification token of a new
    /// subscription, while the application waits for it: see [`Registrations`]. Default: the request
    /// is refused, as is every request without a signature.
    ///
    /// Paste the token into Notion's settings. Keep it as the secret only if Notion accepts it there:
    /// otherwise somebody else sent it.
    #[must_use]
    pub fn answer_registrations(mut self, registrations: &Registrations) -> Self {
        self.0.answer_registrations(registrations);
        self
    }
}
