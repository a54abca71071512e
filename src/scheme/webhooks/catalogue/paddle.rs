//! Paddle.

use super::{
    super::sender::{Macs, Once, Part, Time},
    row::days,
};

sender! {
    /// Webhooks of [Paddle Billing](https://developer.paddle.com/webhooks/overview).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `Paddle-Signature: ts=<seconds>;h1=<hex>`; `h1` may repeat, other names are skipped |
    /// | covered | the time and the body |
    /// | secret | the string `pdl_ntfset_…` as it is; the key id is `paddle` |
    /// | fresh for | 300 seconds. Paddle's libraries take 5: see [`max_age`](crate::request::VerifierBuilder::max_age) |
    /// | used once by | the event id, `event_id` of the body; without one, the signed message |
    /// | remembered for | 3 days since the last delivery: a live account [retries](https://developer.paddle.com/webhooks/about/respond-to-webhooks) up to 60 times in 3 days |
    ///
    /// # Limits
    /// - Method, path and all other headers are not covered: put the layer on the one route that
    ///   takes these webhooks.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same
    ///   layer, where it counts as another.
    /// - An event that is replayed by hand, later than it is remembered for, is handled again.
    ///
    /// The format is that of Paddle's libraries `paddle-python-sdk` 1.16.1 and
    /// `@paddle/paddle-node-sdk` 3.10.0.
    Paddle = PADDLE "paddle" {
        source: "https://developer.paddle.com/webhooks/overview",
        header: "Paddle-Signature",
        macs: Macs::List { separator: ';', name: "h1", binder: '=' },
        time: Time::Element("ts"),
        before: &[Part::Time, Part::Text(":")],
        once: Once::Member(&["event_id"]),
        remembered: Some(days(3)),
        retries: Some(days(3)),
    }
}

retention!(Paddle => "an event is remembered, since its last delivery", "3 days", "3 days");
