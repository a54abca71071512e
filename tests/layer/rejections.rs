//! Every rejection that a request can meet, as the sender gets it.

use std::{
    collections::HashSet,
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    response::Response,
    routing::{any, post},
};
use bytes::Bytes;
use countersign::{
    HeaderScheme, MemoryStore, OnDuplicate, Part, Processing, Rejection, RejectionKind, Signer,
    VerifiedPayload, VerifyLayer,
    error::{StoreError, StoreErrorKind},
    store::{Claim, ClaimOutcome, LeaseStore, NonceStore, StoreFuture},
    testing::ManualClock,
};
use http::{
    HeaderMap, HeaderValue, Method, Request,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body_util::BodyExt as _;
use tower::{Layer as _, Service, ServiceExt as _};

use crate::common::{
    log::Log,
    parts::{Asked, Fault, FaultyStore, Script, Step},
    *,
};

type K = RejectionKind;

/// A store that refuses whatever it is asked.
struct Refusing(StoreError);

impl NonceStore for Refusing {
    fn claim<'a>(&'a self, _: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::ready(Err(self.0.clone()))
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        None
    }

    fn survives_restart(&self) -> bool {
        true
    }

    fn sharing(&self) -> countersign::store::Sharing {
        countersign::store::Sharing::between_processes(self)
    }
}

/// Kinds that no request meets in the layer by itself: they are a matter of extractors, of tokens,
/// envelopes and files, and of the layers that sign responses and that answer for intentions.
const NOT_IN_THE_LAYER: &[K] = &[
    K::EnvelopeAltered,
    K::EnvelopeExpired,
    K::EnvelopeKeyUnknown,
    K::EnvelopeNewer,
    K::EnvelopeOfOtherPurpose,
    K::EnvelopeUsed,
    K::FileDigestMissing,
    K::FileMismatch,
    K::FileNotFound,
    K::FileUnreadable,
    K::FilesExhausted,
    K::IdempotencyKeyMissing,
    K::IdempotencyKeyMalformed,
    K::IdempotencyKeyReused,
    K::OutcomeUnknown,
    K::AnswerNotRecorded,
    K::VersionRequired,
    K::VersionMismatch,
    K::ResourceMismatch,
    K::ResourceNotFound,
    K::ResourceForbidden,
    K::ResourceConflict,
    K::ValueNotSupplied,
    K::ResponseNotSigned,
    K::TokenMalformed,
    K::TokenInvalid,
    K::TokenExpired,
    K::TokenNotYetValid,
    K::TokenRedeemed,
];

fn sign(clock: &ManualClock) -> Request<String> {
    signer(clock)
        .sign(request("POST", "/orders", "{}"))
        .unwrap()
}

fn with_body(request: Request<String>, body: Script) -> Request<Body> {
    request.map(|_| Body::new(body))
}

fn set(mut request: Request<String>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request.map(Body::from)
}

async fn send(layer: &VerifyLayer, request: Request<Body>) -> Response {
    let handler = async |payload: VerifiedPayload| payload.bytes().clone();
    let router: Router = Router::new()
        .route("/orders", any(handler))
        .layer(layer.clone());
    router.oneshot(request).await.unwrap()
}

