//! Over real sockets, HTTP/1 and HTTP/2: Axum, plain hyper, and clients that verify.

use std::{convert::Infallible, sync::Arc};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use countersign::{
    Rejection, SignLayer, VerifyLayer,
    error::ResponseErrorKind::*,
    response::{ResponseVerifier, SignResponseLayer, SignedBy, VerifyResponseLayer},
};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{Layer as _, ServiceBuilder, ServiceExt as _, service_fn};

use super::world::*;
use crate::common::*;

#[tokio::test]
async fn responses_of_every_kind_are_signed_and_verified() {
    let clock = clock();
    let server = Server::start(&clock).await;
    for protocol in Protocol::ALL {
        let client = client(&clock, protocol.client());
        for (method, path, body, status, answer) in [
            ("POST", "/echo?a=1", "{}", 200, "{}"),
            ("GET", "/echo", "", 200, ""),
            ("GET", "/empty", "", 200, ""),
            ("DELETE", "/204", "", 204, ""),
            ("GET", "/304", "", 304, ""),
            ("GET", "/stream", "", 200, "ab"),
            ("HEAD", "/limit", "", 200, ""),
            ("HEAD", "/204", "", 204, ""),
            ("HEAD", "/304", "", 304, ""),
        ] {
            let request = server.request(method, path, body);
            let response = client.clone().oneshot(request).await.unwrap();
            let by: &SignedBy = response.extensions().get().unwrap();
            assert_eq!(by.key_id().as_str(), SERVER_KEY);
            assert_eq!(by.signed_at(), at(NOW));
            if (method, path) == ("HEAD", "/limit") {
                assert_eq!(response.headers()["content-length"], "1000");
            }
            if method == "POST" {
                assert_eq!(response.headers()["cache-control"], "max-age=5");
            }
            assert_eq!(
                said(response).await,
                says(status, answer),
                "{protocol:?} {method} {path}"
            );
        }
    }
    assert_eq!(server.effects.count(), 18);
}

/// The twin: of a server without the layer nothing is believed, and what it did is done.
#[tokio::test]
async fn a_server_that_does_not_sign_is_not_believed() {
    let clock = clock();
    let server = Server::start_with(&clock, |app, _| app).await;
    for protocol in Protocol::ALL {
        let client = client(&clock, protocol.client());
        let request = server.request("POST", "/echo", "{}");
        let error = client.oneshot(request).await.unwrap_err();
        assert_eq!(kind(error), SignatureMissing);
    }
    assert_eq!(server.effects.count(), 2);
}

#[tokio::test]
async fn rejections_are_signed_too() {
    let clock = clock();
    let server = Server::start(&clock).await;
    let verifier = response_verifier(&clock).build().unwrap();
    for protocol in Protocol::ALL {
        let verifying = VerifyResponseLayer::new(verifier.clone()).layer(protocol.client());
        // Not signed at all.
        let unsigned = server.request("POST", "/echo", "{}");
        let response = verifying.clone().oneshot(unsigned).await.unwrap();
        assert_eq!(said(response).await, says(401, "signature_missing"));

        // Signed, and sent twice.
        let request = Request::post(format!("{}/echo", server.origin)).body("{}".to_owned());
        let signed = request_signer(&clock).sign(request.unwrap()).unwrap();
        for answer in [says(200, "{}"), says(409, "request_replayed")] {
            let copy = signed.clone().map(Full::from);
            let response = verifying.clone().oneshot(copy).await.unwrap();
            assert_eq!(said(response).await, answer);
        }
        let mut altered = signed.map(Full::from);
        *altered.body_mut() = Full::from("[]");
        let error = verifying.oneshot(altered).await.unwrap_err();
        assert_eq!(kind(error), RequestAltered);
    }
}

#[tokio::test]
async fn what_the_server_cannot_sign_is_a_signed_500_once_it_is_done() {
    let clock = clock();
    let server = Server::start(&clock).await;
    for protocol in Protocol::ALL {
        let client = client(&clock, protocol.client());
        for path in ["/large", "/grows", "/slow", "/broken", "/short", "/signed"] {
            let request = server.request("GET", path, "");
            let response = client.clone().oneshot(request).await.unwrap();
            let answer = said(response).await;
            assert_eq!(
                answer,
                says(500, "response_not_signed"),
                "{protocol:?} {path}"
            );
        }
        // The twin.
        let request = server.request("GET", "/limit", "");
        let response = client.clone().oneshot(request).await.unwrap();
        assert_eq!(said(response).await, says(200, &"a".repeat(1000)));
        let request = server.request("HEAD", "/signed", "");
        let response = client.clone().oneshot(request).await.unwrap();
        assert_eq!(said(response).await, says(500, ""));
    }
    assert_eq!(server.effects.count(), 16);
}

