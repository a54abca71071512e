//! The table of presets, and what it takes to tamper with their requests.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign::{
    Clock as _, ConfigError, Rejection, Signer, Verifier,
    request::{Verified, VerifierBuilder},
    scheme::Encoding,
    testing::ManualClock,
    webhooks,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use serde_json::Value;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use crate::common::{self, NOW, log};

pub const ID: &str = "msg_1";

/// A preset, and what it takes to forge in its format, as the documentation of its sender says it.
pub struct Provider {
    pub name: &'static str,
    pub begin: fn() -> VerifierBuilder<Verifier>,
    pub signer: fn(&str) -> Result<Signer, ConfigError>,
    /// As the provider shows it; a second one, for a rotation.
    pub secrets: [&'static str; 2],
    /// What the MAC is keyed with.
    pub key: fn(&str) -> Vec<u8>,
    pub hash: Hash,
    /// The header that ends in the MAC, or [`IN_BODY`].
    pub signature: &'static str,
    /// The value of that header, of `{time}` and `{mac}`.
    pub value: &'static str,
    /// What separates several MACs in it, if it is a list.
    pub list: Option<&'static str>,
    pub encoding: Encoding,
    pub time: Time,
    /// The header that holds the id.
    pub id: Option<&'static str>,
    /// The signed message, of `{id}`, `{time}`, `{method}`, `{url}`, `{target}`, `{listed}`, `{body}`, and
    /// the strings of a body whose signature stands in it. A listed header stands there with its name.
    pub message: &'static str,
    /// A body that is an event for it, at this time.
    pub event: fn(u64) -> String,
    pub retries: Retries,
    /// How long after the first delivery the sender delivers again, in seconds.
    pub schedule: &'static [u64],
    /// An example that the sender publishes: the secret, the body, and the header's value.
    pub example: Option<[&'static str; 3]>,
}

/// The signature stands in the body, as its member `signature`.
pub const IN_BODY: &str = "signature";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

impl Hash {
    pub fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        macro_rules! hmac {
            ($hash:ty) => {{
                let mut mac = Hmac::<$hash>::new_from_slice(key).unwrap();
                mac.update(message);
                mac.finalize().into_bytes().to_vec()
            }};
        }
        match self {
            Self::Sha1 => hmac!(Sha1),
            Self::Sha256 => hmac!(Sha256),
            Self::Sha512 => hmac!(Sha512),
        }
    }
}

/// Where the signed time stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    Header(&'static str),
    /// First in the header of the signature, under this name.
    Listed(&'static str),
    /// Under this name, in milliseconds, in the body.
    Body(&'static str),
    None,
}

/// What the sender does after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retries {
    /// The same event, with a later time.
    SignedAnew,
    /// The very same request.
    Identical,
    /// The same event, with a later time: nothing that is kept for so long tells that it is the same.
    Redated,
    /// The very same request, or one that is alike: each is handled.
    Unclaimed,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

const PLAIN: Provider = Provider {
    name: "",
    begin: || Verifier::builder(webhooks::GitHub::new()),
    signer: |secret| Signer::with_secret(webhooks::GitHub::new(), secret),
    secrets: ["the secret of the sender", "the next secret of the sender"],
    key: |secret| secret.as_bytes().to_vec(),
    hash: Hash::Sha256,
    signature: "",
    value: "{mac}",
    list: None,
    encoding: Encoding::Hex,
    time: Time::None,
    id: None,
    message: "{body}",
    event,
    retries: Retries::SignedAnew,
    schedule: &[MINUTE, HOUR],
    example: None,
};

fn decoded(secret: &str) -> Vec<u8> {
    STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap_or(secret))
        .unwrap()
}

macro_rules! providers {
    ($($provider:ident = $name:literal $scheme:expr => { $($field:tt)* })*) => {
        $(
            pub static $provider: Provider = Provider {
                name: $name,
                begin: || Verifier::builder($scheme),
                signer: |secret| Signer::with_secret($scheme, secret),
                $($field)*
            };
        )*

        pub static ALL: [&Provider; [$($name),*].len()] = [$(&$provider),*];
    };
}

providers! {
    STANDARD_WEBHOOKS = "Standard Webhooks" webhooks::StandardWebhooks::new() => {
        secrets: [
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_dGhlIG5leHQgc2VjcmV0IG9mIHRoZSBzZW5kZXI=",
        ],
        key: decoded,
        signature: "webhook-signature",
        value: "v1,{mac}",
        list: Some(" "),
        encoding: Encoding::Base64,
        time: Time::Header("webhook-timestamp"),
        id: Some("webhook-id"),
        message: "{id}.{time}.{body}",
        schedule: &[
            5,
            5 + 5 * MINUTE,
            5 + 35 * MINUTE,
            5 + 155 * MINUTE,
            5 + 455 * MINUTE,
            5 + 1055 * MINUTE,
            28 * HOUR,
        ],
        ..PLAIN
    }
    SVIX = "Svix" webhooks::StandardWebhooks::svix() => {
        signature: "svix-signature",
        time: Time::Header("svix-timestamp"),
        id: Some("svix-id"),
        ..STANDARD_WEBHOOKS
    }
    STRIPE = "Stripe" webhooks::Stripe::new() => {
        secrets: ["whsec_is not decoded", "whsec_the next secret of the sender"],
        signature: "stripe-signature",
        value: "t={time},v1={mac}",
        list: Some(","),
        time: Time::Listed("t"),
        message: "{time}.{body}",
        schedule: &[MINUTE, HOUR, 12 * HOUR, DAY, 2 * DAY, 3 * DAY],
        ..PLAIN
    }
    PADDLE = "Paddle" webhooks::Paddle::new() => {
        signature: "paddle-signature",
        value: "ts={time};h1={mac}",
        list: Some(";"),
        time: Time::Listed("ts"),
        message: "{time}:{body}",
        schedule: &[MINUTE, HOUR, 12 * HOUR, DAY, 2 * DAY, 3 * DAY],
        ..PLAIN
    }
    SLACK = "Slack" webhooks::Slack::new() => {
        signature: "x-slack-signature",
        value: "v0={mac}",
        time: Time::Header("x-slack-request-timestamp"),
        message: "v0:{time}:{body}",
        schedule: &[1, MINUTE, 6 * MINUTE, DAY + 6 * MINUTE],
        ..PLAIN
    }
    ZOOM = "Zoom" webhooks::Zoom::new() => {
        signature: "x-zm-signature",
        value: "v0={mac}",
        time: Time::Header("x-zm-request-timestamp"),
        message: "v0:{time}:{body}",
        schedule: &[5 * MINUTE, 25 * MINUTE, 85 * MINUTE],
        ..PLAIN
    }
    LINEAR = "Linear" webhooks::Linear::new() => {
        signature: "linear-signature",
        time: Time::Body("webhookTimestamp"),
        retries: Retries::Redated,
        schedule: &[MINUTE, 61 * MINUTE, 421 * MINUTE],
        ..PLAIN
    }
    GITHUB = "GitHub" webhooks::GitHub::new() => {
        signature: "x-hub-signature-256",
        value: "sha256={mac}",
        retries: Retries::Identical,
        schedule: &[HOUR, 3 * DAY, 7 * DAY],
        example: Some([
            "It's a Secret to Everybody",
            "Hello, World!",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        ]),
        ..PLAIN
    }
    BITBUCKET = "Bitbucket" webhooks::Bitbucket::new() => {
        signature: "x-hub-signature",
        value: "sha256={mac}",
        retries: Retries::Identical,
        example: Some([
            "It's a Secret to Everybody",
            "Hello World!",
            "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9",
        ]),
        ..PLAIN
    }
    SHOPIFY = "Shopify" webhooks::Shopify::new() => {
        signature: "x-shopify-hmac-sha256",
        encoding: Encoding::Base64,
        retries: Retries::Identical,
        schedule: &[MINUTE, HOUR, 4 * HOUR],
        ..PLAIN
    }
    META = "Meta" webhooks::Meta::new() => {
        signature: "x-hub-signature-256",
        value: "sha256={mac}",
        retries: Retries::Identical,
        schedule: &[1, HOUR, 36 * HOUR, 7 * DAY],
        ..PLAIN
    }
    HUBSPOT = "HubSpot" webhooks::HubSpot::new() => {
        signature: "x-hubspot-signature-v3",
        encoding: Encoding::Base64,
        time: Time::Header("x-hubspot-request-timestamp"),
        message: "{method}{url}{body}{time}",
        event: |_| r#"[{"eventId":1,"portalId":2,"amount":7},{"eventId":9}]"#.to_owned(),
        schedule: &[MINUTE, HOUR, DAY],
        ..PLAIN
    }
    SQUARE = "Square" webhooks::Square::new() => {
        signature: "x-square-hmacsha256-signature",
        encoding: Encoding::Base64,
        message: "{url}{body}",
        retries: Retries::Identical,
        schedule: &[MINUTE, HOUR, DAY],
        ..PLAIN
    }
    MAILGUN = "Mailgun" webhooks::Mailgun::new() => {
        signature: IN_BODY,
        time: Time::Body("timestamp"),
        message: "{timestamp}{token}",
        retries: Retries::Redated,
        schedule: &[5 * MINUTE, 15 * MINUTE, 30 * MINUTE, 90 * MINUTE, 8 * HOUR],
        ..PLAIN
    }
    // With JSON bodies, whose digest the URL names.
    TWILIO = "Twilio" webhooks::Twilio::json_at("/hook").unwrap() => {
        hash: Hash::Sha1,
        signature: "x-twilio-signature",
        encoding: Encoding::Base64,
        message: "{url}",
        retries: Retries::Unclaimed,
        ..PLAIN
    }
    DROPBOX = "Dropbox" webhooks::Dropbox::new() => {
        signature: "x-dropbox-signature",
        retries: Retries::Unclaimed,
        ..PLAIN
    }
    GITLAB = "GitLab" webhooks::GitLab::new() => { ..STANDARD_WEBHOOKS }
    OPENAI = "OpenAi" webhooks::OpenAi::new() => {
        schedule: &[MINUTE, HOUR, DAY, 3 * DAY],
        ..STANDARD_WEBHOOKS
    }
    INTERCOM = "Intercom" webhooks::Intercom::new() => {
        hash: Hash::Sha1,
        signature: "x-hub-signature",
        value: "sha1={mac}",
        retries: Retries::Identical,
        ..PLAIN
    }
    TYPEFORM = "Typeform" webhooks::Typeform::new() => {
        signature: "typeform-signature",
        value: "sha256={mac}",
        encoding: Encoding::Base64,
        retries: Retries::Identical,
        schedule: &[5 * MINUTE, 35 * MINUTE, 10 * HOUR],
        ..PLAIN
    }
    CALENDLY = "Calendly" webhooks::Calendly::new() => {
        signature: "calendly-webhook-signature",
        value: "t={time},v1={mac}",
        list: Some(","),
        time: Time::Listed("t"),
        message: "{time}.{body}",
        schedule: &[MINUTE, HOUR, DAY],
        ..PLAIN
    }
    WOOCOMMERCE = "WooCommerce" webhooks::WooCommerce::new() => {
        signature: "x-wc-webhook-signature",
        encoding: Encoding::Base64,
        retries: Retries::Identical,
        ..PLAIN
    }
    ZENDESK = "Zendesk" webhooks::Zendesk::new() => {
        signature: "x-zendesk-webhook-signature",
        encoding: Encoding::Base64,
        time: Time::Header("x-zendesk-webhook-signature-timestamp"),
        message: "{time}{body}",
        retries: Retries::Redated,
        ..PLAIN
    }
    PAGERDUTY = "PagerDuty" webhooks::PagerDuty::new() => {
        signature: "x-pagerduty-signature",
        value: "v1={mac}",
        list: Some(","),
        event: nested_event,
        retries: Retries::Identical,
        ..PLAIN
    }
    SENTRY = "Sentry" webhooks::Sentry::new() => {
        signature: "sentry-hook-signature",
        retries: Retries::Identical,
        ..PLAIN
    }
    ASANA = "Asana" webhooks::Asana::new() => {
        signature: "x-hook-signature",
        retries: Retries::Identical,
        schedule: &[MINUTE, HOUR, DAY],
        ..PLAIN
    }
    BOX = "Box Webhooks" webhooks::BoxWebhooks::new() => {
        signature: "box-signature-primary",
        encoding: Encoding::Base64,
        time: Time::Header("box-delivery-timestamp"),
        message: "{body}{time}",
        schedule: &[5 * MINUTE, HOUR, 2 * HOUR],
        ..PLAIN
    }
    DOCUSIGN = "DocuSign" webhooks::DocuSign::new() => {
        signature: "x-docusign-signature-1",
        encoding: Encoding::Base64,
        event: |secs| format!(r#"{{"event":"envelope-completed","retryCount":{}}}"#, secs - NOW),
        retries: Retries::Redated,
        ..PLAIN
    }
    XERO = "Xero" webhooks::Xero::new() => {
        signature: "x-xero-signature",
        encoding: Encoding::Base64,
        retries: Retries::Identical,
        schedule: &[MINUTE, HOUR, DAY],
        ..PLAIN
    }
    QUICKBOOKS = "QuickBooks" webhooks::QuickBooks::new() => {
        signature: "intuit-signature",
        encoding: Encoding::Base64,
        event: |_| r#"[{"id":"evt_1","source":"intuit.x","amount":7},{"id":"evt_2"}]"#.to_owned(),
        retries: Retries::Identical,
        schedule: &[10, MINUTE, HOUR, DAY],
        ..PLAIN
    }
    RAZORPAY = "Razorpay" webhooks::Razorpay::new() => {
        signature: "x-razorpay-signature",
        retries: Retries::Identical,
        schedule: &[HOUR, DAY, 15 * DAY],
        ..PLAIN
    }
    LEMON_SQUEEZY = "Lemon Squeezy" webhooks::LemonSqueezy::new() => {
        signature: "x-signature",
        retries: Retries::Identical,
        schedule: &[5, 30, 155],
        ..PLAIN
    }
    COINBASE_COMMERCE = "Coinbase Commerce" webhooks::CoinbaseCommerce::new() => {
        signature: "x-cc-webhook-signature",
        event: nested_event,
        retries: Retries::Identical,
        schedule: &[HOUR, DAY, 3 * DAY],
        ..PLAIN
    }
    CONTENTFUL = "Contentful" webhooks::Contentful::new() => {
        signature: "x-contentful-signature",
        time: Time::Header("x-contentful-timestamp"),
        id: Some("x-contentful-signed-headers"),
        message: "{method}\n{target}\n{listed}\n{body}",
        retries: Retries::Redated,
        schedule: &[30, 60],
        ..PLAIN
    }
    CIRCLECI = "CircleCi" webhooks::CircleCi::new() => {
        signature: "circleci-signature",
        value: "v1={mac}",
        list: Some(","),
        retries: Retries::Identical,
        ..PLAIN
    }
    BUILDKITE = "Buildkite" webhooks::Buildkite::new() => {
        signature: "x-buildkite-signature",
        value: "timestamp={time},signature={mac}",
        list: Some(","),
        time: Time::Listed("timestamp"),
        message: "{time}.{body}",
        retries: Retries::Redated,
        ..PLAIN
    }
    TERRAFORM_CLOUD = "Terraform Cloud" webhooks::TerraformCloud::new() => {
        hash: Hash::Sha512,
        signature: "x-tfe-notification-signature",
        retries: Retries::Identical,
        ..PLAIN
    }
    VERCEL = "Vercel" webhooks::Vercel::new() => {
        hash: Hash::Sha1,
        signature: "x-vercel-signature",
        retries: Retries::Identical,
        schedule: &[MINUTE, HOUR, DAY],
        ..PLAIN
    }
    TRELLO = "Trello" webhooks::Trello::new() => {
        hash: Hash::Sha1,
        signature: "x-trello-webhook",
        encoding: Encoding::Base64,
        message: "{body}{url}",
        event: |_| r#"{"action":{"id":"evt_1"},"amount":7}"#.to_owned(),
        retries: Retries::Identical,
        schedule: &[30, 90, 210],
        ..PLAIN
    }
    NOTION = "Notion" webhooks::Notion::new() => {
        signature: "x-notion-signature",
        value: "sha256={mac}",
        retries: Retries::Identical,
        schedule: &[MINUTE, HOUR, DAY],
        ..PLAIN
    }
    LINE = "Line" webhooks::Line::new() => {
        signature: "x-line-signature",
        encoding: Encoding::Base64,
        event: |_| r#"{"events":[{"webhookEventId":"evt_1"}],"amount":7}"#.to_owned(),
        retries: Retries::Identical,
        ..PLAIN
    }
    CAL_COM = "Cal Com" webhooks::CalCom::new() => {
        signature: "x-cal-signature-256",
        retries: Retries::Identical,
        ..PLAIN
    }
}

/// Those that sign the body, with a time or an id at most, and claim what they sign. Of the others
/// there is more to say, in files of their own.
pub fn alike() -> impl Iterator<Item = &'static Provider> {
    ALL.into_iter().filter(|provider| {
        let in_headers = provider.signature != IN_BODY && !provider.covers_url();
        in_headers && provider.retries != Retries::Unclaimed
    })
}

/// Those whose header may hold several MACs.
pub fn lists() -> impl Iterator<Item = &'static Provider> {
    ALL.into_iter().filter(|provider| provider.list.is_some())
}