/// The answer of each kind that the layer gives, each to a real request. `adjust` is the last word
/// on every layer.
async fn every_rejection(adjust: impl Fn(VerifyLayer) -> VerifyLayer) -> Vec<(K, Response)> {
    let clock = clock();
    let plain = adjust(layer(&clock).build().unwrap());
    let fresh = || sign(&clock);
    let mut answers = Vec::new();

    let mut unsigned = fresh();
    unsigned.headers_mut().remove("x-signature");
    for (kind, request) in [
        (K::SignatureMissing, unsigned.map(Body::from)),
        (
            K::SignatureMalformed,
            set(fresh(), "x-signature", "sha256="),
        ),
        (
            K::SignatureInsufficient,
            set(fresh(), "content-encoding", "gzip"),
        ),
        (K::SignatureInvalid, set(fresh(), "x-nonce", "another")),
        (
            K::SignatureExpired,
            set(fresh(), "x-timestamp", "1699999699"),
        ),
        (
            K::SignatureNotYetValid,
            set(fresh(), "x-timestamp", "1700000006"),
        ),
        (
            K::AuthorityNotServed,
            set(fresh(), "host", "other.example.com"),
        ),
        (K::BodyNotCovered, set(fresh(), "upgrade", "websocket")),
        (
            K::BodyUnreadable,
            with_body(fresh(), Script::new([Step::Fails("reset".into())])),
        ),
        (
            K::BodyTooLarge,
            with_body(fresh(), Script::never_polled().declaring(1 << 30)),
        ),
        (
            K::BodyTimeout,
            with_body(fresh(), Script::new([Step::Hangs])),
        ),
    ] {
        answers.push((kind, send(&plain, request).await));
    }

    let request = fresh();
    let first = send(&plain, request.clone().map(Body::from)).await;
    assert_eq!(first.status(), 200);
    answers.push((
        K::RequestReplayed,
        send(&plain, request.map(Body::from)).await,
    ));

    let only_post = adjust(layer(&clock).methods([Method::POST]).build().unwrap());
    let put = signed(&clock, "PUT", "/orders", "{}");
    answers.push((K::MethodNotAllowed, send(&only_post, put).await));

    let beyond = StoreError::new(StoreErrorKind::TooManyPlaces, "16 records");
    let counting = adjust(layer(&clock).store(Refusing(beyond)).build().unwrap());
    answers.push((
        K::TooManyPlaces,
        send(&counting, fresh().map(Body::from)).await,
    ));

    answers.push((K::RequestInFlight, in_flight(&clock, &adjust).await));
    answers.push((K::HandlersExhausted, one_runs(&clock, &adjust).await));
    answers.push((K::BodyBudgetExhausted, over_budget(&clock, &adjust).await));

    // A store that is full, one that one key has filled, one that is down, and one that was
    // started again.
    let small = |key_share| {
        let store = MemoryStore::builder()
            .clock(clock.clone())
            .danger_assume_no_history()
            .capacity_bytes(MemoryStore::builder_min())
            .key_share(key_share);
        adjust(layer(&clock).store(store.build().unwrap()).build().unwrap())
    };
    for (kind, key_share) in [(K::StoreFull, 100), (K::KeyOverQuota, 1)] {
        let layer = small(key_share);
        let refused = loop {
            let response = send(&layer, fresh().map(Body::from)).await;
            if response.status() != 200 {
                break response;
            }
        };
        answers.push((kind, refused));
    }
    let faulty = FaultyStore::around(store(&clock));
    faulty.fault(Asked::Claim, Fault::Fails);
    let down = adjust(layer(&clock).store(faulty).build().unwrap());
    answers.push((
        K::StoreUnavailable,
        send(&down, fresh().map(Body::from)).await,
    ));
    let again = MemoryStore::builder().clock(clock.clone()).build().unwrap();
    let again = adjust(layer(&clock).store(again).build().unwrap());
    answers.push((K::SignAgain, send(&again, fresh().map(Body::from)).await));

    // One after the other, with a longer window.
    let shared = Arc::new(store(&clock));
    let window = |max_age| {
        let layer = layer(&clock).store(Arc::clone(&shared));
        adjust(layer.max_age(Duration::from_secs(max_age)).build().unwrap())
    };
    let served = send(&window(30), fresh().map(Body::from)).await;
    assert_eq!(served.status(), 200);
    answers.push((
        K::StoreMisconfigured,
        send(&window(300), fresh().map(Body::from)).await,
    ));

    // An inner service that is never ready.
    let busy = adjust(layer(&clock).build().unwrap()).layer(NeverReady);
    let refused = busy.oneshot(fresh().map(Body::from)).await.unwrap();
    answers.push((K::ServiceNotReady, refused.map(Body::new)));

    // A handler that leaves its nonce alone, and says that all is well.
    let in_transaction = VerifyLayer::builder(scheme())
        .public_origin(ORIGIN)
        .keys(keys())
        .clock(clock.clone())
        .processing(Processing::InTransaction);
    let careless: Router = Router::new()
        .route("/orders", any(async || "done"))
        .layer(adjust(in_transaction.build().unwrap()));
    let success = careless.oneshot(fresh().map(Body::from)).await.unwrap();
    answers.push((K::NonceNotRecorded, success));
    answers
}

