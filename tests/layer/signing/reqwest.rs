//! Requests of reqwest, signed by themselves, and by a client behind the layer.

use std::time::Duration;

use bytes::Bytes;
use countersign::{
    SignLayer,
    client::Repeatable,
    error::{SignError, SignErrorKind},
    testing::ManualClock,
};
use http::header::{LOCATION, TRAILER};
use http_body_util::Full;
use reqwest::{Body, Client, Method, Request, Response, redirect::Policy};
use tower::{Layer as _, ServiceExt as _};

use super::server::*;
use crate::common::{
    parts::{Script, Step},
    *,
};

fn client() -> Client {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}

fn put(server: &Server, body: impl Into<Body>) -> Request {
    let url = format!("{}/orders/7?a=1&b=%20ü", server.origin);
    let request = client().put(url).header("content-type", "application/json");
    request.body(body).build().unwrap()
}

async fn read(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    (status, code_or_body(&response.bytes().await.unwrap()))
}

#[tokio::test]
async fn a_request_is_signed_and_verified() {
    let clock = clock();
    for format in Format::ALL {
        let server = Server::start(format, &clock).await;
        let signer = format.signer(clock.clone());
        for body in ["{}", ""] {
            let request = signer.sign_reqwest(put(&server, body)).unwrap();
            let answer = client().execute(request).await.unwrap();
            assert_eq!(read(answer).await, accepted(body), "{format:?}");
        }
        let mut without_body = put(&server, "");
        *without_body.body_mut() = None;
        *without_body.method_mut() = Method::GET;
        let request = signer.sign_reqwest(without_body).unwrap();
        assert_eq!(
            read(client().execute(request).await.unwrap()).await,
            accepted("")
        );

        let unsigned = client().execute(put(&server, "{}")).await.unwrap();
        assert_eq!(read(unsigned).await, refused(401, "signature_missing"));
    }
}

#[tokio::test]
async fn what_is_covered_of_a_request_is_what_arrives() {
    let clock = clock();
    let server = Server::start(Format::Rfc9421, &clock).await;
    let signer = Format::Rfc9421.signer(clock);
    let genuine = signer.sign_reqwest(put(&server, "{}")).unwrap();
    let altered: [fn(&mut Request); 4] = [
        |request| *request.method_mut() = Method::POST,
        |request| request.url_mut().set_path("/orders/8"),
        |request| request.url_mut().set_query(Some("a=2")),
        |request| *request.body_mut() = Some("[]".into()),
    ];
    for alter in altered {
        let mut request = genuine.try_clone().unwrap();
        alter(&mut request);
        let answer = client().execute(request).await.unwrap();
        assert_eq!(read(answer).await, refused(401, "signature_invalid"));
    }
    let again = genuine.try_clone().unwrap();
    assert_eq!(
        read(client().execute(genuine).await.unwrap()).await,
        accepted("{}")
    );
    assert_eq!(
        read(client().execute(again).await.unwrap()).await,
        refused(409, "request_replayed")
    );
}

#[tokio::test]
async fn a_stream_is_not_signed_by_itself() {
    let server = Server::start(Format::House, &clock()).await;
    let stream = Body::wrap(Script::never_polled());
    let error = signer(&clock())
        .sign_reqwest(put(&server, stream))
        .unwrap_err();
    assert_eq!(error.kind(), SignErrorKind::BodyIsStream);
}

#[tokio::test]
async fn what_cannot_be_requested_is_not_signed() {
    for url in [
        "https://user:password@api.example.com/",
        "mailto:a@b.example",
    ] {
        let mut request = Request::new(Method::GET, url.parse().unwrap());
        let json = "application/json".parse().unwrap();
        request.headers_mut().insert("content-type", json);
        let error = signer(&clock()).sign_reqwest(request).unwrap_err();
        assert_eq!(error.kind(), SignErrorKind::NotCoverable, "{url}");
        assert!(!error.to_string().contains("password"), "{error}");
    }
}

#[tokio::test]
async fn the_client_behind_the_layer_takes_streams_too() {
    let clock = clock();
    for format in Format::ALL {
        let server = Server::start(format, &clock).await;
        let layer = SignLayer::new(format.signer(clock.clone())).max_body_bytes(10);
        let signing = layer
            .body_deadline(Duration::from_millis(200))
            .layer(client());

        let answer = signing.clone().oneshot(put(&server, "{}")).await.unwrap();
        assert_eq!(answer.url().path(), "/orders/7");
        assert_eq!(read(answer).await, accepted("{}"), "{format:?}");

        let frames = [
            Step::Data("{\"a\"".into()),
            Step::Waits(Duration::from_millis(1)),
            Step::Data(":1}".into()),
        ];
        let mut streamed = put(&server, Body::wrap(Script::new(frames)));
        streamed
            .headers_mut()
            .insert(TRAILER, "x-a".parse().unwrap());
        let answer = signing.clone().oneshot(streamed).await.unwrap();
        assert_eq!(read(answer).await, accepted("{\"a\":1}"), "{format:?}");

        assert_eq!(server.attempts().len(), 2);
        for (body, kind) in [
            (
                Script::never_polled().declaring(11),
                SignErrorKind::BodyTooLarge,
            ),
            (Script::new([Step::Hangs]), SignErrorKind::BodyTimeout),
            (
                Script::new([Step::Fails("gone".into())]),
                SignErrorKind::BodyUnreadable,
            ),
        ] {
            let request = put(&server, Body::wrap(body));
            let error = signing.clone().oneshot(request).await.unwrap_err();
            let error: &SignError = error.downcast_ref().unwrap();
            assert_eq!(error.kind(), kind);
        }
        assert!(server.attempts().is_empty());
    }
}

