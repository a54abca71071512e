//! Webflow.

use super::{
    super::sender::{Once, Part, Time},
    row::{days, hours, minutes},
};
use crate::message::TimeUnit::Millis;

sender! {
    /// Webhooks of [Webflow](https://developers.webflow.com/data/docs/working-with-webhooks).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `x-webflow-signature: <hex>`, with `x-webflow-timestamp` in milliseconds |
    /// | covered | the time and the body |
    /// | secret | the client secret of the app that made the webhook, or the secret of the webhook, as shown; the key id is `webflow` |
    /// | fresh for | 1 hour: Webflow does not say whether a retry is dated again. Its documentation recommends 5 minutes |
    /// | used once by | the SHA-256 of the body: there is no event id |
    /// | remembered for | 3 days since the last delivery: Webflow [retries](https://developers.webflow.com/data/v1.0.0/docs/limits-and-retries) up to 3 times, every 10 minutes |
    ///
    /// A webhook that was made with the API token of a site is not signed, and is refused.
    ///
    /// # Limits
    /// - After a restart, a store that forgets refuses the deliveries that were dated before it (503,
    ///   `sign_again`), and Webflow may never date them again: use a store that survives restarts.
    ///   With a [`high_watermark`](crate::store::MemoryStoreBuilder::high_watermark) it refuses only
    ///   the deliveries that were dated up to the mark, retries among them.
    /// - Two events whose bodies are equal to the last byte count as one.
    /// - Method, path and all other headers are not covered: put the layer on the one route that takes
    ///   these webhooks.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same layer,
    ///   where it counts as another.
    ///
    /// The format is that of Webflow's library `webflow-api` 3.3.4 for Node.
    Webflow = WEBFLOW "webflow" {
        source: "https://developers.webflow.com/data/docs/working-with-webhooks",
        header: "x-webflow-signature",
        time: Time::Header("x-webflow-timestamp", Millis),
        before: &[Part::Time, Part::Text(":")],
        once: Once::Body,
        max_age: Some(hours(1)),
        remembered: Some(days(3)),
        retries: Some(minutes(30)),
    }
}

retention!(Webflow => "an event is remembered, since its last delivery", "30 minutes", "3 days");
