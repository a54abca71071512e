//! Row 42: a signed refusal is final only if it says so, of the request that was sent.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, response::IntoResponse as _, routing::put};
use bytes::Bytes;
use countersign::{
    HttpMessageSignatures, KeyRing, MemoryStore, Processing, SignLayer, Signer, Timestamp,
    Verifier, VerifyLayer,
    client::Repeatable,
    error::{ResponseError, ResponseErrorKind},
    request::{Verified, VerifierBuilder},
    response::{
        Outcome, ResponseSigner, ResponseVerifier, SignResponseLayer, SignedBy, VerifyResponseLayer,
    },
    store::{Claim, ClaimOutcome, LeaseStore, NonceStore, Sharing, StoreFuture},
    testing::ManualClock,
};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tower::{BoxError, Layer as _, Service, ServiceBuilder, ServiceExt as _, service_fn};

use crate::{
    common::{
        self, Effects, KEY, NOW, OTHER_KEY, OTHER_SECRET, SECRET, at,
        parts::{Asked, Fault, FaultyStore, Script, Step},
    },
    handling::RETRYABLE,
};

const SERVER_KEY: &str = "api";
const SERVER_SECRET: &str = "the secret of the api";
const HOUR: Duration = Duration::from_secs(60 * 60);

fn rfc() -> HttpMessageSignatures {
    HttpMessageSignatures::default()
}

fn signer(clock: &ManualClock) -> Signer {
    let signer = Signer::new(rfc(), KEY, SECRET).unwrap();
    signer.clock(clock.clone())
}

/// Both clocks may be an hour apart.
fn verifier(clock: &ManualClock) -> ResponseVerifier {
    ResponseVerifier::builder(rfc())
        .keys(KeyRing::new().with(SERVER_KEY, SERVER_SECRET).unwrap())
        .clock(clock.clone())
        .max_age(HOUR + HOUR)
        .max_skew(HOUR + HOUR)
        .build()
        .unwrap()
}

/// A server that signs its responses, on a socket.
struct Server {
    addr: SocketAddr,
    effects: Effects,
}

impl Server {
    async fn start(clock: &ManualClock) -> Self {
        Self::start_with(clock, common::store(clock)).await
    }

    async fn start_with(clock: &ManualClock, store: impl NonceStore) -> Self {
        let effects = Effects::default();
        let app = signed(clock, store, Processing::AtMostOnce, &effects, |_| {
            "done".into_response()
        });
        let addr = common::serve(app).await;
        Self { addr, effects }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        Request::put(format!("http://{}/orders/7", self.addr))
            .extension(Repeatable)
            .header("content-type", "text/plain")
            .body(Full::from("an order"))
            .unwrap()
    }

    /// Delivers the bytes, closes our side, and returns the response.
    async fn deliver(&self, wire: &[u8]) -> Response<Bytes> {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let exchange = async {
            // The server may answer and close before all was sent.
            let _ = stream.write_all(wire).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            answer
        };
        let answer = timeout(Duration::from_secs(30), exchange).await.unwrap();
        parse(&answer)
    }
}

/// A service whose runs answer with these responses, behind both layers.
fn signed(
    clock: &ManualClock,
    store: impl NonceStore,
    processing: Processing,
    effects: &Effects,
    answer: impl Fn(usize) -> Response<Body> + Clone + Send + Sync + 'static,
) -> Router {
    signed_by(clock, store, effects, answer, |layer| {
        layer.processing(processing)
    })
}

fn signed_by(
    clock: &ManualClock,
    store: impl NonceStore,
    effects: &Effects,
    answer: impl Fn(usize) -> Response<Body> + Clone + Send + Sync + 'static,
    set: impl FnOnce(VerifierBuilder<VerifyLayer>) -> VerifierBuilder<VerifyLayer>,
) -> Router {
    let keys = KeyRing::new()
        .with(KEY, SECRET)
        .and_then(|keys| keys.with(OTHER_KEY, OTHER_SECRET));
    let verify = VerifyLayer::builder(rfc())
        .danger_any_authority()
        .keys(keys.unwrap())
        .store(store)
        .clock(clock.clone())
        .max_body_bytes(1000);
    let verify = set(verify).build().unwrap();
    let server = ResponseSigner::new(rfc(), SERVER_KEY, SERVER_SECRET).unwrap();
    let effects = effects.clone();
    let handler = move || {
        effects.happened();
        std::future::ready(answer(effects.count()))
    };
    Router::new()
        .route("/orders/7", put(handler))
        .layer(verify)
        .layer(SignResponseLayer::new(server.clock(clock.clone())))
}

