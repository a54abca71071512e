//! The requests that are measured: three formats, each request with a nonce of its own.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use countersign::{
    HeaderScheme, HttpMessageSignatures, KeyRing, Part, Signer,
    error::SignError,
    scheme::{Encoding, Scheme},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderValue, Request, Uri};
use sha2::{Digest as _, Sha256};

pub const KEY: &str = "partner-1";
pub const ORIGIN: &str = "https://api.example.com";

pub const PATH_AND_QUERY: &str = "/transfer?account=7";

/// 24 bytes, and the same as Standard Webhooks writes secrets.
pub const SECRET: &[u8] = b"a secret of twenty-four!";
pub const WEBHOOK_SECRET: &str = "whsec_YSBzZWNyZXQgb2YgdHdlbnR5LWZvdXIh";

pub fn keys() -> KeyRing {
    KeyRing::new().with(KEY, SECRET).expect("one key")
}

/// Standard Webhooks, as far as a `HeaderScheme` has it: the same headers and as many bytes, but
/// the time first, and a line feed before the body. For an id may hold a `.`, and is not told apart
/// from a body that follows a `.`.
pub fn webhook() -> HeaderScheme {
    HeaderScheme::builder("webhook-signature")
        .prefix("v1,")
        .encoding(Encoding::Base64)
        .fixed_key_id(KEY)
        .time("webhook-timestamp")
        .nonce("webhook-id")
        .signs([
            Part::Time,
            Part::text("."),
            Part::Nonce,
            Part::text("\n"),
            Part::Body,
        ])
        .build()
        .expect("a description that is safe")
}

/// A format between services, which covers all that there is.
pub fn house() -> HeaderScheme {
    HeaderScheme::builder("x-signature")
        .prefix("sha256=")
        .key_id("x-key-id")
        .time("x-timestamp")
        .nonce("x-nonce")
        .signs(Part::lines([
            Part::Method,
            Part::Authority,
            Part::PathAndQuery,
            Part::KeyId,
            Part::Time,
            Part::Nonce,
            Part::header("content-type"),
            Part::Body,
        ]))
        .build()
        .expect("a description that is safe")
}

/// RFC 9421 as it is by default: of [`unsigned`], five components and the digest of the body.
pub fn rfc9421() -> HttpMessageSignatures {
    HttpMessageSignatures::default()
}

/// A body of text that all requests share.
pub fn body(len: usize) -> Bytes {
    let body = Bytes::from("0123456789abcdef".repeat(len / 16));
    // With a second owner, as the connection is, to clone a slice is to count it.
    let _connection = body.clone();
    body
}

pub fn unsigned(body: &Bytes) -> Request<Bytes> {
    Request::post(PATH_AND_QUERY)
        .header("host", "api.example.com")
        .header("content-type", "application/json")
        .header("user-agent", "a partner's service")
        .body(body.clone())
        .expect("a valid request")
}

/// Makes requests that are signed now, each under a new nonce.
pub fn signed(scheme: impl Scheme, body: Bytes) -> impl FnMut() -> Request<Bytes> {
    signed_with(SECRET, scheme, body)
}

/// The same, by somebody who does not know the secret.
pub fn forged(scheme: impl Scheme, body: Bytes) -> impl FnMut() -> Request<Bytes> {
    signed_with(b"another of twenty-four!!", scheme, body)
}

fn signed_with(
    secret: &'static [u8],
    scheme: impl Scheme,
    body: Bytes,
) -> impl FnMut() -> Request<Bytes> {
    let signer = Signer::new(scheme, KEY, secret).expect("a valid key");
    move || received(signer.sign(unsigned(&body)))
}

/// Deliveries of events, as the sender of a preset signs them: each is numbered.
pub fn delivered(
    scheme: impl Scheme,
    event: impl Fn(u64) -> String,
) -> impl FnMut() -> Request<Bytes> {
    let signer = Signer::with_secret(scheme, WEBHOOK_SECRET).expect("a secret in its form");
    let mut number = 0;
    move || {
        number += 1;
        let body = Bytes::from(event(number));
        let _connection = body.clone();
        received(signer.sign(unsigned(&body)))
    }
}

