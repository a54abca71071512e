//! Row 46: the inner service's readiness, such as a permit of a `ConcurrencyLimit`, is taken for a
//! request that was verified, and for no other.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{Router, body::Body, response::Response, routing::any};
use countersign::{Processing, VerifyLayer, testing::ManualClock};
use http::{Request, StatusCode, header::RETRY_AFTER};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
};
use tower::{
    Layer as _, Service, ServiceBuilder, ServiceExt as _,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer},
};

use crate::common::{
    self, Effects, KEY, clock, exchange,
    parts::{Asked, Fault, FaultyStore},
    signed, to_wire, verdict,
};

const PERMITS: usize = 8;

/// The head of a request whose MAC nobody can check before its body is there, which never comes. It
/// asks to be told when the server begins to wait for the body.
async fn idle_stranger(addr: SocketAddr) -> TcpStream {
    let now = common::NOW;
    let mac = "0".repeat(64);
    let head = format!(
        "POST /transfer HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         x-signature: sha256={mac}\r\nx-key-id: {KEY}\r\nx-timestamp: {now}\r\nx-nonce: n\r\n\
         content-length: 100\r\nexpect: 100-continue\r\n\r\n",
        common::HOST
    );
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100", "the body is waited for");
    // The rest of the interim response.
    let mut rest = [0; 256];
    stream.readable().await.unwrap();
    let _ = stream.try_read(&mut rest).unwrap();
    stream
}

/// Returns how many strangers were answered before a genuine request was.
async fn answered_first(app: Router, clock: &ManualClock) -> usize {
    let addr = common::serve(app).await;
    let mut strangers = Vec::new();
    for _ in 0..PERMITS {
        strangers.push(idle_stranger(addr).await);
    }
    let genuine = common::signer(clock).sign(common::request("POST", "/transfer", "{}"));
    let answer = exchange(addr, &to_wire(&genuine.unwrap())).await;
    assert_eq!(answer, (200, "{}".into()));
    let answered = |stranger: &&TcpStream| stranger.try_read(&mut [0; 16]).is_ok();
    strangers.iter().filter(answered).count()
}

#[tokio::test]
async fn a46_idle_strangers_delay_nobody() {
    let clock = clock();
    let layers = ServiceBuilder::new()
        .layer(common::layer(&clock).build().unwrap())
        .layer(ConcurrencyLimitLayer::new(PERMITS));
    let app = common::echo(&Effects::default()).layer(layers);
    assert_eq!(answered_first(app, &clock).await, 0);
}

/// As this layer itself once did it: the permit is taken when the request comes.
#[tokio::test]
async fn a46_twin_a_layer_that_takes_the_permit_first_keeps_a_genuine_request_waiting() {
    let clock = clock();
    let layer = common::layer(&clock).body_deadline(Duration::from_millis(500));
    let app = common::echo(&Effects::default())
        .layer(layer.build().unwrap())
        .layer(ConcurrencyLimitLayer::new(PERMITS));
    assert!(answered_first(app, &clock).await > 0);
}

/// A service with one permit, whose handlers wait until they are let go.
struct OneAtATime {
    clock: ManualClock,
    gate: Arc<Semaphore>,
    effects: Effects,
    app: Router,
}

impl OneAtATime {
    fn new(processing: Processing, wait: Duration) -> Self {
        let clock = clock();
        let builder = VerifyLayer::builder(common::scheme())
            .public_origin(common::ORIGIN)
            .keys(common::keys())
            .clock(clock.clone())
            .processing(processing)
            .readiness_timeout(wait);
        let layer = match processing {
            Processing::InTransaction => builder,
            _ => builder.store(common::store(&clock)),
        };
        let (gate, effects) = (Arc::new(Semaphore::new(0)), Effects::default());
        let (opens, happens) = (Arc::clone(&gate), effects.clone());
        // No success, which a transaction without a recorded nonce may not have; none that releases
        // a lease, either.
        let status = match processing {
            Processing::InTransaction => StatusCode::IM_A_TEAPOT,
            _ => StatusCode::OK,
        };
        let handler = move || {
            let (gate, effects) = (Arc::clone(&opens), happens.clone());
            async move {
                gate.acquire().await.unwrap().forget();
                effects.happened();
                (status, "handled")
            }
        };
        // Two calls of `Router::layer` would put a box between the two layers, which is always ready.
        let layers = ServiceBuilder::new()
            .layer(layer.build().unwrap())
            .layer(GlobalConcurrencyLimitLayer::new(1));
        let app = Router::new().route("/transfer", any(handler)).layer(layers);
        Self {
            clock,
            gate,
            effects,
            app,
        }
    }

