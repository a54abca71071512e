//! Slack.

use super::{
    super::{
        challenge::{self, Asks, Challenge, FormCheck},
        sender::{Macs, Once, Part, Time},
    },
    row::{days, hours},
};
use crate::{error::ConfigError, message::TimeUnit::Seconds};

sender! {
    /// Requests of [Slack](https://docs.slack.dev/authentication/verifying-requests-from-slack):
    /// events, slash commands, interactions.
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Slack-Signature: v0=<hex>`, with `X-Slack-Request-Timestamp` in seconds |
    /// | covered | the time and the body |
    /// | secret | the signing secret of the app, as shown; the key id is `slack` |
    /// | fresh for | 300 seconds, as in Slack's libraries |
    /// | used once by | the event id, `event_id` of the body; without one, the signed message. Commands and interactions have none, and are not retried |
    /// | remembered for | 3 days since the last delivery: Slack [retries](https://docs.slack.dev/apis/events-api/#retries) at once, after 1 minute and after 5 more, and then hourly for 24 hours where an app turns on Delayed Events, each time signed again |
    /// | challenge | `url_verification`, answered with [`answer_url_verification_at`](Self::answer_url_verification_at); the unsigned `ssl_check` of commands, with [`answer_ssl_check_at`](Self::answer_ssl_check_at) |
    ///
    /// # Limits
    /// - Method, path and all other headers are not covered: put the layer on the routes that take
    ///   these requests.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same
    ///   layer, where it counts as another. Commands and events of one app are signed under one
    ///   secret, and an event can hold any text: read commands with
    ///   [`VerifiedForm`](crate::VerifiedForm), which refuses JSON, and events as JSON.
    ///
    /// The format is that of Slack's libraries `slack_sdk` 3.48.0 for Python and `@slack/bolt`
    /// 5.1.0.
    Slack = SLACK "slack" {
        source: "https://docs.slack.dev/authentication/verifying-requests-from-slack",
        header: "X-Slack-Signature",
        macs: Macs::Single { prefix: "v0=" },
        time: Time::Header("X-Slack-Request-Timestamp", Seconds),
        before: &[Part::Text("v0:"), Part::Time, Part::Text(":")],
        once: Once::Member(&["event_id"]),
        remembered: Some(days(3)),
        retries: Some(hours(25)),
        challenge: Some(Challenge::Body {
            member: "type",
            value: Asks::Text("url_verification"),
            answer: challenge::echo,
        }),
        form_check: Some(FormCheck {
            asks: ("ssl_check", "1"),
            also: "token",
        }),
    }
}

retention!(Slack => "an event is remembered, since its last delivery", "25 hours", "3 days");

impl Slack {
    /// Answers `ssl_check`, by which Slack asks now and then, in an unsigned form, whether the
    /// certificate of a command's URL is good: with 200 and no body. Default: the form is refused,
    /// as is every request without a signature.
    ///
    /// No handler is given such a form, signed or not. Only a form of `ssl_check=1` and `token`,
    /// each at most once, in up to 1 KiB, is answered so; any other form without a signature is
    /// refused. Anybody can ask, and learns nothing. The `token` is not compared.
    ///
    /// The path is that of the command as it arrives at this server, with the prefix of an Axum
    /// router in which the route is nested. The comparison is byte by byte.
    ///
    /// ```
    /// use countersign::webhooks::Slack;
    ///
    /// let scheme = Slack::new().answer_ssl_check_at("/slack/commands")?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the path does not begin with `/`, or has a query.
    pub fn answer_ssl_check_at(mut self, path: impl Into<String>) -> Result<Self, ConfigError> {
        self.0.answer_check_at(path)?;
        Ok(self)
    }

    /// Answers `url_verification`, by which Slack asks whether this path is the right one, with its
    /// challenge, once its signature was verified. Default: the question goes to the handler like
    /// any event, as at every other path.
    ///
    /// The path is that of the webhook as it arrives at this server, with the prefix of an Axum
    /// router in which the route is nested. The comparison is byte by byte.
    ///
    /// # Errors
    /// Returns an error if the path does not begin with `/`, or has a query.
    pub fn answer_url_verification_at(
        mut self,
        path: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        self.0.answer_at(path, None)?;
        Ok(self)
    }
}
