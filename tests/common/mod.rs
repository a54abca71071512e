//! The parts that all tests share: a house format, a clock, keys, and a server on a real socket.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each program takes what it needs"
)]

#[cfg(feature = "postgres")]
pub mod database;
pub mod forms;
pub mod log;
pub mod parts;
#[cfg(feature = "redis")]
pub mod ports;
#[cfg(feature = "redis")]
pub mod redis_server;

use std::{
    net::SocketAddr,
    pin::pin,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{Router, body::Body};
use countersign::{
    HeaderScheme, KeyRing, MemoryStore, Part, Rejection, Signer, Timestamp, VerifyLayer,
    error::{ConfigErrorKind, OpenError, StoreError},
    request::VerifierBuilder,
    testing::ManualClock,
};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

pub const ORIGIN: &str = "https://api.example.com";
pub const HOST: &str = "api.example.com";
pub const KEY: &str = "partner-1";
pub const SECRET: &str = "the secret of partner 1";
pub const OTHER_KEY: &str = "partner-2";
pub const OTHER_SECRET: &str = "the secret of partner 2";

/// A moment that no test depends on.
pub const NOW: u64 = 1_700_000_000;

/// The house format of the tests: everything that can be covered.
pub fn scheme() -> HeaderScheme {
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

pub fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs).expect("a time before the year 9999")
}

pub fn clock() -> ManualClock {
    ManualClock::at(at(NOW))
}

pub fn keys() -> KeyRing {
    log::listen();
    KeyRing::new()
        .with(KEY, SECRET)
        .and_then(|keys| keys.with(OTHER_KEY, OTHER_SECRET))
        .expect("two keys with a secret each")
}

pub fn store(clock: &ManualClock) -> MemoryStore {
    MemoryStore::builder()
        .clock(clock.clone())
        .danger_assume_no_history()
        .build()
        .expect("a store with defaults")
}

/// A layer with every default, on this clock.
pub fn layer(clock: &ManualClock) -> VerifierBuilder<VerifyLayer> {
    VerifyLayer::builder(scheme())
        .public_origin(ORIGIN)
        .keys(keys())
        .store(store(clock))
        .clock(clock.clone())
}

pub fn signer(clock: &ManualClock) -> Signer {
    signer_for(KEY, SECRET, clock)
}

pub fn signer_for(key: &str, secret: &str, clock: &ManualClock) -> Signer {
    Signer::new(scheme(), key, secret)
        .expect("a valid key")
        .clock(clock.clone())
}

/// A request that the house format can cover, not yet signed.
pub fn request(method: &str, path_and_query: &str, body: &str) -> Request<String> {
    Request::builder()
        .method(method)
        .uri(path_and_query)
        .header("host", HOST)
        .header("content-type", "application/json")
        .body(body.to_owned())
        .expect("a valid request")
}

/// The same, signed.
pub fn signed(
    clock: &ManualClock,
    method: &str,
    path_and_query: &str,
    body: &str,
) -> Request<Body> {
    signer(clock)
        .sign(request(method, path_and_query, body))
        .expect("signable")
        .map(Body::from)
}

/// Counts the effects of a handler.
#[derive(Clone, Debug, Default)]
pub struct Effects(Arc<AtomicUsize>);

