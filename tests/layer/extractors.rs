//! Extractors give what was verified, and answer for themselves where they cannot.

use std::fmt::Debug;

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, Path},
    response::Response,
    routing::{any, get, post},
};
use countersign::{
    HeaderScheme, Part, Signer, VerifiedForm, VerifiedJson, VerifiedPath, VerifiedPayload,
    VerifiedQuery, VerifyLayer, axum::ExtractRejection, store::NonceKind, testing::ManualClock,
};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use tower::{Layer as _, ServiceBuilder, ServiceExt as _};

use crate::common::{log::Log, *};

#[derive(Debug, Deserialize, PartialEq)]
struct Order {
    id: u64,
    name: String,
}

fn shows<T: Debug>(value: T) -> String {
    format!("{value:?}")
}

async fn send(router: &Router, request: Request<Body>) -> Response {
    router.clone().oneshot(request).await.unwrap()
}

fn code(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn covered(clock: &ManualClock) -> VerifyLayer {
    layer(clock).build().unwrap()
}

/// A layer whose scheme covers time and body alone, and a signer for it.
fn covers_little(clock: &ManualClock) -> (VerifyLayer, Signer) {
    let scheme = HeaderScheme::builder("x-signature")
        .fixed_key_id(KEY)
        .time("x-timestamp")
        .signs(Part::joined(".", [Part::Time, Part::Body]))
        .build()
        .unwrap();
    let layer = VerifyLayer::builder(scheme.clone())
        .keys(keys())
        .store(store(clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let signer = Signer::new(scheme, KEY, SECRET).unwrap();
    (layer, signer.clock(clock.clone()))
}

// What they give

#[tokio::test]
async fn a_payload_tells_all_that_was_covered() {
    let clock = clock();
    let router = Router::new()
        .route(
            "/orders/{id}",
            post(async |payload: VerifiedPayload| {
                assert_eq!(payload.bytes(), "{\"id\":7}");
                assert_eq!(payload.json::<serde_json::Value>().unwrap()["id"], 7);
                assert_eq!(payload.key_id().as_str(), KEY);
                assert_eq!(payload.signed_at(), Some(at(NOW)));
                assert_eq!(payload.expires_at(), None);
                let nonce = payload.nonce().unwrap();
                assert_eq!(nonce.kind(), NonceKind::Covered);
                assert_eq!(nonce.as_bytes(), b"a-nonce");
                assert_eq!(payload.method(), Some(&Method::POST));
                assert_eq!(payload.authority(), Some(HOST));
                assert_eq!(payload.path(), Some("/orders/7"));
                assert_eq!(payload.query(), Some("a=1"));
                for name in ["content-type", "Content-Type"] {
                    let value = payload.header(name).unwrap();
                    assert_eq!(value, "application/json");
                }
                assert_eq!(payload.header("x-timestamp").unwrap(), "1700000000");
                // There, but not covered:
                assert_eq!(payload.header("x-tenant"), None);
                assert_eq!(payload.header("host"), None);
            }),
        )
        .layer(covered(&clock));
    let request = request("POST", "/orders/7?a=1", "{\"id\":7}");
    let mut request = signer(&clock).sign_with_nonce(request, "a-nonce").unwrap();
    request
        .headers_mut()
        .insert("x-tenant", HeaderValue::from_static("another"));
    assert_eq!(send(&router, request.map(Body::from)).await.status(), 200);
}

#[tokio::test]
async fn what_was_not_covered_answers_none() {
    let clock = clock();
    let (layer, signer) = covers_little(&clock);
    let router = Router::new()
        .route(
            "/orders/{id}",
            post(async |payload: VerifiedPayload| {
                assert_eq!(payload.method(), None);
                assert_eq!(payload.authority(), None);
                assert_eq!(payload.path(), None);
                assert_eq!(payload.query(), None);
                assert_eq!(payload.header("content-type"), None);
                assert_eq!(payload.header("host"), None);
                assert_eq!(payload.header("x-signature"), None);
                assert_eq!(payload.bytes(), "{}");
                assert_eq!(payload.key_id().as_str(), KEY);
                assert_eq!(payload.nonce().unwrap().kind(), NonceKind::Digest);
            }),
        )
        .layer(layer);
    let request = signer.sign(request("POST", "/orders/7?a=1", "{}")).unwrap();
    assert_eq!(send(&router, request.map(Body::from)).await.status(), 200);
}

#[tokio::test]
async fn each_part_answers_for_itself_alone() {
    let clock = clock();
    for (part, expected) in [
        (Part::Method, [true, false, false, false, false]),
        (Part::Authority, [false, true, false, false, false]),
        (Part::Path, [false, false, true, false, false]),
        (Part::Query, [false, false, false, true, false]),
        (Part::PathAndQuery, [false, false, true, true, false]),
        (
            Part::header("content-type"),
            [false, false, false, false, true],
        ),
    ] {
        let scheme = HeaderScheme::builder("x-signature")
            .fixed_key_id(KEY)
            .time("x-timestamp")
            .signs(Part::lines([part.clone(), Part::Time, Part::Body]))
            .build()
            .unwrap();
        let layer = VerifyLayer::builder(scheme.clone())
            .public_origin(ORIGIN)
            .keys(keys())
            .store(store(&clock))
            .clock(clock.clone())
            .build()
            .unwrap();
        let answers = async |payload: VerifiedPayload| {
            shows([
                payload.method().is_some(),
                payload.authority().is_some(),
                payload.path().is_some(),
                payload.query().is_some(),
                payload.header("content-type").is_some(),
            ])
        };
        let router = Router::new().route("/orders", post(answers)).layer(layer);
        let signer = Signer::new(scheme, KEY, SECRET).unwrap();
        let signer = signer.clock(clock.clone());
        let request = signer.sign(request("POST", "/orders?a=1", "{}")).unwrap();
        let response = send(&router, request.map(Body::from)).await;
        let answer = format!("{expected:?}");
        assert_eq!(verdict(response).await, (200, answer), "{part:?}");
    }
}

#[tokio::test]
async fn json_and_form_are_read_from_the_verified_bytes() {
    let clock = clock();
    let router = Router::new()
        .route(
            "/json",
            post(async |VerifiedJson(o): VerifiedJson<Order>| shows(o)),
        )
        .route(
            "/form",
            post(async |VerifiedForm(o): VerifiedForm<Order>| shows(o)),
        )
        .layer(covered(&clock));
    let order = "Order { id: 7, name: \"a b\" }";
    for (path, body, answer) in [
        ("/json", "{\"id\":7,\"name\":\"a b\"}", (200, order)),
        // Two members of one name, which two readers could read differently:
        (
            "/json",
            "{\"id\":7,\"id\":8,\"name\":\"x\"}",
            (422, "payload_unprocessable"),
        ),
        (
            "/json",
            "{\"id\":\"7\",\"name\":\"x\"}",
            (422, "payload_unprocessable"),
        ),
        ("/json", "{\"id\":7}", (422, "payload_unprocessable")),
        ("/json", "[]", (422, "payload_unprocessable")),
        ("/json", "{\"id\":7,", (400, "payload_malformed")),
        (
            "/json",
            "{\"id\":7,\"name\":\"x\"} trailing",
            (400, "payload_malformed"),
        ),
        ("/json", "", (400, "payload_malformed")),
        ("/json", "\u{feff}{}", (400, "payload_malformed")),
        ("/form", "id=7&name=a+b", (200, order)),
        ("/form", "id=7&name=a%20b", (200, order)),
        ("/form", "id=7&id=8&name=x", (422, "payload_unprocessable")),
        ("/form", "id=x&name=x", (422, "payload_unprocessable")),
        ("/form", "", (422, "payload_unprocessable")),
    ] {
        let response = send(&router, signed(&clock, "POST", path, body)).await;
        assert_eq!(
            verdict(response).await,
            code(answer.0, answer.1),
            "{path} {body}"
        );
    }
}

#[tokio::test]
async fn json_that_is_no_utf8_or_too_deep_is_malformed() {
    let clock = clock();
    let router = Router::new()
        .route(
            "/",
            post(async |VerifiedJson(_): VerifiedJson<serde_json::Value>| ()),
        )
        .layer(covered(&clock));
    let too_deep = "[".repeat(100_000).into_bytes();
    for body in [b"\"\xff\"".to_vec(), too_deep] {
        let (head, _) = request("POST", "/", "").into_parts();
        let request = signer(&clock)
            .sign(Request::from_parts(head, body))
            .unwrap();
        let response = send(&router, request.map(Body::from)).await;
        assert_eq!(verdict(response).await, code(400, "payload_malformed"));
    }
}

/// `JSON.stringify` of JavaScript writes them, and no Rust string can hold them.
#[tokio::test]
async fn json_with_half_of_a_surrogate_pair_is_refused_in_words() {
    let clock = clock();
    let router = Router::new()
        .route(
            "/",
            post(async |VerifiedJson(v): VerifiedJson<serde_json::Value>| shows(v)),
        )
        .route(
            "/map",
            post(async |VerifiedJson(o): VerifiedJson<Order>| shows(o)),
        )
        .layer(covered(&clock));
    for (path, body) in [
        ("/", r#"{"a":"\ud800"}"#),
        ("/", r#"{"a":"\udc00"}"#),
        ("/", r#"{"a":"\ud83d\u0041"}"#),
        ("/", r#"{"\ud800":1}"#),
        ("/map", r#"{"id":7,"name":"\udfff"}"#),
        ("/map", r#"{"id":7,"name":"a","\ud800":1}"#),
    ] {
        let response = send(&router, signed(&clock, "POST", path, body)).await;
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let said = problem["detail"].as_str().unwrap();
        assert_eq!(problem["code"], "payload_unprocessable", "{body}");
        assert!(
            said.contains("one half of a surrogate pair"),
            "{body}: {said}"
        );
    }
    let whole = send(&router, signed(&clock, "POST", "/", r#""\ud83d\ude00""#)).await;
    assert_eq!(verdict(whole).await.0, 200);
}

#[tokio::test]
async fn the_query_is_read_as_it_was_signed() {
    let clock = clock();
    let router = Router::new()
        .route(
            "/",
            get(async |VerifiedQuery(o): VerifiedQuery<Order>| shows(o)),
        )
        .route(
            "/pairs",
            get(async |VerifiedQuery(p): VerifiedQuery<Vec<(String, String)>>| shows(p)),
        )
        .layer(covered(&clock));
    for (target, answer) in [
        ("/?id=7&name=a%20b", (200, "Order { id: 7, name: \"a b\" }")),
        ("/?id=x&name=a", (422, "payload_unprocessable")),
        ("/?id=7&id=8&name=a", (422, "payload_unprocessable")),
        ("/", (422, "payload_unprocessable")),
        ("/pairs", (200, "[]")),
        (
            "/pairs?b=1&a=2&b=3",
            (200, "[(\"b\", \"1\"), (\"a\", \"2\"), (\"b\", \"3\")]"),
        ),
    ] {
        let response = send(&router, signed(&clock, "GET", target, "")).await;
        assert_eq!(
            verdict(response).await,
            code(answer.0, answer.1),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_path_is_taken_apart_as_axum_does_it() {
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "shown by `Debug`")]
    struct Names {
        shop: String,
        id: u32,
    }
    type Two = (String, u32);
    let clock = clock();
    let both = |VerifiedPath(signed): VerifiedPath<String>, Path(routed): Path<String>| async move {
        assert_eq!(signed, routed);
        shows(signed)
    };
    let router = Router::new()
        .route("/one/{x}", get(both))
        .route("/wild/{*rest}", get(both))
        .route(
            "/two/{shop}/{id}",
            get(async |VerifiedPath(p): VerifiedPath<Two>| shows(p)),
        )
        .route(
            "/names/{shop}/{id}",
            get(async |VerifiedPath(p): VerifiedPath<Names>| shows(p)),
        )
        .route(
            "/none",
            get(async |VerifiedPath(p): VerifiedPath<()>| shows(p)),
        )
        .layer(covered(&clock));
    for (path, answer) in [
        ("/one/abc", (200, "\"abc\"")),
        ("/one/a%20b%2Fc", (200, "\"a b/c\"")),
        ("/one/%E2%82%AC", (200, "\"€\"")),
        ("/one/%252e", (200, "\"%2e\"")),
        ("/one/..", (200, "\"..\"")),
        ("/one/%FF", (400, "payload_malformed")),
        ("/wild/a/b//c", (200, "\"a/b//c\"")),
        ("/wild/a%2Fb/%2e%2e", (200, "\"a/b/..\"")),
        ("/two/x/7", (200, "(\"x\", 7)")),
        ("/two/x/y", (422, "payload_unprocessable")),
        ("/names/x/7", (200, "Names { shop: \"x\", id: 7 }")),
        ("/none", (200, "()")),
    ] {
        let response = send(&router, signed(&clock, "GET", path, "")).await;
        assert_eq!(verdict(response).await, code(answer.0, answer.1), "{path}");
    }
}

#[tokio::test]
async fn a_path_is_verified_wherever_the_router_is_nested() {
    let clock = clock();
    let show = async |VerifiedPath(p): VerifiedPath<Vec<String>>| shows(p);
    let orders = || Router::new().route("/orders/{id}/{*rest}", get(show));
    let prefixed = VerifyLayer::builder(scheme())
        .public_origin("https://api.example.com/api/v1")
        .keys(keys())
        .store(store(&clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let places = [
        (
            "outside",
            "",
            Router::new()
                .nest("/{shop}", orders())
                .layer(covered(&clock)),
        ),
        (
            "inside",
            "",
            Router::new().nest("/{shop}", orders().layer(covered(&clock))),
        ),
        (
            "two nests",
            "",
            Router::new().nest(
                "/{shop}",
                Router::new().nest("/orders", {
                    Router::new()
                        .route("/{id}/{*rest}", get(show))
                        .layer(covered(&clock))
                }),
            ),
        ),
        (
            "around the router",
            "",
            Router::new()
                .fallback_service(covered(&clock).layer(Router::new().nest("/{shop}", orders()))),
        ),
        (
            "behind a proxy that takes off a prefix",
            "/api/v1",
            Router::new().nest("/{shop}", orders()).layer(prefixed),
        ),
    ];
    for (place, prefix, router) in places {
        let path = "/a%20b/orders/7/x/y";
        let request = request("GET", &format!("{prefix}{path}"), "");
        let mut request = signer(&clock).sign(request).unwrap().map(Body::from);
        *request.uri_mut() = path.parse().unwrap();
        let answer = code(200, "[\"a b\", \"7\", \"x/y\"]");
        assert_eq!(
            verdict(send(&router, request).await).await,
            answer,
            "{place}"
        );
    }
}

#[tokio::test]
async fn a_wildcard_nest_of_a_service_has_no_route_to_match() {
    // `nest_service` with what is no router: the handler has no `MatchedPath`, and the extractor
    // says so instead of guessing.
    let clock = clock();
    let log = Log::captured();
    let service = tower::service_fn(async |request: Request<Body>| {
        let (mut parts, _) = request.into_parts();
        let path = VerifiedPath::<String>::from_request_parts(&mut parts, &()).await;
        let rejection: ExtractRejection = path.unwrap_err();
        Ok::<_, std::convert::Infallible>(axum::response::IntoResponse::into_response(rejection))
    });
    let router = Router::new().nest_service("/orders", covered(&clock).layer(service));
    let response = send(&router, signed(&clock, "GET", "/orders/7", "")).await;
    assert_eq!(verdict(response).await, code(500, "not_verified"));
    assert!(log.text().contains("without a matched route"), "{log:?}");
}

// Requests that were rewritten after they were verified

/// The layer, then the rewrite, then a router.
fn rewritten(clock: &ManualClock, to: &'static str) -> Router {
    let show = async |VerifiedPath(p): VerifiedPath<Vec<String>>| shows(p);
    let unverified = async |Path(p): Path<Vec<String>>| shows(p);
    let inner = Router::new()
        .route("/orders/{id}", get(show))
        .route("/refunds/{id}", get(show))
        .route("/files/{*path}", get(show))
        .route("/shops/{shop}/orders/{id}", get(show))
        .route("/unverified/{id}", get(unverified));
    let rewriting = ServiceBuilder::new()
        .layer(covered(clock))
        .map_request(move |mut request: Request<Body>| {
            *request.uri_mut() = Uri::from_static(to);
            request
        })
        .service(inner);
    Router::new().fallback_service(rewriting)
}

#[tokio::test]
async fn a_path_that_was_rewritten_after_it_was_verified_is_refused() {
    let clock = clock();
    for (signed_path, to) in [
        ("/orders/7", "/orders/8"),
        ("/orders/7", "/orders/%38"),
        ("/orders/7", "/refunds/7"),
        ("/orders/7", "/files/orders/7"),
        ("/files/a/b", "/files/a"),
        ("/files/a/b", "/files/a%2Fc"),
        ("/files/orders", "/orders/7"),
        ("/shops/1/orders/2", "/shops/2/orders/1"),
        ("/shops/1/orders/2", "/orders/2"),
        ("/nowhere", "/orders/7"),
    ] {
        let log = Log::captured();
        let router = rewritten(&clock, to);
        let response = send(&router, signed(&clock, "GET", signed_path, "")).await;
        let mismatch = code(403, "resource_mismatch");
        assert_eq!(verdict(response).await, mismatch, "{signed_path} to {to}");
        assert!(log.text().contains(signed_path), "{log:?}");
    }
    // A rewrite that leaves the resource as it is passes.
    for to in ["/orders/7", "/orders/%37", "/orders/7?extra=1"] {
        let router = rewritten(&clock, to);
        let response = send(&router, signed(&clock, "GET", "/orders/7", "")).await;
        assert_eq!(verdict(response).await, code(200, "[\"7\"]"), "{to}");
    }
}

/// The twin: Axum's own extractor goes by the rewritten path.
#[tokio::test]
async fn axums_own_path_would_follow_the_rewrite() {
    let clock = clock();
    let router = rewritten(&clock, "/unverified/8");
    let response = send(&router, signed(&clock, "GET", "/unverified/7", "")).await;
    assert_eq!(verdict(response).await, code(200, "[\"8\"]"));
}

#[tokio::test]
async fn a_rewrite_changes_neither_query_nor_payload() {
    let clock = clock();
    let inner = Router::new().route(
        "/orders/{id}",
        any(
            async |payload: VerifiedPayload,
                   VerifiedQuery(q): VerifiedQuery<Vec<(String, String)>>| {
                format!("{} {:?} {q:?}", payload.path().unwrap(), payload.query())
            },
        ),
    );
    let service = ServiceBuilder::new()
        .layer(covered(&clock))
        .map_request(|mut request: Request<Body>| {
            *request.uri_mut() = Uri::from_static("/orders/8?b=2");
            request
        })
        .service(inner);
    let router = Router::new().fallback_service(service);
    let response = send(&router, signed(&clock, "GET", "/orders/7?a=1", "")).await;
    let answer = "/orders/7 Some(\"a=1\") [(\"a\", \"1\")]";
    assert_eq!(verdict(response).await, code(200, answer));
}

// Where they cannot work

#[tokio::test]
async fn without_the_layer_the_answer_is_500_and_the_log_says_what_to_do() {
    let router = Router::new()
        .route("/payload", post(async |_: VerifiedPayload| ()))
        .route("/json", post(async |_: VerifiedJson<Order>| ()))
        .route("/form", post(async |_: VerifiedForm<Order>| ()))
        .route("/query", post(async |_: VerifiedQuery<Order>| ()))
        .route("/path/{id}", post(async |_: VerifiedPath<u64>| ()));
    for path in ["/payload", "/json", "/form", "/query", "/path/7"] {
        let log = Log::captured();
        let response = send(&router, signed(&clock(), "POST", path, "{}")).await;
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&problem["status"], &problem["code"]),
            (&500.into(), &"not_verified".into())
        );
        let text = log.text();
        assert!(text.contains("ERROR"), "{path}: {text}");
        assert!(
            text.contains("without `VerifyLayer`; add the layer"),
            "{path}: {text}"
        );
        // The sender is not told how the service is made.
        assert!(!String::from_utf8_lossy(&body).contains("VerifyLayer"));
    }
}

#[tokio::test]
async fn a_part_that_the_scheme_leaves_out_is_500_and_logged() {
    let clock = clock();
    let (layer, signer) = covers_little(&clock);
    let router = Router::new()
        .route("/query", post(async |_: VerifiedQuery<Order>| ()))
        .route("/path/{id}", post(async |_: VerifiedPath<u64>| ()))
        .layer(layer);
    for (target, part) in [("/query?id=7&name=x", "query"), ("/path/7", "path")] {
        let log = Log::captured();
        let request = signer.sign(request("POST", target, "{}")).unwrap();
        let response = send(&router, request.map(Body::from)).await;
        assert_eq!(verdict(response).await, code(500, "not_covered"));
        let text = log.text();
        assert!(
            text.contains("ERROR") && text.contains(&format!("part=\"{part}\"")),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_rejection_of_an_extractor_can_be_told_apart() {
    let clock = clock();
    let handler = async |json: Result<VerifiedJson<Order>, ExtractRejection>| {
        let rejection = json.unwrap_err();
        format!(
            "{} {} {rejection}",
            rejection.status().as_u16(),
            rejection.code()
        )
    };
    let router = Router::new()
        .route("/", post(handler))
        .layer(covered(&clock));
    let (status, text) = verdict(send(&router, signed(&clock, "POST", "/", "{")).await).await;
    assert_eq!(status, 200);
    assert!(
        text.starts_with("400 payload_malformed payload_malformed: "),
        "{text}"
    );
}
