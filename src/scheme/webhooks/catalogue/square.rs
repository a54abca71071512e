//! Square.

use std::borrow::Cow;

use super::{
    super::sender::{Once, Part},
    row::days,
};
use crate::message::Encoding;

sender! {
    /// Webhooks of [Square](https://developer.squareup.com/docs/webhooks/overview).
    ///
    /// ```
    /// # use countersign::{MemoryStore, VerifyLayer, webhooks::Square};
    /// let layer = VerifyLayer::builder(Square::new())
    ///     .public_origin("https://example.com")
    ///     .secret("the signature key of the subscription")
    ///     .store(MemoryStore::new())
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `x-square-hmacsha256-signature: <base64>` |
    /// | covered | the URL with its query and the body. Neither the method nor the time |
    /// | secret | the signature key of the subscription, as shown; the key id is `square` |
    /// | fresh for | no limit |
    /// | used once by | the event id, `event_id` of the body; without one, the signed message |
    /// | remembered for | 30 days since the last delivery: Square [retries](https://developer.squareup.com/docs/webhooks/troubleshooting) for up to 24 hours |
    ///
    /// Square signs the notification URL as it was written in its console. Here it is put together
    /// from the [public origin](crate::request::VerifierBuilder::public_origin), which must be
    /// given, and what the request asks for: write it there with the host in lower case, without
    /// `:443`, and with a path.
    ///
    /// URL and body are signed without a delimiter. So that no byte can move between them, a URL
    /// with a `{` or a `[` is refused, and a body that begins with anything else.
    ///
    /// # Limits
    /// - Anybody who captured a delivery can post it again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - The method and the headers are not covered: put the layer on the one route and method that
    ///   takes these webhooks, for under another method a captured delivery counts as another.
    ///
    /// The format is that of Square's library `squareup` 46.0 for Python.
    Square = SQUARE "square" {
        source: "https://developer.squareup.com/docs/webhooks/overview",
        header: "x-square-hmacsha256-signature",
        encoding: Encoding::Base64,
        before: &[Part::Url(|url| Cow::Borrowed(url))],
        once: Once::Member(&["event_id"]),
        remembered: Some(days(30)),
        retries: Some(days(1)),
    }
}

retention!(Square => "an event is remembered, since its last delivery", "1 day", "30 days");
