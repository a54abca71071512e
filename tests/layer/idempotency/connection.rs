//! Answers that break off or have trailers, on an HTTP/1.1 connection with a second request.

use std::{convert::Infallible, future::ready};

use axum::{Router, body::Body, response::Response, routing::any};
use bytes::Bytes;
use countersign::{
    HttpMessageSignatures, SignLayer, Signer, client::Repeatable, idempotency::IdempotencyLayer,
};
use http::{HeaderMap, HeaderValue, Request, header::CONTENT_LENGTH};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::{answers, keyed, sign, verify};
use crate::common::{
    self, KEY, SECRET,
    parts::{Script, Step},
};

const DATA: &str = "forty bytes of an answer that goes on...";

/// How the first answer ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    BreaksOff,
    BreaksOffAtOnce,
    Trailers,
}

impl End {
    fn body(self) -> Body {
        let data = || Step::Data(DATA.into());
        let fails = || Step::Fails("the upstream is gone".into());
        Body::new(Script::new(match self {
            Self::BreaksOff => vec![data(), fails()],
            Self::BreaksOffAtOnce => vec![fails()],
            Self::Trailers => vec![data(), Step::Trailers(checksum())],
        }))
    }
}

fn checksum() -> HeaderMap {
    HeaderMap::from_iter([("x-checksum".parse().unwrap(), HeaderValue::from_static("1"))])
}

fn answer(end: End, declared: Option<u64>) -> Response {
    let mut answer = Response::new(end.body());
    let headers = answer.headers_mut();
    headers.insert("trailer", HeaderValue::from_static("x-checksum"));
    if let Some(declared) = declared {
        headers.insert(CONTENT_LENGTH, declared.into());
    }
    answer
}

/// The same answer as a refusal, which a client that signs again has looked at.
async fn peeked(end: End, declared: Option<u64>) -> Response {
    let upstream = service_fn(move |_: Request<Full<Bytes>>| {
        let mut answer = answer(end, declared);
        *answer.status_mut() = http::StatusCode::UNAUTHORIZED;
        let problem = HeaderValue::from_static("application/problem+json");
        answer.headers_mut().insert("content-type", problem);
        ready(Ok::<_, Infallible>(answer))
    });
    let signer = Signer::new(HttpMessageSignatures::default(), KEY, SECRET).unwrap();
    let client = SignLayer::new(signer).danger_sign_again_unverified();
    let mut request = common::request("POST", "/upstream", "{}").map(Full::<Bytes>::from);
    request.extensions_mut().insert(Repeatable);
    let answer = client.layer(upstream).oneshot(request).await.unwrap();
    answer.map(Body::new)
}

/// An answer as its client reads it.
type Read = Result<(Bytes, Option<HeaderMap>), hyper::Error>;

/// Sends two requests on one connection.
async fn two_answers(router: Router, requests: [Request<String>; 2]) -> [Read; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(router);
        let server = hyper::server::conn::http1::Builder::new();
        // It fails with the body.
        drop(server.serve_connection(TokioIo::new(stream), service).await);
    });
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let connected = hyper::client::conn::http1::handshake(stream).await;
    let (mut sender, connection) = connected.unwrap();
    let connection = tokio::spawn(connection);
    let mut answers = Vec::new();
    for request in requests {
        let asked = async {
            sender.ready().await?;
            let answer = sender.send_request(request).await?;
            let answer = answer.into_body().collect().await?;
            let trailers = answer.trailers().cloned();
            Ok((answer.to_bytes(), trailers))
        };
        let answer: Read = asked.await;
        answers.push(answer);
    }
    drop(sender);
    serving.await.expect("the server does not panic");
    drop(connection.await);
    answers.try_into().unwrap()
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_whole_and_gives_nothing_of_the_next() {
    for is_peeked in [false, true] {
        for (end, declared) in [
            (End::BreaksOff, None),
            (End::BreaksOff, Some(100)),
            (End::BreaksOffAtOnce, None),
            (End::BreaksOffAtOnce, Some(100)),
            (End::Trailers, None),
        ] {
            let clock = common::clock();
            let layer = IdempotencyLayer::new(answers(&clock));
            let verify = verify(&clock).answer_duplicates_from(&layer);
            let first = any(async move || match is_peeked {
                true => peeked(end, declared).await,
                false => answer(end, declared),
            });
            let router = Router::new().route("/first", first);
            let router = router.route("/second", any(async || "the second"));
            let router = router.layer(layer).layer(verify.build().unwrap());
            let requests = ["first", "second"].map(|name| {
                let request = keyed(name, &format!("/{name}"), "{}");
                let mut signed = sign(&clock, (KEY, SECRET), request);
                let te = HeaderValue::from_static("trailers");
                signed.headers_mut().insert("te", te);
                signed
            });
            let [first, second] = two_answers(router, requests).await;
            let case = (is_peeked, end, declared);
            if end == End::Trailers {
                assert_eq!(first.unwrap(), (DATA.into(), Some(checksum())), "{case:?}");
                assert_eq!(second.unwrap().0, "the second", "{case:?}");
            } else {
                assert!(first.is_err(), "{case:?}: {first:?}");
                assert!(second.is_err(), "{case:?}: {second:?}");
            }
        }
    }
}
