//! The layer works at every place where a layer can be, on every kind of connection, and beside the
//! usual other layers.

use std::{
    convert::Infallible,
    mem,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Form, Json, Router,
    body::Body,
    extract::{Path, Query},
    handler::Handler as _,
    response::{IntoResponse, Response},
    routing::{MethodFilter, any, get, on, post},
};
use bytes::Bytes;
use countersign::{
    HeaderScheme, Part, Processing, Signer, VerifiedPayload, VerifyLayer,
    request::{Forwarded, MatchedPlace, PeerAddr},
    testing::ManualClock,
};
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{
        ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING,
        CONTENT_LENGTH, HOST, ORIGIN as ORIGIN_HEADER, TRANSFER_ENCODING,
    },
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tower::{
    Layer as _, Service, ServiceBuilder, ServiceExt as _,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer},
    service_fn,
    util::BoxCloneSyncService,
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::CorsLayer,
    decompression::{DecompressionLayer, RequestDecompressionLayer},
    limit::RequestBodyLimitLayer,
    timeout::TimeoutLayer,
    trace::TraceLayer,
};

use crate::common::{
    self,
    log::Log,
    parts::{Script, Step},
    *,
};

type App = BoxCloneSyncService<Request<Body>, Response, Infallible>;

/// Any service as one type.
fn app<S, R>(service: S) -> App
where
    S: Service<Request<Body>, Response = http::Response<R>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<axum::BoxError>,
{
    BoxCloneSyncService::new(service.map_response(|response| response.map(Body::new)))
}

/// Answers with what was verified.
async fn verified(payload: VerifiedPayload) -> String {
    format!(
        "{} {} {:?} {}",
        payload.method().unwrap(),
        payload.path().unwrap(),
        payload.query().unwrap(),
        String::from_utf8_lossy(payload.bytes())
    )
}

/// The same, for a service that is no router.
async fn verified_service(request: Request<Body>) -> Result<Response, Infallible> {
    let payload = request.extensions().get::<VerifiedPayload>().cloned();
    Ok(match payload {
        Some(payload) => verified(payload).await.into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    })
}

async fn send(app: &App, request: Request<impl Into<Body>>) -> (u16, String) {
    verdict(app.clone().oneshot(request.map(Into::into)).await.unwrap()).await
}

