//! Asana.

use super::{
    super::{
        challenge::{Challenge, SecretIn},
        registration::Registrations,
    },
    row::days,
};

sender! {
    /// Webhooks of [Asana](https://developers.asana.com/docs/webhooks-guide).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Hook-Signature: <hex>` |
    /// | covered | the body. Not the time |
    /// | secret | the `X-Hook-Secret` that Asana brings when the webhook is created, as shown: each webhook has its own. See [`key_id_from_path`](Self::key_id_from_path); the key id is `asana` |
    /// | fresh for | no limit |
    /// | used once by | the body, whose events have their times: there is no event id |
    /// | remembered for | 30 days: Asana [retries](https://developers.asana.com/docs/webhooks-guide) for up to 24 hours |
    /// | challenge | `X-Hook-Secret`, answered with [`answer_registrations`](Self::answer_registrations) |
    ///
    /// Heartbeats are deliveries without events. Their bodies are equal, so that all but the first
    /// are acknowledged without the handler.
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks, because at another path a captured delivery counts as another.
    ///
    /// The format is that of Asana's documentation.
    Asana = ASANA "asana" {
        source: "https://developers.asana.com/docs/webhooks-guide",
        header: "X-Hook-Signature",
        remembered: Some(days(30)),
        retries: Some(days(1)),
        challenge: Some(Challenge::Secret(SecretIn::Header("X-Hook-Secret"))),
    }
}

retention!(Asana => "a delivery is remembered", "1 day", "30 days");

impl Asana {
    /// Answers the unsigned request in which Asana brings the secret of a new webhook, while the
    /// application waits for it: see [`Registrations`]. Default: the request is refused, as is every
    /// request without a signature.
    #[must_use]
    pub fn answer_registrations(mut self, registrations: &Registrations) -> Self {
        self.0.answer_registrations(registrations);
        self
    }
}
