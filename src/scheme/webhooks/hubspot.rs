//! HubSpot, version 3 of its signature.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::HeaderName;

use super::{
    EVENT_HORIZON, PROFILE, Preset,
    event::read_first_event_id,
    url_and_body::{UrlAndBody, check_beginning},
};
use crate::{error::Rejection, proof::Parameters, scheme::Profile};

/// What tells an event: HubSpot does not promise that an `eventId` alone is unique.
const EVENT_ID: [&str; 4] = ["eventId", "portalId", "subscriptionId", "occurredAt"];

/// Requests of [HubSpot](https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation),
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
/// | used once by | the event id: `eventId` of the first event of the body, with its `portalId`, `subscriptionId` and `occurredAt`, for HubSpot does not promise that it is unique alone; without one, the signed message |
/// | remembered for | 3 days since the last delivery: HubSpot [retries](https://developers.hubspot.com/docs/api-reference/webhooks-webhooks-v3/guide) up to 10 times in 24 hours |
///
/// The URL is put together from the [public origin](crate::request::VerifierBuilder::public_origin), which has to
/// be given, and what the request asks for. URL, body and time are signed without a delimiter. So that
/// no byte can move between them, a URL with a `{` or a `[` is refused, and a body that is not empty and
/// begins with anything else.
///
/// # What stays open
/// - **In the URL, `%3A %2F %3F %40 %21 %24 %27 %28 %29 %2A %2C %3B` are decoded before it is signed**,
///   so that `/a%2Fb` and `/a/b` have one signature, and so have `?a=b` and `%3Fa=b`. Whoever captured a
///   request can respell its URL so; it counts as the same request. Of a URL with one of these, the
///   payload answers `None` for path and query.
/// - A delivery holds up to 100 events, and is told apart by the first: if HubSpot groups the others
///   otherwise when it retries, tell events apart by their own `eventId`.
/// - Headers are not covered.
///
/// The format is that of HubSpot's library `hubspot-api-client` 12.0.0 for Python, which does not decode
/// the URL; that is from HubSpot's documentation.
#[derive(Clone, Debug)]
pub struct HubSpot {
    format: UrlAndBody,
}

impl HubSpot {
    /// The format, with every default.
    #[must_use]
    pub fn new() -> Self {
        Self {
            format: UrlAndBody {
                key_id: "hubspot".into(),
                signature: HeaderName::from_static("x-hubspot-signature-v3"),
                framed: Some(HeaderName::from_static("x-hubspot-request-timestamp")),
                form: decode,
                profile: Profile {
                    covers_authority: true,
                    covers_place: true,
                    covers_method: true,
                    event_horizon: Some(EVENT_HORIZON),
                    ..PROFILE
                },
            },
        }
    }

    key_id!("hubspot", format.set_key_id);

    /// For how long an event is remembered, since its last delivery: between 1 second and 1 year
    /// (checked when a verifier is built). Default: 3 days.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.format.profile.event_horizon = Some(retention);
        self
    }
}

/// What HubSpot decodes, and nothing else.
fn decode(url: &str) -> Cow<'_, str> {
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

impl Preset for HubSpot {
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
        read_first_event_id(parameters, body, EVENT_ID)
    }
}
