//! Presets: the formats in which providers sign their webhooks.

#![doc = include_str!("table.md")]

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Response, Uri,
    header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    request::Parts,
    uri::Scheme,
};

use super::describe::{Describe, Profile, Reading, Signing};
use crate::{
    error::{ConfigError, Rejection, RejectionKind, SignError, malformed},
    key::{MacAlgorithm, MacKey, Secret},
    message::{Encoding, HashOutput, MAX_LEN, Target},
};
use crate::{
    message::Head,
    proof::{Announced, Candidate, Parameters},
    scheme::header::{HeaderScheme, HeaderSchemeBuilder},
};

/// The setter of every preset, over what its format is called by.
macro_rules! key_id {
    ($own:literal, $($set_key_id:tt)+) => {
        /// The key id that deliveries are verified under: 1 to 128 visible ASCII characters (checked when
        /// a verifier or a signer is built).
        #[doc = concat!("Default: `", $own, "`.")]
        ///
        /// It keeps deliveries apart in a store that others may have too: name it by the account that
        /// sends, such as `acme`. A delivery that was used under another key id is new under this one.
        #[must_use]
        pub fn key_id(mut self, id: impl Into<String>) -> Self {
            self.$($set_key_id)+(id.into());
            self
        }
    };
}

mod dropbox;
mod event;
mod github;
mod handshake;
mod hubspot;
mod linear;
mod list;
mod mailgun;
mod meta;
mod paddle;
mod shopify;
mod slack;
mod square;
mod standard;
mod stripe;
mod twilio;
mod url_and_body;
mod zoom;

pub use dropbox::Dropbox;
pub use github::GitHub;
pub use hubspot::HubSpot;
pub use linear::Linear;
pub use mailgun::Mailgun;
pub use meta::Meta;
pub use paddle::Paddle;
pub use shopify::Shopify;
pub use slack::Slack;
pub use square::Square;
pub use standard::StandardWebhooks;
pub use stripe::Stripe;
pub use twilio::Twilio;
pub use zoom::Zoom;

/// For how long an event id is remembered, counted from its last delivery: no sender here goes on
/// retrying for longer.
const EVENT_HORIZON: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// For how long a delivery is remembered where no time is covered.
const UNTIMED_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A sender that signs under several secrets at once has two, or a few more.
const MAX_ELEMENTS: usize = 16;

/// A preset: the format of the signature, and what its provider adds to it.
///
/// What is not said here is the format's; see [`Describe`] for what each has to do.
pub(crate) trait Preset: fmt::Debug + Send + Sync + 'static {
    type Format: Describe;

    fn format(&self) -> &Self::Format;

    fn read_secret(&self, text: &str) -> Result<Secret, ConfigError> {
        Secret::new(text)
    }

    fn read_covered_body(&self, _: &mut Parameters<'_>, _: &Bytes) -> Result<(), Rejection> {
        Ok(())
    }

    fn answer_unsigned(&self, _: &Method, _: &Uri) -> Option<Response<Bytes>> {
        None
    }

    fn answer_verified(
        &self,
        _: &str,
        _: &Bytes,
        _: &mut dyn Iterator<Item = &MacKey>,
    ) -> Option<Response<Bytes>> {
        None
    }
}

impl<P: Preset> Describe for P {
    fn profile(&self) -> &Profile {
        self.format().profile()
    }

    fn fixed_key_id(&self) -> Option<&str> {
        self.format().fixed_key_id()
    }

    fn read_secret(&self, text: &str) -> Result<Secret, ConfigError> {
        Preset::read_secret(self, text)
    }

    fn read<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Rejection> {
        self.format().read(head)
    }

    fn read_body(&self, body: &Bytes) -> Result<Vec<Announced<'static>>, Rejection> {
        self.format().read_body(body)
    }

    fn read_covered_body(
        &self,
        parameters: &mut Parameters<'_>,
        body: &Bytes,
    ) -> Result<(), Rejection> {
        Preset::read_covered_body(self, parameters, body)
    }

    fn answer_unsigned(&self, method: &Method, uri: &Uri) -> Option<Response<Bytes>> {
        Preset::answer_unsigned(self, method, uri)
    }

    fn answer_verified(
        &self,
        path: &str,
        body: &Bytes,
        secrets: &mut dyn Iterator<Item = &MacKey>,
    ) -> Option<Response<Bytes>> {
        Preset::answer_verified(self, path, body, secrets)
    }

    fn prepare(
        &self,
        parts: &mut Parts,
        signing: &Signing<'_>,
    ) -> Result<Candidate<'static>, SignError> {
        self.format().prepare(parts, signing)
    }

    fn write(
        &self,
        parts: &mut Parts,
        candidate: &Candidate<'_>,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        self.format().write(parts, candidate, mac)
    }
}

