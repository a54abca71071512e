//! Dropbox.

use bytes::Bytes;
use http::{Method, Response, Uri};

use super::{Preset, UNTIMED_RETENTION, handshake::HandshakePath, plain_text, single_header};
use crate::{
    error::ConfigError,
    scheme::{
        header::{HeaderScheme, Part},
        rfc9421::query,
    },
};

/// The greatest length of a challenge, in bytes.
const MAX_CHALLENGE: usize = 256;

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
/// | secret | the app secret, as it stands; the key id is `dropbox`. One under 16 bytes needs [`keys`](crate::request::VerifierBuilder::keys) and [`danger_short`](crate::key::Secret::danger_short) |
/// | fresh for | ever |
/// | used once by | nothing: a notification names the accounts that changed, and the next one of the same accounts is alike to the last byte |
/// | remembered for | not at all, so that no store is needed |
/// | challenge | `challenge` of a `GET`, answered with [`answer_challenge_at`](Self::answer_challenge_at) |
///
/// # What stays open
/// - **Whoever captured a notification can post it again**, at any time and as often as they like. It
///   says no more than that something changed: let the handler ask Dropbox what did, from its cursor on.
///   Then a copy costs a question, and has no other effect.
/// - Method, path and headers are not covered: put the layer on the one route that takes these webhooks.
///
/// The format is that of Dropbox's documentation.
#[derive(Clone, Debug)]
pub struct Dropbox {
    format: HeaderScheme,
    /// The path at which a challenge is answered.
    answers_at: Option<HandshakePath>,
}

impl Dropbox {
    /// The format, with every default.
    #[must_use]
    pub fn new() -> Self {
        let mut format = single_header(
            HeaderScheme::builder("x-dropbox-signature")
                .fixed_key_id("dropbox")
                .danger_without_time(UNTIMED_RETENTION)
                .signs([Part::Body]),
        );
        let profile = format.profile_mut();
        profile.untimed_retention = None;
        profile.may_repeat = true;
        Self {
            format,
            answers_at: None,
        }
    }

    key_id!("dropbox", format.set_key_id);

    /// Answers the unsigned `GET` by which Dropbox asks whether this path is the right one, with its
    /// challenge. Default: the `GET` is refused, as is every request without a signature.
    ///
    /// The path is that of the webhook as it arrives at this server, with the prefix of an Axum router
    /// in which the route is nested. It is compared byte by byte. A `challenge` at any other path is
    /// nothing special, and its request is verified.
    ///
    /// Anybody can ask, and is answered with what they wrote, as plain text. Only a challenge of 1 to
    /// 256 letters, digits, `-` and `_` is answered.
    ///
    /// # Errors
    /// Returns an error if the path does not begin with `/`, or has a query.
    pub fn answer_challenge_at(mut self, path: impl Into<String>) -> Result<Self, ConfigError> {
        self.answers_at = Some(HandshakePath::new(path)?);
        Ok(self)
    }
}

impl Preset for Dropbox {
    type Format = HeaderScheme;

    fn format(&self) -> &HeaderScheme {
        &self.format
    }

    fn answer_unsigned(&self, method: &Method, uri: &Uri) -> Option<Response<Bytes>> {
        if method != Method::GET || !self.answers_at.as_ref()?.is(uri.path()) {
            return None;
        }
        let challenge = query::param(uri.query()?, "challenge").ok()?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        let answered =
            (1..=MAX_CHALLENGE).contains(&challenge.len()) && challenge.bytes().all(plain);
        answered.then(|| plain_text(challenge))
    }
}