/// Two requests in flight, and somebody in between who swaps their responses.
#[tokio::test]
async fn swapped_responses_of_two_requests_in_flight_are_refused() {
    let clock = clock();
    let server = Server::start(&clock).await;
    for protocol in Protocol::ALL {
        for swaps in [true, false] {
            // Each waits for the other's response.
            let (to_one, from_other) = tokio::sync::oneshot::channel();
            let (to_other, from_one) = tokio::sync::oneshot::channel();
            let ends = [(to_one, from_one), (to_other, from_other)];
            let [one, other] = ends.map(|(to, from)| {
                let ends = Arc::new(std::sync::Mutex::new(Some((to, from))));
                let direct = protocol.client();
                let in_between = service_fn(move |request: Request<Full<Bytes>>| {
                    let (direct, ends) = (direct.clone(), Arc::clone(&ends));
                    async move {
                        let (to, from) = ends.lock().unwrap().take().unwrap();
                        let mine = direct.request(request).await?;
                        if !swaps {
                            return Ok::<_, tower::BoxError>(mine);
                        }
                        to.send(mine).map_err(|_| "the other has gone")?;
                        Ok(from.await?)
                    }
                });
                client(&clock, in_between).oneshot(server.request("POST", "/echo", "{}"))
            });
            for outcome in <[_; 2]>::from(tokio::join!(one, other)) {
                if swaps {
                    assert_eq!(kind(outcome.unwrap_err()), SignatureInvalid);
                } else {
                    assert_eq!(said(outcome.unwrap()).await, says(200, "{}"));
                }
            }
        }
    }
}

/// A response that was recorded, given to a later request that asks for the same.
#[tokio::test]
async fn a_recorded_response_is_no_answer_to_a_later_request() {
    let clock = clock();
    let server = Server::start(&clock).await;
    let recorded = Arc::new(std::sync::Mutex::new(None));
    let direct = Protocol::Http1.client();
    let replaying = service_fn(move |request: Request<Full<Bytes>>| {
        let (direct, recorded) = (direct.clone(), Arc::clone(&recorded));
        async move {
            let earlier: Option<Response<Bytes>> = recorded.lock().unwrap().take();
            if let Some(earlier) = earlier {
                return Ok::<_, tower::BoxError>(earlier.map(Full::new));
            }
            let (head, body) = direct.request(request).await?.into_parts();
            let response = Response::from_parts(head, body.collect().await?.to_bytes());
            *recorded.lock().unwrap() = Some(response.clone());
            Ok(response.map(Full::new))
        }
    });
    let client = client(&clock, replaying);
    let request = || server.request("POST", "/echo", "{}");
    let first = client.clone().oneshot(request()).await.unwrap();
    assert_eq!(said(first).await, says(200, "{}"));
    let second = client.clone().oneshot(request()).await.unwrap_err();
    assert_eq!(kind(second), SignatureInvalid);
    assert_eq!(server.effects.count(), 1, "it was never sent");
    let third = client.oneshot(request()).await.unwrap();
    assert_eq!(said(third).await, says(200, "{}"));
}

/// Somebody in between who changes one thing, and the same who changes nothing.
#[tokio::test]
async fn a_response_that_is_changed_on_its_way_is_refused() {
    type Change = fn(&mut Response<Bytes>);
    let changes: [(Change, bool); 6] = [
        (|_| {}, true),
        (|r| *r.status_mut() = StatusCode::ACCEPTED, false),
        (|r| *r.body_mut() = "[]".into(), false),
        (
            |r| {
                let html = "text/html".parse().unwrap();
                r.headers_mut().insert("content-type", html);
            },
            false,
        ),
        (
            |r| {
                let gzip = "gzip".parse().unwrap();
                r.headers_mut().insert("content-encoding", gzip);
            },
            false,
        ),
        (
            |r| {
                r.headers_mut().remove("signature");
            },
            false,
        ),
    ];
    let clock = clock();
    let server = Server::start(&clock).await;
    for protocol in Protocol::ALL {
        for (i, (change, passes)) in changes.into_iter().enumerate() {
            let direct = protocol.client();
            let in_between = service_fn(move |request: Request<Full<Bytes>>| {
                let direct = direct.clone();
                async move {
                    let (head, body) = direct.request(request).await?.into_parts();
                    let body = body.collect().await?.to_bytes();
                    let mut response = Response::from_parts(head, body);
                    change(&mut response);
                    Ok::<_, tower::BoxError>(response.map(Full::new))
                }
            });
            let client = client(&clock, in_between);
            let outcome = client.oneshot(server.request("POST", "/echo", "{}")).await;
            assert_eq!(outcome.is_ok(), passes, "{protocol:?} {i}");
        }
    }
}

