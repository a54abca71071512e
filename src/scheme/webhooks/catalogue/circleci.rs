//! CircleCi.

use super::{
    super::sender::{Macs, Once},
    row::days,
};

sender! {
    /// Webhooks of [CircleCI](https://circleci.com/docs/guides/integration/outbound-webhooks/).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `circleci-signature: v1=<hex>`; other versions are skipped |
    /// | covered | the body. Not the time |
    /// | secret | the secret token of the webhook, as shown; the key id is `circleci` |
    /// | fresh for | no limit |
    /// | used once by | the event id, `id` of the body; without one, the signed message |
    /// | remembered for | 30 days since the last delivery: CircleCI [retries](https://circleci.com/docs/guides/integration/outbound-webhooks/), and does not document for how long |
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks, because at another path a captured delivery counts as another.
    ///
    /// The format is that of CircleCI's documentation.
    CircleCi = CIRCLECI "circleci" {
        source: "https://circleci.com/docs/guides/integration/outbound-webhooks/",
        header: "circleci-signature",
        macs: Macs::List { separator: ',', name: "v1", binder: '=' },
        once: Once::Member(&["id"]),
        remembered: Some(days(30)),
    }
}

retention!(CircleCi => "an event is remembered, since its last delivery", "1 hour", "30 days");