/// An event of 1 KiB in which each preset finds the members that it reads, between others.
pub fn event(number: u64) -> String {
    event_of(1024, number)
}

/// The same of this length.
pub fn event_of(len: usize, number: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a clock after 1970").as_millis();
    let head = format!(
        r#"{{"object":"event","api_version":"2026-10-28","created":1795000000,"livemode":true,"id":"evt_{number:024}","event_id":"evt_{number:024}","webhookTimestamp":{now},"type":"payment.succeeded","data":{{"lines":["#
    );
    filled(len, head, "]}}")
}

/// The same as HubSpot has it: an array of events, of which the first has an id.
pub fn events(number: u64) -> String {
    let head = format!(
        r#"[{{"eventId":{number},"subscriptionId":1234567,"portalId":7654321,"occurredAt":1795000000000,"attemptNumber":0,"changes":["#
    );
    filled(1024, head, "]}]")
}

fn filled(len: usize, head: String, tail: &str) -> String {
    let line =
        r#"{"id":"il_1PgafmB7WZ01zg","amount":1099,"currency":"eur","paid":true,"note":null},"#;
    let lines = line.repeat((len - head.len() - tail.len()) / line.len());
    let lines = lines.trim_end_matches(',');
    let spaces = " ".repeat(len - head.len() - lines.len() - tail.len());
    head + lines + &spaces + tail
}

fn received(request: Result<Request<Bytes>, SignError>) -> Request<Bytes> {
    as_received(request.expect("what is covered is there"))
}

/// As a server hands it over: target and values are slices of what was read from the socket.
fn as_received(request: Request<Bytes>) -> Request<Bytes> {
    let (mut head, body) = request.into_parts();
    let target = head.uri.to_string();
    let mut read = target.clone().into_bytes();
    for value in head.headers.values() {
        read.extend_from_slice(value.as_bytes());
    }
    let mut rest = Bytes::from(read);
    // With a second owner, as the connection is, to clone a slice is to count it.
    let _connection = rest.clone();
    head.uri = Uri::from_maybe_shared(rest.split_to(target.len())).expect("a target");
    for value in head.headers.values_mut() {
        let slice = rest.split_to(value.len());
        *value = HeaderValue::from_maybe_shared(slice).expect("a value");
    }
    Request::from_parts(head, body)
}

/// Makes requests that are signed by Standard Webhooks itself.
pub fn standard_webhook(body: Bytes) -> impl FnMut() -> Request<Bytes> {
    let webhook = standardwebhooks::Webhook::new(WEBHOOK_SECRET).expect("a valid secret");
    // Any signer makes a new id.
    let mut ids = signed(self::webhook(), body.clone());
    move || {
        let mut request = ids();
        let id = text(request.headers(), "webhook-id").to_owned();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("a clock after 1970").as_secs() as i64;
        let signature = webhook.sign(&id, now, &body).expect("text");
        let headers = request.headers_mut();
        headers.insert("webhook-timestamp", now.into());
        headers.insert("webhook-signature", signature.parse().expect("a header"));
        as_received(request)
    }
}

/// The limit: one HMAC, with the key schedule done before, over a message of the same length.
pub struct BareHmac {
    before: String,
    body: Bytes,
    mac: Vec<u8>,
}

impl BareHmac {
    /// The key schedule that all of them start from.
    pub fn key() -> Hmac<Sha256> {
        Hmac::new_from_slice(SECRET).expect("a key of any length")
    }

    /// Over what the [`webhook`] format signs.
    pub fn of_webhook(request: &Request<Bytes>) -> Self {
        let headers = request.headers();
        let time = text(headers, "webhook-timestamp");
        let id = text(headers, "webhook-id");
        Self::over(format!("{time}.{id}\n"), request.body())
    }

    /// Over what the [`house`] format signs.
    pub fn of_house(request: &Request<Bytes>) -> Self {
        let headers = request.headers();
        let time = text(headers, "x-timestamp");
        let nonce = text(headers, "x-nonce");
        let before = format!(
            "POST\napi.example.com\n{PATH_AND_QUERY}\n{KEY}\n{time}\n{nonce}\napplication/json\n"
        );
        Self::over(before, request.body())
    }

