//! Behind Axum, over sockets: what a handler is told, what a client is asked for, and where the
//! service may be.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::Request as AxumRequest,
    routing::{any, post},
};
use countersign::{
    HttpMessageSignatures, Signer, VerifiedPayload, VerifyLayer,
    request::VerifierBuilder,
    rfc9421::{AcceptSignature, Component, HttpMessageSignaturesBuilder},
};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{BODY, and, component, covering, sign, signed_by_hand, signer, with, with_uri};
use crate::common::{
    self, HOST, KEY, NOW, ORIGIN, OTHER_KEY, OTHER_SECRET, SECRET, clock, code_or_body, keys, store,
};

/// Everything that a payload tells.
async fn tell(payload: VerifiedPayload) -> Json<Value> {
    let header = |name| payload.header(name).map(|v| v.to_str().unwrap().to_owned());
    Json(json!({
        "body": String::from_utf8(payload.bytes().to_vec()).unwrap(),
        "key": payload.key_id().as_str(),
        "signed": payload.signed_at().map(|at| at.as_secs()),
        "expires": payload.expires_at().map(|at| at.as_secs()),
        "nonce": payload.nonce().map(|nonce| nonce.as_bytes().len()),
        "method": payload.method().map(http::Method::as_str),
        "authority": payload.authority(),
        "path": payload.path(),
        "query": payload.query(),
        "content-type": header("content-type"),
        "content-digest": payload.header("content-digest").is_some(),
        "x-lines": header("x-lines"),
        "x-dict": header("x-dict"),
        "x-dict a": payload.header_member("x-dict", "a"),
        "query n": payload.query_param("n"),
    }))
}

fn app(layer: VerifierBuilder<VerifyLayer>) -> Router {
    let routes = Router::new()
        .route("/", any(tell))
        .route("/{*path}", any(tell));
    routes.layer(layer.build().unwrap())
}

fn layer(scheme: &HttpMessageSignatures) -> VerifierBuilder<VerifyLayer> {
    let clock = clock();
    VerifyLayer::builder(scheme.clone())
        .public_origin(ORIGIN)
        .keys(keys())
        .store(store(&clock))
        .clock(clock)
}

struct Server {
    addr: std::net::SocketAddr,
    http2: bool,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    code: String,
    body: Value,
}

impl Server {
    async fn serving(router: Router) -> Self {
        Self {
            addr: common::serve(router).await,
            http2: false,
        }
    }

    /// The request as its client sends it: to our socket, with the `Host` that it has.
    async fn send(&self, request: &Request<String>) -> Answer {
        let stream = tokio::net::TcpStream::connect(self.addr).await.unwrap();
        let (stream, body) = (TokioIo::new(stream), request.body().clone());
        let request = request.clone().map(|_| Full::<bytes::Bytes>::from(body));
        let response = if self.http2 {
            let executor = TokioExecutor::new();
            let connected = hyper::client::conn::http2::handshake(executor, stream).await;
            let (mut sender, connection) = connected.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let connected = hyper::client::conn::http1::handshake(stream).await;
            let (mut sender, connection) = connected.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            code: code_or_body(&body),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }
}

impl Answer {
    #[track_caller]
    fn told(&self) -> &Value {
        assert_eq!(self.status, 200, "{}", self.code);
        &self.body
    }

    #[track_caller]
    fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code.as_str()), (status, code));
    }
}

fn post_to(path_and_query: &str) -> Request<String> {
    common::request("POST", path_and_query, BODY)
}

#[tokio::test]
async fn with_the_default_profile_the_handler_is_told_what_is_covered() {
    let scheme = HttpMessageSignatures::default();
    let server = Server::serving(app(layer(&scheme))).await;
    let request = and(
        &with(&post_to("/a%2Fb?n=1"), "x-lines", "a"),
        "x-lines",
        "b",
    );
    let signed = sign(&scheme, with(&request, "x-dict", "a=1"));
    let expected = json!({
        "body": BODY,
        "key": KEY,
        "signed": NOW,
        "expires": null,
        "nonce": 32,
        "method": "POST",
        "authority": HOST,
        "path": "/a%2Fb",
        "query": "n=1",
        "content-type": "application/json",
        "content-digest": true,
        "x-lines": null,
        "x-dict": null,
        "x-dict a": null,
        "query n": "1",
    });
    assert_eq!(*server.send(&signed).await.told(), expected);
    server.send(&signed).await.refused(409, "request_replayed");
    let changed = with(&signed, "content-type", "text/plain");
    server
        .send(&changed)
        .await
        .refused(401, "signature_invalid");
    let get = sign(&scheme, common::request("GET", "/", ""));
    let told = server.send(&get).await;
    assert_eq!(
        (&told.told()["body"], &told.told()["method"]),
        (&json!(""), &json!("GET"))
    );
}