macro_rules! default_is_new {
    ($($preset:ident)*) => {$(
        impl Default for $preset {
            fn default() -> Self {
                Self::new()
            }
        }
    )*};
}

default_is_new!(
    Dropbox GitHub HubSpot Linear Mailgun Meta Paddle Shopify Slack Square StandardWebhooks Stripe
    Twilio Zoom
);

/// What is true of every webhook: HMAC-SHA256, under one key, of a body that goes to no place in
/// particular, from a sender that retries.
const PROFILE: Profile = Profile {
    algorithm: MacAlgorithm::HmacSha256,
    covers_authority: false,
    covers_place: false,
    covers_method: false,
    untimed_retention: None,
    event_horizon: None,
    may_repeat: false,
    key_id_is_own: true,
    sender_retries: true,
};

/// The format of a provider that signs in a single header, over named parts.
#[expect(
    clippy::expect_used,
    reason = "it depends on nothing from outside of this crate, whose tests build every preset"
)]
fn single_header(description: HeaderSchemeBuilder) -> HeaderScheme {
    let mut format = description.build().expect("a description that is safe");
    let profile = format.profile_mut();
    profile.key_id_is_own = true;
    profile.sender_retries = true;
    format
}

/// The one MAC that a header holds, or that it is missing.
fn read_mac(
    head: &Head<'_>,
    header: &HeaderName,
    algorithm: MacAlgorithm,
    encoding: Encoding,
) -> Result<HashOutput, Rejection> {
    let Some(value) = head.single(header)? else {
        return Err(Rejection::new(
            RejectionKind::SignatureMissing,
            format!("header `{header}` is missing"),
        ));
    };
    let mut mac = [0; MAX_LEN];
    let length = algorithm.mac_len();
    mac.get_mut(..length)
        .and_then(|mac| {
            encoding.decode_exact(value.as_bytes(), mac)?;
            Some(HashOutput::new(mac))
        })
        .ok_or_else(|| {
            malformed(format!(
                "header `{header}` is not a MAC of {length} bytes in {encoding:?}"
            ))
        })
}

/// A URL as a provider writes it: what a request asks for, under this authority.
fn url(target: &Target<'_>, authority: &str) -> String {
    let scheme = target.scheme.unwrap_or(&Scheme::HTTPS);
    format!("{scheme}://{authority}{}", target.path_and_query)
}

/// The target of a request that is to be signed with its URL.
fn outgoing_target(parts: &Parts) -> Result<Target<'_>, SignError> {
    let target = Target::of_outgoing(&parts.uri, &parts.headers)?;
    if target.authority.is_empty() {
        return Err(SignError::new(
            "the request names no authority, in its URI or in `Host`",
        ));
    }
    Ok(target)
}

/// The MACs among these texts. One that cannot be read matches nothing, and blocks nothing either.
fn read_macs(
    header: &HeaderName,
    encoding: Encoding,
    texts: &[&str],
) -> Result<Vec<HashOutput>, Rejection> {
    if texts.is_empty() {
        return Err(Rejection::new(
            RejectionKind::SignatureMissing,
            format!("header `{header}` has no signature of the version that is accepted"),
        ));
    }
    let macs: Vec<_> = texts
        .iter()
        .filter_map(|text| {
            let mut mac = [0; PROFILE.algorithm.mac_len()];
            encoding.decode_exact(text.as_bytes(), &mut mac)?;
            Some(HashOutput::new(&mac))
        })
        .collect();
    if macs.is_empty() {
        return Err(malformed(format!(
            "header `{header}` has no MAC of {} bytes in {encoding:?}",
            PROFILE.algorithm.mac_len()
        )));
    }
    Ok(macs)
}

/// The elements of a header that is a list.
fn elements<'h>(
    header: &HeaderName,
    value: &'h HeaderValue,
    separator: char,
) -> Result<impl Iterator<Item = &'h str>, Rejection> {
    let text = value
        .to_str()
        .map_err(|_| malformed(format!("header `{header}` is not visible ASCII")))?;
    if text.split(separator).count() > MAX_ELEMENTS {
        return Err(malformed(format!(
            "header `{header}` has more than {MAX_ELEMENTS} elements"
        )));
    }
    Ok(text.split(separator))
}

/// The answer to a challenge. It repeats what the sender wrote, and is read as nothing but text.
fn plain_text(body: impl Into<Bytes>) -> Response<Bytes> {
    answer(HeaderValue::from_static("text/plain; charset=utf-8"), body)
}

fn answer(content_type: HeaderValue, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