    fn over(before: String, body: &Bytes) -> Self {
        let mac = Self::key().chain_update(&before).chain_update(body);
        Self {
            before,
            body: body.clone(),
            mac: mac.finalize().into_bytes().to_vec(),
        }
    }

    /// The part of the message before the body.
    pub fn before(&self) -> &str {
        &self.before
    }

    fn digest(&self) -> Vec<u8> {
        let digest = Sha256::new().chain_update(&self.before);
        digest.chain_update(&self.body).finalize().to_vec()
    }

    pub fn verify(&self, key: &Hmac<Sha256>) {
        let mac = key
            .clone()
            .chain_update(&self.before)
            .chain_update(&self.body);
        mac.verify_slice(&self.mac).expect("a MAC that matches");
    }
}

/// The limit for a preset: an HMAC over its body and `before` it, and where it has neither nonce nor
/// event id, SHA-256 of the same to tell requests apart.
pub struct BareEvent {
    mac: BareHmac,
    digest: Option<Vec<u8>>,
}

impl BareEvent {
    pub fn of(request: &Request<Bytes>, before: &str, is_told_apart: bool) -> Self {
        let mac = BareHmac::over(before.to_owned(), request.body());
        let digest = is_told_apart.then(|| mac.digest());
        Self { mac, digest }
    }

    pub fn verify(&self, key: &Hmac<Sha256>) {
        self.mac.verify(key);
        if let Some(digest) = &self.digest {
            assert_eq!(self.mac.digest(), *digest, "the digest");
        }
    }
}

/// The limit for RFC 9421: the digest of the body, and one HMAC of the signature base.
pub struct BareHashes {
    base: BareHmac,
    body: Bytes,
    digest: Vec<u8>,
}

impl BareHashes {
    pub fn of_rfc9421(request: &Request<Bytes>) -> Self {
        let digest = text(request.headers(), "content-digest");
        let input = text(request.headers(), "signature-input");
        let (_, parameters) = input.split_once('=').expect("a label");
        let (path, query) = PATH_AND_QUERY.split_once('?').expect("a query");
        let base = format!(
            "\"@method\": POST\n\"@authority\": api.example.com\n\"@path\": {path}\n\
             \"@query\": ?{query}\n\"content-digest\": {digest}\n\
             \"content-type\": application/json\n\"@signature-params\": {parameters}"
        );
        Self {
            base: BareHmac::over(base, &Bytes::new()),
            body: request.body().clone(),
            digest: Sha256::digest(request.body()).to_vec(),
        }
    }

    /// The signature base.
    pub fn base(&self) -> &str {
        self.base.before()
    }

    pub fn verify(&self, key: &Hmac<Sha256>) {
        self.base.verify(key);
        assert_eq!(Sha256::digest(&self.body)[..], self.digest, "the digest");
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers[name].to_str().expect("visible characters")
}

/// The house format, with a key for each intention.
pub fn house_with_key() -> HeaderScheme {
    HeaderScheme::builder("x-signature")
        .prefix("sha256=")
        .key_id("x-key-id")
        .time("x-timestamp")
        .nonce("x-nonce")
        .signs(Part::lines([
            Part::Method,
            Part::Authority,
            Part::PathAndQuery,
            Part::KeyId,
            Part::Time,
            Part::Nonce,
            Part::header("content-type"),
            Part::header("idempotency-key"),
            Part::Body,
        ]))
        .build()
        .expect("a description that is safe")
}

/// Makes requests that are signed now, each with the key that `key` names for its number.
pub fn keyed(body: Bytes, key: fn(u64) -> u64) -> impl FnMut() -> Request<Bytes> {
    let signer = Signer::new(house_with_key(), KEY, SECRET).expect("a valid key");
    let mut number = 0;
    move || {
        number += 1;
        let mut request = unsigned(&body);
        let value = format!("\"8e03978e-40d5-43dd-bc93-{:012x}\"", key(number));
        let value = HeaderValue::try_from(value).expect("visible ASCII");
        request.headers_mut().insert("idempotency-key", value);
        received(signer.sign(request))
    }
}