#[derive(Clone)]
struct NeverReady;

impl Service<Request<Body>> for NeverReady {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        ready(Ok(Response::new(Body::from("called without being ready"))))
    }
}

trait MinimumCapacity {
    fn builder_min() -> usize;
}

impl MinimumCapacity for MemoryStore {
    fn builder_min() -> usize {
        countersign::store::MemoryStoreBuilder::MIN_CAPACITY_BYTES
    }
}

async fn in_flight(clock: &ManualClock, adjust: &impl Fn(VerifyLayer) -> VerifyLayer) -> Response {
    let store = FaultyStore::around(store(clock));
    // The lease is taken, and nobody is told: as if another server had it.
    store.fault(Asked::Lease, Fault::LosesTheReply);
    let layer = layer(clock)
        .store(store)
        .processing(Processing::Retryable {
            lease: Duration::from_secs(30),
        })
        .build()
        .unwrap();
    let layer = adjust(layer);
    let request = sign(clock);
    let lost = send(&layer, request.clone().map(Body::from)).await;
    assert_eq!(lost.status(), 503);
    send(&layer, request.map(Body::from)).await
}

async fn one_runs(clock: &ManualClock, adjust: &impl Fn(VerifyLayer) -> VerifyLayer) -> Response {
    let layer = layer(clock)
        .processing(Processing::Retryable {
            lease: Duration::from_secs(30),
        })
        .max_running(1)
        .build()
        .unwrap();
    let router = Router::new()
        .route("/orders", any(std::future::pending::<()>))
        .layer(adjust(layer));
    let first = router.clone().oneshot(sign(clock).map(Body::from));
    let waited = tokio::time::timeout(Duration::from_secs(1), first).await;
    assert!(waited.is_err(), "it runs for ever");
    router.oneshot(sign(clock).map(Body::from)).await.unwrap()
}

async fn over_budget(
    clock: &ManualClock,
    adjust: &impl Fn(VerifyLayer) -> VerifyLayer,
) -> Response {
    let layer = layer(clock)
        .max_body_bytes(1)
        .body_budget_bytes(2)
        .build()
        .unwrap();
    let layer = adjust(layer);
    // The second of two bodies that never end displaces the first.
    let endless = || {
        let endless = Script::new([Step::Data("x".into()), Step::Hangs]);
        send(&layer, with_body(sign(clock), endless))
    };
    tokio::select! {
        biased;
        displaced = endless() => displaced,
        _ = endless() => panic!("the new one gives way to the old one"),
    }
}

const WAITING_HELPS: [K; 7] = [
    K::ServiceNotReady,
    K::RequestInFlight,
    K::HandlersExhausted,
    K::KeyOverQuota,
    K::BodyBudgetExhausted,
    K::StoreFull,
    K::StoreUnavailable,
];