impl Effects {
    pub fn happened(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub fn reset(&self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

/// A router whose handler, at any path, counts an effect and echoes the verified bytes.
#[cfg(feature = "axum")]
pub fn echo(effects: &Effects) -> Router {
    let effects = effects.clone();
    let handler = move |payload: countersign::VerifiedPayload| {
        let effects = effects.clone();
        async move {
            effects.happened();
            payload.bytes().clone()
        }
    };
    Router::new()
        .route("/", axum::routing::any(handler.clone()))
        .route("/{*path}", axum::routing::any(handler))
}

/// Returns how many cases a test tries: this many, or as many as `tests/long.sh` asks for.
pub fn cases(usual: u32) -> u32 {
    let asked = std::env::var("COUNTERSIGN_CASES").ok();
    asked.map_or(usual, |asked| asked.parse().expect("a number"))
}

/// The stable code of a rejection, or the body of any other answer; with the status.
pub async fn verdict<B>(response: Response<B>) -> (u16, String)
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let status = response.status().as_u16();
    // A refusal may have no body, and is known by its rejection.
    let refused = response.extensions().get::<Rejection>();
    let code = refused.map(|refused| refused.kind().code());
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    match code {
        Some(code) if status >= 400 && body.is_empty() => (status, code.to_owned()),
        _ => (status, code_or_body(&body)),
    }
}

pub fn code_or_body(body: &[u8]) -> String {
    serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|problem| Some(problem.get("code")?.as_str()?.to_owned()))
        .unwrap_or_else(|| String::from_utf8_lossy(body).into_owned())
}

/// Serves a router on a real socket, until the test ends.
pub async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    addr
}

/// A request as the bytes of HTTP/1.1, with `connection: close`.
pub fn to_wire(request: &Request<impl AsRef<[u8]>>) -> Vec<u8> {
    let mut wire = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        let value = std::str::from_utf8(value.as_bytes()).expect("UTF-8");
        wire += &format!("{name}: {value}\r\n");
    }
    let body = request.body().as_ref();
    if !body.is_empty() {
        wire += &format!("content-length: {}\r\n", body.len());
    }
    let mut wire = (wire + "connection: close\r\n\r\n").into_bytes();
    wire.extend_from_slice(body);
    wire
}

/// Sends bytes over a fresh connection and reads all that comes back: status, and code or body.
pub async fn exchange(addr: SocketAddr, wire: &[u8]) -> (u16, String) {
    let stream = TcpStream::connect(addr).await.expect("a connection");
    exchange_over(stream, wire).await
}

/// As [`exchange`], over a connection that is there.
pub async fn exchange_over(mut stream: TcpStream, wire: &[u8]) -> (u16, String) {
    let answer = tokio::time::timeout(Duration::from_secs(30), async {
        // The server may answer and close before all was sent.
        let _ = stream.write_all(wire).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    })
    .await
    .expect("an answer within 30 seconds");
    parse_answer(&answer)
}

pub fn parse_answer(answer: &[u8]) -> (u16, String) {
    let end = answer
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    (
        status,
        code_or_body(answer.get(end + 4..).unwrap_or_default()),
    )
}

/// The answer of a future that waits for nothing.
pub fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("there is nothing to wait for"),
    }
}

/// Python, with its standard library alone. Where there is none, a word about the test that is
/// skipped, or with `COUNTERSIGN_NO_SKIP` a failure.
pub fn python(test: &str) -> Option<Command> {
    program("python3", &["-I", "-X", "utf8"], test)
}

/// Node, as [`python`].
pub fn node(test: &str) -> Option<Command> {
    program("node", &[], test)
}

fn program(name: &str, arguments: &[&str], test: &str) -> Option<Command> {
    if Command::new(name).arg("--version").output().is_ok() {
        let mut program = Command::new(name);
        program.args(arguments);
        return Some(program);
    }
    log::missing(test, &format!("`{name}` is not installed"));
    None
}

/// Asserts that no store can be opened at this place until somebody changes something, and what the
/// error says about it.
pub fn assert_place(refused: &OpenError, says: &str) {
    let is_place = matches!(
        refused,
        OpenError::Config(error) if matches!(error.kind(), ConfigErrorKind::StorePlace(_))
    );
    assert!(is_place, "{refused:?}");
    assert!(refused.to_string().contains(says), "{refused}");
}

/// Returns the store's own error, if a store could not be opened for all that it was configured well.
pub fn of_store(error: OpenError) -> StoreError {
    match error {
        OpenError::Store(error) => error,
        error => panic!("{error}"),
    }
}
