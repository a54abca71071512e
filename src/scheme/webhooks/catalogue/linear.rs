//! Linear.

use super::{
    super::sender::Time,
    row::{hours, minutes},
};
use crate::message::TimeUnit::Millis;

sender! {
    /// Webhooks of [Linear](https://linear.app/developers/webhooks).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `Linear-Signature: <hex>` |
    /// | covered | the body, and in it the time: `webhookTimestamp`, in milliseconds. The header `Linear-Timestamp` means nothing |
    /// | secret | the signing secret, as shown; the key id is `linear` |
    /// | fresh for | 8 hours: Linear [retries](https://linear.app/developers/webhooks) after 1 minute, 1 hour and 6 hours, and does not say that a retry is dated again. Its library takes 60 seconds: see [`max_age`](crate::request::VerifierBuilder::max_age) |
    /// | used once by | the body: `Linear-Delivery` is not covered |
    /// | remembered for | as long as it is fresh |
    ///
    /// The time is checked once the body is there: a body without one is refused. A signer signs
    /// the body as it is given, with its time.
    ///
    /// # Limits
    /// - A retry that is the same delivery is recognised. If a retry is dated again, nothing
    ///   that is covered tells that the event is the same: an event that was handled, and whose
    ///   answer was lost on the way, is handled again.
    /// - After a restart, a store that forgets refuses the deliveries that were dated before it
    ///   (503, `sign_again`), and Linear may never date them again: use a store that survives
    ///   restarts. With a [`high_watermark`](crate::store::MemoryStoreBuilder::high_watermark) it
    ///   refuses only the deliveries that were dated up to the mark, retries among them.
    /// - Method, path and headers are not covered. Take what happened from the body, because
    ///   anybody may have written `Linear-Event`. Put the layer on the one route that takes these
    ///   webhooks: until it is stale, a captured delivery counts as another at another path.
    ///
    /// The format is that of Linear's library `@linear/sdk` 98.0.0.
    Linear = LINEAR "linear" {
        source: "https://linear.app/developers/webhooks",
        header: "Linear-Signature",
        time: Time::Member("webhookTimestamp", Millis),
        max_age: Some(hours(8)),
        retries: Some(minutes(1 + 60 + 6 * 60)),
    }
}
