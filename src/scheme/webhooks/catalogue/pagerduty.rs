//! PagerDuty.

use super::{
    super::sender::{Macs, Once},
    row::days,
};

sender! {
    /// Webhooks of [PagerDuty](https://developer.pagerduty.com/docs/verifying-webhook-signatures), of
    /// version 3.
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-PagerDuty-Signature: v1=<hex>`; `v1` may repeat, one for each secret while secrets are rotated, other names are skipped |
    /// | covered | the body. Not the time |
    /// | secret | the secret of the webhook subscription, as shown; the key id is `pagerduty` |
    /// | fresh for | no limit |
    /// | used once by | the event id, `event.id` of the body; without one, the signed message |
    /// | remembered for | 30 days since the last delivery: PagerDuty retries, and does not document for how long |
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - PagerDuty sends one event to each subscription that it concerns. At two paths it counts as two, at
    ///   one path as one: give each subscription a path of its own if each must be handled.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks, because at another path a captured delivery counts as another.
    ///
    /// The format is that of PagerDuty's library `go-pagerduty` 1.8.0.
    PagerDuty = PAGERDUTY "pagerduty" {
        source: "https://developer.pagerduty.com/docs/verifying-webhook-signatures",
        header: "X-PagerDuty-Signature",
        macs: Macs::List { separator: ',', name: "v1", binder: '=' },
        once: Once::Member(&["event", "id"]),
        remembered: Some(days(30)),
    }
}

retention!(PagerDuty => "an event is remembered, since its last delivery", "1 hour", "30 days");
