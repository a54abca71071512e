//! Vercel.

use super::{super::sender::Once, row::days};
use crate::key::MacAlgorithm;

sender! {
    /// Webhooks of [Vercel](https://vercel.com/docs/webhooks).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `x-vercel-signature: <hex>`, with HMAC-SHA1 |
    /// | covered | the body. Not the time |
    /// | secret | the secret of the webhook, or the client secret of the integration, as shown; the key id is `vercel` |
    /// | fresh for | no limit |
    /// | used once by | the event id, `id` of the body; without one, the signed message |
    /// | remembered for | 30 days since the last delivery: Vercel [retries](https://vercel.com/docs/webhooks) for up to 24 hours |
    ///
    /// HMAC-SHA1 is accepted because Vercel has nothing else. No way to forge an HMAC with SHA-1 is known.
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks, because at another path a captured delivery counts as another.
    ///
    /// The format is that of Vercel's documentation.
    Vercel = VERCEL "vercel" {
        source: "https://vercel.com/docs/webhooks",
        header: "x-vercel-signature",
        algorithm: MacAlgorithm::HmacSha1,
        once: Once::Member(&["id"]),
        remembered: Some(days(30)),
        retries: Some(days(1)),
    }
}

retention!(Vercel => "an event is remembered, since its last delivery", "1 day", "30 days");
