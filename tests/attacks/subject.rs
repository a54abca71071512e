//! The parts that all rows share: subjects (a scheme each), targets (a service each), and the
//! assertions on them.

use std::{
    convert::Infallible,
    fmt::Debug,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{Router, body::Body, routing::any};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign::{
    HeaderScheme, HttpMessageSignatures, MemoryStore, Part, Signer, Timestamp, VerifyLayer,
    request::VerifierBuilder,
    scheme::{Encoding, MacAlgorithm, PythonJson},
    store::{
        Claim, ClaimOutcome, LeaseOutcome, LeaseStore, MemoryStoreBuilder, NonceStore, StepOutcome,
        StoreFuture,
    },
    testing::ManualClock,
};
use http::{HeaderValue, Request, request::Parts};
use http_body::Frame;
use std::time::Duration;
use tower::ServiceExt as _;

use crate::{
    common::{self, Effects, KEY, ORIGIN, SECRET, log},
    naive,
    parameter::{Place, joined},
};

pub const BODY: &str = r#"{"to":"alice","amount":7}"#;

pub const OK: u16 = 200;
pub const MISSING: Answer = (401, "signature_missing");
pub const MALFORMED: Answer = (400, "signature_malformed");
pub const INSUFFICIENT: Answer = (401, "signature_insufficient");
pub const INVALID: Answer = (401, "signature_invalid");
pub const EXPIRED: Answer = (401, "signature_expired");
pub const NOT_YET_VALID: Answer = (401, "signature_not_yet_valid");
pub const NOT_COVERED: Answer = (400, "body_not_covered");
pub const REPLAYED: Answer = (409, "request_replayed");
pub const IN_FLIGHT: Answer = (409, "request_in_flight");
pub const SIGN_AGAIN: Answer = (503, "sign_again");
pub const MISCONFIGURED: Answer = (500, "store_misconfigured");

/// Status and code.
pub type Answer = (u16, &'static str);

/// A scheme, with what it takes to build a layer for it, to sign and to tamper.
#[derive(Clone, Copy)]
pub struct Subject {
    pub name: &'static str,
    pub builder: fn() -> VerifierBuilder<VerifyLayer>,
    pub signer: fn(&str, &str) -> Signer,
    /// The signed message, put together a second time, without the scheme.
    pub message: fn(&Parts, &[u8]) -> Vec<u8>,
    pub algorithm: MacAlgorithm,
    pub encoding: Encoding,
    /// The headers that carry signature and parameters.
    pub headers: &'static [&'static str],
    pub signature: &'static str,
    pub prefix: &'static str,
    pub suffix: &'static str,
    pub time: Place,
    pub nonce: Option<Place>,
    pub key_id: Option<Place>,
    /// Method, authority, target and content type are covered.
    pub covers_place: bool,
    /// Covered headers may hold any bytes.
    pub covers_bytes: bool,
    /// Parameters are structured fields: some values have several spellings, of which one is
    /// signed, and a nonce may hold spaces.
    pub structured: bool,
    /// Targets that are signed alike.
    pub one_target: &'static [(&'static str, &'static str)],
    pub answers: Answers,
}

/// In what the answers of schemes differ.
#[derive(Clone, Copy)]
pub struct Answers {
    /// The signature is missing, and its parameters are there.
    pub unsigned: Answer,
    /// A parameter is missing.
    pub lacking: Answer,
    /// A covered header is missing.
    pub absent: Answer,
    /// A covered header has two lines.
    pub two_lines: Answer,
    /// There is a body where none was signed.
    pub uncovered_body: Answer,
}

const PLAIN: Answers = Answers {
    unsigned: MISSING,
    lacking: MALFORMED,
    absent: INSUFFICIENT,
    two_lines: MALFORMED,
    uncovered_body: INVALID,
};

/// The house format that covers everything, with a nonce.
pub static HOUSE: Subject = Subject {
    name: "house",
    builder: || VerifyLayer::builder(common::scheme()),
    signer: |key, secret| Signer::new(common::scheme(), key, secret).unwrap(),
    message: |parts, body| {
        let target = parts.uri.path_and_query().unwrap().as_str();
        let lines: [&[u8]; 8] = [
            parts.method.as_str().as_bytes(),
            &header(parts, "host").to_ascii_lowercase(),
            target.as_bytes(),
            header(parts, "x-key-id"),
            header(parts, "x-timestamp"),
            header(parts, "x-nonce"),
            header(parts, "content-type"),
            body,
        ];
        lines.join(&b'\n')
    },
    algorithm: MacAlgorithm::HmacSha256,
    encoding: Encoding::Hex,
    headers: &["x-signature", "x-timestamp", "x-nonce", "x-key-id"],
    signature: "x-signature",
    prefix: "sha256=",
    suffix: "",
    time: Place::Header("x-timestamp"),
    nonce: Some(Place::Header("x-nonce")),
    key_id: Some(Place::Header("x-key-id")),
    covers_place: true,
    covers_bytes: true,
    structured: false,
    one_target: &[],
    answers: PLAIN,
};

/// As many webhooks do it: a fixed key, time and body, no nonce.
pub static WEBHOOK: Subject = Subject {
    name: "webhook",
    builder: || VerifyLayer::builder(webhook()),
    signer: |key, secret| Signer::new(webhook(), key, secret).unwrap(),
    message: |parts, body| [b"v0", header(parts, "x-hook-time"), body].join(&b':'),
    algorithm: MacAlgorithm::HmacSha512,
    encoding: Encoding::Base64,
    headers: &["x-hook-signature", "x-hook-time"],
    signature: "x-hook-signature",
    prefix: "v0=",
    time: Place::Header("x-hook-time"),
    nonce: None,
    key_id: None,
    covers_place: false,
    covers_bytes: false,
    ..HOUSE
};

fn webhook() -> HeaderScheme {
    HeaderScheme::builder("x-hook-signature")
        .prefix("v0=")
        .algorithm(MacAlgorithm::HmacSha512)
        .encoding(Encoding::Base64)
        .fixed_key_id(KEY)
        .time("x-hook-time")
        .signs([Part::text("v0:"), Part::Time, Part::text(":"), Part::Body])
        .build()
        .unwrap()
}

/// A webhook with an event id, which the sender keeps over its retries.
pub static EVENTS: Subject = Subject {
    name: "events",
    builder: || VerifyLayer::builder(events()),
    signer: |key, secret| Signer::new(events(), key, secret).unwrap(),
    message: |parts, body| {
        let lines = [header(parts, "event-id"), header(parts, "event-time"), body];
        lines.join(&b'\n')
    },
    algorithm: MacAlgorithm::HmacSha256,
    encoding: Encoding::Base64,
    headers: &["event-signature", "event-time", "event-id"],
    signature: "event-signature",
    prefix: "v1,",
    time: Place::Header("event-time"),
    nonce: Some(Place::Header("event-id")),
    key_id: None,
    covers_place: false,
    covers_bytes: false,
    ..HOUSE
};

fn events() -> HeaderScheme {
    HeaderScheme::builder("event-signature")
        .prefix("v1,")
        .encoding(Encoding::Base64)
        .fixed_key_id(KEY)
        .time("event-time")
        .event_id("event-id")
        .signs(Part::lines([Part::Nonce, Part::Time, Part::Body]))
        .build()
        .unwrap()
}

/// Signs the document and no text of it, as Python writes one: a time, and JSON that is sorted.
pub static SORTED: Subject = Subject {
    name: "sorted",
    builder: || VerifyLayer::builder(sorted()),
    signer: |key, secret| Signer::new(sorted(), key, secret).unwrap(),
    message: |parts, body| {
        // In a `Value`, the last member of a name counts, and all are sorted.
        let document = serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default();
        let document = document.to_string();
        [header(parts, "x-sorted-time"), document.as_bytes()].join(&b'.')
    },
    headers: &["x-sorted-signature", "x-sorted-time"],
    signature: "x-sorted-signature",
    prefix: "",
    time: Place::Header("x-sorted-time"),
    nonce: None,
    key_id: None,
    covers_place: false,
    covers_bytes: false,
    ..HOUSE
};

fn sorted() -> HeaderScheme {
    let body = Part::canonical_body(PythonJson::sorted().compact().ensure_ascii(false));
    HeaderScheme::builder("x-sorted-signature")
        .fixed_key_id(KEY)
        .time("x-sorted-time")
        .signs([Part::Time, Part::text("."), body])
        .build()
        .unwrap()
}

/// RFC 9421, with every default.
pub static RFC_9421: Subject = Subject {
    name: "RFC 9421",
    builder: || VerifyLayer::builder(HttpMessageSignatures::default()),
    signer: |key, secret| Signer::new(HttpMessageSignatures::default(), key, secret).unwrap(),
    message: |parts, _| {
        let field = joined(&parts.headers, "signature-input");
        naive::base(parts, field.split_once('=').unwrap_or_default().1)
    },
    algorithm: MacAlgorithm::HmacSha256,
    encoding: Encoding::Base64,
    headers: &["signature-input", "signature"],
    signature: "signature",
    prefix: "sig1=:",
    suffix: ":",
    time: Place::Number("created"),
    nonce: Some(Place::String("nonce")),
    key_id: Some(Place::String("keyid")),
    covers_place: true,
    covers_bytes: false,
    structured: true,
    one_target: &[("/a", "/a?")],
    answers: Answers {
        unsigned: MALFORMED,
        lacking: INSUFFICIENT,
        absent: MALFORMED,
        two_lines: INVALID,
        uncovered_body: NOT_COVERED,
    },
};

/// Each for every row; [`SORTED`] takes documents only, and has rows of its own.
pub static ALL: [&Subject; 4] = [&HOUSE, &WEBHOOK, &EVENTS, &RFC_9421];

/// Each parameter has a header of its own.
pub static HEADERS: [&Subject; 3] = [&HOUSE, &WEBHOOK, &EVENTS];

/// Method, authority and target are covered.
pub static PLACED: [&Subject; 2] = [&HOUSE, &RFC_9421];

fn header<'p>(parts: &'p Parts, name: &str) -> &'p [u8] {
    parts.headers.get(name).map_or(b"", HeaderValue::as_bytes)
}