/// Those that cover a time.
pub fn timed() -> impl Iterator<Item = &'static Provider> {
    ALL.into_iter()
        .filter(|provider| provider.time != Time::None)
}

/// A body whose event has its id below the top.
fn nested_event(_: u64) -> String {
    r#"{"id":"1","attempt_number":1,"event":{"id":"evt_1","amount":7}}"#.to_owned()
}

/// A body that is an event for most of them.
pub fn event(secs: u64) -> String {
    format!(r#"{{"id":"evt_1","event_id":"evt_1","webhookTimestamp":{secs}000,"amount":7}}"#)
}

fn url(request: &Request<Bytes>) -> String {
    format!("https://{}{}", get(request, "host"), request.uri())
}

/// The template with its `{names}` replaced. A value may hold any bytes.
fn fill(template: &str, value: impl Fn(&str) -> Vec<u8>) -> Vec<u8> {
    let mut pieces = template.split('{');
    let mut filled = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        let (name, text) = piece.split_once('}').unwrap();
        filled.extend(value(name));
        filled.extend(text.as_bytes());
    }
    filled
}

impl Provider {
    /// What its requests are read by: the encoding of the MAC, its list, where the time and the id are.
    pub fn shape(&self) -> impl std::hash::Hash + Eq + use<> {
        let place = match self.time {
            Time::Header(_) => "header",
            Time::Listed(_) => "list",
            Time::Body(_) => "body",
            Time::None => "none",
        };
        let encoding = format!("{:?}", self.encoding);
        (encoding, self.list, place, self.id.is_some(), self.hash)
    }

