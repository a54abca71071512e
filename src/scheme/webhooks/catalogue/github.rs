//! GitHub.

use super::{super::sender::Macs, row::days};

sender! {
    /// Webhooks of [GitHub](https://docs.github.com/webhooks).
    ///
    /// ```
    /// # use countersign::{MemoryStore, VerifyLayer, webhooks::GitHub};
    /// let layer = VerifyLayer::builder(GitHub::new())
    ///     .secret("the secret of the webhook")
    ///     .store(MemoryStore::new())
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Hub-Signature-256: sha256=<hex>`; that with SHA-1, `X-Hub-Signature`, means nothing |
    /// | covered | the body. Not the time |
    /// | secret | the string that was given to GitHub; the key id is `github` |
    /// | fresh for | no limit |
    /// | used once by | the body: `X-GitHub-Delivery` is not covered |
    /// | remembered for | 30 days: GitHub [does not retry](https://docs.github.com/en/webhooks/using-webhooks/handling-failed-webhook-deliveries) by itself, but [redelivers on request](https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks) the same body, for 3 days, and for 7 on GitHub Enterprise Server |
    ///
    /// # Limits
    /// - Anybody who captured a delivery can post it again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Two deliveries whose bodies are equal to the last byte count as one, unless
    ///   [`danger_delivery_id`](Self::danger_delivery_id) tells them apart.
    /// - Method, path and headers are not covered. Take what happened from the body, because
    ///   anybody may have written `X-GitHub-Event`. Put the layer on the one route that takes these
    ///   webhooks: at another path a captured delivery counts as another.
    ///
    /// A delivery may have up to 25 MB: see
    /// [`max_body_bytes`](crate::request::VerifierBuilder::max_body_bytes). The format is that of
    /// GitHub's library `@octokit/webhooks-methods` 6.0.0.
    GitHub = GITHUB "github" {
        source: "https://docs.github.com/webhooks",
        header: "X-Hub-Signature-256",
        macs: Macs::Single { prefix: "sha256=" },
        delivery_id: Some("X-GitHub-Delivery"),
        remembered: Some(days(30)),
    }
}

retention!(GitHub => "a delivery is remembered", "1 hour", "30 days");
delivery_id!(GitHub, "X-GitHub-Delivery");
