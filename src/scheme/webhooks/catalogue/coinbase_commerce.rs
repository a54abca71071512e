//! Coinbase Commerce.

use super::{super::sender::Once, row::days};

sender! {
    /// Webhooks of
    /// [Coinbase Commerce](https://docs.cdp.coinbase.com/commerce/api-architecture/webhooks-security).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-CC-Webhook-Signature: <hex>` |
    /// | covered | the body. Not the time |
    /// | secret | the webhook shared secret, as shown; the key id is `coinbase-commerce` |
    /// | fresh for | no limit |
    /// | used once by | the event id, `event.id` of the body; without one, the signed message. The `id` at the top, and `attempt_number`, are of the delivery |
    /// | remembered for | 30 days since the last delivery: Coinbase Commerce [retries](https://docs.cdp.coinbase.com/commerce/api-architecture/webhooks-overview) for up to 3 days |
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks, because at another path a captured delivery counts as another.
    ///
    /// The format is that of Coinbase's library `coinbase-commerce` 1.0.1 for Python.
    CoinbaseCommerce = COINBASE_COMMERCE "coinbase-commerce" {
        source: "https://docs.cdp.coinbase.com/commerce/api-architecture/webhooks-security",
        header: "X-CC-Webhook-Signature",
        once: Once::Member(&["event", "id"]),
        remembered: Some(days(30)),
        retries: Some(days(3)),
    }
}

retention!(CoinbaseCommerce => "an event is remembered, since its last delivery", "3 days", "30 days");
