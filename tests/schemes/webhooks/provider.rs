//! The table of presets, and what it takes to tamper with their requests.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign::{
    Clock as _, ConfigError, Encoding, ManualClock, Rejection, Signer, Verifier, VerifierBuilder,
    request::Verified,
    webhooks::{
        Dropbox, GitHub, HubSpot, Linear, Mailgun, Meta, Paddle, Shopify, Slack, Square,
        StandardWebhooks, Stripe, Twilio, Zoom,
    },
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use serde_json::Value;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use crate::common::{self, NOW, log};

pub const ID: &str = "msg_1";

/// A preset, and what it takes to forge in its format.
pub struct Provider {
    pub name: &'static str,
    pub builder: fn() -> VerifierBuilder<Verifier>,
    pub signer: fn(&str) -> Result<Signer, ConfigError>,
    /// As the provider shows it; a second one, for a rotation.
    pub secrets: [&'static str; 2],
    /// What the MAC is keyed with.
    pub key: fn(&str) -> Vec<u8>,
    pub hash: Hash,
    /// The header that ends in the MAC, or [`IN_BODY`], and what stands before the MAC.
    pub signature: &'static str,
    pub prefix: &'static str,
    pub encoding: Encoding,
    pub time: Time,
    /// The header that holds the id.
    pub id: Option<&'static str>,
    /// What stands in the signed message before the body, put together a second time: of id and time.
    pub before: fn(&str, &str) -> String,
    /// The signed message of a request as it stands, put together a second time.
    pub message: fn(&Provider, &Request<Bytes>) -> Vec<u8>,
    /// The URL is signed.
    pub covers_url: bool,
    /// A body that is an event for it, at this time.
    pub event: fn(u64) -> String,
    pub retries: Retries,
}

/// The signature stands in the body, as its member `signature`.
pub const IN_BODY: &str = "signature";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Under this name, in a list with this separator, in the header of the signature.
    Listed(&'static str, char),
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

const PLAIN: Provider = Provider {
    name: "",
    builder: || Verifier::builder(GitHub::new()),
    signer: |secret| Signer::with_secret(GitHub::new(), secret),
    secrets: ["the secret of the sender", "the next secret of the sender"],
    key: |secret| secret.as_bytes().to_vec(),
    hash: Hash::Sha256,
    signature: "",
    prefix: "",
    encoding: Encoding::Hex,
    time: Time::None,
    id: None,
    before: |_, _| String::new(),
    message: around_body,
    covers_url: false,
    event,
    retries: Retries::SignedAnew,
};

fn decoded(secret: &str) -> Vec<u8> {
    STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap_or(secret))
        .unwrap()
}

pub static STANDARD_WEBHOOKS: Provider = Provider {
    name: "Standard Webhooks",
    builder: || Verifier::builder(StandardWebhooks::new()),
    signer: |secret| Signer::with_secret(StandardWebhooks::new(), secret),
    secrets: [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_dGhlIG5leHQgc2VjcmV0IG9mIHRoZSBzZW5kZXI=",
    ],
    key: decoded,
    signature: "webhook-signature",
    prefix: "v1,",
    encoding: Encoding::Base64,
    time: Time::Header("webhook-timestamp"),
    id: Some("webhook-id"),
    before: |id, time| format!("{id}.{time}."),
    ..PLAIN
};

pub static SVIX: Provider = Provider {
    name: "Svix",
    builder: || Verifier::builder(StandardWebhooks::svix()),
    signer: |secret| Signer::with_secret(StandardWebhooks::svix(), secret),
    signature: "svix-signature",
    time: Time::Header("svix-timestamp"),
    id: Some("svix-id"),
    ..STANDARD_WEBHOOKS
};

pub static STRIPE: Provider = Provider {
    name: "Stripe",
    builder: || Verifier::builder(Stripe::new()),
    signer: |secret| Signer::with_secret(Stripe::new(), secret),
    secrets: [
        "whsec_is not decoded",
        "whsec_the next secret of the sender",
    ],
    signature: "stripe-signature",
    prefix: "t=1700000000,v1=",
    time: Time::Listed("t", ','),
    before: |_, time| format!("{time}."),
    ..PLAIN
};

pub static PADDLE: Provider = Provider {
    name: "Paddle",
    builder: || Verifier::builder(Paddle::new()),
    signer: |secret| Signer::with_secret(Paddle::new(), secret),
    signature: "paddle-signature",
    prefix: "ts=1700000000;h1=",
    time: Time::Listed("ts", ';'),
    before: |_, time| format!("{time}:"),
    ..PLAIN
};

pub static SLACK: Provider = Provider {
    name: "Slack",
    builder: || Verifier::builder(Slack::new()),
    signer: |secret| Signer::with_secret(Slack::new(), secret),
    signature: "x-slack-signature",
    prefix: "v0=",
    time: Time::Header("x-slack-request-timestamp"),
    before: |_, time| format!("v0:{time}:"),
    ..PLAIN
};

pub static ZOOM: Provider = Provider {
    name: "Zoom",
    builder: || Verifier::builder(Zoom::new()),
    signer: |secret| Signer::with_secret(Zoom::new(), secret),
    signature: "x-zm-signature",
    time: Time::Header("x-zm-request-timestamp"),
    ..SLACK
};

pub static LINEAR: Provider = Provider {
    name: "Linear",
    builder: || Verifier::builder(Linear::new()),
    signer: |secret| Signer::with_secret(Linear::new(), secret),
    signature: "linear-signature",
    time: Time::Body("webhookTimestamp"),
    retries: Retries::Redated,
    ..PLAIN
};

pub static GITHUB: Provider = Provider {
    name: "GitHub",
    signature: "x-hub-signature-256",
    prefix: "sha256=",
    retries: Retries::Identical,
    ..PLAIN
};

pub static SHOPIFY: Provider = Provider {
    name: "Shopify",
    builder: || Verifier::builder(Shopify::new()),
    signer: |secret| Signer::with_secret(Shopify::new(), secret),
    signature: "x-shopify-hmac-sha256",
    encoding: Encoding::Base64,
    retries: Retries::Identical,
    ..PLAIN
};

pub static META: Provider = Provider {
    name: "Meta",
    builder: || Verifier::builder(Meta::new()),
    signer: |secret| Signer::with_secret(Meta::new(), secret),
    signature: "x-hub-signature-256",
    prefix: "sha256=",
    retries: Retries::Identical,
    ..PLAIN
};

pub static DROPBOX: Provider = Provider {
    name: "Dropbox",
    builder: || Verifier::builder(Dropbox::new()),
    signer: |secret| Signer::with_secret(Dropbox::new(), secret),
    signature: "x-dropbox-signature",
    retries: Retries::Unclaimed,
    ..PLAIN
};

pub static SQUARE: Provider = Provider {
    name: "Square",
    builder: || Verifier::builder(Square::new()).public_origin(common::ORIGIN),
    signer: |secret| Signer::with_secret(Square::new(), secret),
    signature: "x-square-hmacsha256-signature",
    encoding: Encoding::Base64,
    message: |_, request| [url(request).as_bytes(), request.body()].concat(),
    covers_url: true,
    retries: Retries::Identical,
    ..PLAIN
};

pub static HUBSPOT: Provider = Provider {
    name: "HubSpot",
    builder: || Verifier::builder(HubSpot::new()).public_origin(common::ORIGIN),
    signer: |secret| Signer::with_secret(HubSpot::new(), secret),
    signature: "x-hubspot-signature-v3",
    time: Time::Header("x-hubspot-request-timestamp"),
    message: |provider, request| {
        let start = format!("{}{}", request.method(), url(request));
        let time = provider.get_time(request);
        [start.as_bytes(), request.body(), &time].concat()
    },
    event: |_| r#"[{"eventId":1,"portalId":2,"amount":7},{"eventId":9}]"#.to_owned(),
    retries: Retries::SignedAnew,
    ..SQUARE
};

/// With JSON bodies, whose digest the URL names.
pub static TWILIO: Provider = Provider {
    name: "Twilio",
    builder: || Verifier::builder(Twilio::json_at("/hook").unwrap()).public_origin(common::ORIGIN),
    signer: |secret| Signer::with_secret(Twilio::json_at("/hook").unwrap(), secret),
    hash: Hash::Sha1,
    signature: "x-twilio-signature",
    message: |_, request| url(request).into_bytes(),
    retries: Retries::Unclaimed,
    ..SQUARE
};

pub static MAILGUN: Provider = Provider {
    name: "Mailgun",
    builder: || Verifier::builder(Mailgun::new()),
    signer: |secret| Signer::with_secret(Mailgun::new(), secret),
    signature: IN_BODY,
    time: Time::Body("timestamp"),
    message: |_, request| {
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let part = |name: &str| body[IN_BODY][name].as_str().unwrap().to_owned();
        (part("timestamp") + &part("token")).into_bytes()
    },
    retries: Retries::Redated,
    ..PLAIN
};

pub static ALL: [&Provider; 15] = [
    &STANDARD_WEBHOOKS,
    &SVIX,
    &STRIPE,
    &PADDLE,
    &SLACK,
    &ZOOM,
    &LINEAR,
    &GITHUB,
    &SHOPIFY,
    &META,
    &HUBSPOT,
    &SQUARE,
    &MAILGUN,
    &TWILIO,
    &DROPBOX,
];

/// Those that sign the body, with a time or an id at most, and claim what they sign. Of the others
/// there is more to say, in files of their own.
pub fn alike() -> impl Iterator<Item = &'static Provider> {
    ALL.into_iter().filter(|provider| {
        let in_headers = provider.signature != IN_BODY && !provider.covers_url;
        in_headers && provider.retries != Retries::Unclaimed
    })
}