#[tokio::test]
async fn what_else_is_covered_is_told_in_its_form() {
    let scheme = covering(&[
        "\"x-lines\"",
        "\"x-dict\";sf",
        "\"x-dict\";key=\"a\"",
        "\"@query-param\";name=\"n\"",
    ])
    .structured_field("x-dict", countersign::rfc9421::FieldType::Dictionary)
    .expires_after(Duration::from_secs(60))
    .build()
    .unwrap();
    let server = Server::serving(app(layer(&scheme))).await;
    let request = and(&with(&post_to("/?n=%31+"), "x-lines", "a"), "x-lines", "b");
    let signed = sign(&scheme, with(&request, "x-dict", "a=01,  b=?1"));
    let answer = server.send(&signed).await;
    let told = answer.told();
    assert_eq!(told["x-lines"], "a, b", "two lines are one value");
    assert_eq!(told["x-dict"], "a=1, b", "as it is serialized");
    assert_eq!(told["x-dict a"], "1");
    assert_eq!(told["query n"], "1 ");
    assert_eq!(told["expires"], NOW + 60);
}

#[tokio::test]
async fn a_client_that_does_what_it_is_asked_for_gets_through() {
    let tagged = HttpMessageSignatures::builder()
        .tag("payments")
        .label("app");
    let typed = HttpMessageSignatures::builder()
        .covers(Component::header("x-tenant").unwrap())
        .covers(component("\"priority\";sf"))
        .covers(component("\"priority\";key=\"u\""))
        .covers(component("\"@query-param\";name=\"n\""))
        .covers(Component::TARGET_URI);
    let less = HttpMessageSignatures::builder().danger_require_only([Component::METHOD]);
    for builder in [HttpMessageSignatures::builder(), tagged, typed, less] {
        let scheme = builder.build().unwrap();
        let server = Server::serving(app(layer(&scheme).danger_any_authority())).await;
        let request = with(&with(&post_to("/?n=1"), "x-tenant", "7"), "priority", "u=1");

        let first = server.send(&request).await;
        first.refused(401, "signature_missing");
        assert_eq!(first.headers["www-authenticate"], "Signature");
        let asked = AcceptSignature::read(&first.headers).unwrap();
        let [asked] = &asked[..] else {
            panic!("{asked:?}");
        };
        assert_eq!(asked.nonce(), None, "it would ask for that very one");
        assert!(asked.components().contains(&component("\"content-type\"")));
        let signer = Signer::new(asked.scheme().unwrap(), KEY, SECRET).unwrap();
        let absolute = format!("https://{HOST}/?n=1");
        let signed = signer
            .clock(clock())
            .sign(with_uri(&request, &absolute))
            .unwrap();
        server.send(&with_uri(&signed, "/?n=1")).await.told();
    }

    // Every 401 asks, and nothing else does.
    let scheme = HttpMessageSignatures::default();
    let server = Server::serving(app(layer(&scheme))).await;
    let signed = sign(&scheme, post_to("/"));
    for (request, status) in [
        (with(&signed, "content-type", "text/plain"), 401),
        (with(&signed, "host", "other.example"), 421),
        (with(&signed, "signature", "sig1"), 400),
        (signed.clone(), 200),
        (signed, 409),
    ] {
        let answer = server.send(&request).await;
        assert_eq!(answer.status, status);
        assert_eq!(
            answer.headers.contains_key("accept-signature"),
            status == 401
        );
    }
}

