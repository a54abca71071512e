//! Mux.

use super::{
    super::sender::{Macs, Once, Part, Time},
    row::{days, hours},
};

sender! {
    /// Webhooks of [Mux](https://www.mux.com/docs/core/verify-webhook-signatures).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `Mux-Signature: t=<seconds>,v1=<hex>`; `v1` may repeat, other names are skipped |
    /// | covered | the time and the body |
    /// | secret | the signing secret of the webhook, as shown; the key id is `mux` |
    /// | fresh for | 24 hours, the longest that there is: Mux does not say that a retry is dated again. Its libraries take 300 seconds |
    /// | used once by | the event id, `id` of the body; without one, the signed message |
    /// | remembered for | 3 days since the last delivery: Mux [retries](https://www.mux.com/docs/core/listen-for-webhooks) for 24 hours, and may send an event twice that was received |
    ///
    /// # Limits
    /// - After a restart, a store that forgets refuses the deliveries that were dated before it
    ///   (503, `sign_again`), and Mux may never date them again: use a store that survives
    ///   restarts. With a [`high_watermark`](crate::store::MemoryStoreBuilder::high_watermark) it
    ///   refuses only the deliveries that were dated up to the mark, retries among them.
    /// - A last retry that is not dated again, and that is late, is refused as stale.
    /// - Method, path and all other headers are not covered: put the layer on the one route that takes
    ///   these webhooks.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same layer,
    ///   where it counts as another.
    ///
    /// The format is that of Mux's libraries for Node and Elixir.
    Mux = MUX "mux" {
        source: "https://www.mux.com/docs/core/verify-webhook-signatures",
        header: "Mux-Signature",
        macs: Macs::List { separator: ',', name: "v1", binder: '=' },
        time: Time::Element("t"),
        before: &[Part::Time, Part::Text(".")],
        once: Once::Member(&["id"]),
        max_age: Some(hours(24)),
        remembered: Some(days(3)),
        retries: Some(days(1)),
    }
}

retention!(Mux => "an event is remembered, since its last delivery", "1 day", "3 days");