#[tokio::test]
async fn a_body_at_hand_is_never_copied() {
    let kept = tower::service_fn(|request: Request| async move {
        let body = request.body().unwrap().as_bytes().unwrap();
        Ok::<_, std::convert::Infallible>(body.as_ptr() as usize)
    });
    let server = Server::start(Format::House, &clock()).await;
    let body = Bytes::from(b"{}".to_vec());
    for stream in [
        Body::from(body.clone()),
        Body::wrap(Full::new(body.clone())),
    ] {
        let signing = SignLayer::new(signer(&clock())).layer(kept);
        let sent = signing.oneshot(put(&server, stream)).await.unwrap();
        assert_eq!(sent, body.as_ptr() as usize);
    }
}

#[tokio::test]
async fn an_error_of_the_client_comes_as_it_is() {
    // It is bound and does not listen, so that nobody else has its port.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let origin = format!("http://{}/", silent.local_addr().unwrap());
    let signer = Format::Rfc9421.signer(clock());
    let request = || client().get(&origin).build().unwrap();
    let plain = SignLayer::new(signer.clone()).layer(client());
    let again = SignLayer::new(signer)
        .danger_sign_again_unverified()
        .layer(client());
    for error in [
        plain.oneshot(request()).await.unwrap_err(),
        again.oneshot(request()).await.unwrap_err(),
    ] {
        let error: &reqwest::Error = error.downcast_ref().unwrap();
        assert!(error.is_connect());
    }
}

#[tokio::test]
async fn a_client_signs_anew_where_it_may() {
    let server_clock = clock();
    for format in Format::ALL {
        let server = Server::start(format, &server_clock).await;
        let signer = format.signer(ManualClock::at(at(NOW - 400)));
        let signing = SignLayer::new(signer)
            .danger_sign_again_unverified()
            .layer(client());

        let answer = signing.clone().oneshot(put(&server, "{}")).await.unwrap();
        assert_eq!(answer.url().path(), "/orders/7", "of the first answer");
        assert_eq!(read(answer).await, refused(401, "signature_expired"));
        assert_eq!(server.attempts().len(), 1);

        // A body that is a stream, a time to wait, and what else a request says, are kept.
        let frames = Script::frames(["{\"a\"", ":1}"]);
        let mut request = put(&server, Body::wrap(frames));
        *request.timeout_mut() = Some(Duration::from_secs(30));
        let mut request = http::Request::<Body>::try_from(request).unwrap();
        request.extensions_mut().insert(Repeatable);
        let request = Request::try_from(request).unwrap();
        let answer = signing.oneshot(request).await.unwrap();
        assert_eq!(answer.url().path(), "/orders/7", "of the second answer");
        assert_eq!(answer.content_length(), Some(7));
        assert_eq!(answer.headers()["x-signed-at"], NOW.to_string());
        assert_eq!(read(answer).await, accepted("{\"a\":1}"));
        assert_eq!(server.attempts().len(), 2);
    }
}

/// Why the documentation says that redirects are not to be followed: this is what would leak.
#[tokio::test]
async fn a_redirect_that_is_followed_hands_the_signed_request_on() {
    let clock = clock();
    let server = Server::start(Format::Rfc9421, &clock).await;
    let signer = Format::Rfc9421.signer(clock.clone());
    let elsewhere = Server::start(Format::Rfc9421, &clock).await;
    let target = format!("{}/orders/7", elsewhere.origin);
    let redirecting = serve(axum::Router::new().fallback(move || async move {
        (http::StatusCode::TEMPORARY_REDIRECT, [(LOCATION, target)])
    }))
    .await;
    for (policy, arrives) in [(Policy::none(), false), (Policy::limited(1), true)] {
        let client = Client::builder()
            .redirect(policy)
            .no_proxy()
            .build()
            .unwrap();
        let mut request = put(&server, "{}");
        request
            .url_mut()
            .set_port(Some(redirecting.port()))
            .unwrap();
        let request = signer.sign_reqwest(request).unwrap();
        client.execute(request).await.unwrap();
        let seen = elsewhere.attempts();
        assert_eq!(
            seen.iter().any(|headers| headers.contains_key("signature")),
            arrives
        );
    }
}