    fn request(&self) -> http::Request<String> {
        let request = common::request("POST", "/transfer", "{}");
        common::signer(&self.clock).sign(request).unwrap()
    }

    fn send(&self, request: &Request<String>) -> impl Future<Output = Response> + use<> {
        let sent = self.app.clone().oneshot(request.clone().map(Body::from));
        async { sent.await.unwrap() }
    }

    fn let_one_go(&self) {
        self.gate.add_permits(1);
    }
}

const PROCESSINGS: [Processing; 3] = [
    Processing::AtMostOnce,
    Processing::Retryable {
        lease: Duration::from_secs(30),
    },
    Processing::InTransaction,
];

/// Polls it until it waits.
macro_rules! begun {
    ($future:ident) => {
        let mut $future = pin!($future);
        let polled = $future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    };
}

#[tokio::test]
async fn a46_without_a_permit_in_time_the_request_is_refused_and_nothing_is_claimed() {
    for processing in PROCESSINGS {
        let service = OneAtATime::new(processing, Duration::from_millis(20));
        let holder = service.send(&service.request());
        begun!(holder);

        let waiting = service.request();
        let refused = service.send(&waiting).await;
        let retry_after = refused.headers()[RETRY_AFTER].clone();
        assert_eq!(retry_after, "1");
        assert_eq!(verdict(refused).await, (503, "service_not_ready".into()));
        assert_eq!(service.effects.count(), 0);

        service.let_one_go();
        assert_eq!(verdict(holder.await).await.1, "handled");
        // The very same request again.
        service.let_one_go();
        assert_eq!(verdict(service.send(&waiting).await).await.1, "handled");
        assert_eq!(service.effects.count(), 2, "{processing:?}");
    }
}

#[tokio::test]
async fn a46_freshness_is_checked_after_the_wait_and_the_permit_goes_back() {
    for processing in PROCESSINGS {
        let service = OneAtATime::new(processing, Duration::from_secs(60));
        let holder = service.send(&service.request());
        begun!(holder);
        let waiting = service.send(&service.request());
        begun!(waiting);

        service.clock.advance(Duration::from_secs(301));
        service.let_one_go();
        assert_eq!(verdict(holder.await).await.1, "handled");
        let stale = verdict(waiting.await).await;
        assert_eq!(stale, (401, "signature_expired".into()), "{processing:?}");

        service.let_one_go();
        let next = service.send(&service.request()).await;
        assert_eq!(
            verdict(next).await.1,
            "handled",
            "the permit is there again"
        );
        assert_eq!(service.effects.count(), 2);
    }
}

#[tokio::test]
async fn a46_a_replay_gives_its_permit_back() {
    let service = OneAtATime::new(Processing::AtMostOnce, Duration::from_secs(60));
    let request = service.request();
    service.let_one_go();
    assert_eq!(verdict(service.send(&request).await).await.1, "handled");
    for _ in 0..3 {
        let replayed = verdict(service.send(&request).await).await;
        assert_eq!(replayed, (409, "request_replayed".into()));
    }
    service.let_one_go();
    let next = service.send(&service.request()).await;
    assert_eq!(verdict(next).await.1, "handled");
}

