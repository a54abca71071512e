//! Zendesk.

use super::super::sender::{Part, Time};
use crate::message::{Encoding, TimeUnit::Rfc3339};

sender! {
    /// Webhooks of [Zendesk](https://developer.zendesk.com/documentation/webhooks/verifying/).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Zendesk-Webhook-Signature: <base64>`, with `X-Zendesk-Webhook-Signature-Timestamp` as a date |
    /// | covered | the time and the body |
    /// | secret | the signing secret of the webhook, as shown, not decoded; the key id is `zendesk` |
    /// | fresh for | 300 seconds |
    /// | used once by | the signed message: the body of a webhook of a trigger is written by an administrator, and what it calls an id may be that of a ticket |
    /// | remembered for | as long as it is fresh: Zendesk [retries](https://developer.zendesk.com/api-reference/webhooks/introduction/#webhook-retries) a few times |
    ///
    /// The time comes before the body without a delimiter. Only one form of a date is read, and no
    /// such date is the beginning of another one, so that no byte can move between time and body.
    ///
    /// Without a body, two deliveries of one second have one signature: such a delivery is refused, unless
    /// [`danger_delivery_id`](Self::danger_delivery_id) tells the two apart. Zendesk sends none with a
    /// webhook whose method is `GET` or `DELETE`.
    ///
    /// # Limits
    /// - Two deliveries of one second with one body count as one, unless
    ///   [`danger_delivery_id`](Self::danger_delivery_id) tells them apart.
    /// - A retry that is dated again counts as another delivery. Take what tells events apart from the
    ///   body, and ask [`once`](crate::VerifiedPayload::once) for it.
    /// - Method, path and all other headers are not covered: put the layer on the one route that takes
    ///   these webhooks.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same layer,
    ///   where it counts as another.
    ///
    /// The format is that of Zendesk's documentation.
    Zendesk = ZENDESK "zendesk" {
        source: "https://developer.zendesk.com/documentation/webhooks/verifying/",
        header: "X-Zendesk-Webhook-Signature",
        encoding: Encoding::Base64,
        time: Time::Header("X-Zendesk-Webhook-Signature-Timestamp", Rfc3339),
        before: &[Part::Time],
        delivery_id: Some("X-Zendesk-Webhook-Invocation-Id"),
        needs_body: true,
    }
}

delivery_id!(Zendesk, "X-Zendesk-Webhook-Invocation-Id");
