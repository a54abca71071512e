//! Bitbucket.

use super::{super::sender::Macs, row::days};

sender! {
    /// Webhooks of [Bitbucket Cloud](https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Hub-Signature: sha256=<hex>` |
    /// | covered | the body. Not the time |
    /// | secret | the secret of the webhook, as shown; the key id is `bitbucket` |
    /// | fresh for | no limit |
    /// | used once by | the body: `X-Request-UUID` is not covered |
    /// | remembered for | 30 days: Bitbucket [sends](https://support.atlassian.com/bitbucket-cloud/docs/troubleshoot-webhooks/) the same body up to two more times after a status of 500 to 599, and again when somebody asks for it |
    ///
    /// # Limits
    /// - Anybody who captured a delivery can post it again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Two deliveries whose bodies are equal to the last byte count as one, unless
    ///   [`danger_delivery_id`](Self::danger_delivery_id) tells them apart.
    /// - Method, path and headers are not covered. Take what happened from the body, because anybody may
    ///   have written `X-Event-Key`. Put the layer on the one route that takes these webhooks: at another
    ///   path a captured delivery counts as another.
    ///
    /// The format is that of Bitbucket's documentation.
    Bitbucket = BITBUCKET "bitbucket" {
        source: "https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/",
        header: "X-Hub-Signature",
        macs: Macs::Single { prefix: "sha256=" },
        delivery_id: Some("X-Request-UUID"),
        remembered: Some(days(30)),
    }
}

retention!(Bitbucket => "a delivery is remembered", "1 hour", "30 days");
delivery_id!(Bitbucket, "X-Request-UUID");