impl Subject {
    /// A builder with keys, clock and origin: all but the store.
    pub fn layer(&self, clock: &ManualClock) -> VerifierBuilder<VerifyLayer> {
        (self.builder)()
            .public_origin(ORIGIN)
            .namespace(self.name)
            .keys(common::keys())
            .clock(clock.clone())
    }

    pub fn signer(&self, clock: &ManualClock) -> Signer {
        (self.signer)(KEY, SECRET).clock(clock.clone())
    }

    pub fn sign(&self, clock: &ManualClock, request: Request<String>) -> Request<String> {
        self.signer(clock).sign(request).unwrap()
    }

    /// `POST /transfer`, signed.
    pub fn signed(&self, clock: &ManualClock) -> Request<String> {
        self.sign(clock, common::request("POST", "/transfer", BODY))
    }

    /// Writes the MAC that a holder of the secret would make of this request, whether or not the
    /// scheme would sign it.
    pub fn resign(&self, request: &mut Request<String>) {
        let mac = self.mac(SECRET.as_bytes(), request);
        self.write(request, &mac);
    }

    pub fn mac(&self, secret: &[u8], request: &Request<String>) -> Vec<u8> {
        let (parts, body) = request.clone().into_parts();
        naive::mac(
            self.algorithm,
            secret,
            &(self.message)(&parts, body.as_bytes()),
        )
    }