fn code(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn sign(clock: &ManualClock, method: &str, path_and_query: &str, body: &str) -> Request<String> {
    signer(clock)
        .sign(request(method, path_and_query, body))
        .unwrap()
}

// Places

#[tokio::test]
async fn at_every_place_of_a_router_the_target_is_the_one_that_was_signed() {
    let clock = clock();
    let layer = || layer(&clock).build().unwrap();
    let orders = || Router::new().route("/orders/{id}", any(verified));
    let other = || Router::new().route("/other", get(async || "unverified"));
    let places: Vec<(&str, App)> = vec![
        (
            "Router::layer",
            app(Router::new().nest("/v1", orders()).layer(layer())),
        ),
        (
            "Router::route_layer",
            app(Router::new()
                .route("/v1/orders/{id}", any(verified))
                .route_layer(layer())),
        ),
        (
            "MethodRouter::layer",
            app(Router::new().route("/v1/orders/{id}", any(verified).layer(layer()))),
        ),
        (
            "MethodRouter::route_layer",
            app(Router::new().route(
                "/v1/orders/{id}",
                on(MethodFilter::POST.or(MethodFilter::PUT), verified).route_layer(layer()),
            )),
        ),
        (
            "Handler::layer",
            app(Router::new().route("/v1/orders/{id}", any(verified.layer(layer())))),
        ),
        (
            "route_service",
            app(Router::new().route_service(
                "/v1/orders/{id}",
                layer().layer(service_fn(verified_service)),
            )),
        ),
        (
            "inside of nest",
            app(Router::new()
                .nest("/v1", orders().layer(layer()))
                .merge(other())),
        ),
        (
            "route_layer inside of nest",
            app(Router::new()
                .nest("/v1", orders().route_layer(layer()))
                .merge(other())),
        ),
        (
            "inside of two nests",
            app(Router::new().nest(
                "/v1",
                Router::new().nest(
                    "/orders",
                    Router::new().route("/{id}", any(verified)).layer(layer()),
                ),
            )),
        ),
        (
            "inside of a nest with a parameter",
            app(Router::new().nest("/{version}", orders().layer(layer()))),
        ),
        (
            "inside of nest_service",
            app(Router::new().nest_service("/v1", orders().layer(layer()))),
        ),
        (
            "nest_service, no router",
            app(Router::new()
                .nest_service("/v1/orders", layer().layer(service_fn(verified_service)))),
        ),
        (
            "outside of nest_service",
            app(Router::new().nest_service("/v1", orders()).layer(layer())),
        ),
        (
            "merged",
            app(Router::new()
                .merge(Router::new().nest("/v1", orders()).layer(layer()))
                .merge(other())),
        ),
        (
            "a fallback",
            app(Router::new().fallback_service(layer().layer(Router::new().nest("/v1", orders())))),
        ),
        (
            "around the whole router",
            app(ServiceBuilder::new()
                .layer(layer())
                .service(Router::new().nest("/v1", orders()))),
        ),
        (
            "around the whole router, buffered",
            app(ServiceBuilder::new()
                .layer(layer().buffered())
                .service(Router::new().nest("/v1", orders()))),
        ),
        (
            "around a service",
            app(layer().layer(service_fn(verified_service))),
        ),
    ];
    for (place, app) in places {
        let target = "/v1/orders/7%2F8?a=1&b";
        let request = sign(&clock, "POST", target, "{}");
        let answer = (200, "POST /v1/orders/7%2F8 \"a=1&b\" {}".to_owned());

        let mut unsigned = request.clone();
        unsigned.headers_mut().remove("x-signature");
        let missing = code(401, "signature_missing");
        assert_eq!(send(&app, unsigned).await, missing, "{place}");

        let changes: [fn(&mut Request<String>); 5] = [
            |request| request.body_mut().push(' '),
            |request| *request.method_mut() = Method::PUT,
            |request| *request.uri_mut() = "/v1/orders/9?a=1&b".parse().unwrap(),
            |request| *request.uri_mut() = "/v1/orders/7%2F8?a=2&b".parse().unwrap(),
            |request| *request.uri_mut() = "/v1/orders/7%2f8?a=1&b".parse().unwrap(),
        ];
        for (nth, change) in changes.iter().enumerate() {
            let mut changed = request.clone();
            change(&mut changed);
            let invalid = code(401, "signature_invalid");
            assert_eq!(send(&app, changed).await, invalid, "{place}, change {nth}");
        }

        // None of these has used it up.
        assert_eq!(send(&app, request.clone()).await, answer, "{place}");
        let replayed = code(409, "request_replayed");
        assert_eq!(send(&app, request).await, replayed, "{place}");
    }
}

/// The twin: what a router hands to a nested service is not what was signed, so that a layer which
/// went by it would refuse every nested request.
#[tokio::test]
async fn a_nested_service_is_handed_another_path_than_the_signed_one() {
    let path = async |request: Request<Body>| request.uri().path().to_owned();
    let router = Router::new().nest("/v1", Router::new().route("/orders/{id}", post(path)));
    let request = signed(&clock(), "POST", "/v1/orders/7", "{}");
    assert_eq!(send(&app(router), request).await, code(200, "/orders/7"));
}

/// Neither authority nor path is covered: under another of the public origins, where a proxy takes
/// off another prefix, it is still the same request at the same place.
#[tokio::test]
async fn a_copy_under_another_public_origin_is_a_copy() {
    let clock = clock();
    let scheme = HeaderScheme::builder("x-signature")
        .fixed_key_id(KEY)
        .time("x-timestamp")
        .signs(Part::lines([Part::Time, Part::Body]))
        .build()
        .unwrap();
    let layer = VerifyLayer::builder(scheme.clone())
        .public_origin("https://api.example.com")
        .public_origin("https://www.example.com/api")
        .keys(keys())
        .store(store(&clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let orders = Router::new().route("/orders", post(async || "done"));
    let app = app(orders.layer(layer));
    let signer = Signer::new(scheme, KEY, SECRET).unwrap().clock(clock);
    let request = signer.sign(request("POST", "/orders", "{}")).unwrap();
    let mut copy = request.clone();
    copy.headers_mut()
        .insert(HOST, HeaderValue::from_static("www.example.com"));
    let first = send(&app, request.map(Body::from)).await;
    assert_eq!(first, code(200, "done"));
    let second = send(&app, copy.map(Body::from)).await;
    assert_eq!(second, code(409, "request_replayed"));
}

#[tokio::test]
async fn an_origin_with_a_prefix_gives_back_what_a_proxy_took_off() {
    let clock = clock();
    let layer = || {
        VerifyLayer::builder(scheme())
            .public_origin("https://api.example.com/api")
            .keys(keys())
            .store(store(&clock))
            .clock(clock.clone())
            .build()
            .unwrap()
    };
    let orders = Router::new().route("/orders", post(verified));
    for app in [
        app(Router::new().nest("/v1", orders.clone().layer(layer()))),
        app(Router::new().nest("/v1", orders.clone()).layer(layer())),
        app(layer().layer(Router::new().nest("/v1", orders.clone()))),
    ] {
        let mut request = sign(&clock, "POST", "/api/v1/orders", "{}");
        *request.uri_mut() = "/v1/orders".parse().unwrap();
        let answer = code(200, "POST /api/v1/orders \"\" {}");
        assert_eq!(send(&app, request).await, answer);
        // A client that signs what the proxy makes of it is not served.
        let request = sign(&clock, "POST", "/v1/orders", "{}");
        assert_eq!(send(&app, request).await, code(401, "signature_invalid"));
    }
}

#[tokio::test]
async fn unknown_paths_are_verified_first_by_layer_and_not_at_all_by_route_layer() {
    let clock = clock();
    let router = || Router::new().route("/orders", post(verified));
    let by_layer = app(router().layer(layer(&clock).build().unwrap()));
    let by_route_layer = app(router().route_layer(layer(&clock).build().unwrap()));
    let unsigned = || request("POST", "/nowhere", "{}");
    let missing = code(401, "signature_missing");
    assert_eq!(send(&by_layer, unsigned()).await, missing);
    assert_eq!(send(&by_route_layer, unsigned()).await, code(404, ""));

    let request = sign(&clock, "POST", "/nowhere", "{}");
    assert_eq!(send(&by_layer, request.clone()).await, code(404, ""));
    assert_eq!(
        send(&by_layer, request).await,
        code(409, "request_replayed")
    );
}

#[tokio::test]
async fn a_request_used_up_at_an_unknown_path_is_another_than_the_genuine_one() {
    let scheme = covers_no_place();
    let clock = clock();
    let layer = VerifyLayer::builder(scheme.clone())
        .keys(keys())
        .store(store(&clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let app = app(Router::new()
        .route("/hook", post(async || "handled"))
        .layer(layer));
    let signer = Signer::new(scheme, KEY, SECRET)
        .unwrap()
        .clock(clock.clone());
    let genuine = signer.sign(request("POST", "/hook", "{}")).unwrap();
    let mut elsewhere = genuine.clone();
    *elsewhere.uri_mut() = "/nowhere".parse().unwrap();
    assert_eq!(send(&app, elsewhere).await, code(404, ""));
    let mut put = genuine.clone();
    *put.method_mut() = Method::PUT;
    assert_eq!(send(&app, put).await.0, 405);
    assert_eq!(send(&app, genuine.clone()).await, code(200, "handled"));
    assert_eq!(send(&app, genuine).await, code(409, "request_replayed"));
}

/// A scheme that covers no method and no path, as those of many webhooks.
fn covers_no_place() -> HeaderScheme {
    HeaderScheme::builder("x-signature")
        .fixed_key_id(KEY)
        .time("x-timestamp")
        .signs(Part::joined(".", [Part::Time, Part::Body]))
        .build()
        .unwrap()
}

#[tokio::test]
async fn at_a_matched_place_all_spellings_of_a_path_are_one_use() {
    let clock = clock();
    let signer = Signer::new(covers_no_place(), KEY, SECRET).unwrap();
    let signer = signer.clock(clock.clone());
    let accepted = async |place: Option<MatchedPlace>| {
        let layer = VerifyLayer::builder(covers_no_place())
            .keys(keys())
            .store(store(&clock))
            .clock(clock.clone())
            .build()
            .unwrap();
        let effects = Effects::default();
        let app = app(echo(&effects).layer(layer));
        let genuine = signer.sign(request("POST", "/hook", "{}")).unwrap();
        for n in 0..40 {
            let mut spelled = genuine.clone();
            *spelled.uri_mut() = format!("/hook;{n}").parse().unwrap();
            if n % 2 == 0 {
                *spelled.method_mut() = Method::PUT;
            }
            if let Some(place) = place.clone() {
                spelled.extensions_mut().insert(place);
            }
            send(&app, spelled).await;
        }
        effects.count()
    };
    let place = MatchedPlace::new(Method::POST, "/hook");
    assert_eq!(accepted(Some(place)).await, 1);
    // The twin: without it, each spelling is a place of its own, up to 16.
    assert_eq!(accepted(None).await, 16);
}

#[tokio::test]
async fn a_request_that_is_refused_before_the_claim_may_come_again() {
    let clock = clock();
    let effects = Effects::default();
    let asked = Effects::default();
    let of_layer = asked.clone();
    let layer = layer(&clock).build().unwrap();
    let layer = layer.refuse_if(move |head, payload| {
        of_layer.happened();
        assert_eq!(payload.path(), Some(head.uri.path()));
        let is_refused = of_layer.count() == 1;
        is_refused.then(|| http::Response::new("not yet".into()))
    });
    let app = app(echo(&effects).layer(layer));
    let signed = sign(&clock, "POST", "/orders", "{}");
    assert_eq!(send(&app, signed.clone()).await, code(200, "not yet"));
    assert_eq!(effects.count(), 0);
    assert_eq!(send(&app, signed.clone()).await, code(200, "{}"));
    assert_eq!(send(&app, signed).await, code(409, "request_replayed"));
    assert_eq!(effects.count(), 1);
    // Strangers learn nothing of it.
    let before = asked.count();
    assert_eq!(send(&app, request("POST", "/orders", "{}")).await.0, 401);
    assert_eq!(asked.count(), before);
}

#[tokio::test]
async fn every_method_is_verified_and_none_stands_for_another() {
    let clock = clock();
    let app = app(Router::new()
        .route("/orders", any(verified))
        .layer(layer(&clock).build().unwrap()));
    let methods = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY",
    ];
    for method in methods {
        let unsigned = request(method, "/orders", "");
        assert_eq!(send(&app, unsigned).await.0, 401, "{method}");
        let signed = sign(&clock, method, "/orders", "");
        for other in methods.into_iter().filter(|other| *other != method) {
            let mut changed = signed.clone();
            *changed.method_mut() = other.parse().unwrap();
            assert_eq!(send(&app, changed).await.0, 401, "{method} as {other}");
        }
        let answer = if method == "HEAD" {
            String::new()
        } else {
            format!("{method} /orders \"\" ")
        };
        assert_eq!(send(&app, signed).await, (200, answer));
    }
}

#[tokio::test]
async fn a_tunnel_is_refused() {
    let clock = clock();
    let effects = Effects::default();
    let addr = serve(echo(&effects).layer(layer(&clock).build().unwrap())).await;
    let mut request = sign(&clock, "GET", "/chat", "");
    request
        .headers_mut()
        .insert("upgrade", HeaderValue::from_static("websocket"));
    let wire = to_wire(&request);
    assert_eq!(exchange(addr, &wire).await, code(400, "body_not_covered"));
    let connect = b"CONNECT api.example.com:443 HTTP/1.1\r\nhost: api.example.com:443\r\n\
          connection: close\r\n\r\n";
    assert_eq!(exchange(addr, connect).await, code(400, "body_not_covered"));
    assert_eq!(effects.count(), 0);
}

// Beside other layers

/// A service that must be polled ready, as the contract of Tower says.
struct OnlyWhenReady {
    ready: bool,
}

impl Clone for OnlyWhenReady {
    /// Readiness is not cloned.
    fn clone(&self) -> Self {
        Self { ready: false }
    }
}

impl Service<Request<Body>> for OnlyWhenReady {
    type Response = Response;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(mem::take(&mut self.ready), "called without being ready");
        std::future::ready(Ok(StatusCode::OK.into_response()))
    }
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_that_is_called() {
    let clock = clock();
    for processing in [
        Processing::AtMostOnce,
        Processing::Retryable {
            lease: Duration::from_secs(30),
        },
    ] {
        let layer = layer(&clock).processing(processing).build().unwrap();
        let mut service = layer.layer(OnlyWhenReady { ready: false });
        for _ in 0..3 {
            let request = signed(&clock, "POST", "/orders", "{}");
            let response = service.ready().await.unwrap().call(request).await.unwrap();
            assert_eq!(response.status(), 200);
        }
    }
}

/// A middleware that calls a clone, as is often seen.
#[derive(Clone)]
struct CallsAClone<S>(S);

impl<S> Service<Request<Body>> for CallsAClone<S>
where
    S: Service<Request<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut clone = self.0.clone();
        Box::pin(async move { clone.call(request).await })
    }
}

/// The twin.
#[tokio::test]
#[should_panic(expected = "called without being ready")]
async fn a_middleware_that_calls_a_clone_would_be_noticed() {
    let mut service = CallsAClone(OnlyWhenReady { ready: false });
    let request = signed(&clock(), "POST", "/orders", "{}");
    let _ = service.ready().await.unwrap().call(request).await;
}

#[tokio::test]
async fn a_concurrency_limit_inside_or_outside_lets_all_through_in_their_turn() {
    let clock = clock();
    let slow = service_fn(|request: Request<Body>| async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        verified_service(request).await
    });
    let layer = || layer(&clock).build().unwrap();
    let apps = [
        app(ServiceBuilder::new()
            .layer(layer())
            .layer(ConcurrencyLimitLayer::new(1))
            .service(slow)),
        app(ServiceBuilder::new()
            .layer(GlobalConcurrencyLimitLayer::new(1))
            .layer(layer())
            .service(slow)),
    ];
    for app in apps {
        let answers: Vec<_> = (0..20)
            .map(|_| {
                let (app, request) = (app.clone(), sign(&clock, "POST", "/orders", "{}"));
                tokio::spawn(async move { send(&app, request).await.0 })
            })
            .collect();
        for answer in answers {
            let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;
            assert_eq!(answer.expect("no permit is lost").unwrap(), 200);
        }
    }
}

#[tokio::test]
async fn a_usual_stack_of_layers_works_on_a_real_socket() {
    let clock = clock();
    let log = Log::captured();
    let handler = async |payload: VerifiedPayload, body: Bytes| {
        assert_eq!(payload.bytes(), &body);
        "a line that compresses well\n".repeat(100)
    };
    let stack = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CorsLayer::permissive())
        .layer(CatchPanicLayer::new())
        .layer(CompressionLayer::new())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            Duration::from_secs(30),
        ))
        .layer(GlobalConcurrencyLimitLayer::new(64))
        .layer(RequestBodyLimitLayer::new(64 * 1024))
        .layer(layer(&clock).build().unwrap().buffered())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(10),
        ));
    let router = Router::new().route("/orders", post(handler)).layer(stack);
    let addr = serve(router).await;

    let mut request = sign(&clock, "POST", "/orders", "{}");
    request
        .headers_mut()
        .insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let wire = to_wire(&request);
    let answer = raw_exchange(addr, &wire).await;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-encoding: gzip"), "{head}");
    assert!(head.contains("cache-control: private, no-store"), "{head}");
    assert!(answer.len() < 1000, "it was compressed");

    let replayed = String::from_utf8_lossy(&raw_exchange(addr, &wire).await).into_owned();
    assert!(replayed.contains("409"), "{replayed}");
    assert!(
        replayed.contains("access-control-allow-origin"),
        "{replayed}"
    );
    let over = sign(&clock, "POST", "/orders", &"x".repeat(65 * 1024));
    assert_eq!(exchange(addr, &to_wire(&over)).await.0, 413);
    assert!(log.text().contains("request_replayed"), "{log:?}");
}

