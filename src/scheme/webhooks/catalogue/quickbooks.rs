//! QuickBooks Online.

use super::{super::sender::Once, row::days};
use crate::message::Encoding;

sender! {
    /// Webhooks of [QuickBooks Online](https://developer.intuit.com/app/developer/qbo/docs/develop/webhooks).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `intuit-signature: <base64>` |
    /// | covered | the body. Not the time |
    /// | secret | the verifier token of the app, as shown; the key id is `quickbooks` |
    /// | fresh for | no limit |
    /// | used once by | all event ids of the body, as a set: `id` of each event, with its `source`; without one, the signed message. Deliveries in the older form have none |
    /// | remembered for | 30 days since the last delivery: Intuit [retries](https://developer.intuit.com/app/developer/qbo/docs/develop/webhooks/best-practices) after seconds, minutes and hours, and then every 6 hours, without an end that it documents |
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
    /// The format is that of Intuit's library `ipp-v3-java-devkit` 6.5.0.
    QuickBooks = QUICKBOOKS "quickbooks" {
        source: "https://developer.intuit.com/app/developer/qbo/docs/develop/webhooks",
        header: "intuit-signature",
        encoding: Encoding::Base64,
        once: Once::Each {
            within: None,
            names: &["id", "source"],
        },
        remembered: Some(days(30)),
    }
}

retention!(QuickBooks => "an event is remembered, since its last delivery", "1 hour", "30 days");