/// A response of HTTP/1.1, to `connection: close`.
fn parse(answer: &[u8]) -> Response<Bytes> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut response = Response::builder().status(status);
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        response = response.header(name, value);
    }
    let body = Bytes::copy_from_slice(&answer[end + 4..]);
    response.body(body).unwrap()
}

/// A request on the way, as somebody there can change it.
#[derive(Clone, Debug)]
struct Wire {
    head: Vec<String>,
    body: Vec<u8>,
}

impl Wire {
    async fn of(request: Request<Full<Bytes>>) -> Self {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        let mut head = vec![
            format!("{} {} HTTP/1.1", parts.method, parts.uri.path()),
            format!("host: {}", parts.uri.authority().unwrap()),
            format!("content-length: {}", body.len()),
            "connection: close".to_owned(),
        ];
        for (name, value) in &parts.headers {
            head.push(format!("{name}: {}", value.to_str().unwrap()));
        }
        Self { head, body }
    }

    fn bytes(&self) -> Vec<u8> {
        let head = self.head.join("\r\n") + "\r\n\r\n";
        [head.as_bytes(), &self.body].concat()
    }

    fn add(&mut self, line: &str) {
        self.head.push(line.to_owned());
    }

    fn line(&mut self, name: &str) -> &mut String {
        let mut lines = self.head.iter_mut();
        lines.find(|line| line.starts_with(name)).unwrap()
    }

    fn created(&mut self, created: u64) {
        let line = self.line("signature-input: ");
        let (before, after) = line.split_once(";created=").unwrap();
        let (_, after) = after.split_once(';').unwrap();
        *line = format!("{before};created={created};{after}");
    }
}

type Alteration = (&'static str, fn(&mut Wire), (u16, &'static str));

/// Each on the way of a genuine request, without a key, and how the server refuses the result.
const ALTERATIONS: [Alteration; 11] = [
    (
        "another body",
        |wire| wire.body = b"an order!"[1..].to_vec(),
        (401, "signature_invalid"),
    ),
    (
        "another time, long ago",
        |wire| wire.created(NOW - 1000),
        (401, "signature_expired"),
    ),
    (
        "another time, ahead",
        |wire| wire.created(NOW + 1000),
        (401, "signature_not_yet_valid"),
    ),
    (
        "an offer to switch protocols",
        |wire| {
            *wire.line("connection: ") = "connection: upgrade, close".to_owned();
            wire.add("upgrade: websocket");
        },
        (400, "body_not_covered"),
    ),
    (
        "a body that breaks off",
        |wire| wire.body.truncate(3),
        (400, "body_unreadable"),
    ),
    (
        "a longer body",
        |wire| {
            wire.body = vec![b'x'; 1001];
            *wire.line("content-length: ") = "content-length: 1001".to_owned();
        },
        (413, "body_too_large"),
    ),
    (
        "a coding that is not covered",
        |wire| wire.add("content-encoding: gzip"),
        (401, "signature_insufficient"),
    ),
    (
        "another value of a covered field",
        |wire| *wire.line("content-type: ") = "content-type: text/html".to_owned(),
        (401, "signature_invalid"),
    ),
    (
        "another MAC",
        |wire| {
            let line = wire.line("signature: ");
            *line = format!("signature: sig1=:{}=:", "A".repeat(43));
        },
        (401, "signature_invalid"),
    ),
    (
        "the same MAC under a second label, which is stale",
        |wire| {
            let inputs = wire.line("signature-input: ").clone();
            let (_, input) = inputs.split_once("sig1=").unwrap();
            let (before, after) = input.split_once(";created=").unwrap();
            let (_, after) = after.split_once(';').unwrap();
            let stale = format!("{before};created={};{after}", NOW - 1000);
            *wire.line("signature-input: ") = format!("{inputs}, z={stale}");
            let macs = wire.line("signature: ").clone();
            let (_, mac) = macs.split_once("sig1=").unwrap();
            *wire.line("signature: ") = format!("{macs}, z={mac}");
            *wire.line("content-type: ") = "content-type: text/html".to_owned();
        },
        (401, "signature_expired"),
    ),
    (
        "no signature",
        |wire| wire.head.retain(|line| !line.starts_with("signature")),
        (401, "signature_missing"),
    ),
];