async fn raw_exchange(addr: SocketAddr, wire: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(wire).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer));
    read.await.expect("an answer within 10 seconds").unwrap();
    answer
}

#[tokio::test]
async fn answers_are_compressed_and_decompressed_around_the_layer() {
    let clock = clock();
    let long = "a line that compresses well\n".repeat(100);
    let answer = long.clone();
    let router = Router::new().route("/orders", post(async move |_: VerifiedPayload| answer));
    let layer = || layer(&clock).build().unwrap();
    let outside = app(ServiceBuilder::new()
        .layer(DecompressionLayer::new())
        .layer(CompressionLayer::new())
        .layer(layer())
        .service(router.clone()));
    let inside = app(ServiceBuilder::new()
        .layer(DecompressionLayer::new())
        .layer(layer())
        .layer(CompressionLayer::new())
        .service(router));
    for app in [outside, inside] {
        let request = sign(&clock, "POST", "/orders", "{}");
        assert_eq!(send(&app, request).await, (200, long.clone()));
        let unsigned = request_without_signature();
        assert_eq!(send(&app, unsigned).await, code(401, "signature_missing"));
    }
}

fn request_without_signature() -> Request<String> {
    request("POST", "/orders", "{}")
}

#[tokio::test]
async fn a_limit_outside_answers_what_is_declared_and_the_layer_what_is_not() {
    let clock = clock();
    let app = app(ServiceBuilder::new()
        .layer(RequestBodyLimitLayer::new(8))
        .layer(layer(&clock).build().unwrap().buffered())
        .service(Router::new().route("/orders", post(verified))));
    let mut request = sign(&clock, "POST", "/orders", "12345678");
    let (head, body) = request.clone().into_parts();
    assert_eq!(
        send(&app, Request::from_parts(head, body)).await.0,
        200,
        "as long as the limit"
    );

    // The limit's own answer, before the layer sees the request:
    request
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from_static("9"));
    assert_eq!(
        send(&app, request).await,
        code(413, "length limit exceeded")
    );

    // The layer's, when the limit is met on the way:
    let (head, _) = sign(&clock, "POST", "/orders", "123456789").into_parts();
    let body = Body::new(Script::frames(["12345678", "9"]));
    let request = Request::from_parts(head, body);
    assert_eq!(send(&app, request).await, code(413, "body_too_large"));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_uses_nothing_up_before_the_body_is_there() {
    let clock = clock();
    let app = app(ServiceBuilder::new()
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            Duration::from_secs(1),
        ))
        .layer(layer(&clock).build().unwrap())
        .service(Router::new().route("/orders", post(verified))));
    let request = sign(&clock, "POST", "/orders", "{}");
    let (head, _) = request.clone().into_parts();
    let hangs = Body::new(Script::new([Step::Data("{".into()), Step::Hangs]));
    let late = Request::from_parts(head, hangs);
    assert_eq!(send(&app, late).await, code(408, ""));
    assert_eq!(send(&app, request).await.0, 200, "it is still new");
}

