//! Paddle Billing.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;

use super::{EVENT_HORIZON, PROFILE, Preset, event::read_event_id, list::SignatureList};
use crate::{error::Rejection, proof::Parameters, scheme::Profile};

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
/// - Method, path and all other headers are not covered: put the layer on the one route that takes
///   these webhooks.
/// - Until it is stale, a captured delivery can be posted to another path behind the same layer, where
///   it counts as another.
/// - An event that is replayed by hand, later than it is remembered for, is handled again.
///
/// The format is that of Paddle's libraries `paddle-python-sdk` 1.16.1 and
/// `@paddle/paddle-node-sdk` 3.10.0.
#[derive(Clone, Debug)]
pub struct Paddle {
    format: SignatureList,
}

impl Paddle {
    /// The format, with every default.
    #[must_use]
    pub fn new() -> Self {
        Self {
            format: SignatureList {
                key_id: "paddle".into(),
                header: HeaderName::from_static("paddle-signature"),
                separator: ';',
                time: "ts",
                mac: "h1",
                delimiter: ':',
                profile: Profile {
                    event_horizon: Some(EVENT_HORIZON),
                    ..PROFILE
                },
            },
        }
    }

    key_id!("paddle", format.set_key_id);

    /// For how long an event is remembered, since its last delivery: between 1 second and 1 year
    /// (checked when a verifier is built). Default: 3 days.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.format.profile.event_horizon = Some(retention);
        self
    }
}

impl Preset for Paddle {
    type Format = SignatureList;

    fn format(&self) -> &SignatureList {
        &self.format
    }

    fn read_covered_body(
        &self,
        parameters: &mut Parameters<'_>,
        body: &Bytes,
    ) -> Result<(), Rejection> {
        read_event_id(parameters, body, "event_id")
    }
}
