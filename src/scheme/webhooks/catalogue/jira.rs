//! Jira.

use super::{super::sender::Macs, row::days};

sender! {
    /// Webhooks of [Jira Cloud](https://developer.atlassian.com/cloud/jira/platform/webhooks/) that an
    /// administrator made with a secret.
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Hub-Signature: sha256=<hex>` |
    /// | covered | the body. Not the time |
    /// | secret | the secret of the webhook, as shown; the key id is `jira` |
    /// | fresh for | no limit |
    /// | used once by | the body, which has the time of the event in milliseconds: `X-Atlassian-Webhook-Identifier` is not covered |
    /// | remembered for | 30 days: Jira [retries](https://developer.atlassian.com/cloud/jira/platform/webhooks/) a few times, under the same identifier |
    ///
    /// Webhooks that an app registers have no such signature, and are refused.
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Two deliveries whose bodies are equal to the last byte count as one, unless
    ///   [`danger_delivery_id`](Self::danger_delivery_id) tells them apart.
    /// - Method, path and headers are not covered, nor is the query, into which Jira can write the issue:
    ///   take it from the body. Put the layer on the one route that takes these webhooks, because at
    ///   another path a captured delivery counts as another.
    ///
    /// The format is that of Jira's documentation.
    Jira = JIRA "jira" {
        source: "https://developer.atlassian.com/cloud/jira/platform/webhooks/",
        header: "X-Hub-Signature",
        macs: Macs::Single { prefix: "sha256=" },
        delivery_id: Some("X-Atlassian-Webhook-Identifier"),
        remembered: Some(days(30)),
    }
}

retention!(Jira => "a delivery is remembered", "1 hour", "30 days");
delivery_id!(Jira, "X-Atlassian-Webhook-Identifier");