/// In the wrong order the layer sees a request that is not signed yet, and believes nothing.
#[tokio::test]
async fn a_layer_outside_of_the_signing_one_believes_nothing() {
    let clock = clock();
    let server = Server::start(&clock).await;
    let verifier = response_verifier(&clock).build().unwrap();
    let client = ServiceBuilder::new()
        .layer(VerifyResponseLayer::new(verifier))
        .layer(SignLayer::new(request_signer(&clock)))
        .service(Protocol::Http1.client());
    let error = client.oneshot(server.request("POST", "/echo", "{}")).await;
    assert_eq!(kind(error.unwrap_err()), SignatureMalformed);
}

/// Inside of the layer that verifies, what is rejected is not signed.
#[tokio::test]
async fn a_signing_layer_inside_of_the_verifying_one_signs_no_rejection() {
    let clock = clock();
    let verify = VerifyLayer::builder(rfc())
        .danger_any_authority()
        .keys(keys())
        .store(store(&clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let app = Router::new()
        .fallback(|| async { "hello" })
        .layer(SignResponseLayer::new(response_signer(&clock)))
        .layer(verify);
    let origin = format!("http://{}", serve(app).await);
    let verifier = response_verifier(&clock).build().unwrap();
    let verifying = VerifyResponseLayer::new(verifier).layer(Protocol::Http1.client());
    let unsigned = Request::get(&origin).body(full("")).unwrap();
    let error = verifying.oneshot(unsigned).await.unwrap_err();
    assert_eq!(kind(error), SignatureMissing);
    // The twin: what passes is.
    let client = client(&clock, Protocol::Http1.client());
    let request = Request::get(&origin).body(full("")).unwrap();
    let response = client.oneshot(request).await.unwrap();
    assert_eq!(said(response).await, says(200, "hello"));
}

#[tokio::test]
async fn under_a_nested_router_the_target_is_what_the_client_asked_for() {
    let clock = clock();
    let sign = SignResponseLayer::new(response_signer(&clock));
    let inner = Router::new()
        .route("/orders", get(async || "orders"))
        .layer(sign);
    let app = Router::new().nest("/api", Router::new().nest("/v1", inner));
    let origin = format!("http://{}", serve(app).await);
    for protocol in Protocol::ALL {
        let client = client(&clock, protocol.client());
        let request = Request::get(format!("{origin}/api/v1/orders?a=1"));
        let response = client.oneshot(request.body(full("")).unwrap()).await;
        assert_eq!(said(response.unwrap()).await, says(200, "orders"));
    }
}

/// A client that passes on a request which arrived at a nested router, with all its extensions.
#[tokio::test]
async fn what_a_request_was_before_it_is_passed_on_does_not_count() {
    let clock = clock();
    let server = Server::start(&clock).await;
    let upstream = client(&clock, Protocol::Http1.client());
    let origin = server.origin.clone();
    let gateway = move |request: Request<Body>| {
        let (upstream, origin) = (upstream.clone(), origin.clone());
        async move {
            let (mut head, _) = request.into_parts();
            head.uri = format!("{origin}{}", head.uri.path()).parse().unwrap();
            head.headers.clear();
            let request = Request::from_parts(head, full("{}"));
            let response = upstream.oneshot(request).await.unwrap();
            (response.status(), "passed on").into_response()
        }
    };
    use axum::response::IntoResponse as _;
    let app = Router::new().nest("/gateway", Router::new().fallback(gateway));
    let request = Request::post("/gateway/echo").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn plain_hyper_is_served_as_well() {
    let clock = clock();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let verify = VerifyLayer::builder(rfc())
        .public_origin(&origin)
        .keys(keys())
        .store(store(&clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let signer = response_signer(&clock).public_origin(&origin).unwrap();
    // It answers `HEAD` as it answers `GET`, and leaves it to hyper to drop the body.
    let handler = service_fn(|request: Request<Full<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let service = ServiceBuilder::new()
        .layer(SignResponseLayer::new(signer))
        .layer(verify.buffered())
        .service(handler);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    for protocol in Protocol::ALL {
        let client = client(&clock, protocol.client());
        for (method, answer) in [("POST", "{}"), ("HEAD", "")] {
            let request = Request::builder()
                .method(method)
                .uri(&origin)
                .body(full("{}"))
                .unwrap();
            let response = client.clone().oneshot(request).await.unwrap();
            assert_eq!(
                response.headers()["content-length"],
                "2",
                "{protocol:?} {method}"
            );
            assert_eq!(
                said(response).await,
                says(200, answer),
                "{protocol:?} {method}"
            );
        }
    }
}

/// A request that could not be answered with a signature does not reach the handler.
#[tokio::test]
async fn a_request_that_no_response_could_be_bound_to_is_refused_first() {
    let clock = clock();
    let handled = Effects::default();
    let effects = handled.clone();
    let signer = response_signer(&clock).public_origin(ORIGIN).unwrap();
    let app = Router::new()
        .fallback(move || {
            effects.happened();
            async { "hello" }
        })
        .layer(SignResponseLayer::new(signer));
    let send = async |hosts: &[&str], method: &str| {
        let mut request = Request::builder().method(method).uri("/");
        for host in hosts {
            request = request.header("host", *host);
        }
        let request = request.body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap()
    };
    for (hosts, method, refused) in [
        (&[HOST, HOST] as &[_], "GET", (400, "signature_malformed")),
        (&["u@api.example.com"], "GET", (400, "signature_malformed")),
        (&["other.example.com"], "GET", (421, "authority_not_served")),
        (&[], "GET", (421, "authority_not_served")),
    ] {
        let response = send(hosts, method).await;
        assert!(response.extensions().get::<Rejection>().is_some());
        assert!(!response.headers().contains_key("signature"), "{hosts:?}");
        assert_eq!(
            verdict(response).await,
            says(refused.0, refused.1),
            "{hosts:?}"
        );
    }
    let response = send(&["other.example.com"], "HEAD").await;
    assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.is_empty(), "an answer to HEAD has no body");
    assert_eq!(handled.count(), 0);
    // The twin.
    let response = send(&[HOST], "GET").await;
    assert!(response.headers().contains_key("signature"));
    assert_eq!(handled.count(), 1);
}

#[tokio::test]
async fn a_request_that_cannot_be_bound_is_not_sent() {
    let clock = clock();
    let server = Server::start(&clock).await;
    let sent = Effects::default();
    let client = service_fn(|request: Request<Full<Bytes>>| {
        sent.happened();
        Protocol::Http1.client().oneshot(request)
    });
    let verifier = response_verifier(&clock).build().unwrap();
    let verifying = VerifyResponseLayer::new(verifier).layer(client);
    let mut request = server.request("POST", "/echo", "{}");
    assert!(verifying.clone().oneshot(request.clone()).await.is_ok());
    request
        .headers_mut()
        .append("host", "a.example".parse().unwrap());
    let error = verifying.oneshot(request).await.unwrap_err();
    assert_eq!(kind(error), RequestNotBindable);
    assert_eq!(sent.count(), 1);
}

#[tokio::test]
async fn an_error_of_the_client_comes_as_it_is() {
    // It is bound and does not listen, so that nobody else has its port.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let origin = format!("http://{}/", silent.local_addr().unwrap());
    let client = client(&clock(), Protocol::Http1.client());
    let request = Request::get(&origin).body(full("")).unwrap();
    let error = client.oneshot(request).await.unwrap_err();
    assert!(error.is::<hyper_util::client::legacy::Error>());
}

#[test]
fn nothing_of_a_secret_is_shown() {
    let clock = clock();
    let verifier: ResponseVerifier = response_verifier(&clock).build().unwrap();
    let sign = SignResponseLayer::new(response_signer(&clock));
    let shown = format!(
        "{verifier:?} {sign:?} {:?}",
        VerifyResponseLayer::new(verifier.clone())
    );
    assert!(
        shown.contains("\"api\"") && !shown.contains("secret"),
        "{shown}"
    );
}
