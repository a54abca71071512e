//! LINE.

use super::{super::sender::Once, row::days};
use crate::message::Encoding;

sender! {
    /// Webhooks of
    /// [LINE](https://developers.line.biz/en/docs/messaging-api/verify-webhook-signature/)'s Messaging
    /// API.
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `x-line-signature: <base64>` |
    /// | covered | the body. Not the time |
    /// | secret | the channel secret, as shown; the key id is `line` |
    /// | fresh for | no limit |
    /// | used once by | all event ids of `events` of the body, as a set: `webhookEventId` of each event; without one, the signed message |
    /// | remembered for | 30 days since the last delivery: LINE [redelivers](https://developers.line.biz/en/docs/messaging-api/receiving-messages/#webhook-redelivery) for a time that it does not say, with `isRedelivery` in the body |
    ///
    /// LINE verifies a webhook URL with a signed delivery without events. Answer it with 200, as every
    /// delivery.
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - A delivery may hold several events, and is used once as a whole. Ask
    ///   [`once`](crate::VerifiedPayload::once) for each event, or
    ///   [`once_in`](crate::VerifiedPayload::once_in) in a transaction.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks, because at another path a captured delivery counts as another.
    ///
    /// The format is that of LINE's library `@line/bot-sdk` 11.2.0.
    Line = LINE "line" {
        source: "https://developers.line.biz/en/docs/messaging-api/verify-webhook-signature/",
        header: "x-line-signature",
        encoding: Encoding::Base64,
        once: Once::Each {
            within: Some("events"),
            names: &["webhookEventId"],
        },
        remembered: Some(days(30)),
    }
}

retention!(Line => "an event is remembered, since its last delivery", "1 hour", "30 days");