    /// The MAC that would be right may not be seen anywhere, unless the request has it.
    fn hide_expected_mac(&self, request: &Request<String>) {
        let mac = self.mac(SECRET.as_bytes(), request);
        let has_it = |value: &HeaderValue| {
            let value = String::from_utf8_lossy(value.as_bytes());
            value.contains(&self.encode(&mac))
        };
        if !request.headers().values().any(has_it) {
            log::hide("an expected MAC", &mac);
        }
    }

    pub fn write(&self, request: &mut Request<String>, mac: &[u8]) {
        set(request, self.signature, &self.encode(mac));
    }

    /// A MAC as it is in its header.
    pub fn encode(&self, mac: &[u8]) -> String {
        let text = match self.encoding {
            Encoding::Hex => base16ct::lower::encode_string(mac),
            Encoding::Base64 => STANDARD.encode(mac),
            other => panic!("{other:?}"),
        };
        format!("{}{text}{}", self.prefix, self.suffix)
    }

    /// Returns the text between prefix and suffix.
    pub fn bare<'t>(&self, text: &'t str) -> &'t str {
        &text[self.prefix.len()..text.len() - self.suffix.len()]
    }

    /// Returns the places of its parameters, as far as the scheme has them.
    pub fn parameters(&self) -> impl Iterator<Item = Place> {
        let parameters = [Some(self.time), self.nonce, self.key_id];
        parameters.into_iter().flatten()
    }
}

