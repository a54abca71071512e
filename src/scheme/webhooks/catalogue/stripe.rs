//! Stripe.

use super::{
    super::sender::{Macs, Once, Part, Time},
    row::days,
};

sender! {
    /// Webhooks of [Stripe](https://docs.stripe.com/webhooks).
    ///
    /// ```
    /// # use countersign::{MemoryStore, VerifyLayer, webhooks::Stripe};
    /// let layer = VerifyLayer::builder(Stripe::new())
    ///     .secret("whsec_the signing secret of the endpoint")
    ///     .store(MemoryStore::new())
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `Stripe-Signature: t=<seconds>,v1=<hex>`; `v1` may repeat, other names (`v0`) are skipped |
    /// | covered | the time and the body |
    /// | secret | the string `whsec_…` as it is, not decoded; the key id is `stripe` |
    /// | fresh for | 300 seconds, as in Stripe's libraries; theirs accept any time ahead |
    /// | used once by | the event id, `id` of the body; without one, the signed message |
    /// | remembered for | 3 days since the last delivery: in live mode Stripe retries for up to 3 days, each time signed again |
    ///
    /// # Limits
    /// - Method, path and all other headers are not covered: put the layer on the one route that
    ///   takes these webhooks.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same
    ///   layer, where it counts as another.
    /// - An event that is resent by hand, later than it is remembered for, is handled again.
    ///
    /// The format is that of Stripe's libraries `stripe` 16.1.0 for Python and 23.1.0 for Node.
    Stripe = STRIPE "stripe" {
        source: "https://docs.stripe.com/webhooks",
        header: "Stripe-Signature",
        macs: Macs::List { separator: ',', name: "v1", binder: '=' },
        time: Time::Element("t"),
        before: &[Part::Time, Part::Text(".")],
        once: Once::Member(&["id"]),
        remembered: Some(days(3)),
        retries: Some(days(3)),
    }
}

retention!(Stripe => "an event is remembered, since its last delivery", "3 days", "3 days");
