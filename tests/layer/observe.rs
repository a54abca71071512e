//! `danger_observe_only`: everything is verified, logged and counted, and let through.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request as AxumRequest,
    http::{HeaderMap, Request, Response, StatusCode},
    routing::post,
};
use bytes::Bytes;
use countersign::{
    KeyRing, MemoryStore, Processing, VerifiedPayload, VerifyLayer, error::ConfigErrorKind,
    layer::ObservedBody, request::VerifierBuilder, testing::ManualClock,
};
use http_body_util::{BodyExt as _, Full};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::common::{
    self, KEY, ORIGIN, SECRET,
    log::Log,
    parts::{Asked, FaultyStore, Script, Step},
};

const LIMIT: usize = 1000;

/// Returns what the handler got: the bytes until the body ended, or broke off, and the trailers.
async fn echo(request: AxumRequest) -> Response<Body> {
    let is_verified = request.extensions().get::<VerifiedPayload>().is_some();
    let mut body = request.into_body();
    let (mut bytes, mut told) = (Vec::new(), String::new());
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data().map_err(|other| other.into_trailers())) {
            Ok(Ok(data)) => bytes.extend_from_slice(&data),
            Ok(Err(trailers)) => told = format!("{:?}", trailers.unwrap()),
            Err(error) => told = error.to_string(),
        }
    }
    let text = format!("{is_verified}|{}|{told}", bytes.escape_ascii());
    Response::new(text.into())
}

fn builder(clock: &ManualClock, store: MemoryStore) -> VerifierBuilder<VerifyLayer> {
    common::layer(clock)
        .store(store)
        .max_body_bytes(LIMIT)
        .body_deadline(Duration::from_secs(2))
}

async fn sent(app: &Router, request: Request<Body>) -> (u16, String, String) {
    let log = Log::captured();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (status, body, log.text())
}

fn with(request: &Request<Body>, body: Body) -> Request<Body> {
    let mut with = Request::builder()
        .method(request.method())
        .uri(request.uri());
    *with.headers_mut().unwrap() = request.headers().clone();
    with.body(body).unwrap()
}