pub fn set(request: &mut Request<String>, place: impl Into<Place>, value: &str) {
    place.into().set(request.headers_mut(), value.as_bytes());
}

pub fn get(request: &Request<String>, place: impl Into<Place>) -> String {
    place.into().get(request.headers()).expect("it is there")
}

pub fn with(
    request: &Request<String>,
    place: impl Into<Place>,
    value: impl AsRef<[u8]>,
) -> Request<String> {
    let mut request = request.clone();
    place.into().set(request.headers_mut(), value.as_ref());
    request
}

/// If the request has the value already, the value appears twice.
pub fn with_another(
    request: &Request<String>,
    place: impl Into<Place>,
    value: &str,
) -> Request<String> {
    let mut request = request.clone();
    place.into().append(request.headers_mut(), value.as_bytes());
    request
}

pub fn without(request: &Request<String>, place: impl Into<Place>) -> Request<String> {
    let mut request = request.clone();
    place.into().remove(request.headers_mut());
    request
}

pub fn with_uri(request: &Request<String>, uri: &str) -> Request<String> {
    let mut request = request.clone();
    *request.uri_mut() = uri.parse().unwrap();
    request
}

pub fn with_body(request: &Request<String>, body: &str) -> Request<String> {
    request.clone().map(|_| body.to_owned())
}

/// A handler that has one effect for each request that gets through, at any path.
pub fn app(effects: &Effects) -> Router {
    let effects = effects.clone();
    let handler = move |body: Bytes| {
        let effects = effects.clone();
        async move {
            effects.happened();
            body
        }
    };
    Router::new()
        .route("/", any(handler.clone()))
        .route("/{*path}", any(handler))
}

/// A service with effects, behind the layer or behind something naive.
pub struct Target {
    pub clock: ManualClock,
    pub effects: Effects,
    /// How often the store was asked for a claim or a lease.
    pub claims: Effects,
    pub app: Router,
    /// Where it is served, if it is.
    pub addr: Option<SocketAddr>,
    /// The signer of requests to it, if it verifies them.
    pub subject: Option<Subject>,
}

impl Target {
    /// With every default.
    pub fn new(subject: &Subject) -> Self {
        Self::with(subject, |layer| layer)
    }

    /// With other settings.
    pub fn with(
        subject: &Subject,
        settings: impl FnOnce(VerifierBuilder<VerifyLayer>) -> VerifierBuilder<VerifyLayer>,
    ) -> Self {
        let clock = common::clock();
        let store = common::store(&clock);
        Self::with_store(subject, &clock, store, settings)
    }

    pub fn with_store<S: NonceStore>(
        subject: &Subject,
        clock: &ManualClock,
        store: S,
        settings: impl FnOnce(VerifierBuilder<VerifyLayer>) -> VerifierBuilder<VerifyLayer>,
    ) -> Self {
        Self::around(subject, clock, store, app, settings)
    }