#[tokio::test]
async fn cors_outside_answers_preflights_and_marks_rejections() {
    let clock = clock();
    let layer = || layer(&clock).build().unwrap();
    let router = || Router::new().route("/orders", post(verified));
    let outside = app(router().layer(layer()).layer(CorsLayer::permissive()));
    let inside = app(router().layer(CorsLayer::permissive()).layer(layer()));
    let preflight = || {
        Request::options("/orders")
            .header(HOST, common::HOST)
            .header(ORIGIN_HEADER, "https://shop.example.com")
            .header("access-control-request-method", "POST")
            .body(Body::empty())
            .unwrap()
    };
    let response = outside.clone().oneshot(preflight()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    let unsigned = request_without_signature().map(Body::from);
    let response = outside.clone().oneshot(unsigned).await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(
        response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN),
        "a browser's script can read why"
    );
    // The twin: inside, no preflight ever passes.
    assert_eq!(
        send(&inside, preflight()).await,
        code(401, "signature_missing")
    );
}

// Decompression

/// As [`scheme`], and `content-encoding` is covered.
fn covers_encoding() -> HeaderScheme {
    HeaderScheme::builder("x-signature")
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
            Part::header("content-encoding"),
            Part::Body,
        ]))
        .build()
        .unwrap()
}

