//! Linear.

use super::super::sender::Time;
use crate::message::TimeUnit::Millis;

sender! {
    /// Webhooks of [Linear](https://linear.app/developers/webhooks).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `Linear-Signature: <hex>` |
    /// | covered | the body, and in it the time: `webhookTimestamp`, in milliseconds. The header `Linear-Timestamp` means nothing |
    /// | secret | the signing secret, as it stands; the key id is `linear` |
    /// | fresh for | 300 seconds; Linear's library takes 60: see [`max_age`](crate::request::VerifierBuilder::max_age) |
    /// | used once by | the body: `Linear-Delivery` is not covered |
    /// | remembered for | as long as it is fresh |
    ///
    /// The time is checked once the body is there: a body without one is refused. A signer signs
    /// the body as it is given, with the time that stands in it.
    ///
    /// # What stays open
    /// - Linear retries after 1 minute, 1 hour and 6 hours, dated anew. Nothing that is covered
    ///   tells that it is the same event: one that was handled, and whose answer was lost on the
    ///   way, is handled again.
    /// - Method, path and headers are not covered. Take what happened from the body: what
    ///   `Linear-Event` says may have been written by anybody. Put the layer on the one route that
    ///   takes these webhooks: until it is stale, a captured delivery counts as another at another
    ///   path.
    ///
    /// The format is that of Linear's library `@linear/sdk` 98.0.0.
    Linear = LINEAR "linear" {
        source: "https://linear.app/developers/webhooks",
        header: "Linear-Signature",
        time: Time::Member("webhookTimestamp", Millis),
    }
}
