//! Buildkite.

use super::super::sender::{Macs, Part, Time};

sender! {
    /// Webhooks of [Buildkite](https://buildkite.com/docs/apis/webhooks/pipelines).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Buildkite-Signature: timestamp=<seconds>,signature=<hex>`; `X-Buildkite-Token`, a password in a header, means nothing |
    /// | covered | the time and the body |
    /// | secret | the token of the webhook, as shown; the key id is `buildkite` |
    /// | fresh for | 300 seconds |
    /// | used once by | the signed message: there is no event id |
    /// | remembered for | as long as it is fresh: Buildkite does not document retries |
    ///
    /// Choose the signature, and not the token, as the header of the webhook.
    ///
    /// # Limits
    /// - A delivery that is signed again counts as another.
    /// - Method, path and all other headers are not covered: put the layer on the one route that takes
    ///   these webhooks.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same layer,
    ///   where it counts as another.
    ///
    /// The format is that of Buildkite's library `go-buildkite` 4.5.1.
    Buildkite = BUILDKITE "buildkite" {
        source: "https://buildkite.com/docs/apis/webhooks/pipelines",
        header: "X-Buildkite-Signature",
        macs: Macs::List { separator: ',', name: "signature", binder: '=' },
        time: Time::Element("timestamp"),
        before: &[Part::Time, Part::Text(".")],
    }
}
