//! Stripe.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;

use super::{EVENT_HORIZON, PROFILE, Preset, event::read_event_id, list::SignatureList};
use crate::{error::Rejection, proof::Parameters, scheme::Profile};

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
/// - Method, path and all other headers are not covered: put the layer on the one route that takes
///   these webhooks.
/// - Until it is stale, a captured delivery can be posted to another path behind the same layer, where
///   it counts as another.
/// - An event that is resent by hand, later than it is remembered for, is handled again.
///
/// The format is that of Stripe's libraries `stripe` 16.1.0 for Python and 23.1.0 for Node.
#[derive(Clone, Debug)]
pub struct Stripe {
    format: SignatureList,
}

impl Stripe {
    /// The format, with every default.
    #[must_use]
    pub fn new() -> Self {
        Self {
            format: SignatureList {
                key_id: "stripe".into(),
                header: HeaderName::from_static("stripe-signature"),
                separator: ',',
                time: "t",
                mac: "v1",
                delimiter: '.',
                profile: Profile {
                    event_horizon: Some(EVENT_HORIZON),
                    ..PROFILE
                },
            },
        }
    }

    key_id!("stripe", format.set_key_id);

    /// For how long an event is remembered, since its last delivery: between 1 second and 1 year
    /// (checked when a verifier is built). Default: 3 days.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.format.profile.event_horizon = Some(retention);
        self
    }
}

impl Preset for Stripe {
    type Format = SignatureList;

    fn format(&self) -> &SignatureList {
        &self.format
    }

    fn read_covered_body(
        &self,
        parameters: &mut Parameters<'_>,
        body: &Bytes,
    ) -> Result<(), Rejection> {
        read_event_id(parameters, body, "id")
    }
}
