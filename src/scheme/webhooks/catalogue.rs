//! The catalogue: a row for each sender of webhooks.
//!
//! A sender is one entry of `senders!`: its documentation, and its row. `senders.md` is made of the
//! rows, by the tests of `table`.

use std::{borrow::Cow, time::Duration};

use super::{
    challenge::{self, Challenge, Subscription},
    format::Webhooks,
    preset::Preset,
    sender::{Macs, Once, PLAIN, Part, SecretForm, Sender, Time},
};
use crate::{
    error::ConfigError,
    key::Secret,
    message::{
        Encoding,
        TimeUnit::{Millis, Seconds},
    },
};

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

/// Makes a preset of each row: its type, with what every preset has.
macro_rules! senders {
    ($(
        $(#[$docs:meta])*
        $preset:ident = $row:ident $key_id:literal { $($field:tt)* }
    )*) => {
        $(
            $(#[$docs])*
            #[derive(Clone, Debug)]
            pub struct $preset(Webhooks);

            pub(super) static $row: Sender = Sender {
                preset: stringify!($preset),
                key_id: $key_id,
                $($field)*
                ..PLAIN
            };

            impl $preset {
                /// The format, with every default.
                #[must_use]
                pub fn new() -> Self {
                    Self(Webhooks::of(&$row))
                }

                key_id!($key_id, 0.set_key_id);
            }

            impl Default for $preset {
                fn default() -> Self {
                    Self::new()
                }
            }

            impl Preset for $preset {
                fn webhooks(&self) -> &Webhooks {
                    &self.0
                }
            }
        )*

        /// Every row that has a preset of its own.
        #[cfg(test)]
        pub(super) static SENDERS: &[&Sender] = &[$(&$row),*];
    };
}

/// The setter of a preset that remembers its deliveries for longer than they are fresh.
macro_rules! retention {
    ($($preset:ident)* => $what:literal, $min:literal, $default:literal) => {$(
        impl $preset {
            #[doc = concat!("For how long ", $what, ": between ", $min, " and 1 year (checked when a")]
            #[doc = concat!("verifier is built). Default: ", $default, ".")]
            #[must_use]
            pub fn retention(mut self, retention: Duration) -> Self {
                self.0.set_retention(retention);
                self
            }
        }
    )*};
}

senders! {
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
    /// | signature | `webhook-signature: v1,<base64>`, with `webhook-id` and `webhook-timestamp` in seconds; several stand apart by spaces, and other versions (`v1a`) are skipped |
    /// | covered | the id, the time and the body |
    /// | secret | base64 of 24 to 64 bytes, with `whsec_` in front of it or without; the key id is `standard-webhooks` |
    /// | fresh for | 300 seconds, as in the libraries |
    /// | used once by | the event id, `webhook-id` |
    /// | remembered for | 3 days since the last delivery: Svix [retries](https://docs.svix.com/retries) for some 28 hours, each time signed anew under the same id |
    ///
    /// An id with a `.` is refused, for the message `id.time.body` could then be read in two ways;
    /// so is one of more than 256 characters.
    ///
    /// # What stays open
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
        secret: SecretForm::Base64 { prefix: "whsec_", min: 24, max: 64 },
        header: "webhook-signature",
        macs: Macs::List { separator: ' ', name: "v1", binder: ',' },
        encoding: Encoding::Base64,
        time: Time::Header("webhook-timestamp", Seconds),
        before: &[Part::Id, Part::Text("."), Part::Time, Part::Text(".")],
        once: Once::Header { name: "webhook-id", end: b'.' },
        remembered: Some(days(3)),
    }

    /// Webhooks of [Stripe](https://docs.stripe.com/webhooks).
    ///
    /// ```
    /// # use countersign::{MemoryStore, VerifyLayer, webhooks::Stripe};
    /// let layer = VerifyLayer::builder(Stripe::new())
    ///     .secret("whsec_the signing secret of the endpoint")
    ///     .store(MemoryStore::new())
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `Stripe-Signature: t=<seconds>,v1=<hex>`; `v1` may repeat, other names (`v0`) are skipped |
    /// | covered | the time and the body |
    /// | secret | the string `whsec_…` as it stands, not decoded; the key id is `stripe` |
    /// | fresh for | 300 seconds, as in Stripe's libraries; theirs accept any time ahead |
    /// | used once by | the event id, `id` of the body; without one, the signed message |
    /// | remembered for | 3 days since the last delivery: in live mode Stripe retries for up to 3 days, each time signed anew |
    ///
    /// # What stays open
    /// - Method, path and all other headers are not covered: put the layer on the one route that
    ///   takes these webhooks.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same
    ///   layer, where it counts as another.
    /// - An event that is resent by hand, later than it is remembered for, is handled again.
    ///
    /// The format is that of Stripe's libraries `stripe` 16.1.0 for Python and 23.1.0 for Node.
    Stripe = STRIPE "stripe" {
        source: "https://docs.stripe.com/webhooks",
        header: "Stripe-Signature",
        macs: Macs::List { separator: ',', name: "v1", binder: '=' },
        time: Time::Element("t"),
        before: &[Part::Time, Part::Text(".")],
        once: Once::Member("id"),
        remembered: Some(days(3)),
    }

    /// Webhooks of [Paddle Billing](https://developer.paddle.com/webhooks/overview).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `Paddle-Signature: ts=<seconds>;h1=<hex>`; `h1` may repeat, other names are skipped |
    /// | covered | the time and the body |
    /// | secret | the string `pdl_ntfset_…` as it stands; the key id is `paddle` |
    /// | fresh for | 300 seconds. Paddle's libraries take 5: see [`max_age`](crate::request::VerifierBuilder::max_age) |
    /// | used once by | the event id, `event_id` of the body; without one, the signed message |
    /// | remembered for | 3 days since the last delivery: a live account [retries](https://developer.paddle.com/webhooks/about/respond-to-webhooks) up to 60 times in 3 days |
    ///
    /// # What stays open
    /// - Method, path and all other headers are not covered: put the layer on the one route that
    ///   takes these webhooks.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same
    ///   layer, where it counts as another.
    /// - An event that is replayed by hand, later than it is remembered for, is handled again.
    ///
    /// The format is that of Paddle's libraries `paddle-python-sdk` 1.16.1 and
    /// `@paddle/paddle-node-sdk` 3.10.0.
    Paddle = PADDLE "paddle" {
        source: "https://developer.paddle.com/webhooks/overview",
        header: "Paddle-Signature",
        macs: Macs::List { separator: ';', name: "h1", binder: '=' },
        time: Time::Element("ts"),
        before: &[Part::Time, Part::Text(":")],
        once: Once::Member("event_id"),
        remembered: Some(days(3)),
    }

    /// Requests of [Slack](https://docs.slack.dev/authentication/verifying-requests-from-slack):
    /// events, slash commands, interactions.
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Slack-Signature: v0=<hex>`, with `X-Slack-Request-Timestamp` in seconds |
    /// | covered | the time and the body |
    /// | secret | the signing secret of the app, as it stands; the key id is `slack` |
    /// | fresh for | 300 seconds, as in Slack's libraries |
    /// | used once by | the event id, `event_id` of the body; without one, the signed message. Commands and interactions have none, and are not retried |
    /// | remembered for | 3 days since the last delivery: Slack [retries](https://docs.slack.dev/apis/events-api/#retries) at once, after 1 minute and after 5 more, and then hourly for 24 hours where an app turns on Delayed Events, each time signed anew |
    /// | challenge | `url_verification`, answered with [`answer_url_verification_at`](Self::answer_url_verification_at) |
    ///
    /// # What stays open
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
        once: Once::Member("event_id"),
        remembered: Some(days(3)),
        challenge: Some(Challenge::Body {
            member: "type",
            value: "url_verification",
            answer: challenge::echo,
        }),
    }

    /// Webhooks of [Zoom](https://developers.zoom.us/docs/api/webhooks/).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `x-zm-signature: v0=<hex>`, with `x-zm-request-timestamp` in seconds |
    /// | covered | the time and the body |
    /// | secret | the secret token of the app, as it stands; the key id is `zoom` |
    /// | fresh for | 300 seconds; Zoom's own library does not check |
    /// | used once by | the SHA-256 of the body, which has the time of the event in milliseconds: there is no event id |
    /// | remembered for | 3 days since the last delivery: Zoom [retries](https://developers.zoom.us/blog/webhook-delays) 3 times, after 5 minutes, 20 more and 60 more |
    /// | challenge | `endpoint.url_validation`, answered with [`answer_url_validation_at`](Self::answer_url_validation_at) |
    ///
    /// # What stays open
    /// - Method, path and all other headers are not covered: put the layer on the one route that
    ///   takes these webhooks.
    /// - Until it is stale, a captured delivery can be posted to another path behind the same
    ///   layer, where it counts as another.
    /// - Two events whose bodies are alike to the last byte are one.
    /// - Zoom does not say whether a retry is dated anew. If retries arrive too old, give them
    ///   [`max_age`](crate::request::VerifierBuilder::max_age) of 2 hours.
    ///
    /// The format is that of Zoom's library `@zoom/rivet` 0.4.0, which does not verify the bytes as
    /// they arrived, but the body parsed and written anew.
    Zoom = ZOOM "zoom" {
        source: "https://developers.zoom.us/docs/api/webhooks/",
        header: "x-zm-signature",
        macs: Macs::Single { prefix: "v0=" },
        time: Time::Header("x-zm-request-timestamp", Seconds),
        before: &[Part::Text("v0:"), Part::Time, Part::Text(":")],
        once: Once::Body,
        remembered: Some(days(3)),
        challenge: Some(Challenge::Body {
            member: "event",
            value: "endpoint.url_validation",
            answer: challenge::prove_secret,
        }),
    }

    /// Webhooks of [Linear](https://linear.app/developers/webhooks).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `Linear-Signature: <hex>` |
    /// | covered | the body, and in it the time: `webhookTimestamp`, in milliseconds. The header `Linear-Timestamp` means nothing |
    /// | secret | the signing secret, as it stands; the key id is `linear` |
    /// | fresh for | 300 seconds; Linear's library takes 60: see [`max_age`](crate::request::VerifierBuilder::max_age) |
    /// | used once by | the body: `Linear-Delivery` is not covered |
    /// | remembered for | as long as it is fresh |
    ///
    /// The time is checked once the body is there: a body without one is refused. A signer signs
    /// the body as it is given, with the time that stands in it.
    ///
    /// # What stays open
    /// - Linear retries after 1 minute, 1 hour and 6 hours, dated anew. Nothing that is covered
    ///   tells that it is the same event: one that was handled, and whose answer was lost on the
    ///   way, is handled again.
    /// - Method, path and headers are not covered. Take what happened from the body: what
    ///   `Linear-Event` says may have been written by anybody. Put the layer on the one route that
    ///   takes these webhooks: until it is stale, a captured delivery counts as another at another
    ///   path.
    ///
    /// The format is that of Linear's library `@linear/sdk` 98.0.0.
    Linear = LINEAR "linear" {
        source: "https://linear.app/developers/webhooks",
        header: "Linear-Signature",
        time: Time::Member("webhookTimestamp", Millis),
    }

    /// Webhooks of [GitHub](https://docs.github.com/webhooks).
    ///
    /// ```
    /// # use countersign::{MemoryStore, VerifyLayer, webhooks::GitHub};
    /// let layer = VerifyLayer::builder(GitHub::new())
    ///     .secret("the secret of the webhook")
    ///     .store(MemoryStore::new())
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Hub-Signature-256: sha256=<hex>`; that with SHA-1, `X-Hub-Signature`, means nothing |
    /// | covered | the body. Not the time |
    /// | secret | the string that was given to GitHub; the key id is `github` |
    /// | fresh for | ever |
    /// | used once by | the body: `X-GitHub-Delivery` is not covered |
    /// | remembered for | 30 days: GitHub [does not retry](https://docs.github.com/en/webhooks/using-webhooks/handling-failed-webhook-deliveries) by itself, but [redelivers on request](https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks) the very same body, for 3 days, and for 7 on GitHub Enterprise Server |
    ///
    /// # What stays open
    /// - Whoever captured a delivery can post it again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Two deliveries that are alike to the last byte are one.
    /// - Method, path and headers are not covered. Take what happened from the body: what
    ///   `X-GitHub-Event` says may have been written by anybody. Put the layer on the one route
    ///   that takes these webhooks: at another path a captured delivery counts as another.
    ///
    /// A delivery may have up to 25 MB: see
    /// [`max_body_bytes`](crate::request::VerifierBuilder::max_body_bytes). The format is that of
    /// GitHub's library `@octokit/webhooks-methods` 6.0.0.
    GitHub = GITHUB "github" {
        source: "https://docs.github.com/webhooks",
        header: "X-Hub-Signature-256",
        macs: Macs::Single { prefix: "sha256=" },
        remembered: Some(days(30)),
    }

    /// Webhooks of [Bitbucket Cloud](https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Hub-Signature: sha256=<hex>` |
    /// | covered | the body. Not the time |
    /// | secret | the secret of the webhook, as it stands; the key id is `bitbucket` |
    /// | fresh for | ever |
    /// | used once by | the body: `X-Request-UUID` is not covered |
    /// | remembered for | 30 days: Bitbucket [sends](https://support.atlassian.com/bitbucket-cloud/docs/troubleshoot-webhooks/) the same body up to two more times after a status of 500 to 599, and again when somebody asks for it |
    ///
    /// # What stays open
    /// - Whoever captured a delivery can post it again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Two deliveries that are alike to the last byte are one.
    /// - Method, path and headers are not covered. Take what happened from the body, because anybody may
    ///   have written `X-Event-Key`. Put the layer on the one route that takes these webhooks: at another
    ///   path a captured delivery counts as another.
    ///
    /// The format is that of Bitbucket's documentation.
    Bitbucket = BITBUCKET "bitbucket" {
        source: "https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/",
        header: "X-Hub-Signature",
        macs: Macs::Single { prefix: "sha256=" },
        remembered: Some(days(30)),
    }

    /// Webhooks of [Shopify](https://shopify.dev/docs/apps/build/webhooks).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Shopify-Hmac-Sha256: <base64>` |
    /// | covered | the body. Not the time |
    /// | secret | the client secret of the app, as it stands; the key id is `shopify` |
    /// | fresh for | ever |
    /// | used once by | the body: neither `X-Shopify-Webhook-Id` nor `X-Shopify-Event-Id` is covered |
    /// | remembered for | 30 days: Shopify [retries](https://shopify.dev/changelog/updates-to-webhook-retry-mechanism) 8 times in 4 hours, with the very same body |
    ///
    /// Under the same secret, Shopify signs query strings, such as those with which it opens an app
    /// in a browser. Their parameters are sorted by name, and `shop` and `timestamp` come before
    /// every name that begins with `{`. So a body that does not begin with `{` is refused: no query
    /// string passes for a delivery. Deliveries in XML are not read.
    ///
    /// # What stays open
    /// - Whoever captured a delivery can post it again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Two deliveries that are alike to the last byte are one, also where they are of two topics
    ///   or of two shops.
    /// - Method, path and headers are not covered: topic (`X-Shopify-Topic`) and shop
    ///   (`X-Shopify-Shop-Domain`) may have been written by anybody. Give each topic a route of its
    ///   own, take the shop from the body where it is there, and put the layer on those routes: at
    ///   another path a captured delivery counts as another.
    ///
    /// The format is that of Shopify's libraries `@shopify/shopify-api` 13.1.0.
    Shopify = SHOPIFY "shopify" {
        source: "https://shopify.dev/docs/apps/build/webhooks",
        header: "X-Shopify-Hmac-Sha256",
        encoding: Encoding::Base64,
        body_begins: Some("{"),
        remembered: Some(days(30)),
    }

    /// Webhooks of [Meta](https://developers.facebook.com/docs/graph-api/webhooks/getting-started):
    /// Facebook, Instagram, Messenger, WhatsApp.
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-Hub-Signature-256: sha256=<hex>`; that with SHA-1, `X-Hub-Signature`, means nothing |
    /// | covered | the body, as it was sent. Not the time |
    /// | secret | the app secret, as it stands; the key id is `meta` |
    /// | fresh for | ever |
    /// | used once by | the body |
    /// | remembered for | 30 days: Meta retries [for 36 hours](https://developers.facebook.com/docs/graph-api/webhooks/getting-started#frequency), WhatsApp [for 7 days](https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview) |
    /// | challenge | `hub.challenge`, answered with [`answer_subscription_at`](Self::answer_subscription_at) |
    ///
    /// # What stays open
    /// - Whoever captured a delivery can post it again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - Two deliveries that are alike to the last byte are one. One delivery may hold several
    ///   changes, and a change may come again in another delivery: tell changes apart by their own
    ///   ids.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks, for at another path a captured delivery counts as another.
    ///
    /// A delivery may have up to 3 MiB: see
    /// [`max_body_bytes`](crate::request::VerifierBuilder::max_body_bytes). The format is that of
    /// Meta's documentation.
    Meta = META "meta" {
        source: "https://developers.facebook.com/docs/graph-api/webhooks/getting-started",
        header: "X-Hub-Signature-256",
        macs: Macs::Single { prefix: "sha256=" },
        remembered: Some(days(30)),
        challenge: Some(Challenge::Query {
            parameter: "hub.challenge",
            also: "",
            subscribes: Some(Subscription {
                mode: ("hub.mode", "subscribe"),
                token: "hub.verify_token",
            }),
        }),
    }

    /// Requests of
    /// [HubSpot](https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation),
    /// with version 3 of its signature: webhooks, workflow actions, cards.
    ///
    /// ```
    /// # use countersign::{MemoryStore, VerifyLayer, webhooks::HubSpot};
    /// let layer = VerifyLayer::builder(HubSpot::new())
    ///     .public_origin("https://example.com")
    ///     .secret("the client secret of the app")
    ///     .store(MemoryStore::new())
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-HubSpot-Signature-v3: <base64>`, with `X-HubSpot-Request-Timestamp` in milliseconds; those of versions 1 and 2, which are no HMAC, mean nothing |
    /// | covered | the method, the URL with its query, the body and the time |
    /// | secret | the client secret of the app, as it stands; the key id is `hubspot` |
    /// | fresh for | 300 seconds, as in HubSpot's libraries |
    /// | used once by | the event id: `eventId` of the first event of the body, with its `portalId`, `subscriptionId` and `occurredAt`; without one, the signed message. HubSpot does not promise that an `eventId` alone is unique |
    /// | remembered for | 3 days since the last delivery: HubSpot [retries](https://developers.hubspot.com/docs/api-reference/webhooks-webhooks-v3/guide) up to 10 times in 24 hours |
    ///
    /// The URL is put together from the [public
    /// origin](crate::request::VerifierBuilder::public_origin), which has to be given, and what the
    /// request asks for. URL, body and time are signed without a delimiter. So that no byte can
    /// move between them, a URL with a `{` or a `[` is refused, and a body that is not empty and
    /// begins with anything else.
    ///
    /// # What stays open
    /// - **In the URL, `%3A %2F %3F %40 %21 %24 %27 %28 %29 %2A %2C %3B` are decoded before it is
    ///   signed**, so that `/a%2Fb` and `/a/b` have one signature, and so have `?a=b` and `%3Fa=b`.
    ///   Whoever captured a request can respell its URL so; it counts as the same request. Of a URL
    ///   with one of these, the payload answers `None` for path and query.
    /// - A delivery holds up to 100 events, and is told apart by the first: if HubSpot groups the
    ///   others otherwise when it retries, tell events apart by their own `eventId`.
    /// - Headers are not covered.
    ///
    /// The format is that of HubSpot's library `hubspot-api-client` 12.0.0 for Python, which does
    /// not decode the URL; that is from HubSpot's documentation.
    HubSpot = HUBSPOT "hubspot" {
        source: "https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation",
        header: "X-HubSpot-Signature-v3",
        encoding: Encoding::Base64,
        time: Time::Header("X-HubSpot-Request-Timestamp", Millis),
        before: &[Part::Method, Part::Url(decode_as_hubspot)],
        after: &[Part::Time],
        // HubSpot does not promise that an `eventId` alone is unique.
        once: Once::FirstOf(["eventId", "portalId", "subscriptionId", "occurredAt"]),
        remembered: Some(days(3)),
    }

    /// Webhooks of [Square](https://developer.squareup.com/docs/webhooks/overview).
    ///
    /// ```
    /// # use countersign::{MemoryStore, VerifyLayer, webhooks::Square};
    /// let layer = VerifyLayer::builder(Square::new())
    ///     .public_origin("https://example.com")
    ///     .secret("the signature key of the subscription")
    ///     .store(MemoryStore::new())
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `x-square-hmacsha256-signature: <base64>` |
    /// | covered | the URL with its query and the body. Neither the method nor the time |
    /// | secret | the signature key of the subscription, as it stands; the key id is `square` |
    /// | fresh for | ever |
    /// | used once by | the event id, `event_id` of the body; without one, the signed message |
    /// | remembered for | 30 days since the last delivery: Square [retries](https://developer.squareup.com/docs/webhooks/troubleshooting) for up to 24 hours |
    ///
    /// Square signs the notification URL as it was written in its console. Here it is put together
    /// from the [public origin](crate::request::VerifierBuilder::public_origin), which has to be
    /// given, and what the request asks for: write it there with the host in lower case, without
    /// `:443`, and with a path.
    ///
    /// URL and body are signed without a delimiter. So that no byte can move between them, a URL
    /// with a `{` or a `[` is refused, and a body that begins with anything else.
    ///
    /// # What stays open
    /// - Whoever captured a delivery can post it again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - The method and the headers are not covered: put the layer on the one route and method that
    ///   takes these webhooks, for under another method a captured delivery counts as another.
    ///
    /// The format is that of Square's library `squareup` 46.0 for Python.
    Square = SQUARE "square" {
        source: "https://developer.squareup.com/docs/webhooks/overview",
        header: "x-square-hmacsha256-signature",
        encoding: Encoding::Base64,
        before: &[Part::Url(|url| Cow::Borrowed(url))],
        once: Once::Member("event_id"),
        remembered: Some(days(30)),
    }

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
    /// | secret | the app secret, as it stands; the key id is `dropbox`. One under 16 bytes needs [`keys`](crate::request::VerifierBuilder::keys) and [`danger_short`](crate::Secret::danger_short) |
    /// | fresh for | ever |
    /// | used once by | nothing: a notification names the accounts that changed, and the next one of the same accounts is alike to the last byte |
    /// | remembered for | not at all, so that no store is needed |
    /// | challenge | `challenge` of a `GET`, answered with [`answer_challenge_at`](Self::answer_challenge_at) |
    ///
    /// # What stays open
    /// - **Whoever captured a notification can post it again**, at any time and as often as they
    ///   like. It says no more than that something changed: let the handler ask Dropbox what did,
    ///   from its cursor on. Then a copy costs a question, and has no other effect.
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

/// Svix writes Standard Webhooks under names of its own.
pub(super) static SVIX: Sender = Sender {
    preset: "StandardWebhooks::svix",
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
    /// The same under the names that Svix gives to the headers: `svix-id`, `svix-timestamp`,
    /// `svix-signature`.
    #[must_use]
    pub fn svix() -> Self {
        Self(Webhooks::of(&SVIX))
    }
}

retention!(
    StandardWebhooks => "a message is remembered, since its last delivery", "1 second", "3 days"
);
retention!(
    Stripe Paddle Slack Zoom HubSpot =>
    "an event is remembered, since its last delivery", "1 second", "3 days"
);
retention!(Square => "an event is remembered, since its last delivery", "1 hour", "30 days");
retention!(GitHub Bitbucket Shopify Meta => "a delivery is remembered", "1 hour", "30 days");

impl Slack {
    /// Answers `url_verification`, by which Slack asks whether this path is the right one, with its
    /// challenge, once its signature was verified. Default: it goes to the handler like any event,
    /// as it does at every other path.
    ///
    /// The path is that of the webhook as it arrives at this server, with the prefix of an Axum
    /// router in which the route is nested. It is compared byte by byte.
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

impl Zoom {
    /// Answers `endpoint.url_validation`, by which Zoom asks every 72 hours whether this path knows
    /// the secret, with the HMAC of its token, once its signature was verified. Default: it goes to
    /// the handler like any event, as it does at every other path.
    ///
    /// Only tokens of letters, digits and `+/=-_` are answered: none of them is a message that Zoom
    /// signs.
    ///
    /// The path is that of the webhook as it arrives at this server, with the prefix of an Axum
    /// router in which the route is nested. It is compared byte by byte.
    ///
    /// # Errors
    /// Returns an error if the path does not begin with `/`, or has a query.
    pub fn answer_url_validation_at(
        mut self,
        path: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        self.0.answer_at(path, None)?;
        Ok(self)
    }
}

impl Meta {
    /// Answers the unsigned `GET` by which Meta asks whether this path is the right one, with its
    /// challenge, if the `GET` names this token. Default: it is refused, as is every request
    /// without a signature.
    ///
    /// The path is that of the webhook as it arrives at this server, with the prefix of an Axum
    /// router in which the route is nested. It is compared byte by byte. At any other path, the
    /// request is verified.
    ///
    /// ```
    /// use countersign::webhooks::Meta;
    ///
    /// let scheme = Meta::new().answer_subscription_at("/meta", "the token given to the dashboard")?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    ///
    /// Only challenges of up to 256 letters and digits are answered.
    ///
    /// # Errors
    /// Returns an error if the path does not begin with `/`, or has a query, and if the token is
    /// not a [`Secret`].
    pub fn answer_subscription_at<T>(
        mut self,
        path: impl Into<String>,
        verify_token: T,
    ) -> Result<Self, ConfigError>
    where
        T: TryInto<Secret>,
        ConfigError: From<T::Error>,
    {
        self.0.answer_at(path, Some(verify_token.try_into()?))?;
        Ok(self)
    }
}

impl Dropbox {
    /// Answers the unsigned `GET` by which Dropbox asks whether this path is the right one, with
    /// its challenge. Default: the `GET` is refused, as is every request without a signature.
    ///
    /// The path is that of the webhook as it arrives at this server, with the prefix of an Axum
    /// router in which the route is nested. It is compared byte by byte. A `challenge` at any other
    /// path is nothing special, and its request is verified.
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

/// What HubSpot decodes, and nothing else.
fn decode_as_hubspot(url: &str) -> Cow<'_, str> {
    const DECODED: [(&str, char); 12] = [
        ("3A", ':'),
        ("2F", '/'),
        ("3F", '?'),
        ("40", '@'),
        ("21", '!'),
        ("24", '$'),
        ("27", '\''),
        ("28", '('),
        ("29", ')'),
        ("2A", '*'),
        ("2C", ','),
        ("3B", ';'),
    ];
    let mut pieces = url.split('%');
    let mut decoded = pieces.next().unwrap_or_default().to_owned();
    let mut is_plain = true;
    for piece in pieces {
        let hit = DECODED
            .iter()
            .find_map(|(hex, c)| Some((c, piece.strip_prefix(hex)?)));
        match hit {
            Some((c, rest)) => {
                decoded.push(*c);
                decoded.push_str(rest);
                is_plain = false;
            }
            None => {
                decoded.push('%');
                decoded.push_str(piece);
            }
        }
    }
    if is_plain {
        Cow::Borrowed(url)
    } else {
        Cow::Owned(decoded)
    }
}