/// The requests that a client sent, as they were sent.
type Sent = Arc<Mutex<Vec<Wire>>>;

/// Somebody on the way, who gives what a client sends to this function first.
fn on_the_way<F, G>(
    answers: F,
) -> (
    impl Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError, Future: Send>
    + Clone
    + Send
    + 'static,
    Sent,
)
where
    F: Fn(usize, Wire) -> G + Clone + Send + Sync + 'static,
    G: Future<Output = Response<Bytes>> + Send,
{
    let sent = Sent::default();
    let seen = Arc::clone(&sent);
    let client = service_fn(move |request: Request<Full<Bytes>>| {
        let (seen, answers) = (Arc::clone(&seen), answers.clone());
        async move {
            let wire = Wire::of(request).await;
            let index = {
                let mut seen = seen.lock().unwrap();
                seen.push(wire.clone());
                seen.len()
            };
            Ok::<_, BoxError>(answers(index, wire).await.map(Full::new))
        }
    });
    (client, sent)
}

/// The response that a client takes for final, which signs again where that is safe.
async fn careful<S>(
    clock: &ManualClock,
    client: S,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Outcome), ResponseErrorKind>
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let client = ServiceBuilder::new()
        .layer(SignLayer::new(signer(clock)).sign_again())
        .layer(VerifyResponseLayer::new(verifier(clock)))
        .service(client);
    match client.oneshot(request).await {
        Ok(response) => {
            let by: &SignedBy = response.extensions().get().unwrap();
            Ok((response.status(), by.outcome()))
        }
        Err(error) => Err(error.downcast::<ResponseError>().unwrap().kind()),
    }
}

