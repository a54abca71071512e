//! Dropbox.

use super::super::{challenge::Challenge, sender::Once};
use crate::error::ConfigError;

sender! {
    /// Webhooks of [Dropbox](https://www.dropbox.com/developers/reference/webhooks).
    ///
    /// ```
    /// # use countersign::{VerifyLayer, webhooks::Dropbox};
    /// let layer = VerifyLayer::builder(Dropbox::new().answer_challenge_at("/dropbox")?)
    ///     .secret("the secret of the app")
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Dropbox-Signature: <hex>` |
    /// | covered | the body. Not the time |
    /// | secret | the app secret, as shown; the key id is `dropbox`. A secret under 16 bytes needs [`keys`](crate::request::VerifierBuilder::keys) and [`danger_short`](crate::Secret::danger_short) |
    /// | fresh for | no limit |
    /// | used once by | nothing: a notification names the accounts that changed, and the next one of the same accounts has an equal body |
    /// | remembered for | not at all, so that no store is needed |
    /// | challenge | `challenge` of a `GET`, answered with [`answer_challenge_at`](Self::answer_challenge_at) |
    ///
    /// # Limits
    /// - **Anybody who captured a notification can post it again**, at any time and as often as
    ///   they like. A notification says only that something changed: let the handler ask Dropbox
    ///   what changed, from its cursor on. Then a duplicate costs a question, and has no other
    ///   effect.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks.
    ///
    /// The format is that of Dropbox's documentation.
    Dropbox = DROPBOX "dropbox" {
        source: "https://www.dropbox.com/developers/reference/webhooks",
        header: "X-Dropbox-Signature",
        once: Once::Nothing,
        challenge: Some(Challenge::Query {
            parameter: "challenge",
            also: "-_",
            subscribes: None,
        }),
    }
}

impl Dropbox {
    /// Answers the unsigned `GET` by which Dropbox asks whether this path is the right one, with
    /// its challenge. Default: the `GET` is refused, as is every request without a signature.
    ///
    /// The path is that of the webhook as it arrives at this server, with the prefix of an Axum
    /// router in which the route is nested. The comparison is byte by byte. A `challenge` at any
    /// other path is nothing special, and its request is verified.
    ///
    /// Anybody can ask, and is answered with what they wrote, as plain text. Only a challenge of 1
    /// to 256 letters, digits, `-` and `_` is answered.
    ///
    /// # Errors
    /// Returns an error if the path does not begin with `/`, or has a query.
    pub fn answer_challenge_at(mut self, path: impl Into<String>) -> Result<Self, ConfigError> {
        self.0.answer_at(path, None)?;
        Ok(self)
    }
}