/// Compressed by the layer that servers use.
async fn gzip(text: &str) -> Bytes {
    let text = text.to_owned();
    let service = CompressionLayer::new().layer(service_fn(move |_: Request<Body>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(Body::from(text.clone()))))
    }));
    let request = Request::get("/").header(ACCEPT_ENCODING, "gzip");
    let response = service.oneshot(request.body(Body::empty()).unwrap()).await;
    let response = response.unwrap();
    assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn decompression_stands_inside_and_outside_it_breaks_the_signature() {
    let clock = clock();
    let covering = || {
        VerifyLayer::builder(covers_encoding())
            .public_origin(ORIGIN)
            .keys(keys())
            .store(store(&clock))
            .clock(clock.clone())
            .build()
            .unwrap()
    };
    let text = "{\"amount\":1}".repeat(20);
    let compressed = gzip(&text).await;
    let lengths = async |payload: VerifiedPayload, body: Bytes| {
        format!("{} {}", payload.bytes().len(), body.len())
    };
    let router = || Router::new().route("/orders", post(lengths));
    let request = || {
        let request = Request::post("/orders")
            .header(HOST, common::HOST)
            .header(CONTENT_ENCODING, "gzip")
            .body(compressed.clone())
            .unwrap();
        let signer = Signer::new(covers_encoding(), KEY, SECRET).unwrap();
        signer.clock(clock.clone()).sign(request).unwrap()
    };

    // Inside: what was verified is what was sent, and extractors inside see it decompressed.
    let inside = app(router()
        .layer(RequestDecompressionLayer::new())
        .layer(covering()));
    let answer = format!("{} {}", compressed.len(), text.len());
    assert_eq!(send(&inside, request()).await, (200, answer));

    // Outside: the header is taken out, and the bytes are not those that were signed.
    let outside = app(router()
        .layer(covering())
        .layer(RequestDecompressionLayer::new()));
    assert_eq!(
        send(&outside, request()).await,
        code(401, "signature_insufficient")
    );
    // Even where the header is put back:
    let put_back = ServiceBuilder::new()
        .layer(RequestDecompressionLayer::new())
        .map_request(|mut request: Request<_>| {
            request
                .headers_mut()
                .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            request
        })
        .layer(covering().buffered());
    let outside = app(router().layer(put_back));
    assert_eq!(
        send(&outside, request()).await,
        code(401, "signature_invalid")
    );
}

