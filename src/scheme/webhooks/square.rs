//! Square.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::HeaderName;

use super::{
    PROFILE, Preset, UNTIMED_RETENTION,
    event::read_event_id,
    url_and_body::{UrlAndBody, check_beginning},
};
use crate::{error::Rejection, proof::Parameters, scheme::Profile};

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
/// | covered | the URL, with its query, and the body. Neither the method nor the time |
/// | secret | the signature key of the subscription, as it stands; the key id is `square` |
/// | fresh for | ever |
/// | used once by | the event id, `event_id` of the body; without one, the signed message |
/// | remembered for | 30 days since the last delivery: Square [retries](https://developer.squareup.com/docs/webhooks/troubleshooting) for up to 24 hours |
///
/// Square signs the notification URL as it was written in its console. Here it is put together from
/// the [public origin](crate::request::VerifierBuilder::public_origin), which has to be given, and what the
/// request asks for: write it there with the host in lower case, without `:443`, and with a path.
///
/// URL and body are signed without a delimiter. So that no byte can move between them, a URL with a
/// `{` or a `[` is refused, and a body that begins with anything else.
///
/// # What stays open
/// - Whoever captured a delivery can post it again once it is no longer remembered: after the
///   [`retention`](Self::retention), or after a restart with a store that forgets.
/// - The method and the headers are not covered: put the layer on the one route and method that takes
///   these webhooks, for under another method a captured delivery counts as another.
///
/// The format is that of Square's library `squareup` 46.0 for Python.
#[derive(Clone, Debug)]
pub struct Square {
    format: UrlAndBody,
}

impl Square {
    /// The format, with every default.
    #[must_use]
    pub fn new() -> Self {
        Self {
            format: UrlAndBody {
                key_id: "square".into(),
                signature: HeaderName::from_static("x-square-hmacsha256-signature"),
                framed: None,
                form: |url| Cow::Borrowed(url),
                profile: Profile {
                    covers_authority: true,
                    untimed_retention: Some(UNTIMED_RETENTION),
                    ..PROFILE
                },
            },
        }
    }

    key_id!("square", format.set_key_id);

    /// For how long an event is remembered, since its last delivery: between 1 hour and 1 year
    /// (checked when a verifier is built). Default: 30 days.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.format.profile.untimed_retention = Some(retention);
        self
    }
}

impl Preset for Square {
    type Format = UrlAndBody;

    fn format(&self) -> &UrlAndBody {
        &self.format
    }

    fn read_covered_body(
        &self,
        parameters: &mut Parameters<'_>,
        body: &Bytes,
    ) -> Result<(), Rejection> {
        check_beginning(body)?;
        read_event_id(parameters, body, "event_id")
    }
}
