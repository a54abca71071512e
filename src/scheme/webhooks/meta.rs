//! Meta: Facebook, Instagram, Messenger, WhatsApp.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, Uri};

use super::{Preset, UNTIMED_RETENTION, handshake::HandshakePath, plain_text, single_header};
use crate::{
    error::ConfigError,
    key::Secret,
    scheme::{
        header::{HeaderScheme, Part},
        rfc9421::query,
    },
};

/// The greatest length of a challenge, in bytes.
const MAX_CHALLENGE: usize = 256;

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
/// - Two deliveries that are alike to the last byte are one. One delivery may hold several changes, and
///   a change may come again in another delivery: tell changes apart by their own ids.
/// - Method, path and headers are not covered: put the layer on the one route that takes these
///   webhooks, for at another path a captured delivery counts as another.
///
/// A delivery may have up to 3 MiB: see [`max_body_bytes`](crate::request::VerifierBuilder::max_body_bytes). The
/// format is that of Meta's documentation.
#[derive(Clone, Debug)]
pub struct Meta {
    format: HeaderScheme,
    /// The path at which a challenge is answered, and the token that comes with it.
    answers_at: Option<(HandshakePath, Secret)>,
}

impl Meta {
    /// The format, with every default.
    #[must_use]
    pub fn new() -> Self {
        Self {
            format: single_header(
                HeaderScheme::builder("x-hub-signature-256")
                    .prefix("sha256=")
                    .fixed_key_id("meta")
                    .danger_without_time(UNTIMED_RETENTION)
                    .signs([Part::Body]),
            ),
            answers_at: None,
        }
    }

    key_id!("meta", format.set_key_id);

    /// Answers the unsigned `GET` by which Meta asks whether this path is the right one, with its
    /// challenge, if the `GET` names this token. Default: it is refused, as is every request without a
    /// signature.
    ///
    /// The path is that of the webhook as it arrives at this server, with the prefix of an Axum router
    /// in which the route is nested. It is compared byte by byte. At any other path, the request is
    /// verified.
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
    /// Returns an error if the path does not begin with `/`, or has a query, and if the token is not a
    /// [`Secret`].
    pub fn answer_subscription_at<T>(
        mut self,
        path: impl Into<String>,
        verify_token: T,
    ) -> Result<Self, ConfigError>
    where
        T: TryInto<Secret>,
        ConfigError: From<T::Error>,
    {
        self.answers_at = Some((HandshakePath::new(path)?, verify_token.try_into()?));
        Ok(self)
    }

    /// For how long a delivery is remembered: between 1 hour and 1 year (checked when a verifier is
    /// built). Default: 30 days.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.format.profile_mut().untimed_retention = Some(retention);
        self
    }
}

impl Preset for Meta {
    type Format = HeaderScheme;

    fn format(&self) -> &HeaderScheme {
        &self.format
    }

    fn answer_unsigned(&self, method: &Method, uri: &Uri) -> Option<Response<Bytes>> {
        let (path, verify_token) = self.answers_at.as_ref()?;
        if method != Method::GET || !path.is(uri.path()) {
            return None;
        }
        let query = uri.query()?;
        let param = |name| query::param(query, name).ok();
        let challenge = param("hub.challenge")?;
        let readable = (1..=MAX_CHALLENGE).contains(&challenge.len())
            && challenge.bytes().all(|b| b.is_ascii_alphanumeric());
        let asks = param("hub.mode")? == "subscribe"
            && readable
            && verify_token.is(param("hub.verify_token")?.as_bytes());
        asks.then(|| plain_text(challenge))
    }
}
