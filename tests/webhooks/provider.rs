//! The table of presets, and what it takes to tamper with their requests.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign::{
    Clock as _, ConfigError, Encoding, ManualClock, Rejection, Signer, Verifier, VerifierBuilder,
    verify::Verified,
    webhooks::{GitHub, Linear, Meta, Paddle, Shopify, Slack, StandardWebhooks, Stripe, Zoom},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use sha2::Sha256;

use crate::common::{self, NOW};

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
    /// The header that ends in the MAC, and what stands before the MAC.
    pub signature: &'static str,
    pub prefix: &'static str,
    pub encoding: Encoding,
    pub time: Time,
    /// The header that holds the id.
    pub id: Option<&'static str>,
    /// What stands in the signed message before the body, put together a second time: of id and time.
    pub before: fn(&str, &str) -> String,
    pub retries: Retries,
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
    /// The same event, with a later time in the body: nothing tells that it is the same.
    Redated,
}

const PLAIN: Provider = Provider {
    name: "",
    builder: || Verifier::builder(GitHub::new()),
    signer: |secret| Signer::with_secret(GitHub::new(), secret),
    secrets: ["the secret of the sender", "the next secret of the sender"],
    key: |secret| secret.as_bytes().to_vec(),
    signature: "",
    prefix: "",
    encoding: Encoding::Hex,
    time: Time::None,
    id: None,
    before: |_, _| String::new(),
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

pub static ALL: [&Provider; 10] = [
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
];

/// Those whose header may hold several MACs.
pub static LISTS: [&Provider; 4] = [&STANDARD_WEBHOOKS, &SVIX, &STRIPE, &PADDLE];

/// Those that cover a time.
pub fn timed() -> impl Iterator<Item = &'static Provider> {
    ALL.into_iter()
        .filter(|provider| provider.time != Time::None)
}

/// Those whose time stands in the head.
pub fn timed_by_the_head() -> impl Iterator<Item = &'static Provider> {
    timed().filter(|provider| !matches!(provider.time, Time::Body(_)))
}

/// A body that is an event for each of them.
pub fn event(secs: u64) -> String {
    format!(r#"{{"id":"evt_1","event_id":"evt_1","webhookTimestamp":{secs}000,"amount":7}}"#)
}

impl Provider {
    /// A verifier with all but a store.
    pub fn verifier(&self, clock: &ManualClock) -> VerifierBuilder<Verifier> {
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
        let signer = (self.signer)(secret).unwrap().clock(clock.clone());
        let request = Request::post("/hook")
            .header("host", common::HOST)
            .header("content-type", "application/json")
            .body(body.into())
            .unwrap();
        signer.sign_body(request, ID).unwrap()
    }

    /// The event of [`NOW`].
    pub fn delivery(&self, clock: &ManualClock) -> Request<Bytes> {
        self.sign(clock, event(NOW))
    }

    /// The same event, as the sender delivers it again by this clock.
    pub fn redelivery(&self, clock: &ManualClock) -> Request<Bytes> {
        let now = clock.now().as_secs();
        self.sign(
            clock,
            match self.retries {
                Retries::Redated => event(now),
                Retries::SignedAnew | Retries::Identical => event(NOW),
            },
        )
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
        let id = self.id.map(|name| get(request, name)).unwrap_or_default();
        // Any bytes may stand in a time: the message is put together around it.
        let message = (self.before)(&id, "\0");
        let mut mac = Hmac::<Sha256>::new_from_slice(&(self.key)(secret)).unwrap();
        match message.split_once('\0') {
            Some((before, after)) => {
                mac.update(before.as_bytes());
                mac.update(&self.get_time(request));
                mac.update(after.as_bytes());
            }
            None => mac.update(message.as_bytes()),
        }
        mac.update(request.body());
        let mac = mac.finalize().into_bytes();
        match self.encoding {
            Encoding::Hex => base16ct::lower::encode_string(&mac),
            _ => STANDARD.encode(mac),
        }
    }

    /// Signs the request as it stands, whether or not the scheme would.
    pub fn resign(&self, request: &mut Request<Bytes>) {
        let mac = self.mac(self.secrets[0], request);
        let mut header = request.headers()[self.signature].as_bytes().to_vec();
        header.truncate(header.len() - mac.len());
        header.extend_from_slice(mac.as_bytes());
        let value = HeaderValue::from_bytes(&header).unwrap();
        request
            .headers_mut()
            .insert(HeaderName::from_static(self.signature), value);
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
