//! OpenAI.

use super::{row::days, standard_webhooks::STANDARD_WEBHOOKS};

sender! {
    /// Webhooks of [OpenAI](https://platform.openai.com/docs/guides/webhooks): those of
    /// [`StandardWebhooks`](super::StandardWebhooks).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `webhook-signature: v1,<base64>`, with `webhook-id` and `webhook-timestamp` in seconds |
    /// | covered | the id, the time and the body |
    /// | secret | base64 of 24 to 64 bytes, with `whsec_` or `v1,whsec_` in front of it or without; the key id is `openai` |
    /// | fresh for | 300 seconds, as in OpenAI's libraries |
    /// | used once by | the event id, `webhook-id` |
    /// | remembered for | 4 days since the last delivery: OpenAI [retries](https://platform.openai.com/docs/guides/webhooks) for up to 72 hours |
    ///
    /// # Limits
    /// - Method, path and all other headers are not covered: put the layer on the one route that takes
    ///   these webhooks.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same layer,
    ///   where it counts as another.
    ///
    /// The format is that of OpenAI's library `openai` 3.51.0 for Python.
    OpenAi = OPENAI "openai" {
        like STANDARD_WEBHOOKS;
        source: "https://platform.openai.com/docs/guides/webhooks",
        remembered: Some(days(4)),
        retries: Some(days(3)),
    }
}

retention!(OpenAi => "a message is remembered, since its last delivery", "3 days", "4 days");