    /// With another application behind the layer.
    pub fn around<S: NonceStore>(
        subject: &Subject,
        clock: &ManualClock,
        store: S,
        app: impl FnOnce(&Effects) -> Router,
        settings: impl FnOnce(VerifierBuilder<VerifyLayer>) -> VerifierBuilder<VerifyLayer>,
    ) -> Self {
        let claims = Effects::default();
        let store = Spy {
            inner: store,
            claims: claims.clone(),
        };
        let layer = settings(subject.layer(clock).store(store)).build().unwrap();
        Self {
            claims,
            subject: Some(*subject),
            ..Self::of(clock, |effects| app(effects).layer(layer))
        }
    }

    /// The handler that has these effects.
    pub fn of(clock: &ManualClock, app: impl FnOnce(&Effects) -> Router) -> Self {
        let effects = Effects::default();
        Self {
            app: app(&effects),
            clock: clock.clone(),
            effects,
            claims: Effects::default(),
            addr: None,
            subject: None,
        }
    }

    /// From now on requests go over a real socket.
    pub async fn on_a_socket(mut self) -> Self {
        self.addr = Some(common::serve(self.app.clone()).await);
        self
    }

    pub async fn send(&self, request: Request<String>) -> (u16, String) {
        if let Some(subject) = &self.subject {
            subject.hide_expected_mac(&request);
        }
        match self.addr {
            Some(addr) => common::exchange(addr, &to_wire(&request)).await,
            None => self.call(request.map(Body::from)).await,
        }
    }

    pub async fn call(&self, request: Request<Body>) -> (u16, String) {
        common::verdict(self.app.clone().oneshot(request).await.unwrap()).await
    }
}

/// As [`common::to_wire`], for any bytes in a header.
pub fn to_wire(request: &Request<String>) -> Vec<u8> {
    let mut wire = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        wire.extend_from_slice(name.as_str().as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value.as_bytes());
        wire.extend_from_slice(b"\r\n");
    }
    if !request.body().is_empty() {
        wire.extend_from_slice(format!("content-length: {}\r\n", request.body().len()).as_bytes());
    }
    wire.extend_from_slice(b"connection: close\r\n\r\n");
    wire.extend_from_slice(request.body().as_bytes());
    wire
}

/// The result of an attack.
#[derive(Debug)]
#[expect(dead_code, reason = "a failure shows what is in it")]
pub enum Breach {
    /// Something happened that must not have.
    Effect(String),
    /// A claim was made that must not have been: what it burned, a stranger can burn.
    Claim(String),
    /// The answer was not the right one.
    Answer(String),
}

pub type Finding = Result<(), Breach>;

/// The request is refused with this answer, without an effect. A request that was refused before its MAC
/// passed has not been claimed either.
pub async fn refused(target: &Target, request: Request<String>, expected: Answer) -> Finding {
    let (effects, claims) = (target.effects.count(), target.claims.count());
    let answer = target.send(request).await;
    if target.effects.count() != effects {
        return Err(Breach::Effect(format!("{answer:?} and an effect")));
    }
    let replayed = [REPLAYED, IN_FLIGHT, SIGN_AGAIN, MISCONFIGURED].contains(&expected);
    if !replayed && target.claims.count() != claims {
        return Err(Breach::Claim(format!("{answer:?} and a claim")));
    }
    if (answer.0, answer.1.as_str()) != expected {
        return Err(Breach::Answer(format!(
            "{answer:?} instead of {expected:?}"
        )));
    }
    Ok(())
}

/// The request is accepted, and has one effect.
pub async fn accepted(target: &Target, request: Request<String>) -> Finding {
    let effects = target.effects.count();
    let body = request.body().clone();
    let answer = target.send(request).await;
    if target.effects.count() != effects + 1 || answer != (OK, body) {
        return Err(Breach::Answer(format!("a genuine request: {answer:?}")));
    }
    Ok(())
}

/// A request that was tampered with, and the answer to it.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    pub request: Request<String>,
    pub expected: Answer,
}