    pub fn covers_authority(&self) -> bool {
        self.message.contains("{url}")
    }

    pub fn covers_url(&self) -> bool {
        self.covers_authority() || self.message.contains("{target}")
    }

    /// What stands before each MAC of a list.
    pub fn version(&self) -> &'static str {
        let last = self.value.rsplit(self.list.unwrap()).next().unwrap();
        last.strip_suffix("{mac}").unwrap()
    }

    pub fn builder(&self) -> VerifierBuilder<Verifier> {
        let builder = (self.begin)();
        if self.covers_authority() {
            builder.public_origin(common::ORIGIN)
        } else {
            builder
        }
    }

    /// A verifier with all but a store.
    pub fn verifier(&self, clock: &ManualClock) -> VerifierBuilder<Verifier> {
        log::listen();
        for secret in self.secrets {
            log::hide("a secret", secret.as_bytes());
            log::hide("a secret", &(self.key)(secret));
        }
        // The usual one, whatever the preset's own.
        self.builder()
            .max_age(std::time::Duration::from_secs(300))
            .secret(self.secrets[0])
            .clock(clock.clone())
    }

    /// `POST /hook` with this body, as the sender signs it.
    pub fn sign(&self, clock: &ManualClock, body: impl Into<Bytes>) -> Request<Bytes> {
        self.sign_under(self.secrets[0], clock, body)
    }

    pub fn sign_under(
        &self,
        secret: &str,
        clock: &ManualClock,
        body: impl Into<Bytes>,
    ) -> Request<Bytes> {
        self.sign_for(common::HOST, secret, clock, body)
    }

    pub fn sign_for(
        &self,
        host: &str,
        secret: &str,
        clock: &ManualClock,
        body: impl Into<Bytes>,
    ) -> Request<Bytes> {
        let signer = (self.signer)(secret).unwrap().clock(clock.clone());
        let request = Request::post("/hook")
            .header("host", host)
            .header("content-type", "application/json")
            .body(body.into())
            .unwrap();
        signer.sign_body(request, ID).unwrap()
    }

    /// The event of [`NOW`].
    pub fn delivery(&self, clock: &ManualClock) -> Request<Bytes> {
        self.sign(clock, (self.event)(NOW))
    }

    /// The same event, as the sender delivers it again by this clock.
    pub fn redelivery(&self, clock: &ManualClock) -> Request<Bytes> {
        let time = match self.retries {
            Retries::Redated => clock.now().as_secs(),
            _ => NOW,
        };
        self.sign(clock, (self.event)(time))
    }

    /// Writes another time, without signing it.
    pub fn set_time(&self, request: &mut Request<Bytes>, time: &str) {
        match self.time {
            Time::Header(name) => set(request, name, time),
            Time::Listed(name) => {
                let separator = self.list.unwrap();
                let header = get(request, self.signature);
                let (_, rest) = header.split_once(separator).unwrap();
                let header = format!("{name}={time}{separator}{rest}");
                set(request, self.signature, &header);
            }
            Time::Body(name) => {
                let body = String::from_utf8(request.body().to_vec()).unwrap();
                let (before, rest) = body.split_once(&format!(r#""{name}":"#)).unwrap();
                let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                *request.body_mut() = format!(r#"{before}"{name}":{time}{rest}"#).into();
            }
            Time::None => panic!("{} has no time", self.name),
        }
    }

    fn get_time(&self, request: &Request<Bytes>) -> Vec<u8> {
        match self.time {
            Time::Header(name) => request.headers()[name].as_bytes().to_vec(),
            Time::Listed(name) => {
                let separator = self.list.unwrap();
                let header = request.headers()[self.signature].as_bytes();
                let header = std::str::from_utf8(header).unwrap();
                let (listed, _) = header.rsplit_once(separator).unwrap();
                let time = listed.strip_prefix(&format!("{name}=")).unwrap();
                time.as_bytes().to_vec()
            }
            Time::Body(_) | Time::None => Vec::new(),
        }
    }

    /// The signed message of a request as it stands, put together a second time.
    fn signed(&self, request: &Request<Bytes>) -> Vec<u8> {
        fill(self.message, |name| match name {
            "id" => get(request, self.id.unwrap()).into_bytes(),
            "time" => self.get_time(request),
            "method" => request.method().as_str().into(),
            "url" => url(request).into_bytes(),
            "target" => request.uri().to_string().into_bytes(),
            "listed" => {
                let list = get(request, self.id.unwrap());
                let headers = list.split(',').map(|name| {
                    [name.as_bytes(), b":", request.headers()[name].as_bytes()].concat()
                });
                headers.collect::<Vec<_>>().join(&b';')
            }
            "body" => request.body().to_vec(),
            member => {
                let body: Value = serde_json::from_slice(request.body()).unwrap();
                body[IN_BODY][member].as_str().unwrap().into()
            }
        })
    }

    /// The MAC that a holder of the secret would make of the request as it stands.
    pub fn mac(&self, secret: &str, request: &Request<Bytes>) -> String {
        self.mac_by(self.hash, secret, request)
    }

    pub fn mac_by(&self, hash: Hash, secret: &str, request: &Request<Bytes>) -> String {
        let mac = hash.hmac(&(self.key)(secret), &self.signed(request));
        match self.encoding {
            Encoding::Hex => base16ct::lower::encode_string(&mac),
            _ => STANDARD.encode(mac),
        }
    }

    /// Signs the request as it stands, whether or not the scheme would.
    pub fn resign(&self, request: &mut Request<Bytes>) {
        let mac = self.mac(self.secrets[0], request);
        *request = self.with_mac(request, &mac);
    }

    /// Another text in place of the MAC.
    pub fn with_mac(&self, request: &Request<Bytes>, mac: &str) -> Request<Bytes> {
        let length = self.mac(self.secrets[0], request).len();
        if self.signature == IN_BODY {
            let body = std::str::from_utf8(request.body()).unwrap();
            let (before, rest) = body.split_once(r#""signature":""#).unwrap();
            let mac = serde_json::to_string(mac).unwrap();
            return with_body(
                request,
                format!(r#"{before}"signature":{mac}{}"#, &rest[length + 1..]),
            );
        }
        let mut header = request.headers()[self.signature].as_bytes().to_vec();
        header.truncate(header.len() - length);
        header.extend_from_slice(mac.as_bytes());
        let value = HeaderValue::from_bytes(&header).unwrap();
        let mut request = request.clone();
        request
            .headers_mut()
            .insert(HeaderName::from_static(self.signature), value);
        request
    }

    /// The headers that carry the signature and its parameters.
    pub fn headers(&self) -> Vec<&'static str> {
        let time = match self.time {
            Time::Header(name) => Some(name),
            _ => None,
        };
        [Some(self.signature), time, self.id]
            .into_iter()
            .flatten()
            .collect()
    }
}

pub fn get(request: &Request<Bytes>, name: &str) -> String {
    request.headers()[name].to_str().unwrap().to_owned()
}

pub fn set(request: &mut Request<Bytes>, name: &'static str, value: &str) {
    let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
    request.headers_mut().insert(name, value);
}

pub fn with(request: &Request<Bytes>, name: &'static str, value: &str) -> Request<Bytes> {
    let mut request = request.clone();
    set(&mut request, name, value);
    request
}

pub fn without(request: &Request<Bytes>, name: &str) -> Request<Bytes> {
    let mut request = request.clone();
    request.headers_mut().remove(name);
    request
}

pub fn with_body(request: &Request<Bytes>, body: impl Into<Bytes>) -> Request<Bytes> {
    request.clone().map(|_| body.into())
}

pub fn at_path(request: &Request<Bytes>, path: &str) -> Request<Bytes> {
    let mut request = request.clone();
    *request.uri_mut() = path.parse().unwrap();
    request
}

pub async fn verify(verifier: &Verifier, request: &Request<Bytes>) -> Result<Verified, Rejection> {
    let (head, body) = request.clone().into_parts();
    verifier.verify(&head, Full::new(body)).await
}
