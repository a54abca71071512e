//! HubSpot.

use std::borrow::Cow;

use super::{
    super::sender::{Once, Part, Time},
    row::days,
};
use crate::message::{Encoding, TimeUnit::Millis};

sender! {
    /// Requests of
    /// [HubSpot](https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation),
    /// with version 3 of its signature: webhooks, workflow actions, cards.
    ///
    /// ```
    /// # use countersign::{MemoryStore, VerifiedPayload, VerifyLayer, webhooks::HubSpot};
    /// # use http::StatusCode;
    /// let layer = VerifyLayer::builder(HubSpot::new())
    ///     .public_origin("https://example.com")
    ///     .secret("the client secret of the app")
    ///     .store(MemoryStore::new())
    ///     .build()?;
    ///
    /// async fn handler(payload: VerifiedPayload) -> StatusCode {
    ///     let Ok(events) = payload.json::<Vec<serde_json::Value>>() else {
    ///         return StatusCode::UNPROCESSABLE_ENTITY;
    ///     };
    ///     for event in events {
    ///         let id = ["portalId", "subscriptionId", "eventId", "occurredAt"];
    ///         let id = id.map(|name| event.get(name));
    ///         if id.contains(&None) {
    ///             println!("handles {event}, which nothing tells apart from others");
    ///             continue;
    ///         }
    ///         match payload.once(format!("{id:?}")).await {
    ///             Ok(true) => println!("handles {event}"),
    ///             Ok(false) => {} // It was handled with another delivery.
    ///             Err(rejection) => return rejection.status(),
    ///         }
    ///     }
    ///     StatusCode::OK
    /// }
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-HubSpot-Signature-v3: <base64>`, with `X-HubSpot-Request-Timestamp` in milliseconds; those of versions 1 and 2, which are no HMAC, mean nothing |
    /// | covered | the method, the URL with its query, the body and the time |
    /// | secret | the client secret of the app, as shown; the key id is `hubspot` |
    /// | fresh for | 300 seconds, as in HubSpot's libraries |
    /// | used once by | all event ids of the body, as a set: `eventId` of each event, with its `portalId`, `subscriptionId` and `occurredAt`; without one, the signed message. HubSpot does not promise that an `eventId` alone is unique |
    /// | remembered for | 3 days since the last delivery: HubSpot [retries](https://developers.hubspot.com/docs/api-reference/webhooks-webhooks-v3/guide) up to 10 times in 24 hours |
    ///
    /// The URL is put together from the [public
    /// origin](crate::request::VerifierBuilder::public_origin), which must be given, and what the
    /// request asks for. URL, body and time are signed without a delimiter. So that no byte can
    /// move between them, a URL with a `{` or a `[` is refused, and a body that is not empty and
    /// begins with anything else.
    ///
    /// # Limits
    /// - **In the URL, `%3A %2F %3F %40 %21 %24 %27 %28 %29 %2A %2C %3B` are decoded before it is
    ///   signed**, so that `/a%2Fb` and `/a/b` have one signature, and so have `?a=b` and `%3Fa=b`.
    ///   Anybody who captured a request can respell its URL so; it counts as the same request. The
    ///   payload has the query as it was signed, that is, decoded: all behind the first `?`. For a
    ///   path with one of these, the payload has `None`.
    /// - **A delivery holds up to 100 events, and is used once as a whole.** If HubSpot groups events
    ///   otherwise when it retries, an event comes again in another delivery. Ask
    ///   [`once`](crate::VerifiedPayload::once) for each event, as in the example, or
    ///   [`once_in`](crate::VerifiedPayload::once_in) in a transaction.
    /// - Headers are not covered.
    ///
    /// The format is that of HubSpot's library `hubspot-api-client` 12.0.0 for Python, which does
    /// not decode the URL; that is from HubSpot's documentation.
    HubSpot = HUBSPOT "hubspot" {
        source: "https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation",
        header: "X-HubSpot-Signature-v3",
        encoding: Encoding::Base64,
        time: Time::Header("X-HubSpot-Request-Timestamp", Millis),
        before: &[Part::Method, Part::Url(decode_as_hubspot)],
        after: &[Part::Time],
        // HubSpot does not promise that an `eventId` alone is unique.
        once: Once::Each {
            within: None,
            names: &["eventId", "portalId", "subscriptionId", "occurredAt"],
        },
        remembered: Some(days(3)),
        retries: Some(days(1)),
    }
}

retention!(HubSpot => "an event is remembered, since its last delivery", "1 day", "3 days");

/// Decodes the escapes that HubSpot decodes, and no others.
fn decode_as_hubspot(url: &str) -> Cow<'_, str> {
    const DECODED: [(&str, char); 12] = [
        ("3A", ':'),
        ("2F", '/'),
        ("3F", '?'),
        ("40", '@'),
        ("21", '!'),
        ("24", '$'),
        ("27", '\''),
        ("28", '('),
        ("29", ')'),
        ("2A", '*'),
        ("2C", ','),
        ("3B", ';'),
    ];
    let mut pieces = url.split('%');
    let mut decoded = pieces.next().unwrap_or_default().to_owned();
    let mut is_plain = true;
    for piece in pieces {
        let hit = DECODED
            .iter()
            .find_map(|(hex, c)| Some((c, piece.strip_prefix(hex)?)));
        match hit {
            Some((c, rest)) => {
                decoded.push(*c);
                decoded.push_str(rest);
                is_plain = false;
            }
            None => {
                decoded.push('%');
                decoded.push_str(piece);
            }
        }
    }
    if is_plain {
        Cow::Borrowed(url)
    } else {
        Cow::Owned(decoded)
    }
}
