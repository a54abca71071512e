//! Resend.

use super::{
    row::{days, hours},
    standard_webhooks::SVIX,
};

sender! {
    /// Webhooks of [Resend](https://resend.com/docs/webhooks/verify-webhooks-requests), which Svix sends:
    /// those of [`StandardWebhooks::svix`](super::StandardWebhooks::svix).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `svix-signature: v1,<base64>`, with `svix-id` and `svix-timestamp` in seconds |
    /// | covered | the id, the time and the body |
    /// | secret | base64 of 24 to 64 bytes, with `whsec_` or `v1,whsec_` in front of it or without; the key id is `resend` |
    /// | fresh for | 300 seconds, as in Resend's library |
    /// | used once by | the event id, `svix-id` |
    /// | remembered for | 3 days since the last delivery: Svix [retries](https://docs.svix.com/retries) for some 28 hours, each time signed again under the same id |
    ///
    /// # Limits
    /// - Method, path and all other headers are not covered: put the layer on the one route that takes
    ///   these webhooks.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same layer,
    ///   where it counts as another.
    /// - A message that is replayed by hand, later than it is remembered for, is handled again.
    ///
    /// The format is that of Resend's library `resend` 6.38.0 for Node.
    Resend = RESEND "resend" {
        like SVIX;
        source: "https://resend.com/docs/webhooks/verify-webhooks-requests",
        remembered: Some(days(3)),
        retries: Some(hours(28)),
    }
}

retention!(Resend => "a message is remembered, since its last delivery", "28 hours", "3 days");
