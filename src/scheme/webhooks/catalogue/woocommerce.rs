//! WooCommerce.

use super::row::days;
use crate::message::Encoding;

sender! {
    /// Webhooks of [WooCommerce](https://woocommerce.github.io/woocommerce-rest-api-docs/#webhooks).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-WC-Webhook-Signature: <base64>` |
    /// | covered | the body. Not the time |
    /// | secret | the secret of the webhook, as shown; the key id is `woocommerce` |
    /// | fresh for | no limit |
    /// | used once by | the body: `X-WC-Webhook-Delivery-ID` is not covered |
    /// | remembered for | 30 days: WooCommerce does not retry by itself, and [disables](https://woocommerce.com/document/webhooks/) a webhook after more than five failures in a row |
    ///
    /// The request by which WooCommerce tries a new webhook, a form of `webhook_id`, is not signed: it is
    /// refused, and WooCommerce saves the webhook nevertheless.
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Two deliveries whose bodies are equal to the last byte count as one, unless
    ///   [`danger_delivery_id`](Self::danger_delivery_id) tells them apart.
    /// - Method, path and headers are not covered: `X-WC-Webhook-Topic` may have been written by anybody.
    ///   Give each topic a route of its own.
    ///
    /// The format is that of WooCommerce's documentation.
    WooCommerce = WOOCOMMERCE "woocommerce" {
        source: "https://woocommerce.github.io/woocommerce-rest-api-docs/#webhooks",
        header: "X-WC-Webhook-Signature",
        encoding: Encoding::Base64,
        delivery_id: Some("X-WC-Webhook-Delivery-ID"),
        remembered: Some(days(30)),
    }
}

retention!(WooCommerce => "a delivery is remembered", "1 hour", "30 days");
delivery_id!(WooCommerce, "X-WC-Webhook-Delivery-ID");
