//! Standard Webhooks, and Svix.

use super::{
    super::{
        format::Webhooks,
        sender::{Macs, Once, Part, SecretForm, Sender, Time},
    },
    row::days,
};
use crate::message::{Encoding, TimeUnit::Seconds};

sender! {
    /// Webhooks as [Standard Webhooks](https://www.standardwebhooks.com) describes them, and those
    /// of [Svix](https://docs.svix.com).
    ///
    /// ```
    /// # use countersign::{MemoryStore, VerifyLayer, webhooks::StandardWebhooks};
    /// let layer = VerifyLayer::builder(StandardWebhooks::new())
    ///     .secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    ///     .store(MemoryStore::new())
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `webhook-signature: v1,<base64>`, with `webhook-id` and `webhook-timestamp` in seconds; several are separated by spaces, and other versions (`v1a`) are skipped |
    /// | covered | the id, the time and the body |
    /// | secret | base64 of 24 to 64 bytes, with `whsec_` or `v1,whsec_` in front of it or without; the key id is `standard-webhooks` |
    /// | fresh for | 300 seconds, as in the libraries |
    /// | used once by | the event id, `webhook-id` |
    /// | remembered for | 3 days since the last delivery: Svix [retries](https://docs.svix.com/retries) for some 28 hours, each time signed again under the same id |
    ///
    /// An id with a `.` is refused, because the message `id.time.body` could then be read in two
    /// ways. An id of more than 256 characters is refused too.
    ///
    /// # Limits
    /// - Method, path and all other headers are not covered: put the layer on the one route that
    ///   takes these webhooks.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same
    ///   layer, where it counts as another.
    /// - A message that is resent by hand, later than it is remembered for, is handled again.
    ///
    /// The format is that of the specification, and of the libraries `standardwebhooks` 1.1.0 for
    /// Python and 1.1.1 for Node, and `svix` 2.9.1.
    StandardWebhooks = STANDARD_WEBHOOKS "standard-webhooks" {
        source: "https://www.standardwebhooks.com",
        secret: SecretForm::Base64 { prefixes: &["whsec_", "v1,whsec_"], min: 24, max: 64 },
        header: "webhook-signature",
        macs: Macs::List { separator: ' ', name: "v1", binder: ',' },
        encoding: Encoding::Base64,
        time: Time::Header("webhook-timestamp", Seconds),
        before: &[Part::Id, Part::Text("."), Part::Time, Part::Text(".")],
        once: Once::Header { name: "webhook-id", end: b'.' },
        remembered: Some(days(3)),
    }
}

retention!(StandardWebhooks => "a message is remembered, since its last delivery", "1 second", "3 days");

/// Svix writes Standard Webhooks under names of its own.
pub(in super::super) static SVIX: Sender = Sender {
    preset: "StandardWebhooks::svix",
    key_id: "svix",
    source: "https://docs.svix.com",
    header: "svix-signature",
    time: Time::Header("svix-timestamp", Seconds),
    once: Once::Header {
        name: "svix-id",
        end: b'.',
    },
    ..STANDARD_WEBHOOKS
};

impl StandardWebhooks {
    /// Returns the same format under the names that Svix gives to the headers: `svix-id`,
    /// `svix-timestamp`, `svix-signature`. The key id is `svix`, unless another is chosen.
    #[must_use]
    pub fn svix() -> Self {
        Self(Webhooks::of(&SVIX))
    }
}
