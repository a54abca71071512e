//! Intercom.

use super::{
    super::sender::{Macs, Once},
    row::days,
};
use crate::key::MacAlgorithm;

sender! {
    /// Webhooks of [Intercom](https://developers.intercom.com/docs/webhooks/webhook-notifications).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Hub-Signature: sha1=<hex>`, with HMAC-SHA1 |
    /// | covered | the body. Not the time |
    /// | secret | the client secret of the app, as shown; the key id is `intercom` |
    /// | fresh for | no limit |
    /// | used once by | the event id, `id` of the body; without one, the signed message |
    /// | remembered for | 30 days since the last delivery: Intercom delivers again, with another `delivery_attempts` in the body, and does not document for how long |
    ///
    /// HMAC-SHA1 is accepted because Intercom has nothing else. No way to forge an HMAC with SHA-1 is known.
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks, because at another path a captured delivery counts as another.
    ///
    /// The format is that of Intercom's
    /// [documentation](https://developers.intercom.com/intercom-api-reference/v1.0/reference/signed-notifications).
    Intercom = INTERCOM "intercom" {
        source: "https://developers.intercom.com/docs/webhooks/webhook-notifications",
        header: "X-Hub-Signature",
        macs: Macs::Single { prefix: "sha1=" },
        algorithm: MacAlgorithm::HmacSha1,
        once: Once::Member(&["id"]),
        remembered: Some(days(30)),
    }
}

retention!(Intercom => "an event is remembered, since its last delivery", "1 hour", "30 days");
