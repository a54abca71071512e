//! `SignLayer`: what happens to a request's body, and what is not sent.

use std::{
    convert::Infallible,
    error::Error as _,
    future::{Ready, ready},
    mem,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use countersign::{
    SignLayer,
    error::{SignError, SignErrorKind},
};
use http::{
    HeaderMap, Request, Response,
    header::{TRAILER, TRANSFER_ENCODING},
};
use http_body_util::{BodyExt as _, Empty, Full};
use tower::{BoxError, Layer as _, Service, ServiceExt as _, service_fn};

use super::server::*;
use crate::common::{
    parts::{Script, Step},
    *,
};

fn sign_error(error: BoxError) -> SignError {
    *error.downcast().expect("an error of the layer")
}

#[tokio::test]
async fn bodies_of_every_kind_are_signed_and_verified() {
    let clock = clock();
    for format in Format::ALL {
        let server = Server::start(format, &clock).await;
        for protocol in Protocol::ALL {
            let client = SignLayer::new(format.signer(clock.clone())).layer(protocol.client());

            let at_hand = server.request("{}".to_owned());
            let answer = client.clone().oneshot(at_hand).await.unwrap();
            assert_eq!(
                said(&read(answer).await),
                accepted("{}"),
                "{format:?} {protocol:?}"
            );

            let empty = server.request(Empty::<Bytes>::new());
            let answer = client.clone().oneshot(empty).await.unwrap();
            assert_eq!(
                said(&read(answer).await),
                accepted(""),
                "{format:?} {protocol:?}"
            );

            let mut trailers = HeaderMap::new();
            trailers.insert("x-checksum", "1".parse().unwrap());
            let frames = [
                Step::Data("{\"a\"".into()),
                Step::Waits(Duration::from_millis(1)),
                Step::Data(Bytes::new()),
                Step::Data(":1}".into()),
                Step::Trailers(trailers),
            ];
            let mut streamed = server.request(stream(Script::new(frames)));
            streamed
                .headers_mut()
                .insert(TRAILER, "x-checksum".parse().unwrap());
            let answer = client.clone().oneshot(streamed).await.unwrap();
            assert_eq!(
                said(&read(answer).await),
                accepted("{\"a\":1}"),
                "{format:?} {protocol:?}"
            );
            let seen = server.attempts().pop().unwrap();
            assert!(!seen.contains_key(TRAILER) && !seen.contains_key(TRANSFER_ENCODING));
        }
        assert_eq!(server.effects.count(), 6);
    }
}

/// The twin: without the layer, the server wants a signature.
#[tokio::test]
async fn a_client_without_the_layer_is_refused() {
    let clock = clock();
    for format in Format::ALL {
        let server = Server::start(format, &clock).await;
        for protocol in Protocol::ALL {
            let request = server.request(Full::from("{}"));
            let answer = protocol.client().oneshot(request).await.unwrap();
            assert_eq!(said(&read(answer).await), refused(401, "signature_missing"));
        }
    }
}

#[tokio::test]
async fn each_request_has_a_nonce_of_its_own() {
    let clock = clock();
    let server = Server::start(Format::House, &clock).await;
    let client = SignLayer::new(signer(&clock)).layer(Protocol::Http1.client());
    for _ in 0..3 {
        let request = server.request("{}".to_owned());
        let answer = client.clone().oneshot(request).await.unwrap();
        assert_eq!(said(&read(answer).await), accepted("{}"));
    }
}

/// A client that keeps what it is given.
type Sent = Arc<Mutex<Vec<Request<Full<Bytes>>>>>;

fn keeping(
    sent: &Sent,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = (),
    Error = Infallible,
    Future = Ready<Result<(), Infallible>>,
> + Clone
+ use<> {
    let sent = Arc::clone(sent);
    service_fn(move |request| {
        sent.lock().unwrap().push(request);
        ready(Ok(()))
    })
}

#[tokio::test]
async fn a_body_of_one_frame_is_never_copied() {
    let sent = Sent::default();
    let client = SignLayer::new(signer(&clock())).layer(keeping(&sent));
    let body = Bytes::from(b"{\"amount\":1}".to_vec());
    for around in [
        vec![Step::Data(body.clone())],
        vec![
            Step::Data(Bytes::new()),
            Step::Data(body.clone()),
            Step::Data(Bytes::new()),
        ],
    ] {
        let request = request("POST", "/orders", "").map(|_| Script::new(around));
        client.clone().oneshot(request).await.unwrap();
        let sent = sent.lock().unwrap().pop().unwrap();
        let given = sent.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(given.as_ptr(), body.as_ptr(), "the frame itself");
    }
}

#[tokio::test]
async fn what_a_signer_cannot_cover_is_not_sent() {
    let sent = Sent::default();
    let client = SignLayer::new(signer(&clock())).layer(keeping(&sent));
    let uncovered = Request::post("https://api.example.com/").body(String::new());
    let error = sign_error(client.oneshot(uncovered.unwrap()).await.unwrap_err());
    assert_eq!(error.kind(), SignErrorKind::NotCoverable);
    assert!(error.to_string().contains("content-type"), "{error}");
    assert!(sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_over_the_limit_is_not_sent() {
    let clock = clock();
    let server = Server::start(Format::Rfc9421, &clock).await;
    let layer = SignLayer::new(Format::Rfc9421.signer(clock)).max_body_bytes(10);
    let client = layer.layer(Protocol::Http1.client());

    let declared = Script::never_polled().declaring(11);
    let grown = Script::new([
        Step::Data("0123456789".into()),
        Step::Data("0".into()),
        Step::IsNeverPolled,
    ]);
    for body in [declared, grown] {
        let request = server.request(stream(body));
        let error = sign_error(client.clone().oneshot(request).await.unwrap_err());
        assert_eq!(error.kind(), SignErrorKind::BodyTooLarge);
    }
    assert!(server.attempts().is_empty());

    let most = server.request(stream(Script::frames(["01234", "56789"])));
    let answer = client.oneshot(most).await.unwrap();
    assert_eq!(said(&read(answer).await), accepted("0123456789"));
}

#[tokio::test]
async fn a_mebibyte_is_the_limit_that_is_stated() {
    let sent = Sent::default();
    let client = SignLayer::new(signer(&clock())).layer(keeping(&sent));
    for (length, passes) in [(1024 * 1024, true), (1024 * 1024 + 1, false)] {
        let request = request("POST", "/orders", &"a".repeat(length));
        assert_eq!(
            client.clone().oneshot(request).await.is_ok(),
            passes,
            "{length}"
        );
    }
    assert_eq!(sent.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_body_that_is_not_there_in_time_is_not_sent() {
    let clock = clock();
    let server = Server::start(Format::House, &clock).await;
    let layer = SignLayer::new(signer(&clock)).body_deadline(Duration::from_millis(20));
    let client = layer.layer(Protocol::Http2.client());
    let slow = server.request(stream(Script::new([Step::Data("{".into()), Step::Hangs])));
    let error = sign_error(client.oneshot(slow).await.unwrap_err());
    assert_eq!(error.kind(), SignErrorKind::BodyTimeout);
    assert!(server.attempts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_one_for_the_whole_body() {
    let sent = Sent::default();
    let client = SignLayer::new(signer(&clock())).layer(keeping(&sent));
    for (waits, passes) in [(9, true), (11, false)] {
        let drops = (0..waits).flat_map(|_| {
            [
                Step::Waits(Duration::from_millis(990)),
                Step::Data("a".into()),
            ]
        });
        let request = request("POST", "/orders", "").map(|_| Script::new(drops));
        let outcome = client.clone().oneshot(request).await;
        assert_eq!(outcome.is_ok(), passes, "{waits} times 990 ms");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_sent_and_its_error_is_kept() {
    let sent = Sent::default();
    let client = SignLayer::new(signer(&clock())).layer(keeping(&sent));
    let body = Script::new([
        Step::Data("{".into()),
        Step::Fails("the disk is gone".into()),
    ]);
    let request = request("POST", "/orders", "").map(|_| body);
    let error = sign_error(client.oneshot(request).await.unwrap_err());
    assert_eq!(error.kind(), SignErrorKind::BodyUnreadable);
    assert_eq!(error.source().unwrap().to_string(), "the disk is gone");
    assert!(sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_error_of_the_client_comes_as_it_is() {
    // It is bound and does not listen, so that nobody else has its port.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let origin = format!("http://{}/", silent.local_addr().unwrap());
    let signer = Format::Rfc9421.signer(clock());
    let client = SignLayer::new(signer.clone()).layer(Protocol::Http1.client());
    let request = || Request::get(&origin).body(Empty::<Bytes>::new()).unwrap();
    let error = client.oneshot(request()).await.unwrap_err();
    let error: &hyper_util::client::legacy::Error = error.downcast_ref().unwrap();
    assert!(error.is_connect());

    let client = SignLayer::new(signer)
        .danger_sign_again_unverified()
        .layer(Protocol::Http1.client());
    let error = client.oneshot(request()).await.unwrap_err();
    assert!(error.is::<hyper_util::client::legacy::Error>());
}

/// A client that must be polled ready, as the contract of Tower says, and counts its calls.
pub struct OnlyWhenReady {
    pub ready: bool,
    pub answer: fn() -> Response<Full<Bytes>>,
    pub calls: Effects,
}

impl Clone for OnlyWhenReady {
    /// Readiness is not cloned.
    fn clone(&self) -> Self {
        Self {
            ready: false,
            answer: self.answer,
            calls: self.calls.clone(),
        }
    }
}

impl Service<Request<Full<Bytes>>> for OnlyWhenReady {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        assert!(mem::take(&mut self.ready), "called without being ready");
        self.calls.happened();
        ready(Ok((self.answer)()))
    }
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_that_is_called() {
    let client = OnlyWhenReady {
        ready: false,
        answer: || Response::new(Full::default()),
        calls: Effects::default(),
    };
    let mut signing = SignLayer::new(signer(&clock())).layer(client.clone());
    for _ in 0..3 {
        let request = request("POST", "/orders", "{}");
        let signing: &mut _ = tower::ServiceExt::<Request<String>>::ready(&mut signing)
            .await
            .unwrap();
        assert!(signing.call(request).await.unwrap().status().is_success());
    }
    assert_eq!(client.calls.count(), 3);
}

/// The twin: a clone that was not polled ready is seen.
#[tokio::test]
#[should_panic(expected = "called without being ready")]
async fn a_clone_is_not_ready() {
    let client = OnlyWhenReady {
        ready: true,
        answer: || Response::new(Full::default()),
        calls: Effects::default(),
    };
    let _ = client.clone().call(Request::new(Full::default())).await;
}
