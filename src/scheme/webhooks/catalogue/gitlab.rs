//! GitLab.

use super::standard_webhooks::STANDARD_WEBHOOKS;

sender! {
    /// Webhooks of [GitLab](https://docs.gitlab.com/user/project/integrations/webhooks/) with a
    /// signing token: those of [`StandardWebhooks`](super::StandardWebhooks).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `webhook-signature: v1,<base64>`, with `webhook-id` and `webhook-timestamp` in seconds |
    /// | covered | the id, the time and the body |
    /// | secret | base64 of 24 to 64 bytes, with `whsec_` or `v1,whsec_` in front of it or without: the signing token, and not the secret token; the key id is `gitlab` |
    /// | fresh for | 300 seconds, as in the libraries of Standard Webhooks |
    /// | used once by | the event id, `webhook-id`, which is also the `Idempotency-Key` |
    /// | remembered for | 3 days since the last delivery: GitLab does not document for how long it retries |
    ///
    /// The older secret token, `X-Gitlab-Token`, is a password in a header and signs nothing: it means
    /// nothing here.
    ///
    /// # Limits
    /// - Method, path and all other headers are not covered: put the layer on the one route that takes
    ///   these webhooks.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same layer,
    ///   where it counts as another.
    ///
    /// The format is that of GitLab's own description of the [signing
    /// token](https://gitlab.com/gitlab-org/gitlab/-/merge_requests/230944), which names Standard
    /// Webhooks.
    GitLab = GITLAB "gitlab" {
        like STANDARD_WEBHOOKS;
        source: "https://docs.gitlab.com/user/project/integrations/webhooks/",
    }
}

retention!(GitLab => "a message is remembered, since its last delivery", "1 second", "3 days");
