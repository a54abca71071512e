//! BoxWebhooks.

use super::{
    super::sender::{Once, Part, Time},
    row::{days, hours},
};
use crate::message::{Encoding, TimeUnit::Rfc3339};

sender! {
    /// Webhooks of [Box](https://developer.box.com/guides/webhooks/v2/signatures-v2), of version 2.
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `BOX-SIGNATURE-PRIMARY: <base64>`, or the same in `BOX-SIGNATURE-SECONDARY`, with `BOX-DELIVERY-TIMESTAMP` as a date |
    /// | covered | the body and the time |
    /// | secret | a signature key of the app, as shown: the primary or the secondary one, or both, one for each header; the key id is `box` |
    /// | fresh for | 300 seconds. Box's libraries take 600: see [`max_age`](crate::request::VerifierBuilder::max_age) |
    /// | used once by | the event id, `id` of the body; without one, the signed message. `BOX-DELIVERY-ID` is not covered, and differs from retry to retry |
    /// | remembered for | 3 days since the last delivery: Box [retries](https://developer.box.com/guides/webhooks/v2) up to 12 times in 2 hours |
    ///
    /// The time comes after the body without a delimiter. Only one form of a date is read, and no
    /// such date is the end of another one, so that no byte can move between body and time. A
    /// signer writes the primary header.
    ///
    /// `BOX-SIGNATURE-VERSION` and `BOX-SIGNATURE-ALGORITHM` mean nothing.
    ///
    /// # Limits
    /// - Method, path and all other headers are not covered: put the layer on the one route that takes
    ///   these webhooks.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same layer,
    ///   where it counts as another.
    ///
    /// The format is that of Box's library `boxsdk` 10.18.0 for Python.
    BoxWebhooks = BOX "box" {
        source: "https://developer.box.com/guides/webhooks/v2/signatures-v2",
        header: "BOX-SIGNATURE-PRIMARY",
        also: &["BOX-SIGNATURE-SECONDARY"],
        encoding: Encoding::Base64,
        time: Time::Header("BOX-DELIVERY-TIMESTAMP", Rfc3339),
        after: &[Part::Time],
        once: Once::Member(&["id"]),
        remembered: Some(days(3)),
        retries: Some(hours(2)),
    }
}

retention!(BoxWebhooks => "an event is remembered, since its last delivery", "2 hours", "3 days");