/// A client that signs exactly the components that are listed, and nothing else.
#[tokio::test]
async fn what_a_401_lists_is_all_that_has_to_be_covered() {
    let scheme = HttpMessageSignatures::default();
    let server = Server::serving(app(layer(&scheme))).await;
    let mut plain = post_to("/");
    plain.headers_mut().remove("content-type");
    let typed = with(&plain, "content-type", "application/json");
    for (at, (request, also)) in [
        (plain.clone(), &[][..]),
        (typed.clone(), &["content-type"]),
        (
            with(&plain, "content-encoding", "gzip"),
            &["content-encoding"],
        ),
        (
            with(&typed, "content-encoding", "gzip"),
            &["content-type", "content-encoding"],
        ),
        // It names no coding.
        (
            with(&typed, "content-encoding", "identity"),
            &["content-type"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let first = server.send(&request).await;
        first.refused(401, "signature_missing");
        let accept = first.headers["accept-signature"].to_str().unwrap();
        let asked = &AcceptSignature::read(&first.headers).unwrap()[0];
        let listed: Vec<_> = asked.components().iter().map(ToString::to_string).collect();
        let fields = also.iter().chain(&["content-digest"]);
        let fields = fields.map(|name| format!("\"{name}\""));
        let always = ["@method", "@authority", "@path", "@query"].map(|name| format!("\"{name}\""));
        let expected: Vec<_> = always.into_iter().chain(fields).collect();
        assert_eq!(listed, expected, "{accept}");

        let request = with(&request, "content-digest", super::digest_of(BODY));
        let lines = listed.iter().map(|name| {
            let value = match name.trim_matches('"') {
                "@method" => "POST".to_owned(),
                "@authority" => HOST.to_owned(),
                "@path" => "/".to_owned(),
                "@query" => "?".to_owned(),
                field => request.headers()[field].to_str().unwrap().to_owned(),
            };
            format!("{name}: {value}\n")
        });
        let params = format!(
            "({});created={NOW};nonce=\"n{at}\";keyid=\"{KEY}\"",
            listed.join(" ")
        );
        let signed = signed_by_hand(&request, &lines.collect::<String>(), &params);
        server.send(&signed).await.told();
    }
}

#[tokio::test]
async fn signatures_of_several_applications_stand_side_by_side() {
    let tagged = |tag: &str| {
        HttpMessageSignatures::builder()
            .tag(tag)
            .label(tag)
            .build()
            .unwrap()
    };
    let (gateway, orders) = (tagged("gateway"), tagged("orders"));
    let untagged = HttpMessageSignatures::default();
    let by_other = |scheme: &HttpMessageSignatures| {
        Signer::new(scheme.clone(), OTHER_KEY, OTHER_SECRET)
            .unwrap()
            .clock(clock())
    };
    let request = by_other(&gateway).sign(post_to("/")).unwrap();
    let both = sign(&orders, request);
    assert_eq!(both.headers().get_all("signature").iter().count(), 2);
    for (scheme, key) in [(&gateway, OTHER_KEY), (&orders, KEY)] {
        let server = Server::serving(app(layer(scheme))).await;
        assert_eq!(server.send(&both).await.told()["key"], key);
    }
    let server = Server::serving(app(layer(&untagged))).await;
    server.send(&both).await.refused(401, "signature_missing");

    // A label that is taken is not written twice.
    let again = signer(&orders).sign(both).unwrap_err();
    assert!(again.to_string().contains("orders"), "{again}");

    // Under one tag, or none, two keys are two requests, and refused as one.
    let labelled = HttpMessageSignatures::builder()
        .label("sig2")
        .build()
        .unwrap();
    let two = by_other(&labelled)
        .sign(sign(&untagged, post_to("/")))
        .unwrap();
    server.send(&two).await.refused(400, "signature_malformed");
}

#[tokio::test]
async fn less_is_verified_and_told_where_less_is_asked_for() {
    let only = |builder: HttpMessageSignaturesBuilder| builder.danger_require_only([]);
    let scheme = only(HttpMessageSignatures::builder()).build().unwrap();
    let layer_for = |scheme: &HttpMessageSignatures| layer(scheme);
    let server = Server::serving(app(layer_for(&scheme))).await;
    let signed = sign(&scheme, post_to("/a?n=1"));
    let answer = server.send(&with_uri(&signed, "/b")).await;
    let told = answer.told();
    for name in ["method", "authority", "path", "query"] {
        assert_eq!(told[name], Value::Null, "{name}");
    }
    assert_eq!((&told["body"], &told["key"]), (&json!(BODY), &json!(KEY)));
    server
        .send(&with_uri(&signed, "/b"))
        .await
        .refused(409, "request_replayed");

    // Without a nonce, two that are alike are one.
    let scheme = HttpMessageSignatures::builder()
        .danger_without_nonce()
        .build()
        .unwrap();
    let server = Server::serving(app(layer_for(&scheme))).await;
    let lines = "\"@method\": GET\n\"@authority\": api.example.com\n\"@path\": /\n\"@query\": ?\n";
    let list = r#"("@method" "@authority" "@path" "@query")"#;
    let mut get = Request::get("/")
        .header("host", HOST)
        .body(String::new())
        .unwrap();
    get = signed_by_hand(
        &get,
        lines,
        &format!("{list};created={NOW};keyid=\"{KEY}\""),
    );
    let told = server.send(&get).await;
    assert_eq!(told.told()["nonce"], 32, "the digest of what was signed");
    server.send(&get).await.refused(409, "request_replayed");
    let default = Server::serving(app(layer(&HttpMessageSignatures::default()))).await;
    default
        .send(&get)
        .await
        .refused(401, "signature_insufficient");

    // Without a time, it is remembered.
    let retention = Duration::from_secs(3600);
    let scheme = HttpMessageSignatures::builder().danger_without_created(retention);
    let scheme = scheme.build().unwrap();
    let server = Server::serving(app(layer_for(&scheme))).await;
    let params = format!("{list};keyid=\"{KEY}\";nonce=\"n\"");
    let timeless = signed_by_hand(&get, lines, &params);
    let answer = server.send(&timeless).await;
    assert_eq!(answer.told()["signed"], Value::Null);
    server
        .send(&timeless)
        .await
        .refused(409, "request_replayed");
    default
        .send(&timeless)
        .await
        .refused(401, "signature_insufficient");
    let expired = signed_by_hand(&get, lines, &format!("{params};expires={}", NOW - 1));
    server
        .send(&expired)
        .await
        .refused(401, "signature_expired");
}

#[tokio::test]
async fn the_prefix_that_a_proxy_takes_off_is_signed_too() {
    let scheme = covering(&["\"@target-uri\"", "\"@request-target\""])
        .build()
        .unwrap();
    let server = Server::serving(app(layer(&scheme))).await;
    let behind = layer(&scheme).public_origin("https://gateway.example.com/v1/");
    let prefixed = Server::serving(app(behind)).await;
    let request = with(&post_to("/"), "host", "gateway.example.com");
    let request = with_uri(&request, "https://gateway.example.com/v1/orders?n=1");
    let signed = sign(&scheme, request);
    let passed_on = with_uri(&signed, "/orders?n=1");
    server
        .send(&passed_on)
        .await
        .refused(421, "authority_not_served");
    let answer = prefixed.send(&passed_on).await;
    assert_eq!(answer.told()["path"], "/v1/orders");
    let signed = sign(
        &scheme,
        with_uri(&request_to_gateway(), "https://gateway.example.com/v1/a"),
    );
    prefixed
        .send(&signed)
        .await
        .refused(401, "signature_invalid");
}

fn request_to_gateway() -> Request<String> {
    with(&post_to("/"), "host", "gateway.example.com")
}

#[tokio::test]
async fn in_nested_routers_the_whole_path_is_covered() {
    let scheme = covering(&["\"@target-uri\"", "\"@request-target\""])
        .build()
        .unwrap();
    let inner = || app(layer(&scheme));
    let router = Router::new()
        .nest("/a", inner())
        .nest("/b", Router::new().nest("/{c}", inner()));
    let server = Server::serving(router).await;
    for path in ["/a/x?n=1", "/b/2/x", "/b/%2F/a/x"] {
        let absolute = format!("{ORIGIN}{path}");
        let signed = sign(&scheme, with_uri(&post_to("/"), &absolute));
        for moved in ["/a/y", "/b/3/x", "/a/a/x"] {
            server
                .send(&with_uri(&signed, moved))
                .await
                .refused(401, "signature_invalid");
        }
        let answer = server.send(&signed).await;
        assert_eq!(answer.told()["path"], path.split('?').next().unwrap());
    }
}

#[tokio::test]
async fn an_absolute_form_is_the_same_target_but_for_request_target() {
    for (components, status) in [
        (&[][..], 200),
        (&["\"@target-uri\""], 200),
        (&["\"@request-target\""], 401),
    ] {
        let scheme = covering(components).build().unwrap();
        let server = Server::serving(app(layer(&scheme))).await;
        let signed = sign(&scheme, with_uri(&post_to("/"), &format!("{ORIGIN}/a?n=1")));
        let wire = String::from_utf8(common::to_wire(&signed)).unwrap();
        let absolute = wire.replacen("POST /", "POST https://API.example.com:443/", 1);
        let (answered, code) = common::exchange(server.addr, absolute.as_bytes()).await;
        assert_eq!(answered, status, "{components:?}: {code}");
    }
    // As a client signs it that sends it so.
    let scheme = HttpMessageSignatures::builder().danger_require_only([Component::REQUEST_TARGET]);
    let scheme = scheme.build().unwrap();
    let server = Server::serving(app(layer(&scheme))).await;
    let uri = format!("{ORIGIN}/a?n=1");
    let mut get = Request::get(&uri)
        .header("host", HOST)
        .body(String::new())
        .unwrap();
    let lines = format!("\"@request-target\": {uri}\n");
    let params = format!("(\"@request-target\");created={NOW};keyid=\"{KEY}\";nonce=\"n\"");
    get = signed_by_hand(&get, &lines, &params);
    let (status, code) = common::exchange(server.addr, &common::to_wire(&get)).await;
    assert_eq!(status, 200, "{code}");
    let told: Value = serde_json::from_str(&code).unwrap();
    assert_eq!(told["path"], Value::Null, "it names more than a path");
}

/// A service that knows its own socket's address as its origin.
async fn on_its_own_address(scheme: &HttpMessageSignatures) -> (Server, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let clock = clock();
    let layer = VerifyLayer::builder(scheme.clone())
        .public_origin(format!("http://{addr}/v2"))
        .keys(keys())
        .store(store(&clock))
        .clock(clock);
    let router = app(layer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Server { addr, http2: true }, format!("http://{addr}"))
}

#[tokio::test]
async fn over_http_2_the_same_is_signed() {
    let scheme = covering(&[
        "\"@target-uri\"",
        "\"@scheme\"",
        "\"@request-target\"",
        "\"x-lines\"",
    ]);
    let scheme = scheme.build().unwrap();
    let (server, origin) = on_its_own_address(&scheme).await;
    let unsigned = |uri: &str| {
        let mut request = with_uri(&with(&post_to("/"), "x-lines", "a"), uri);
        request.headers_mut().remove("host");
        request
    };
    // The client signs the whole URI; a proxy took `/v2` off.
    let signed = signer(&scheme)
        .sign(unsigned(&format!("{origin}/v2/a%2Fb?n=1")))
        .unwrap();
    let passed_on = with_uri(&signed, &format!("{origin}/a%2Fb?n=1"));
    let other = with_uri(&signed, &format!("{origin}/a%2Fb?n=2"));
    server.send(&other).await.refused(401, "signature_invalid");
    let answer = server.send(&passed_on).await;
    assert_eq!(answer.told()["path"], "/v2/a%2Fb");
    assert_eq!(answer.told()["authority"], origin["http://".len()..]);
    server
        .send(&passed_on)
        .await
        .refused(409, "request_replayed");
}

#[tokio::test]
async fn white_space_that_http_2_leaves_around_a_field_is_not_told() {
    let scheme = covering(&["\"x-lines\""]).build().unwrap();
    let (server, origin) = on_its_own_address(&scheme).await;
    let mut request = with_uri(
        &with(&post_to("/"), "x-lines", "a"),
        &format!("{origin}/v2/"),
    );
    request.headers_mut().remove("host");
    let signed = signer(&scheme).sign(request).unwrap();
    let spaced = with(
        &with_uri(&signed, &format!("{origin}/")),
        "x-lines",
        " a\t ",
    );
    let answer = server.send(&spaced).await;
    assert_eq!(answer.told()["x-lines"], "a");
    let raw =
        async |request: AxumRequest| request.headers()["x-lines"].to_str().unwrap().to_owned();
    let twin = Server {
        addr: common::serve(Router::new().route("/", post(raw))).await,
        http2: true,
    };
    let target = format!("http://{}/", twin.addr);
    let answer = twin.send(&with_uri(&spaced, &target)).await;
    assert_eq!(answer.code, " a\t ", "the twin sees it");
}