#[tokio::test(start_paused = true)]
async fn every_kind_is_answered_as_the_table_says() {
    let answers = every_rejection(|layer| layer).await;

    let reached: HashSet<_> = answers.iter().map(|(kind, _)| *kind).collect();
    let all: HashSet<_> = K::ALL.iter().copied().collect();
    let left: HashSet<_> = all.difference(&reached).copied().collect();
    assert_eq!(left, NOT_IN_THE_LAYER.iter().copied().collect());

    for (kind, response) in answers {
        assert_eq!(response.status(), kind.status(), "{kind:?}");
        let rejection = response
            .extensions()
            .get::<Rejection>()
            .expect("it is kept");
        assert_eq!(rejection.kind(), kind);
        let detail = rejection.reason().to_owned();
        assert!(!detail.is_empty());

        let headers = response.headers().clone();
        let one = |name| {
            let mut values = headers.get_all(name).iter();
            let value = values.next().map(|value| value.to_str().unwrap());
            assert!(values.next().is_none(), "{kind:?}");
            value
        };
        assert_eq!(one(CONTENT_TYPE), Some("application/problem+json"));
        assert_eq!(one(CACHE_CONTROL), Some("no-store"), "{kind:?}");
        let challenge = (kind.status() == 401).then_some("Signature");
        assert_eq!(one(WWW_AUTHENTICATE), challenge, "{kind:?}");
        let allowed = (kind == K::MethodNotAllowed).then_some("POST");
        assert_eq!(one(ALLOW), allowed, "{kind:?}");
        let wait = match kind {
            K::RequestInFlight => Some("30"),
            K::SignAgain => Some("6"),
            _ => WAITING_HELPS.contains(&kind).then_some("1"),
        };
        if kind == K::KeyOverQuota || kind == K::StoreFull {
            let seconds: u64 = one(RETRY_AFTER).expect("a wait").parse().unwrap();
            assert!((1..=600).contains(&seconds), "{kind:?}: {seconds}");
        } else {
            assert_eq!(one(RETRY_AFTER), wait, "{kind:?}");
        }

        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let expected = serde_json::json!({
            "type": "about:blank",
            "title": kind.status().canonical_reason(),
            "status": kind.status().as_u16(),
            "code": kind.code(),
            "detail": kind.public_detail(),
        });
        assert_eq!(problem, expected);
        assert!(
            !String::from_utf8_lossy(&body).contains(&detail),
            "{kind:?}: the reason is not for the sender"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_renderer_replaces_the_body_and_nothing_else() {
    let plain = every_rejection(|layer| layer).await;
    let rendered = every_rejection(|layer| {
        layer.render_rejection(|rejection| {
            let text = format!("refused: {}", rejection.kind().code());
            (HeaderValue::from_static("text/x-own"), text.into())
        })
    })
    .await;
    assert_eq!(plain.len(), rendered.len());
    for ((kind, plain), (_, rendered)) in plain.into_iter().zip(rendered) {
        assert_eq!(plain.status(), rendered.status());
        let others = |response: &Response| {
            let mut headers: HeaderMap = response.headers().clone();
            // These two describe the body.
            headers.remove(CONTENT_TYPE);
            headers.remove(CONTENT_LENGTH);
            // How long a store has no room is a matter of the moment.
            if [K::KeyOverQuota, K::StoreFull].contains(&kind) {
                assert!(headers.remove(RETRY_AFTER).is_some());
            }
            headers
        };
        assert_eq!(others(&plain), others(&rendered), "{kind:?}");
        assert_eq!(rendered.headers()[CONTENT_TYPE], "text/x-own");
        let kept = rendered.extensions().get::<Rejection>().unwrap();
        assert_eq!(kept.kind(), kind);
        let body = rendered.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, format!("refused: {}", kind.code()));
    }
}

#[tokio::test]
async fn an_acknowledged_duplicate_is_not_rendered() {
    let clock = clock();
    let layer = layer(&clock)
        .build()
        .unwrap()
        .on_duplicate(OnDuplicate::Acknowledge)
        .render_rejection(|_| (HeaderValue::from_static("text/plain"), "refused".into()));
    let request = sign(&clock);
    send(&layer, request.clone().map(Body::from)).await;
    let response = send(&layer, request.map(Body::from)).await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key(CONTENT_TYPE));
    // The reason is still told to middleware outside.
    let kept = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(kept.kind(), K::RequestReplayed);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, Bytes::new());
}

/// All that a sender can see of an answer, except the date.
async fn as_seen(addr: std::net::SocketAddr, request: &Request<String>) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream.write_all(&to_wire(request)).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer));
    read.await.expect("an answer within 10 seconds").unwrap();
    answer
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("date: "))
        .collect()
}