/// A store that is down, or slow, while a sender hangs up: a permit for each would soon be none.
#[tokio::test(start_paused = true)]
async fn a46_a_store_that_gives_no_answer_keeps_no_permit() {
    for fault in [Fault::Fails, Fault::Hangs, Fault::LosesTheReply] {
        let clock = clock();
        let store = FaultyStore::around(common::store(&clock));
        let layer = common::layer(&clock)
            .store(store.clone())
            .store_timeout(Duration::from_millis(20))
            .readiness_timeout(Duration::from_millis(20));
        let permits = GlobalConcurrencyLimitLayer::new(1);
        let layers = ServiceBuilder::new()
            .layer(layer.build().unwrap())
            .layer(permits);
        let app = common::echo(&Effects::default()).layer(layers);
        let send = || {
            let request = signed(&clock, "POST", "/transfer", "{}");
            app.clone().oneshot(request)
        };
        store.fault(Asked::Claim, fault);
        let refused = verdict(send().await.unwrap()).await;
        assert_eq!(refused, (503, "store_unavailable".into()));
        assert_eq!(verdict(send().await.unwrap()).await.0, 200);

        store.fault(Asked::Claim, Fault::Hangs);
        {
            let mut given_up = pin!(send());
            let context = &mut Context::from_waker(Waker::noop());
            while store.times(Asked::Claim) < 3 {
                assert!(given_up.as_mut().poll(context).is_pending());
                tokio::task::yield_now().await;
            }
            // The twin: it has the permit, and nobody else gets in.
            let refused = verdict(send().await.unwrap()).await;
            assert_eq!(refused, (503, "service_not_ready".into()));
        }
        assert_eq!(verdict(send().await.unwrap()).await.0, 200);
    }
}

/// Counts how often it is asked whether it is ready, which it never is; or fails.
#[derive(Clone, Default)]
struct NeverReady {
    asked: Arc<AtomicUsize>,
    fails: bool,
}

impl Service<Request<Body>> for NeverReady {
    type Response = Response;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Response, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        self.asked.fetch_add(1, SeqCst);
        if self.fails {
            Poll::Ready(Err("broken"))
        } else {
            Poll::Pending
        }
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        panic!("called without being ready");
    }
}

#[tokio::test(start_paused = true)]
async fn a46_the_inner_service_is_not_asked_for_a_request_that_is_not_verified() {
    let clock = clock();
    let inner = NeverReady::default();
    let layer = common::layer(&clock).readiness_timeout(Duration::from_millis(20));
    let service = layer.build().unwrap().layer(inner.clone());

    let unsigned = common::request("POST", "/transfer", "{}").map(Body::from);
    let forged = || {
        let (head, _) = signed(&clock, "POST", "/transfer", "{}").into_parts();
        Request::from_parts(head, Body::from("[]"))
    };
    for request in [unsigned, forged()] {
        let refused = service.clone().oneshot(request).await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(inner.asked.load(SeqCst), 0);

    let genuine = signed(&clock, "POST", "/transfer", "{}");
    let refused = verdict(service.oneshot(genuine).await.unwrap()).await;
    assert_eq!(refused, (503, "service_not_ready".into()));
    assert!(inner.asked.load(SeqCst) > 0);
}

#[tokio::test]
async fn a46_an_inner_service_that_fails_to_be_ready_fails_the_request_and_nothing_is_claimed() {
    let clock = clock();
    let layer = common::layer(&clock).build().unwrap();
    let broken = NeverReady {
        fails: true,
        ..NeverReady::default()
    };
    let request = common::signer(&clock)
        .sign(common::request("POST", "/transfer", "{}"))
        .unwrap();
    let failed = layer
        .layer(broken)
        .oneshot(request.clone().map(Body::from))
        .await;
    assert_eq!(failed.err(), Some("broken"));
    let works = tower::service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(Body::from("handled")))
    });
    let answer = layer.layer(works).oneshot(request.map(Body::from)).await;
    assert_eq!(verdict(answer.unwrap()).await, (200, "handled".into()));
}