/// `identity` is no coding: it is as if the field were absent, and does not reach the handler
/// unless it was signed.
#[tokio::test]
async fn an_encoding_that_names_no_coding_is_as_if_absent() {
    let clock = clock();
    let rfc9421 = countersign::HttpMessageSignatures::default();
    let builder = || VerifyLayer::builder(rfc9421.clone()).public_origin(common::ORIGIN);
    let by_rfc9421 = builder()
        .keys(keys())
        .store(store(&clock))
        .clock(clock.clone());
    let signer_of_it = Signer::new(rfc9421.clone(), common::KEY, common::SECRET).unwrap();
    let signer_of_it = signer_of_it.clock(clock.clone());
    let github = VerifyLayer::builder(countersign::webhooks::GitHub::new());
    let github = github
        .secret(SECRET)
        .store(store(&clock))
        .clock(clock.clone());
    let signer_of_github =
        Signer::with_secret(countersign::webhooks::GitHub::new(), SECRET).unwrap();
    let seen = async |_: VerifiedPayload, headers: HeaderMap| {
        format!(
            "{:?}",
            headers
                .get_all("content-encoding")
                .iter()
                .collect::<Vec<_>>()
        )
    };
    for (layer, signer) in [
        (layer(&clock).build().unwrap(), signer(&clock)),
        (by_rfc9421.build().unwrap(), signer_of_it.clone()),
        (github.build().unwrap(), signer_of_github),
    ] {
        let app = app(Router::new().route("/orders", post(seen)).layer(layer));
        for (at, lines) in [
            &["identity"][..],
            &["IDENTITY"],
            &["identity, identity"],
            &["identity", "identity"],
            &[""],
        ]
        .into_iter()
        .enumerate()
        {
            let plain = request("POST", "/orders", &format!("{{\"n\":{at}}}"));
            let mut signed = signer.sign(plain).unwrap();
            for line in lines {
                signed
                    .headers_mut()
                    .append("content-encoding", line.parse().unwrap());
            }
            let answer = send(&app, signed).await;
            assert_eq!(answer, (200, "[]".to_owned()), "{lines:?}");
        }
    }
    // A signed request reaches it.
    let app = app(Router::new().route("/orders", post(seen)).layer(
        builder()
            .keys(keys())
            .store(store(&clock))
            .clock(clock.clone())
            .build()
            .unwrap(),
    ));
    let mut covered = request("POST", "/orders", "{}");
    covered
        .headers_mut()
        .insert("content-encoding", "identity".parse().unwrap());
    let answer = send(&app, signer_of_it.sign(covered).unwrap()).await;
    assert_eq!(answer, (200, r#"["identity"]"#.to_owned()));
}

/// HTTP/2 may send `cookie` in several lines, and everybody behind has the one line (RFC 9113,
/// section 8.2.3).
#[tokio::test]
async fn the_lines_of_a_cookie_over_http2_are_one_value() {
    let clock = clock();
    let house = HeaderScheme::builder("x-signature")
        .fixed_key_id(KEY)
        .time("x-timestamp")
        .signs(Part::lines([
            Part::header("cookie"),
            Part::Time,
            Part::Body,
        ]))
        .build()
        .unwrap();
    let cookie = countersign::rfc9421::Component::header("cookie").unwrap();
    let rfc9421 = countersign::HttpMessageSignatures::builder()
        .covers(cookie)
        .build()
        .unwrap();
    let seen = async |payload: VerifiedPayload, headers: HeaderMap| {
        let lines: Vec<_> = headers.get_all("cookie").iter().collect();
        format!("{:?} {lines:?}", payload.header("cookie").unwrap())
    };
    let serve_with = async |layer: countersign::request::VerifierBuilder<VerifyLayer>| {
        let layer = layer.keys(keys()).store(store(&clock)).clock(clock.clone());
        serve(
            Router::new()
                .route("/orders", post(seen))
                .layer(layer.build().unwrap()),
        )
        .await
    };
    let of_house = serve_with(VerifyLayer::builder(house.clone())).await;
    let of_rfc9421 = VerifyLayer::builder(rfc9421.clone()).public_origin(common::ORIGIN);
    let of_rfc9421 = serve_with(of_rfc9421).await;
    let by = |signer: Signer| signer.clock(clock.clone());
    let told = r#""a=1; b=2; c=3" ["a=1; b=2; c=3"]"#.to_owned();
    for (addr, signer) in [
        (of_house, by(Signer::new(house, KEY, SECRET).unwrap())),
        (of_rfc9421, by(Signer::new(rfc9421, KEY, SECRET).unwrap())),
    ] {
        let request = |cookies: &[&str], body: &str| {
            let mut request = Request::post("https://api.example.com/orders");
            for cookie in cookies {
                request = request.header("cookie", *cookie);
            }
            request.body(body.to_owned()).unwrap()
        };
        let mut split = signer.sign(request(&["a=1; b=2; c=3"], "{}")).unwrap();
        split
            .headers_mut()
            .insert("cookie", HeaderValue::from_static("a=1"));
        for crumb in ["b=2", "c=3"] {
            split
                .headers_mut()
                .append("cookie", HeaderValue::from_static(crumb));
        }
        assert_eq!(over_http2(addr, split.clone()).await, (200, told.clone()));
        // A signer joins them too.
        let signed = signer.sign(request(&["a=1", "b=2; c=3"], "[]")).unwrap();
        assert_eq!(signed.headers().get_all("cookie").iter().count(), 1);
        assert_eq!(over_http2(addr, signed).await, (200, told.clone()));
        // In another order, they are another cookie.
        let mut swapped = signer.sign(request(&["a=1; b=2"], "3")).unwrap();
        swapped
            .headers_mut()
            .insert("cookie", HeaderValue::from_static("b=2"));
        swapped
            .headers_mut()
            .append("cookie", HeaderValue::from_static("a=1"));
        assert_eq!(
            over_http2(addr, swapped).await,
            code(401, "signature_invalid")
        );
        // HTTP/1.1 knows no such lines.
        let mut first = split;
        *first.uri_mut() = "/orders".parse().unwrap();
        first
            .headers_mut()
            .insert(HOST, HeaderValue::from_static(common::HOST));
        assert!(over_http1(addr, first).await.0 >= 400);
    }
}

#[tokio::test]
async fn an_encoding_that_is_not_covered_is_refused() {
    let clock = clock();
    let app = app(echo(&Effects::default()).layer(layer(&clock).build().unwrap()));
    let mut request = sign(&clock, "POST", "/orders", "{}");
    request
        .headers_mut()
        .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(
        send(&app, request).await,
        code(401, "signature_insufficient")
    );
}

// Connections

/// Serves HTTP/1 and HTTP/2 on a real socket, with hyper alone.
async fn serve_hyper<S, R>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = http::Response<R>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    R: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let service = service
                .clone()
                .map_request(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(PeerAddr::from(peer));
                    request
                });
            tokio::spawn(async move {
                let service = TowerToHyperService::new(service);
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    addr
}

async fn hyper_echo(
    request: Request<Full<Bytes>>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let payload = request.extensions().get::<VerifiedPayload>().unwrap();
    let text = format!(
        "{} {} {}",
        payload.authority().unwrap(),
        payload.path().unwrap(),
        payload.bytes().len()
    );
    let (inner, verified) = (request.body().clone(), payload.bytes().clone());
    let inner = inner.collect().await?.to_bytes();
    assert_eq!(inner.as_ptr(), verified.as_ptr());
    Ok(http::Response::new(Full::from(text)))
}

/// Sends over one fresh connection of HTTP/2, where `:authority` is what the URI says.
async fn over_http2(addr: SocketAddr, request: Request<String>) -> (u16, String) {
    let stream = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let connected = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (mut sender, connection) = connected.await.unwrap();
    tokio::spawn(connection);
    verdict(sender.send_request(request).await.unwrap()).await
}

async fn over_http1(addr: SocketAddr, request: Request<String>) -> (u16, String) {
    let stream = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let connected = hyper::client::conn::http1::handshake(stream);
    let (mut sender, connection) = connected.await.unwrap();
    tokio::spawn(connection);
    verdict(sender.send_request(request).await.unwrap()).await
}

fn for_http2(clock: &ManualClock, uri: &str, body: &str) -> Request<String> {
    let request = Request::post(uri)
        .header("content-type", "application/json")
        .body(body.to_owned())
        .unwrap();
    signer(clock).sign(request).unwrap()
}

#[tokio::test]
async fn plain_hyper_serves_http1_and_http2_through_the_buffered_layer() {
    let clock = clock();
    let layer = layer(&clock).build().unwrap().buffered();
    let addr = serve_hyper(layer.layer(service_fn(hyper_echo))).await;
    let large = "x".repeat(300_000);

    let request = sign(&clock, "POST", "/orders", &large);
    let answer = code(200, "api.example.com /orders 300000");
    assert_eq!(over_http1(addr, request.clone()).await, answer);
    assert_eq!(
        over_http1(addr, request).await,
        code(409, "request_replayed")
    );

    let request = for_http2(&clock, "https://api.example.com/orders", &large);
    assert!(!request.headers().contains_key(HOST));
    assert_eq!(over_http2(addr, request.clone()).await, answer);
    assert_eq!(
        over_http2(addr, request.clone()).await,
        code(409, "request_replayed")
    );
    // The same signed request is one, on whichever protocol it comes.
    let (mut head, body) = request.into_parts();
    head.uri = "/orders".parse().unwrap();
    head.headers
        .insert(HOST, HeaderValue::from_static(common::HOST));
    let request = Request::from_parts(head, body);
    assert_eq!(
        over_http1(addr, request).await,
        code(409, "request_replayed")
    );
}

#[tokio::test]
async fn the_authority_of_http2_counts_as_host_does() {
    let clock = clock();
    let layer = layer(&clock).build().unwrap();
    let by_hyper = serve_hyper(layer.clone().buffered().layer(service_fn(hyper_echo))).await;
    let by_axum = serve(Router::new().nest(
        "/orders",
        Router::new().route("/7", post(verified)).layer(layer),
    ))
    .await;
    for addr in [by_hyper, by_axum] {
        let served = for_http2(&clock, "https://API.example.com:443/orders/7", "{}");
        assert_eq!(over_http2(addr, served).await.0, 200);

        let other = for_http2(&clock, "https://other.example.com/orders/7", "{}");
        assert_eq!(
            over_http2(addr, other).await,
            code(421, "authority_not_served")
        );

        // Signed for another authority, and sent to ours:
        let mut moved = for_http2(&clock, "https://other.example.com/orders/7", "{}");
        *moved.uri_mut() = "https://api.example.com/orders/7".parse().unwrap();
        assert_eq!(
            over_http2(addr, moved).await,
            code(401, "signature_invalid")
        );

        // `Host` beside `:authority`: the same, or malformed.
        for (host, verdict) in [("api.example.com", 200), ("other.example.com", 400)] {
            let mut both = for_http2(&clock, "https://api.example.com/orders/7", "{}");
            both.headers_mut().insert(HOST, host.parse().unwrap());
            assert_eq!(over_http2(addr, both).await.0, verdict, "{host}");
        }
    }
}

#[tokio::test]
async fn host_and_the_absolute_form_are_read_alike_in_http1() {
    let clock = clock();
    let effects = Effects::default();
    let addr = serve(echo(&effects).layer(layer(&clock).build().unwrap())).await;
    let send = async |target: &str, hosts: &[&str]| {
        let mut request = sign(&clock, "POST", "/orders", "{}");
        *request.uri_mut() = target.parse().unwrap();
        request.headers_mut().remove(HOST);
        for host in hosts {
            request.headers_mut().append(HOST, host.parse().unwrap());
        }
        exchange(addr, &to_wire(&request)).await
    };
    assert_eq!(send("/orders", &["Api.Example.com:443"]).await.0, 200);
    let absolute = "https://api.example.com/orders";
    assert_eq!(send(absolute, &["api.example.com"]).await.0, 200);
    assert_eq!(
        send(absolute, &["other.example.com"]).await,
        code(400, "signature_malformed")
    );
    assert_eq!(
        send("/orders", &["api.example.com", "api.example.com"]).await,
        code(400, "signature_malformed")
    );
    assert_eq!(
        send("/orders", &[]).await,
        code(421, "authority_not_served")
    );
    assert_eq!(effects.count(), 2);
}

#[tokio::test]
async fn a_forwarded_authority_counts_from_a_trusted_peer_and_from_nobody_else() {
    let clock = clock();
    let layer = |network: &str| {
        let forwarded = Forwarded::host("x-forwarded-host").unwrap();
        layer(&clock)
            .forwarded(forwarded.trust_network(network).unwrap())
            .build()
            .unwrap()
    };
    let router = || Router::new().route("/orders", post(verified));
    // The request as a proxy passes it on.
    let forwarded = || {
        let mut request = sign(&clock, "POST", "/orders", "{}");
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_static("internal:8080"));
        headers.insert("x-forwarded-host", HeaderValue::from_static(common::HOST));
        request
    };
    let refused = code(421, "authority_not_served");

    // Axum, by its connect info.
    let trusting = serve(router().layer(layer("127.0.0.0/8"))).await;
    let other = serve(router().layer(layer("10.0.0.0/8"))).await;
    assert_eq!(exchange(trusting, &to_wire(&forwarded())).await.0, 200);
    assert_eq!(exchange(other, &to_wire(&forwarded())).await, refused);

    // Plain hyper, by `PeerAddr`.
    let service = |network| layer(network).buffered().layer(service_fn(hyper_echo));
    let trusting = serve_hyper(service("127.0.0.1")).await;
    let other = serve_hyper(service("127.0.0.2")).await;
    assert_eq!(over_http1(trusting, forwarded()).await.0, 200);
    assert_eq!(over_http1(other, forwarded()).await, refused);

    // In a list, the value that the trusted proxy wrote counts: the last one.
    let listed = |lines: &[&str]| {
        let mut request = forwarded();
        request.headers_mut().remove("x-forwarded-host");
        for line in lines {
            let line = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            request.headers_mut().append("x-forwarded-host", line);
        }
        request
    };
    let ours = common::HOST;
    for (lines, expected) in [
        (vec![format!("other.example, {ours}")], 200),
        (vec![format!("é.example, {ours}")], 200),
        (vec!["other.example".into(), ours.into()], 200),
        (vec![format!("{ours}, other.example")], 421),
        (vec![ours.into(), "other.example".into()], 421),
        (vec![format!("{ours},")], 400),
    ] {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let request = listed(&lines);
        let addr = serve(router().layer(layer("127.0.0.0/8"))).await;
        assert_eq!(
            exchange(addr, &to_wire(&request)).await.0,
            expected,
            "{lines:?}"
        );
    }

    // Without an address nobody is trusted.
    let app = app(router().layer(layer("0.0.0.0/0")));
    assert_eq!(send(&app, forwarded()).await, refused);
}

#[tokio::test]
async fn a_request_that_its_head_refuses_is_not_asked_for_its_body() {
    let clock = clock();
    let effects = Effects::default();
    let addr = serve(echo(&effects).layer(layer(&clock).build().unwrap())).await;
    let expecting = |signed: bool| {
        let mut request = sign(&clock, "POST", "/orders", "{}");
        let headers = request.headers_mut();
        headers.insert("expect", HeaderValue::from_static("100-continue"));
        if !signed {
            headers.insert("x-timestamp", HeaderValue::from_static("1"));
        }
        let wire = to_wire(&request);
        let head_len = wire.len() - 2;
        (wire[..head_len].to_vec(), wire[head_len..].to_vec())
    };

    // The body is never sent: the answer comes all the same.
    let (head, _) = expecting(false);
    let answer = first_answer(addr, &head, None).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");

    // The twin: a request that may pass is asked for it.
    let (head, body) = expecting(true);
    let answer = first_answer(addr, &head, Some(&body)).await;
    assert!(answer.starts_with("HTTP/1.1 100"), "{answer}");
    assert!(answer.contains("HTTP/1.1 200"), "{answer}");
    assert_eq!(effects.count(), 1);
}

/// Returns what is answered to a head; then, if there is a body to send, to that.
async fn first_answer(addr: SocketAddr, head: &[u8], body: Option<&[u8]>) -> String {
    let answer = async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(head).await.unwrap();
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await.unwrap();
        answer.truncate(length);
        if let Some(body) = body {
            stream.write_all(body).await.unwrap();
            stream.read_to_end(&mut answer).await.unwrap();
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;
    answer.expect("an answer within 10 seconds")
}

// The request of the inner service, and the answer of the sender

#[tokio::test]
async fn extractors_of_axum_read_the_verified_bytes() {
    #[derive(serde::Deserialize)]
    struct Order {
        id: u64,
    }
    let clock = clock();
    let router = Router::new()
        .route(
            "/json",
            post(async |Json(order): Json<Order>| order.id.to_string()),
        )
        .route(
            "/form",
            post(async |Form(order): Form<Order>| order.id.to_string()),
        )
        .route(
            "/query",
            get(async |Query(order): Query<Order>| order.id.to_string()),
        )
        .route(
            "/path/{id}",
            get(async |Path(id): Path<u64>| id.to_string()),
        )
        .route("/string", post(async |text: String| text))
        .route(
            "/bytes",
            post(async |payload: VerifiedPayload, body: Bytes| {
                assert_eq!(body.as_ptr(), payload.bytes().as_ptr());
                body
            }),
        )
        .layer(layer(&clock).build().unwrap());
    let app = app(router);
    for (method, target, content_type, body, answer) in [
        ("POST", "/json", "application/json", "{\"id\":7}", "7"),
        (
            "POST",
            "/form",
            "application/x-www-form-urlencoded",
            "id=7",
            "7",
        ),
        ("GET", "/query?id=7", "text/plain", "", "7"),
        ("GET", "/path/7", "text/plain", "", "7"),
        ("POST", "/string", "text/plain", "text", "text"),
        ("POST", "/bytes", "text/plain", "bytes", "bytes"),
    ] {
        let mut request = request(method, target, body);
        request
            .headers_mut()
            .insert("content-type", content_type.parse().unwrap());
        let request = signer(&clock).sign(request).unwrap();
        assert_eq!(send(&app, request).await, code(200, answer), "{target}");
    }
}

#[tokio::test]
async fn an_answer_is_private_unless_its_handler_says_otherwise() {
    let clock = clock();
    let router = Router::new()
        .route("/silent", post(async || "x"))
        .route("/failing", post(async || StatusCode::INTERNAL_SERVER_ERROR))
        .route(
            "/own",
            post(async || ([(CACHE_CONTROL, "private, max-age=60")], "x")),
        )
        .layer(layer(&clock).build().unwrap());
    let cache = async |request: Request<Body>| {
        let response = router.clone().oneshot(request).await.unwrap();
        let mut values = response.headers().get_all(CACHE_CONTROL).iter();
        let value = values.next().expect("a value").clone();
        assert!(values.next().is_none(), "one value");
        value
    };
    for (path, expected) in [
        ("/silent", "private, no-store"),
        ("/failing", "private, no-store"),
        ("/nowhere", "private, no-store"),
        ("/own", "private, max-age=60"),
    ] {
        assert_eq!(
            cache(signed(&clock, "POST", path, "{}")).await,
            expected,
            "{path}"
        );
    }
    let unsigned = request_without_signature().map(Body::from);
    assert_eq!(cache(unsigned).await, "no-store");
}

/// Answers with the headers that it sees, a line each.
async fn list(_: VerifiedPayload, headers: HeaderMap) -> String {
    let mut lines: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines.concat()
}

async fn headers_seen(layer: VerifyLayer, request: Request<String>) -> String {
    let app = app(Router::new().route("/orders", any(list)).layer(layer));
    let (status, headers) = send(&app, request).await;
    assert_eq!(status, 200, "{headers}");
    headers
}

#[tokio::test]
async fn headers_that_are_not_covered_can_be_left_behind() {
    let clock = clock();
    let mut request = sign(&clock, "POST", "/orders", "{}");
    let headers = request.headers_mut();
    headers.insert("x-tenant", HeaderValue::from_static("another"));
    headers.insert("cookie", HeaderValue::from_static("session=1"));
    let built = layer(&clock).build().unwrap();
    let seen = headers_seen(built.clone().strip_uncovered_headers(), request.clone()).await;
    let names: Vec<_> = seen.lines().filter_map(|l| l.split(':').next()).collect();
    assert_eq!(
        names,
        [
            "content-length",
            "content-type",
            "x-key-id",
            "x-nonce",
            "x-timestamp"
        ]
    );
    assert!(seen.contains("content-length: 2\n"), "{seen}");

    // The twin: by default they are all there.
    let built = layer(&clock).build().unwrap();
    let seen = headers_seen(built, request).await;
    for name in ["x-tenant", "cookie", "host", "x-signature"] {
        assert!(seen.contains(name), "{name} in {seen}");
    }
}

#[tokio::test]
async fn a_method_that_overrides_another_is_taken_out_unless_it_is_covered() {
    let clock = clock();
    for name in [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ] {
        let mut request = sign(&clock, "POST", "/orders", "{}");
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static("DELETE"));
        let seen = headers_seen(layer(&clock).build().unwrap(), request).await;
        assert!(!seen.contains(name), "{seen}");
    }
    // Covered, it is the sender's own word.
    let covering = HeaderScheme::builder("x-signature")
        .fixed_key_id(KEY)
        .time("x-timestamp")
        .signs(Part::lines([
            Part::Time,
            Part::header("x-http-method-override"),
            Part::Body,
        ]))
        .build()
        .unwrap();
    let layer = VerifyLayer::builder(covering.clone())
        .keys(keys())
        .store(store(&clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let mut request = request("POST", "/orders", "{}");
    request
        .headers_mut()
        .insert("x-http-method-override", HeaderValue::from_static("DELETE"));
    let signer = Signer::new(covering, KEY, SECRET).unwrap();
    let request = signer.clock(clock.clone()).sign(request).unwrap();
    let seen = headers_seen(layer, request).await;
    assert!(seen.contains("x-http-method-override: DELETE\n"), "{seen}");
}

#[tokio::test]
async fn a_chunked_body_reaches_the_handler_with_its_length() {
    let clock = clock();
    let router = Router::new()
        .route("/orders", post(list))
        .layer(layer(&clock).build().unwrap());
    let addr = serve(router).await;
    let mut request = sign(&clock, "POST", "/orders", "{\"amount\":1}");
    let headers = request.headers_mut();
    headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    headers.insert("trailer", HeaderValue::from_static("x-checksum"));
    let (head, body) = request.into_parts();
    let mut wire = to_wire(&Request::from_parts(head, ""));
    for chunk in body.as_bytes().chunks(5) {
        wire.extend(format!("{:x}\r\n", chunk.len()).bytes());
        wire.extend(chunk);
        wire.extend(b"\r\n");
    }
    wire.extend(b"0\r\nx-checksum: 1\r\n\r\n");
    let (status, seen) = exchange(addr, &wire).await;
    assert_eq!(status, 200, "{seen}");
    assert!(seen.contains("content-length: 12\n"), "{seen}");
    for gone in ["transfer-encoding", "trailer", "x-checksum"] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
}

#[tokio::test]
async fn two_ways_to_tell_the_length_are_refused() {
    let clock = clock();
    let effects = Effects::default();
    let layer = layer(&clock).build().unwrap();
    let addr = serve(echo(&effects).layer(layer.clone())).await;
    let mut request = sign(&clock, "POST", "/orders", "");
    let headers = request.headers_mut();
    headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
    // Where a server in front passes it on, the layer refuses it; hyper does so itself, or has
    // taken one of the two out, and then the body is read one way and its signature decides.
    let app = app(echo(&effects).layer(layer));
    assert_eq!(
        send(&app, request.clone()).await,
        code(400, "signature_malformed")
    );
    let mut wire = to_wire(&request);
    wire.extend(b"5\r\nhello\r\n0\r\n\r\n");
    let (status, _) = exchange(addr, &wire).await;
    assert!((400..500).contains(&status), "{status}");
    assert_eq!(effects.count(), 0);
}
