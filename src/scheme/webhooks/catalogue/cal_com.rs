//! Cal.com.

use super::row::days;

sender! {
    /// Webhooks of [Cal.com](https://cal.com/docs/developing/guides/automation/webhooks).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Cal-Signature-256: <hex>` |
    /// | covered | the body. Not the time: `createdAt` of the body is a date, and a payload template may leave it out |
    /// | secret | the secret of the webhook, as shown; the key id is `cal-com` |
    /// | fresh for | no limit |
    /// | used once by | the body: no event has an id |
    /// | remembered for | 30 days: Cal.com does not document retries |
    ///
    /// A webhook without a secret sends `no-secret-provided` instead of a signature, and is refused.
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Two deliveries whose bodies are equal to the last byte count as one. Keep `createdAt` in a
    ///   payload template of your own: it tells them apart.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks, because at another path a captured delivery counts as another.
    ///
    /// The format is that of Cal.com's documentation, and of its own source.
    CalCom = CAL_COM "cal-com" {
        source: "https://cal.com/docs/developing/guides/automation/webhooks",
        header: "X-Cal-Signature-256",
        remembered: Some(days(30)),
    }
}

retention!(CalCom => "a delivery is remembered", "1 hour", "30 days");