/// Each way to be refused: its code, the request, and what the handler must get of its body.
fn refusals(clock: &ManualClock) -> Vec<(&'static str, Request<Body>, String)> {
    let signed = || common::signed(clock, "POST", "/", "{}");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-after", "1".parse().unwrap());
    let long = "x".repeat(LIMIT + 1);
    let script = |steps: Vec<Step>| Body::new(Script::new(steps));
    vec![
        (
            "signature_missing",
            common::request("POST", "/", "{}").map(Body::from),
            "{}|".into(),
        ),
        (
            "signature_invalid",
            with(
                &signed(),
                script(vec![
                    Step::Data("[".into()),
                    Step::Data("]".into()),
                    Step::Trailers(trailers),
                ]),
            ),
            "[]|{\"x-after\": \"1\"}".into(),
        ),
        (
            "body_too_large",
            with(
                &signed(),
                script(vec![
                    Step::Data(long.clone().into()),
                    Step::Data("y".into()),
                ]),
            ),
            format!("{long}y|"),
        ),
        (
            "body_timeout",
            with(
                &signed(),
                script(vec![
                    Step::Data("{".into()),
                    Step::Waits(Duration::from_secs(60)),
                    Step::Data("}".into()),
                ]),
            ),
            "{}|".into(),
        ),
        (
            "body_unreadable",
            with(
                &signed(),
                script(vec![
                    Step::Data("{".into()),
                    Step::Fails("it broke off".into()),
                ]),
            ),
            "{|it broke off".into(),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn whatever_would_be_refused_reaches_the_handler_as_it_came_and_is_logged() {
    let clock = common::clock();
    let layer = builder(&clock, common::store(&clock)).build().unwrap();
    let app = |router: Router| router.route("/", post(echo));
    let observing = app(Router::new()).layer(layer.clone().danger_observe_only().unwrap());
    for (code, request, body) in refusals(&clock) {
        let (status, got, log) = sent(&observing, request).await;
        assert_eq!(status, 200, "{code}");
        assert_eq!(got, format!("false|{body}"), "{code}");
        let would = log
            .lines()
            .filter(|line| line.contains("request would be refused"));
        let would: Vec<_> = would.collect();
        assert_eq!(would.len(), 1, "{code}: {log}");
        assert!(would[0].contains(code), "{code}: {log}");
        assert!(!log.contains("request refused"), "{code}: {log}");
    }
    // The twin: the layer that verifies refuses each.
    let verifying = app(Router::new()).layer(layer);
    for (code, request, _) in refusals(&clock) {
        let (status, got, _) = sent(&verifying, request).await;
        assert!(status >= 400 && got.contains(code), "{code}: {got}");
    }
}

#[tokio::test]
async fn a_genuine_request_is_passed_on_as_it_is_without_a_payload() {
    let clock = common::clock();
    let layer = builder(&clock, common::store(&clock)).build().unwrap();
    let layer = layer.danger_observe_only().unwrap();
    let read = post(async |_: VerifiedPayload| "read");
    let app = Router::new()
        .route("/", post(echo))
        .route("/read", read)
        .layer(layer);
    let (status, body, log) = sent(&app, common::signed(&clock, "POST", "/", "{}")).await;
    assert_eq!((status, &*body), (200, "false|{}|"));
    assert!(
        log.contains("outcome=\"claimed\"") && !log.contains("refused"),
        "{log}"
    );
    let request = common::signed(&clock, "POST", "/read", "{}");
    assert_eq!(sent(&app, request).await.0, 500);
}

/// Returns what was handled while the layer only observed, sent again once it verifies.
async fn after_switching_on(namespace: &str) -> u16 {
    let clock = common::clock();
    let store = std::sync::Arc::new(common::store(&clock));
    let build = |namespace: &str| {
        let layer = common::layer(&clock).store(std::sync::Arc::clone(&store));
        layer.namespace(namespace).build().unwrap()
    };
    let router = || Router::new().route("/", post(echo));
    let observing = router().layer(build("payments").danger_observe_only().unwrap());
    let request = common::signed(&clock, "POST", "/", "{}");
    let copy = with(&request, Body::from("{}"));
    assert_eq!(sent(&observing, request).await.0, 200);
    // Observed, it is let through again, and said to be a replay.
    let (status, _, log) = sent(&observing, with(&copy, Body::from("{}"))).await;
    assert_eq!(status, 200);
    assert!(log.contains("request_replayed"), "{log}");
    let verifying = router().layer(build(namespace));
    sent(&verifying, copy).await.0
}

#[tokio::test]
async fn a_replay_of_an_observed_request_after_switching_on() {
    assert_eq!(after_switching_on("payments").await, 409);
}

#[tokio::test]
async fn twin_an_observer_that_claims_elsewhere_is_found() {
    assert_eq!(after_switching_on("another").await, 200);
}

#[tokio::test]
async fn a_request_whose_handler_failed_is_released_and_one_that_succeeded_is_completed() {
    let clock = common::clock();
    let lease = Duration::from_secs(30);
    let layer = common::layer(&clock)
        .processing(Processing::Retryable { lease })
        .build()
        .unwrap();
    for (status, then) in [
        (StatusCode::INTERNAL_SERVER_ERROR, 200),
        (StatusCode::OK, 409),
    ] {
        let handler = post(async move || status);
        let observing = Router::new().route("/", handler);
        let observing = observing.layer(layer.clone().danger_observe_only().unwrap());
        let request = common::signed(&clock, "POST", "/", "{}");
        let copy = with(&request, Body::from("{}"));
        assert_eq!(sent(&observing, request).await.0, status.as_u16());
        let verifying = Router::new().route("/", post(echo)).layer(layer.clone());
        // The outcome is recorded by a task of its own.
        let mut answer = sent(&verifying, with(&copy, Body::from("{}"))).await;
        while answer.1.contains("request_in_flight") {
            tokio::task::yield_now().await;
            answer = sent(&verifying, with(&copy, Body::from("{}"))).await;
        }
        assert_eq!(answer.0, then, "after {status}");
    }
}

/// Nothing would keep the lease. The twin has a runtime.
#[test]
fn a_request_that_cannot_be_kept_leased_without_a_runtime_is_let_through() {
    let clock = common::clock();
    let store = FaultyStore::around(common::store(&clock));
    let lease = Duration::from_secs(30);
    let layer = common::layer(&clock).store(store.clone());
    let layer = layer.processing(Processing::Retryable { lease });
    let layer = layer.build().unwrap().danger_observe_only().unwrap();
    let app = Router::new().route("/", post(async || "handled"));
    let app = app.layer(layer);
    let request = || common::signed(&clock, "POST", "/", "{}");
    let without_timer = tokio::runtime::Builder::new_current_thread().build();
    for answered in [
        common::ready(sent(&app, request())),
        without_timer.unwrap().block_on(sent(&app, request())),
    ] {
        let (status, body, log) = answered;
        assert_eq!((status, body.as_str()), (200, "handled"));
        assert!(log.contains("store_misconfigured"), "{log}");
        assert_eq!(store.times(Asked::Lease), 0);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(runtime.block_on(sent(&app, request())).0, 200);
    assert_eq!(store.times(Asked::Lease), 1);
}

/// Outside of Axum, whose services take any body.
#[tokio::test]
async fn a_buffered_layer_observes_too() {
    let clock = common::clock();
    let layer = builder(&clock, common::store(&clock)).build().unwrap();
    let read = async |request: Request<ObservedBody<Full<Bytes>>>| {
        let read = request.into_body().collect().await.unwrap().to_bytes();
        Ok::<_, Infallible>(Response::new(Full::new(read)))
    };
    let service = ServiceBuilder::new()
        .layer(layer.buffered().danger_observe_only().unwrap())
        .service(service_fn(read));
    let long = "x".repeat(LIMIT + 1);
    let request = common::request("POST", "/", &long).map(|body| Full::new(Bytes::from(body)));
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        long
    );
}

#[test]
fn what_could_not_claim_is_not_observed() {
    let layer = VerifyLayer::builder(common::scheme())
        .public_origin(ORIGIN)
        .keys(KeyRing::new().with(KEY, SECRET).unwrap())
        .processing(Processing::InTransaction)
        .build()
        .unwrap();
    let error = layer.danger_observe_only().unwrap_err();
    assert!(
        matches!(error.kind(), ConfigErrorKind::Processing(_)),
        "{error}"
    );
}