pub fn case(name: impl Into<String>, request: Request<String>, expected: Answer) -> Case {
    Case {
        name: name.into(),
        request,
        expected,
    }
}

/// Returns what the cases broke, by their names. After them the genuine request must be accepted,
/// so that it was the tampering that made the difference, and no case has burned anything.
pub async fn breaches(
    target: &Target,
    genuine: &Request<String>,
    cases: Vec<Case>,
) -> Vec<(String, Breach)> {
    assert!(!cases.is_empty());
    let mut breaches = Vec::new();
    for case in cases {
        if let Err(breach) = refused(target, case.request, case.expected).await {
            breaches.push((case.name, breach));
        }
    }
    if let Err(breach) = accepted(target, genuine.clone()).await {
        breaches.push(("genuine".into(), breach));
    }
    breaches
}

/// Nothing was broken.
#[track_caller]
pub fn assert_survived(subject: &Subject, breaches: &[impl Debug]) {
    assert!(breaches.is_empty(), "{}: {breaches:#?}", subject.name);
}

/// The names of the cases that had an effect.
pub fn effective(breaches: &[(String, Breach)]) -> Vec<&str> {
    breaches
        .iter()
        .filter(|(_, breach)| matches!(breach, Breach::Effect(_)))
        .map(|(name, _)| name.as_str())
        .collect()
}

/// Counts what a store is asked.
pub struct Spy<S> {
    inner: S,
    claims: Effects,
}

impl<S: NonceStore> NonceStore for Spy<S> {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        self.claims.happened();
        self.inner.claim(claim)
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        self.inner.leases().map(|_| self as _)
    }

    fn survives_restart(&self) -> bool {
        self.inner.survives_restart()
    }

    fn sharing(&self) -> countersign::store::Sharing {
        self.inner.sharing()
    }
}

impl<S: NonceStore> LeaseStore for Spy<S> {
    fn lease<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, LeaseOutcome> {
        self.claims.happened();
        self.inner.leases().unwrap().lease(claim, duration)
    }

    fn renew<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, StepOutcome> {
        self.inner.leases().unwrap().renew(claim, duration)
    }

    fn complete<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        self.inner.leases().unwrap().complete(claim)
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        self.inner.leases().unwrap().release(claim)
    }
}

/// A store that is soon full, and all of which is swept in some 16 seconds.
pub fn small(clock: &ManualClock) -> MemoryStoreBuilder {
    MemoryStore::builder()
        .clock(clock.clone())
        .danger_assume_no_history()
        .capacity_bytes(64 * 1024)
}

/// Takes its time to claim, before and after; then the clock shows what it is told.
pub struct SlowStore {
    pub inner: MemoryStore,
    pub clock: ManualClock,
    pub then: Option<Timestamp>,
}

impl NonceStore for SlowStore {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::new(async {
            tokio::task::yield_now().await;
            let claimed = self.inner.claim(claim).await;
            tokio::task::yield_now().await;
            if let Some(then) = self.then {
                self.clock.set(then);
            }
            claimed
        })
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        None
    }

    fn survives_restart(&self) -> bool {
        self.inner.survives_restart()
    }

    fn sharing(&self) -> countersign::store::Sharing {
        self.inner.sharing()
    }
}

/// A body of unknown length whose frames arrive one by one, each after a pause; `arriving` is told
/// which one is about to.
pub struct Frames {
    frames: Vec<Bytes>,
    next: usize,
    paused: bool,
    arriving: Box<dyn Fn(usize) + Send + Sync>,
}

impl Frames {
    pub fn new(
        frames: impl IntoIterator<Item = impl Into<Bytes>>,
        arriving: impl Fn(usize) + Send + Sync + 'static,
    ) -> Self {
        Self {
            frames: frames.into_iter().map(Into::into).collect(),
            next: 0,
            paused: false,
            arriving: Box::new(arriving),
        }
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.paused {
            self.paused = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.paused = false;
        let Some(frame) = self.frames.get(self.next).cloned() else {
            return Poll::Ready(None);
        };
        (self.arriving)(self.next);
        self.next += 1;
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }
}
