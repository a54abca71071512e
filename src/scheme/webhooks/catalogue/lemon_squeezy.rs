//! Lemon Squeezy.

use super::row::days;

sender! {
    /// Webhooks of [Lemon Squeezy](https://docs.lemonsqueezy.com/help/webhooks/signing-requests).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Signature: <hex>` |
    /// | covered | the body. Not the time |
    /// | secret | the signing secret of the webhook, as shown; the key id is `lemon-squeezy` |
    /// | fresh for | no limit |
    /// | used once by | the body: there is no event id |
    /// | remembered for | 30 days: Lemon Squeezy [retries](https://docs.lemonsqueezy.com/api/webhooks) up to three times, after 5, 25 and 125 seconds |
    ///
    /// Lemon Squeezy allows secrets of 6 to 40 characters: choose one of at least 16.
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Two deliveries whose bodies are equal to the last byte count as one.
    /// - Method, path and headers are not covered. Take what happened from `meta.event_name` of the body:
    ///   anybody may have written `X-Event-Name`. Put the layer on the one route that takes these webhooks.
    ///
    /// The format is that of Lemon Squeezy's documentation.
    LemonSqueezy = LEMON_SQUEEZY "lemon-squeezy" {
        source: "https://docs.lemonsqueezy.com/help/webhooks/signing-requests",
        header: "X-Signature",
        remembered: Some(days(30)),
    }
}

retention!(LemonSqueezy => "a delivery is remembered", "1 hour", "30 days");
