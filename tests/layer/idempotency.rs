//! An intention that is acted on once, however often its sender signs it.

mod at_once;
mod connection;
mod cut_short;
mod failures;
mod hooked;
mod naive;
mod others;
mod renewal;
mod semantics;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, Bytes},
    response::{IntoResponse, Response},
    routing::any,
};
use countersign::{
    HttpMessageSignatures, Signer, VerifiedPayload, VerifyLayer,
    idempotency::{IdempotencyLayer, IdempotencyLayerBuilder},
    request::VerifierBuilder,
    rfc9421::Component,
    store::MemoryAnswers,
    testing::ManualClock,
};
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use crate::common::{self, Effects, HOST, KEY, ORIGIN, SECRET};

/// The tasks of the handlers of a test, and the record of their work.
#[derive(Clone)]
struct Work {
    effects: Effects,
    /// A slow handler waits for a permit.
    gate: Arc<Semaphore>,
    /// Frames that were taken from a long body.
    frames: Arc<AtomicUsize>,
}

impl Work {
    fn new() -> Self {
        Self {
            effects: Effects::default(),
            gate: Arc::new(Semaphore::new(0)),
            frames: Arc::default(),
        }
    }

    /// Every handler counts an effect. Its body says how it goes on.
    fn router(&self) -> Router {
        let work = self.clone();
        let handler = async move |payload: VerifiedPayload| work.handle(&payload).await;
        Router::new().route("/{*path}", any(handler))
    }

    async fn handle(&self, payload: &VerifiedPayload) -> Response {
        self.effects.happened();
        let query = payload.query().unwrap_or_default();
        let body = String::from_utf8_lossy(payload.bytes());
        match &*body {
            "500" | "403" | "429" | "422" => {
                let status = StatusCode::from_bytes(body.as_bytes()).unwrap();
                return (status, format!("refused {}", self.effects.count())).into_response();
            }
            "panic" => panic!("a handler that panics"),
            "slow" => self.gate.acquire().await.unwrap().forget(),
            "long" => return self.long().into_response(),
            _ => {}
        }
        let headers = [
            ("link", "</1>; rel=next"),
            ("link", "</2>; rel=last"),
            ("set-cookie", "session=1"),
            ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("location", "/payments/1"),
            ("x-secret", "of this answer alone"),
        ];
        let mut response = Response::builder().status(201);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        let text = format!("{} paid {query} {body}", payload.key_id());
        response.body(Body::from(text)).unwrap()
    }

    fn long(&self) -> Body {
        Body::new(Long(Arc::clone(&self.frames)))
    }
}

/// 64 MiB of unknown length, in frames of 64 KiB; counts those that were taken.
struct Long(Arc<AtomicUsize>);

const FRAMES: usize = 1024;

impl http_body::Body for Long {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.0.fetch_add(1, Ordering::SeqCst);
        let data = (frame < FRAMES).then(|| Bytes::from(vec![0; 64 * 1024]));
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }
}

/// A server, and what came of its requests.
struct Server {
    router: Router,
    work: Work,
    clock: ManualClock,
}

fn verify(clock: &ManualClock) -> VerifierBuilder<VerifyLayer> {
    VerifyLayer::builder(HttpMessageSignatures::default())
        .public_origin(ORIGIN)
        .keys(common::keys())
        .store(common::store(clock))
        .clock(clock.clone())
}

fn answers(clock: &ManualClock) -> Arc<MemoryAnswers> {
    Arc::new(
        MemoryAnswers::builder()
            .clock(clock.clone())
            .build()
            .unwrap(),
    )
}

impl Server {
    fn new() -> Self {
        let clock = common::clock();
        let answers = answers(&clock);
        Self::with(clock, IdempotencyLayer::builder(answers))
    }

    fn with(clock: ManualClock, builder: IdempotencyLayerBuilder) -> Self {
        let layer = builder.build().unwrap();
        let verify = verify(&clock).answer_duplicates_from(&layer);
        Self::of(clock, layer, verify.build().unwrap())
    }

    fn of(clock: ManualClock, layer: IdempotencyLayer, verify: VerifyLayer) -> Self {
        let work = Work::new();
        let router = work.router().layer(layer).layer(verify);
        Self {
            router,
            work,
            clock,
        }
    }

    fn effects(&self) -> usize {
        self.work.effects.count()
    }

    fn sign(&self, request: Request<String>) -> Request<Body> {
        sign(&self.clock, (KEY, SECRET), request).map(Body::from)
    }

    /// A request that is signed again, with this key.
    async fn send(&self, key: &str, path: &str, body: &str) -> Answer {
        self.ask(self.sign(keyed(key, path, body))).await
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        ask(&self.router, request).await
    }
}

async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { head, body }
}

/// The answer that a sender gets.
#[derive(Debug)]
struct Answer {
    head: http::response::Parts,
    body: Bytes,
}

impl Answer {
    /// The status, and the code of a rejection or the body.
    fn said(&self) -> (u16, String) {
        (self.head.status.as_u16(), common::code_or_body(&self.body))
    }

    fn is_replayed(&self) -> bool {
        self.header("idempotency-replayed") == Some("true")
    }

    fn header(&self, name: &str) -> Option<&str> {
        Some(self.head.headers.get(name)?.to_str().unwrap())
    }
}

fn request(path: &str, body: &str) -> Request<String> {
    let request = Request::post(path).header("host", HOST);
    request.body(body.to_owned()).unwrap()
}

fn keyed(key: &str, path: &str, body: &str) -> Request<String> {
    let mut request = request(path, body);
    let value = format!("\"{key}\"").parse().unwrap();
    request.headers_mut().insert("idempotency-key", value);
    request
}

/// Signs, and covers every header that is not the client's own.
fn sign(
    clock: &ManualClock,
    (key, secret): (&str, &str),
    request: Request<String>,
) -> Request<String> {
    let mut scheme = HttpMessageSignatures::builder();
    for name in request.headers().keys().filter(|name| *name != "host") {
        scheme = scheme.covers(Component::header(name.as_str()).unwrap());
    }
    let signer = Signer::new(scheme.build().unwrap(), key, secret).unwrap();
    signer.clock(clock.clone()).sign(request).unwrap()
}