#[tokio::test]
async fn the_sender_cannot_tell_an_unknown_key_from_a_wrong_mac() {
    let clock = clock();
    let log = Log::captured();
    let router = Router::new()
        .route("/orders", post(async |_: VerifiedPayload| ()))
        .layer(layer(&clock).build().unwrap());
    let addr = serve(router).await;
    let good = sign(&clock);
    let unknown = signer_for("nobody", SECRET, &clock)
        .sign(request("POST", "/orders", "{}"))
        .unwrap();
    let wrong_secret = signer_for(KEY, "a secret that is nobody's", &clock)
        .sign(request("POST", "/orders", "{}"))
        .unwrap();
    let mut other_body = good.clone();
    *other_body.body_mut() = "[]".into();
    let mut other_path = good.clone();
    *other_path.uri_mut() = "/orders?".parse().unwrap();
    *other_path.uri_mut() = "/orders?a".parse().unwrap();

    let answers = [
        as_seen(addr, &unknown).await,
        as_seen(addr, &wrong_secret).await,
        as_seen(addr, &other_body).await,
        as_seen(addr, &other_path).await,
    ];
    assert!(answers[0].starts_with("HTTP/1.1 401"), "{}", answers[0]);
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
    }
    // The operator can: it is in the log.
    let text = log.text();
    assert!(text.contains("no key `nobody`"), "{text}");
    assert!(
        text.contains("no secret of key `partner-1` makes this MAC"),
        "{text}"
    );
    // The twin: an answer that differed would be seen.
    assert_ne!(as_seen(addr, &good).await, answers[0]);
}

#[tokio::test(start_paused = true)]
async fn nothing_that_would_help_to_forge_is_logged_or_told() {
    let clock = clock();
    let log = Log::captured();
    let told = every_rejection(|layer| layer).await;

    // The MAC that would have been right for what was sent:
    let sent = request("POST", "/orders", "[]");
    let right = signer(&clock).sign_with_nonce(sent, "a-nonce").unwrap();
    let mut wrong = right.clone();
    let zeros = format!("sha256={}", "0".repeat(64));
    wrong
        .headers_mut()
        .insert("x-signature", zeros.parse().unwrap());
    let plain = layer(&clock).build().unwrap();
    let response = send(&plain, wrong.map(Body::from)).await;
    assert_eq!(response.status(), 401);

    let mut texts = vec![log.text(), format!("{plain:?}")];
    for (_, response) in told.into_iter().chain([(K::SignatureInvalid, response)]) {
        texts.push(format!("{:?}", response.extensions().get::<Rejection>()));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        texts.push(String::from_utf8_lossy(&body).into_owned());
    }
    let expected = right.headers()["x-signature"].to_str().unwrap();
    let expected = expected.trim_start_matches("sha256=");
    for text in &texts {
        for hidden in [expected, SECRET, OTHER_SECRET] {
            assert!(!text.contains(hidden), "{text}");
        }
    }
    // The twin: the request that it belongs to is in the log.
    assert!(log.text().contains("a-nonce"));
}

#[tokio::test]
async fn a_refusal_is_logged_with_its_code_and_reason_at_its_level() {
    let clock = clock();
    let faulty = FaultyStore::around(store(&clock));
    let layer = layer(&clock).store(faulty.clone()).build().unwrap();
    for (fault, level, code) in [
        (None, "INFO", "signature_invalid"),
        (Some(Fault::Fails), "ERROR", "store_unavailable"),
    ] {
        let log = Log::captured();
        let request = match fault {
            None => set(sign(&clock), "x-nonce", "another"),
            Some(fault) => {
                faulty.fault(Asked::Claim, fault);
                sign(&clock).map(Body::from)
            }
        };
        send(&layer, request).await;
        let text = log.text();
        let line = text.lines().find(|line| line.contains("request refused"));
        let line = line.expect("a line");
        assert!(line.contains(level) && line.contains(code), "{line}");
        assert!(line.contains("reason="), "{line}");
    }
}

#[tokio::test]
async fn a_body_that_nothing_covers_is_refused_in_the_layer_too() {
    let scheme = HeaderScheme::builder("x-signature")
        .fixed_key_id(KEY)
        .time("x-timestamp")
        .signs(Part::lines([Part::Method, Part::PathAndQuery, Part::Time]))
        .build()
        .unwrap();
    let clock = clock();
    let layer = VerifyLayer::builder(scheme.clone())
        .keys(keys())
        .store(store(&clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let signer = Signer::new(scheme, KEY, SECRET)
        .unwrap()
        .clock(clock.clone());
    let signed = signer.sign(request("POST", "/orders", "")).unwrap();
    let refused = send(&layer, signed.clone().map(|_| Body::from("{}"))).await;
    assert_eq!(verdict(refused).await, (400, "body_not_covered".into()));
    // It did not use up the request.
    assert_eq!(send(&layer, signed.map(Body::from)).await.status(), 200);
}
