//! Sentry.

use super::row::days;

sender! {
    /// Webhooks of
    /// [Sentry](https://docs.sentry.io/organization/integrations/integration-platform/webhooks/)'s
    /// integration platform.
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `Sentry-Hook-Signature: <hex>` |
    /// | covered | the body. Not the time: the header `Sentry-Hook-Timestamp` means nothing |
    /// | secret | the client secret of the integration, as shown; the key id is `sentry` |
    /// | fresh for | no limit |
    /// | used once by | the body: `Request-ID` is not covered |
    /// | remembered for | 30 days: Sentry does not document retries |
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Two deliveries whose bodies are equal to the last byte count as one, unless
    ///   [`danger_delivery_id`](Self::danger_delivery_id) tells them apart.
    /// - Method, path and headers are not covered, `Sentry-Hook-Resource` among them: put the
    ///   layer on the one route that takes these webhooks, because at another path a captured delivery counts as another.
    ///
    /// The format is that of Sentry's documentation, whose example verifies the body parsed and written
    /// again; here it is verified as it was sent.
    Sentry = SENTRY "sentry" {
        source: "https://docs.sentry.io/organization/integrations/integration-platform/webhooks/",
        header: "Sentry-Hook-Signature",
        delivery_id: Some("Request-ID"),
        remembered: Some(days(30)),
    }
}

retention!(Sentry => "a delivery is remembered", "1 hour", "30 days");
delivery_id!(Sentry, "Request-ID");