#[tokio::test]
async fn a42_a_refusal_of_an_altered_request_is_not_final() {
    for (what, alter, refusal) in ALTERATIONS {
        let clock = common::clock();
        let server = Arc::new(Server::start(&clock).await);
        let way = Arc::clone(&server);
        let (client, sent) = on_the_way(move |_, mut wire| {
            let way = Arc::clone(&way);
            async move {
                alter(&mut wire);
                let answer = way.deliver(&wire.bytes()).await;
                let code = common::code_or_body(answer.body());
                assert_eq!((answer.status().as_u16(), &*code), refusal, "{what}");
                answer
            }
        });
        let said = careful(&clock, client, server.request()).await;
        match said {
            Ok((status, Outcome::Open)) => assert_eq!(status.as_u16(), refusal.0, "{what}"),
            Ok(other) => panic!("{what}: {other:?}"),
            Err(kind) => assert!(
                matches!(
                    (what, kind),
                    ("another body", ResponseErrorKind::RequestAltered)
                        | (
                            "another time, long ago" | "another time, ahead" | "another MAC",
                            ResponseErrorKind::SignatureInvalid
                        )
                        | ("no signature", ResponseErrorKind::SignatureInsufficient)
                ),
                "{what}: {kind:?}"
            ),
        }
        let sent = sent.lock().unwrap().clone();
        assert_eq!((sent.len(), server.effects.count()), (1, 0), "{what}");

        // The genuine request is delivered late.
        let answer = server.deliver(&sent[0].bytes()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{what}");
        assert_eq!(answer.headers()["countersign-outcome"], "used", "{what}");
        assert_eq!(server.effects.count(), 1, "{what}");
    }
}

/// A client that takes every refusal of the server for final, and orders once more.
#[tokio::test]
async fn a42_twin_a_client_that_goes_by_the_status_orders_twice() {
    for (what, alter, refusal) in ALTERATIONS {
        let clock = common::clock();
        let server = Arc::new(Server::start(&clock).await);
        let way = Arc::clone(&server);
        let (client, sent) = on_the_way(move |index, mut wire| {
            let way = Arc::clone(&way);
            async move {
                if index == 1 {
                    alter(&mut wire);
                }
                way.deliver(&wire.bytes()).await
            }
        });
        let client = SignLayer::new(signer(&clock)).layer(client);
        let answer = client.clone().oneshot(server.request()).await.unwrap();
        assert_eq!(answer.status().as_u16(), refusal.0, "{what}");
        assert!(answer.headers().contains_key("signature"), "{what}");
        let answer = client.oneshot(server.request()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{what}");

        let first = sent.lock().unwrap()[0].bytes();
        assert_eq!(server.deliver(&first).await.status(), StatusCode::OK);
        assert_eq!(server.effects.count(), 2, "{what}");
    }
}

/// A client whose clock is 30 seconds ahead.
#[tokio::test]
async fn a42_a_request_that_is_dated_ahead_is_not_signed_again() {
    let (theirs, ours) = (common::clock(), ManualClock::at(at(NOW + 30)));
    let server = Arc::new(Server::start(&theirs).await);
    let way = Arc::clone(&server);
    let (client, sent) = on_the_way(move |_, wire| {
        let way = Arc::clone(&way);
        async move { way.deliver(&wire.bytes()).await }
    });
    let said = careful(&ours, client, server.request()).await;
    assert_eq!(said, Ok((StatusCode::UNAUTHORIZED, Outcome::Open)));
    assert_eq!(sent.lock().unwrap().len(), 1);

    theirs.advance(Duration::from_secs(30));
    let first = sent.lock().unwrap()[0].bytes();
    assert_eq!(server.deliver(&first).await.status(), StatusCode::OK);
    assert_eq!(server.effects.count(), 1);
}

#[tokio::test]
async fn a42_twin_a_client_that_signs_again_unverified_orders_twice() {
    let (theirs, ours) = (common::clock(), ManualClock::at(at(NOW + 30)));
    let server = Arc::new(Server::start(&theirs).await);
    let way = Arc::clone(&server);
    let (client, sent) = on_the_way(move |_, wire| {
        let way = Arc::clone(&way);
        async move {
            let mut answer = way.deliver(&wire.bytes()).await;
            let date = "Tue, 14 Nov 2023 22:13:20 GMT".parse().unwrap();
            answer.headers_mut().insert("date", date);
            answer
        }
    });
    let layer = SignLayer::new(signer(&ours)).danger_sign_again_unverified();
    let answer = layer.layer(client).oneshot(server.request()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);

    theirs.advance(Duration::from_secs(30));
    let first = sent.lock().unwrap()[0].bytes();
    assert_eq!(server.deliver(&first).await.status(), StatusCode::OK);
    assert_eq!(server.effects.count(), 2);
}

/// A clock that is far behind: the first request was too old when it was sent.
#[tokio::test]
async fn a42_a_request_that_no_server_ever_accepts_is_signed_again() {
    // The window of 300 s, what clocks and claims may take, and the skew: 12 s.
    for (behind, outcome, attempts) in [(312, Outcome::Open, 1), (314, Outcome::Used, 2)] {
        let theirs = common::clock();
        let ours = ManualClock::at(at(NOW - behind));
        let server = Arc::new(Server::start(&theirs).await);
        let way = Arc::clone(&server);
        let (client, sent) = on_the_way(move |_, wire| {
            let way = Arc::clone(&way);
            async move { way.deliver(&wire.bytes()).await }
        });
        let said = careful(&ours, client, server.request()).await;
        assert_eq!(said.unwrap().1, outcome, "{behind}");
        assert_eq!(sent.lock().unwrap().len(), attempts, "{behind}");

        let first = sent.lock().unwrap()[0].bytes();
        assert_eq!(server.deliver(&first).await.status(), 401);
        assert_eq!(server.effects.count(), attempts - 1, "{behind}");
    }
}

#[tokio::test]
async fn a42_a_late_refusal_does_not_count_for_a_request_that_was_accepted_before() {
    for (restarts, passed, code, header) in [
        (false, 400, "signature_expired", "never;since=1700000312"),
        (true, 2, "sign_again", "never;since=1700000002"),
    ] {
        let clock = common::clock();
        let before = Arc::new(Server::start(&clock).await);
        let way = Arc::clone(&before);
        let (theirs, kept) = (clock.clone(), Arc::new(Mutex::new(None)));
        let (client, sent) = on_the_way(move |_, wire| {
            let (way, theirs, kept) = (Arc::clone(&way), theirs.clone(), Arc::clone(&kept));
            async move {
                assert_eq!(way.deliver(&wire.bytes()).await.status(), StatusCode::OK);
                theirs.advance(Duration::from_secs(passed));
                let store = MemoryStore::builder().clock(theirs.clone());
                let after = Server::start_with(&theirs, store.build().unwrap()).await;
                let asked = if restarts { &after } else { &*way };
                let refusal = asked.deliver(&wire.bytes()).await;
                assert_eq!(common::code_or_body(refusal.body()), code);
                assert_eq!(refusal.headers()["countersign-outcome"], header);
                *kept.lock().unwrap() = Some(after);
                refusal
            }
        });
        let said = careful(&clock, client, before.request()).await;
        assert_eq!(said.unwrap().1, Outcome::Open, "{code}");
        assert_eq!((sent.lock().unwrap().len(), before.effects.count()), (1, 1));
    }
}

/// A client that goes by the header alone, and not by when it sent the request.
#[tokio::test]
async fn a42_twin_a_client_that_believes_every_never_orders_twice() {
    let clock = common::clock();
    let server = Server::start(&clock).await;
    let sign = || async {
        let request = server.request().map(|_| Bytes::from("an order"));
        let signed = signer(&clock).sign(request).unwrap();
        Wire::of(signed.map(Full::new)).await.bytes()
    };
    let first = sign().await;
    assert_eq!(server.deliver(&first).await.status(), StatusCode::OK);
    clock.advance(Duration::from_secs(400));
    let refusal = server.deliver(&first).await;
    let outcome = refusal.headers()["countersign-outcome"].to_str().unwrap();
    assert!(outcome.starts_with("never"));
    assert_eq!(server.deliver(&sign().await).await.status(), StatusCode::OK);
    assert_eq!(server.effects.count(), 2);
}

#[tokio::test]
async fn a42_a_request_that_the_store_fenced_when_it_was_sent_is_signed_again() {
    let (theirs, ours) = (common::clock(), common::clock());
    let store = MemoryStore::builder().clock(theirs.clone());
    let server = Server::start_with(&theirs, store.build().unwrap()).await;
    let server = Arc::new(server);
    theirs.advance(Duration::from_secs(10));
    let way = Arc::clone(&server);
    let (client, sent) = on_the_way(move |_, wire| {
        let way = Arc::clone(&way);
        async move { way.deliver(&wire.bytes()).await }
    });
    let said = careful(&ours, client, server.request()).await;
    assert_eq!(said, Ok((StatusCode::OK, Outcome::Used)));
    let first = sent.lock().unwrap()[0].bytes();
    let refusal = server.deliver(&first).await;
    assert_eq!(common::code_or_body(refusal.body()), "sign_again");
    assert_eq!(server.effects.count(), 1);
}

/// The store of all servers, as one of them has it: each server acts as a process of its own.
#[derive(Clone)]
struct Elsewhere {
    store: Arc<MemoryStore>,
    /// How the store answers until when it takes a request.
    is_own_window: bool,
}

impl NonceStore for Elsewhere {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        self.store.claim(claim)
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        self.store.leases()
    }

    fn survives_restart(&self) -> bool {
        false
    }

    fn sharing(&self) -> Sharing {
        Sharing::within_process(self)
    }

    fn taken_until(
        &self,
        namespace: &str,
        needed: Duration,
        signed_at: Timestamp,
    ) -> Option<Timestamp> {
        if self.is_own_window {
            return Some(signed_at.saturating_add(needed));
        }
        self.store.taken_until(namespace, needed, signed_at)
    }
}

/// Two servers of one namespace, while `max_age` is changed on them. A client whose clock is behind by
/// so many seconds reaches the one with the shorter window first, and its first request is then
/// delivered to the other: the outcome that the client believes, and the effects.
async fn while_the_window_changes(
    behind: u64,
    is_own_window: bool,
    set: fn(VerifierBuilder<VerifyLayer>) -> VerifierBuilder<VerifyLayer>,
) -> (Outcome, usize) {
    let (theirs, ours) = (common::clock(), ManualClock::at(at(NOW - behind)));
    let effects = Effects::default();
    let store = Elsewhere {
        store: Arc::new(common::store(&theirs)),
        is_own_window,
    };
    let server = |max_age: Duration| {
        let layer = |layer: VerifierBuilder<VerifyLayer>| set(layer.max_age(max_age));
        let app = signed_by(
            &theirs,
            store.clone(),
            &effects,
            |_| "done".into_response(),
            layer,
        );
        common::serve(app)
    };
    let start = async |max_age| Server {
        addr: server(max_age).await,
        effects: effects.clone(),
    };
    let longer = start(HOUR / 2).await;
    let shorter = Arc::new(start(Duration::from_secs(300)).await);
    // The namespace is in use.
    let first = Request::put("http://api.example.com/orders/7").body(Bytes::from("an order"));
    let first = signer(&theirs).sign(first.unwrap()).unwrap().map(Full::new);
    let first = longer.deliver(&Wire::of(first).await.bytes()).await;
    assert_eq!(first.status(), StatusCode::OK);
    effects.reset();

    let way = Arc::clone(&shorter);
    let (client, sent) = on_the_way(move |_, wire| {
        let way = Arc::clone(&way);
        async move { way.deliver(&wire.bytes()).await }
    });
    let said = careful(&ours, client, shorter.request()).await.unwrap().1;
    let genuine = sent.lock().unwrap()[0].bytes();
    longer.deliver(&genuine).await;
    (said, effects.count())
}

#[tokio::test]
async fn a42_never_is_true_while_servers_have_different_windows() {
    let as_it_is = |layer| layer;
    assert_eq!(
        while_the_window_changes(400, false, as_it_is).await,
        (Outcome::Open, 1)
    );
    // The longest window of 1800 s, what clocks and claims may take, and the skew: 12 s.
    assert_eq!(
        while_the_window_changes(1812, false, as_it_is).await,
        (Outcome::Open, 0)
    );
    assert_eq!(
        while_the_window_changes(1814, false, as_it_is).await,
        (Outcome::Used, 1)
    );
}

/// A server that goes by its own window, as it was.
#[tokio::test]
async fn a42_twin_a_server_that_goes_by_its_own_window_has_orders_handled_twice() {
    assert_eq!(
        while_the_window_changes(400, true, |layer| layer).await,
        (Outcome::Used, 2)
    );
}

/// A store of somebody's own, which says nothing about its namespaces.
#[tokio::test]
async fn a42_without_a_word_about_windows_never_waits_for_the_longest_that_may_be() {
    for (behind, longest, outcome) in [
        (HOUR.as_secs(), None, Outcome::Open),
        (610, None, Outcome::Open),
        (610, Some(600), Outcome::Used),
        (607, Some(600), Outcome::Open),
    ] {
        let (theirs, ours) = (common::clock(), ManualClock::at(at(NOW - behind)));
        let server = signed_by(
            &theirs,
            FaultyStore::around(common::store(&theirs)),
            &Effects::default(),
            |_| "done".into_response(),
            |layer| match longest {
                Some(longest) => layer.longest_max_age(Duration::from_secs(longest)),
                None => layer,
            },
        );
        let server = Arc::new(Server {
            addr: common::serve(server).await,
            effects: Effects::default(),
        });
        let way = Arc::clone(&server);
        let (client, _) = on_the_way(move |_, wire| {
            let way = Arc::clone(&way);
            async move { way.deliver(&wire.bytes()).await }
        });
        let said = careful(&ours, client, server.request()).await;
        assert_eq!(said.unwrap().1, outcome, "{behind}, {longest:?}");
    }
}

/// A store that has begun to remember refuses what was signed shortly after, for a layer whose senders'
/// clocks may be ahead. Another layer, which trusts them more, does not.
#[tokio::test]
async fn a42_a_fence_is_final_only_if_it_holds_for_every_layer() {
    for (after, code) in [(0, "never;since=1700000000"), (3, "open")] {
        let clock = common::clock();
        let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
        let store = Elsewhere {
            store: Arc::new(store),
            is_own_window: false,
        };
        let effects = Effects::default();
        let server = |skew| {
            let done = |_| "done".into_response();
            signed_by(&clock, store.clone(), &effects, done, move |layer| {
                layer.max_skew(Duration::from_secs(skew))
            })
        };
        let (cautious, trusting) = (server(5), server(0));
        clock.advance(Duration::from_secs(after));
        let order = Request::put("http://api.example.com/orders/7").body(Bytes::from("an order"));
        let order = signer(&clock).sign(order.unwrap()).unwrap();
        clock.advance(Duration::from_secs(1));
        let send = async |app: &Router| {
            let again = order.clone().map(Body::from);
            app.clone().oneshot(again).await.unwrap()
        };
        let refusal = send(&cautious).await;
        assert_eq!(refusal.headers()["countersign-outcome"], code);
        let told = send(&trusting).await.status();
        // The twin: what is not final is accepted there.
        assert_eq!(told == StatusCode::OK, code == "open");
        assert_eq!(effects.count(), usize::from(code == "open"));
    }
}

/// Somebody with a key of their own signs what they altered, beside the signature of the client.
#[tokio::test]
async fn a42_an_answer_to_somebody_elses_signature_is_not_believed() {
    let clock = common::clock();
    let server = Arc::new(Server::start(&clock).await);
    let way = Arc::clone(&server);
    let (client, sent) = on_the_way(move |_, wire| {
        let way = Arc::clone(&way);
        async move {
            let mut altered = Request::put(format!("http://{}/orders/7", way.addr))
                .header("content-type", "text/html");
            for line in &wire.head[1..] {
                let (name, value) = line.split_once(": ").unwrap();
                if name.starts_with("signature") {
                    altered = altered.header(name, value);
                }
            }
            let altered = altered.body(Bytes::from(wire.body)).unwrap();
            let scheme = HttpMessageSignatures::builder().label("x").build().unwrap();
            let other = Signer::new(scheme, OTHER_KEY, OTHER_SECRET).unwrap();
            let altered = other.clock(common::clock()).sign(altered).unwrap();
            let wire = Wire::of(altered.map(Full::new)).await;
            let answer = way.deliver(&wire.bytes()).await;
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.headers()["countersign-outcome"], "used");
            answer
        }
    });
    let said = careful(&clock, client, server.request()).await;
    // It is bound to a signature that the client has not sent.
    assert_eq!(said, Err(ResponseErrorKind::SignatureMalformed));

    // Theirs had its effect, and the genuine one has its own.
    let genuine = sent.lock().unwrap()[0].bytes();
    assert_eq!(server.deliver(&genuine).await.status(), StatusCode::OK);
    assert_eq!(server.effects.count(), 2);
}

