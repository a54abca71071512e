//! Shopify.

use super::row::hours;
use crate::message::Encoding;

sender! {
    /// Webhooks of [Shopify](https://shopify.dev/docs/apps/build/webhooks).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Shopify-Hmac-Sha256: <base64>` |
    /// | covered | the body. Not the time |
    /// | secret | the client secret of the app, as shown; the key id is `shopify` |
    /// | fresh for | no limit |
    /// | used once by | the body: neither `X-Shopify-Webhook-Id` nor `X-Shopify-Event-Id` is covered |
    /// | remembered for | 8 hours: twice the 4 hours in which Shopify [retries](https://shopify.dev/changelog/updates-to-webhook-retry-mechanism) up to 8 times, with the same body |
    ///
    /// Under the same secret, Shopify signs query strings, such as those with which it opens an app
    /// in a browser. Their parameters are sorted by name, and `shop` and `timestamp` come before
    /// every name that begins with `{`. So a body that does not begin with `{` is refused: no query
    /// string passes for a delivery. Deliveries in XML are not read.
    ///
    /// # Limits
    /// - Anybody who captured a delivery can post it again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Two deliveries whose bodies are equal to the last byte count as one, even if they are of
    ///   two topics or of two shops. Shopify documents such events: a customer's data can be asked
    ///   for, or be erased, twice with one body. The second within 8 hours is acknowledged and not
    ///   handled. [`danger_delivery_id`](Self::danger_delivery_id) tells them apart.
    /// - Method, path and headers are not covered: topic (`X-Shopify-Topic`) and shop
    ///   (`X-Shopify-Shop-Domain`) may have been written by anybody. Give each topic a route of its
    ///   own, take the shop from the body where it is there, and put the layer on those routes: at
    ///   another path a captured delivery counts as another.
    ///
    /// The format is that of Shopify's libraries `@shopify/shopify-api` 13.1.0.
    Shopify = SHOPIFY "shopify" {
        source: "https://shopify.dev/docs/apps/build/webhooks",
        header: "X-Shopify-Hmac-Sha256",
        encoding: Encoding::Base64,
        body_begins: Some("{"),
        delivery_id: Some("X-Shopify-Webhook-Id"),
        remembered: Some(hours(8)),
        retries: Some(hours(4)),
    }
}

retention!(Shopify => "a delivery is remembered", "4 hours", "8 hours");
delivery_id!(Shopify, "X-Shopify-Webhook-Id");
