//! Shopify.

use std::time::Duration;

use bytes::Bytes;

use super::{Preset, UNTIMED_RETENTION, single_header};
use crate::{
    error::{Rejection, malformed},
    message::Encoding,
    proof::Parameters,
    scheme::header::{HeaderScheme, Part},
};

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
/// Under the same secret, Shopify signs query strings, such as those with which it opens an app in a
/// browser. Their parameters are sorted by name, and `shop` and `timestamp` come before every name that
/// begins with `{`. So a body that does not begin with `{` is refused: no query string passes for a
/// delivery. Deliveries in XML are not read.
///
/// # What stays open
/// - Whoever captured a delivery can post it again once it is no longer remembered: after the
///   [`retention`](Self::retention), or after a restart with a store that forgets.
/// - Two deliveries that are alike to the last byte are one, also where they are of two topics or of
///   two shops.
/// - Method, path and headers are not covered: topic (`X-Shopify-Topic`) and shop
///   (`X-Shopify-Shop-Domain`) may have been written by anybody. Give each topic a route of its own,
///   take the shop from the body where it is there, and put the layer on those routes: at another
///   path a captured delivery counts as another.
///
/// The format is that of Shopify's libraries `@shopify/shopify-api` 13.1.0.
#[derive(Clone, Debug)]
pub struct Shopify {
    format: HeaderScheme,
}

impl Shopify {
    /// The format, with every default.
    #[must_use]
    pub fn new() -> Self {
        Self {
            format: single_header(
                HeaderScheme::builder("x-shopify-hmac-sha256")
                    .encoding(Encoding::Base64)
                    .fixed_key_id("shopify")
                    .danger_without_time(UNTIMED_RETENTION)
                    .signs([Part::Body]),
            ),
        }
    }

    key_id!("shopify", format.set_key_id);

    /// For how long a delivery is remembered: between 1 hour and 1 year (checked when a verifier is
    /// built). Default: 30 days.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.format.profile_mut().untimed_retention = Some(retention);
        self
    }
}

impl Preset for Shopify {
    type Format = HeaderScheme;

    fn format(&self) -> &HeaderScheme {
        &self.format
    }

    fn read_covered_body(&self, _: &mut Parameters<'_>, body: &Bytes) -> Result<(), Rejection> {
        if body.starts_with(b"{") {
            return Ok(());
        }
        Err(malformed(
            "the body does not begin with `{`, so that it could be a query string that Shopify signed",
        ))
    }
}