/// One service, asked in this process.
struct Asking {
    clock: ManualClock,
    app: Router,
    sent: Request<Bytes>,
}

impl Asking {
    fn new(
        store: impl NonceStore,
        processing: Processing,
        answer: impl Fn(usize) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        let clock = common::clock();
        let request = Request::put("http://api.example.com/orders/7").body(Bytes::from("{}"));
        Self {
            app: signed(&clock, store, processing, &Effects::default(), answer),
            sent: signer(&clock).sign(request.unwrap()).unwrap(),
            clock,
        }
    }

    /// Sends the request once more: the status, and the outcome.
    async fn ask(&self) -> (u16, Outcome) {
        let (head, body) = self.sent.clone().into_parts();
        let request = Request::from_parts(head.clone(), Body::from(body));
        let response = self.app.clone().oneshot(request).await.unwrap();
        let response = verifier(&self.clock).verify(&head, response).await.unwrap();
        let by: &SignedBy = response.extensions().get().unwrap();
        (response.status().as_u16(), by.outcome())
    }
}

fn fresh_store() -> MemoryStore {
    common::store(&common::clock())
}

#[tokio::test]
async fn a42_an_outcome_is_used_once_the_nonce_is_recorded_for_good_and_not_before() {
    // At most once: whatever the handler answers.
    for status in [200, 404, 500] {
        let status = StatusCode::from_u16(status).unwrap();
        let asking = Asking::new(fresh_store(), Processing::AtMostOnce, move |_| {
            status.into_response()
        });
        assert_eq!(asking.ask().await, (status.as_u16(), Outcome::Used));
        assert_eq!(asking.ask().await, (409, Outcome::Used));
    }

    // A lease that was released, a body that failed, and one that came to its end.
    let asking = Asking::new(fresh_store(), RETRYABLE, |run| match run {
        1 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        2 => Response::new(Body::new(Script::new([
            Step::Data("a".into()),
            Step::Waits(Duration::from_millis(1)),
            Step::Fails("the disk is gone".into()),
        ]))),
        _ => Response::new(Body::new(Script::new([
            Step::Data("a".into()),
            Step::Waits(Duration::from_millis(1)),
            Step::Data("b".into()),
        ]))),
    });
    assert_eq!(asking.ask().await, (503, Outcome::Open));
    assert_eq!(asking.ask().await, (500, Outcome::Open));
    assert_eq!(asking.ask().await, (200, Outcome::Used));
    assert_eq!(asking.ask().await, (409, Outcome::Used));
}

