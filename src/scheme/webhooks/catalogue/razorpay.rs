//! Razorpay.

use super::row::days;

sender! {
    /// Webhooks of [Razorpay](https://razorpay.com/docs/webhooks/validate-test/).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Razorpay-Signature: <hex>` |
    /// | covered | the body. Not the time |
    /// | secret | the secret of the webhook, as shown; the key id is `razorpay` |
    /// | fresh for | no limit |
    /// | used once by | the body: `x-razorpay-event-id` is not covered |
    /// | remembered for | 30 days: Razorpay [retries](https://razorpay.com/docs/webhooks/faqs/) for 24 hours, and replays on request for 15 days |
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Two deliveries whose bodies are equal to the last byte count as one, unless
    ///   [`danger_delivery_id`](Self::danger_delivery_id) tells them apart.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks, because at another path a captured delivery counts as another.
    ///
    /// The format is that of Razorpay's library `razorpay` 2.0.1 for Python.
    Razorpay = RAZORPAY "razorpay" {
        source: "https://razorpay.com/docs/webhooks/validate-test/",
        header: "X-Razorpay-Signature",
        delivery_id: Some("x-razorpay-event-id"),
        remembered: Some(days(30)),
        retries: Some(days(1)),
    }
}

retention!(Razorpay => "a delivery is remembered", "1 day", "30 days");
delivery_id!(Razorpay, "x-razorpay-event-id");
