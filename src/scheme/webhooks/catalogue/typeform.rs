//! Typeform.

use super::{
    super::sender::{Macs, Once},
    row::{days, hours},
};
use crate::message::Encoding;

sender! {
    /// Webhooks of [Typeform](https://www.typeform.com/developers/webhooks/secure-your-webhooks/).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `Typeform-Signature: sha256=<base64>` |
    /// | covered | the body. Not the time |
    /// | secret | the secret of the webhook, as shown; the key id is `typeform` |
    /// | fresh for | no limit |
    /// | used once by | the event id, `event_id` of the body; without one, the signed message |
    /// | remembered for | 30 days since the last delivery: Typeform [retries](https://www.typeform.com/developers/webhooks/) every few minutes for 10 hours, or some times within 11, as it was answered, with the same event id |
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks, because at another path a captured delivery counts as another.
    ///
    /// The format is that of Typeform's documentation.
    Typeform = TYPEFORM "typeform" {
        source: "https://www.typeform.com/developers/webhooks/secure-your-webhooks/",
        header: "Typeform-Signature",
        macs: Macs::Single { prefix: "sha256=" },
        encoding: Encoding::Base64,
        once: Once::Member(&["event_id"]),
        remembered: Some(days(30)),
        retries: Some(hours(11)),
    }
}

retention!(Typeform => "an event is remembered, since its last delivery", "11 hours", "30 days");