/// Those whose header may hold several MACs.
pub static LISTS: [&Provider; 4] = [&STANDARD_WEBHOOKS, &SVIX, &STRIPE, &PADDLE];

/// Those that cover a time.
pub fn timed() -> impl Iterator<Item = &'static Provider> {
    ALL.into_iter()
        .filter(|provider| provider.time != Time::None)
}

/// A body that is an event for most of them.
pub fn event(secs: u64) -> String {
    format!(r#"{{"id":"evt_1","event_id":"evt_1","webhookTimestamp":{secs}000,"amount":7}}"#)
}

fn url(request: &Request<Bytes>) -> String {
    format!("https://{}{}", get(request, "host"), request.uri())
}

/// The body, and before it what the provider puts there.
fn around_body(provider: &Provider, request: &Request<Bytes>) -> Vec<u8> {
    let id = provider.id.map(|name| get(request, name));
    // Any bytes may stand in a time: the message is put together around it.
    let before = (provider.before)(&id.unwrap_or_default(), "\0");
    let before = match before.split_once('\0') {
        Some((id, rest)) => [id.as_bytes(), &provider.get_time(request), rest.as_bytes()].concat(),
        None => before.into_bytes(),
    };
    [&before[..], request.body()].concat()
}

impl Provider {
    /// A verifier with all but a store.
    pub fn verifier(&self, clock: &ManualClock) -> VerifierBuilder<Verifier> {
        log::listen();
        for secret in self.secrets {
            log::hide("a secret", secret.as_bytes());
            log::hide("a secret", &(self.key)(secret));
        }
        (self.builder)()
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
            Time::Listed(name, separator) => {
                let header = get(request, self.signature);
                let (_, rest) = header.split_once(separator).unwrap();
                set(
                    request,
                    self.signature,
                    &format!("{name}={time}{separator}{rest}"),
                );
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
            Time::Listed(name, separator) => {
                let header = request.headers()[self.signature].as_bytes();
                let header = std::str::from_utf8(header).unwrap();
                let (listed, _) = header.rsplit_once(separator).unwrap();
                let time = listed.strip_prefix(&format!("{name}=")).unwrap();
                time.as_bytes().to_vec()
            }
            Time::Body(_) | Time::None => Vec::new(),
        }
    }

    /// The MAC that a holder of the secret would make of the request as it stands.
    pub fn mac(&self, secret: &str, request: &Request<Bytes>) -> String {
        self.mac_by(self.hash, secret, request)
    }

    pub fn mac_by(&self, hash: Hash, secret: &str, request: &Request<Bytes>) -> String {
        let mac = hash.hmac(&(self.key)(secret), &(self.message)(self, request));
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
