//! Linear.

use bytes::Bytes;
use serde_json::Value;

use super::{Preset, UNTIMED_RETENTION, event::member, single_header};
use crate::{
    clock::Timestamp,
    error::{Rejection, malformed},
    proof::Parameters,
    scheme::header::{HeaderScheme, Part},
};

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
/// The time is checked once the body is there: a body without one is refused. A signer signs the
/// body as it is given, with the time that stands in it.
///
/// # What stays open
/// - Linear retries after 1 minute, 1 hour and 6 hours, dated anew. Nothing that is covered tells that
///   it is the same event: one that was handled, and whose answer was lost on the way, is handled again.
/// - Method, path and headers are not covered. Take what happened from the body: what `Linear-Event`
///   says may have been written by anybody. Put the layer on the one route that takes these webhooks:
///   until it is stale, a captured delivery counts as another at another path.
///
/// The format is that of Linear's library `@linear/sdk` 98.0.0.
#[derive(Clone, Debug)]
pub struct Linear {
    format: HeaderScheme,
}

impl Linear {
    /// The format, with every default.
    #[must_use]
    pub fn new() -> Self {
        let mut format = single_header(
            HeaderScheme::builder("linear-signature")
                .fixed_key_id("linear")
                .danger_without_time(UNTIMED_RETENTION)
                .signs([Part::Body]),
        );
        // The head has no time; the body has.
        format.profile_mut().untimed_retention = None;
        Self { format }
    }

    key_id!("linear", format.set_key_id);
}

impl Preset for Linear {
    type Format = HeaderScheme;

    fn format(&self) -> &HeaderScheme {
        &self.format
    }

    fn read_covered_body(
        &self,
        parameters: &mut Parameters<'_>,
        body: &Bytes,
    ) -> Result<(), Rejection> {
        let time = member(body, "webhookTimestamp")?;
        let time = time.as_ref().and_then(Value::as_u64);
        let time = time.and_then(Timestamp::from_millis).ok_or_else(|| {
            malformed("`webhookTimestamp` of the body is no whole number: milliseconds since 1970")
        })?;
        parameters.signed_at = Some(time);
        Ok(())
    }
}