#[tokio::test]
async fn a42_an_outcome_is_open_while_somebody_handles_the_request_or_the_store_is_unsure() {
    let store = Arc::new(fresh_store());
    let asking = Asking::new(Arc::clone(&store), RETRYABLE, |_| "done".into_response());
    let elsewhere = Verifier::builder(rfc())
        .danger_any_authority()
        .keys(KeyRing::new().with(KEY, SECRET).unwrap())
        .store(store)
        .clock(asking.clock.clone())
        .processing(RETRYABLE)
        .build()
        .unwrap();
    let (head, body) = asking.sent.clone().into_parts();
    let verified = elsewhere.verify(&head, Full::new(body)).await.unwrap();
    let Verified::Leased(_, lease) = verified else {
        panic!("{verified:?}");
    };
    assert_eq!(asking.ask().await, (409, Outcome::Open));
    lease.release().await.unwrap();
    assert_eq!(asking.ask().await, (200, Outcome::Used));

    let store = FaultyStore::around(fresh_store());
    store.fault(Asked::Claim, Fault::Fails);
    store.fault(Asked::Claim, Fault::LosesTheReply);
    let asking = Asking::new(store, Processing::AtMostOnce, |_| "done".into_response());
    assert_eq!(asking.ask().await, (503, Outcome::Open));
    // It was recorded, and nobody was told.
    assert_eq!(asking.ask().await, (503, Outcome::Open));
    assert_eq!(asking.ask().await, (409, Outcome::Used));
}

#[tokio::test]
async fn a42_a_handler_cannot_state_an_outcome() {
    let asking = Asking::new(fresh_store(), RETRYABLE, |_| {
        let outcome = [("countersign-outcome", "never;since=1"), ("x", "1")];
        (StatusCode::NOT_FOUND, outcome).into_response()
    });
    assert_eq!(asking.ask().await, (404, Outcome::Open));
}
