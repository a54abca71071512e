//! Calendly.

use super::{
    super::sender::{Macs, Once, Part, Time},
    row::{days, hours},
};

sender! {
    /// Webhooks of [Calendly](https://developer.calendly.com/api-docs/overview/webhooks/webhook-signatures).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `Calendly-Webhook-Signature: t=<seconds>,v1=<hex>`; `v1` may repeat, other names are skipped |
    /// | covered | the time and the body |
    /// | secret | the signing key of the subscription, as shown; the key id is `calendly` |
    /// | fresh for | 24 hours, the longest that there is: Calendly retries for as long, and does not say that a retry is dated again |
    /// | used once by | the SHA-256 of the body, which has the time of the event: there is no event id |
    /// | remembered for | 3 days since the last delivery: Calendly [retries](https://developer.calendly.com/api-docs/overview/webhooks/webhook-errors) for 24 hours |
    ///
    /// # Limits
    /// - After a restart, a store that forgets refuses the deliveries that were dated before it
    ///   (503, `sign_again`), and Calendly may never date them again: use a store that survives
    ///   restarts. With a [`high_watermark`](crate::store::MemoryStoreBuilder::high_watermark) it
    ///   refuses only the deliveries that were dated up to the mark, retries among them.
    /// - A last retry that is not dated again, and that is late, is refused as stale.
    /// - Method, path and all other headers are not covered: put the layer on the one route that takes
    ///   these webhooks.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same layer,
    ///   where it counts as another.
    /// - Two events whose bodies are equal to the last byte count as one.
    ///
    /// The format is that of Calendly's documentation.
    Calendly = CALENDLY "calendly" {
        source: "https://developer.calendly.com/api-docs/overview/webhooks/webhook-signatures",
        header: "Calendly-Webhook-Signature",
        macs: Macs::List { separator: ',', name: "v1", binder: '=' },
        time: Time::Element("t"),
        before: &[Part::Time, Part::Text(".")],
        once: Once::Body,
        max_age: Some(hours(24)),
        remembered: Some(days(3)),
        retries: Some(days(1)),
    }
}

retention!(Calendly => "an event is remembered, since its last delivery", "1 day", "3 days");
