//! A server that signs its responses, on a real socket, and clients that verify them.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, response::IntoResponse as _};
use bytes::Bytes;
use countersign::{
    HttpMessageSignatures, KeyRing, SignLayer, Signer, VerifiedPayload, VerifyLayer,
    client::Sign,
    error::{ResponseError, ResponseErrorKind},
    response::{
        ResponseSigner, ResponseVerifier, ResponseVerifierBuilder, SignResponseLayer,
        VerifyResponse, VerifyResponseLayer,
    },
    testing::ManualClock,
};
use http::{Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt as _, Full};
use tokio::net::TcpListener;
use tower::{BoxError, ServiceBuilder};

use crate::common::{
    parts::{Script, Step},
    *,
};
pub use crate::protocol::Protocol;

pub const SERVER_KEY: &str = "api";
pub const SERVER_SECRET: &str = "the secret of the api";

pub fn rfc() -> HttpMessageSignatures {
    HttpMessageSignatures::default()
}

pub fn request_signer(clock: &ManualClock) -> Signer {
    let signer = Signer::new(rfc(), KEY, SECRET).unwrap();
    signer.clock(clock.clone())
}

pub fn response_signer(clock: &ManualClock) -> ResponseSigner {
    let signer = ResponseSigner::new(rfc(), SERVER_KEY, SERVER_SECRET).unwrap();
    signer.clock(clock.clone())
}

pub fn server_keys() -> KeyRing {
    KeyRing::new().with(SERVER_KEY, SERVER_SECRET).unwrap()
}

pub fn response_verifier(clock: &ManualClock) -> ResponseVerifierBuilder {
    ResponseVerifier::builder(rfc())
        .keys(server_keys())
        .clock(clock.clone())
}

/// The head of a signed request, as it was sent.
pub fn sent(clock: &ManualClock) -> Parts {
    head_of(&request_signer(clock).sign(transfer()).unwrap())
}

pub fn transfer() -> Request<&'static str> {
    Request::post("https://api.example.com/transfer?batch=7")
        .header("content-type", "application/json")
        .body("{\"amount\":25}")
        .unwrap()
}

pub fn head_of<B>(request: &Request<B>) -> Parts {
    let mut head = Request::new(()).into_parts().0;
    head.method = request.method().clone();
    head.uri = request.uri().clone();
    head.headers = request.headers().clone();
    head
}

pub fn full(body: &str) -> Full<Bytes> {
    Full::from(body.to_owned())
}

/// A response, not yet signed, with all that is covered by default.
pub fn moved() -> Response<Bytes> {
    Response::builder()
        .status(StatusCode::CREATED)
        .header("content-type", "text/plain")
        .header("location", "/transfers/9")
        .header("x-uncovered", "1")
        .body(Bytes::from("moved 25"))
        .unwrap()
}

/// Returns what happens to a response.
pub async fn judge(
    verifier: &ResponseVerifier,
    request: &Parts,
    response: Response<Bytes>,
) -> Result<Response<Bytes>, ResponseErrorKind> {
    let verified = verifier.verify(request, response.map(Full::new)).await;
    verified.map_err(|error| error.kind())
}

pub fn kind(error: BoxError) -> ResponseErrorKind {
    let error: Box<ResponseError> = error.downcast().expect("an error of the layer");
    error.kind()
}

/// A client that signs and verifies.
pub fn client<C>(clock: &ManualClock, client: C) -> Sign<VerifyResponse<C>> {
    let verifier = response_verifier(clock).build().unwrap();
    ServiceBuilder::new()
        .layer(SignLayer::new(request_signer(clock)))
        .layer(VerifyResponseLayer::new(verifier))
        .service(client)
}

/// A server behind both layers; what it answers is told by the path.
#[derive(Clone)]
pub struct Server {
    pub origin: String,
    pub effects: Effects,
    pub signer: ResponseSigner,
}

impl Server {
    pub async fn start(clock: &ManualClock) -> Self {
        Self::start_with(clock, |app, sign| app.layer(sign)).await
    }

    pub async fn start_with(
        clock: &ManualClock,
        outermost: impl FnOnce(Router, SignResponseLayer) -> Router,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            effects: Effects::default(),
            signer: response_signer(clock),
        };
        let verify = VerifyLayer::builder(rfc())
            .public_origin(&server.origin)
            .keys(keys())
            .store(store(clock))
            .clock(clock.clone())
            .build()
            .unwrap();
        let effects = server.effects.clone();
        let handler = move |payload: VerifiedPayload| {
            effects.happened();
            async move { Ok::<_, Infallible>(answer(&payload)) }
        };
        let app = Router::new().fallback(handler).layer(verify);
        let sign = SignResponseLayer::new(server.signer.clone())
            .max_body_bytes(1000)
            .body_deadline(Duration::from_millis(200));
        let app = outermost(app, sign);
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    /// A request, not yet signed.
    pub fn request(&self, method: &str, path: &str, body: &str) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.origin))
            .body(full(body))
            .unwrap()
    }
}

fn answer(payload: &VerifiedPayload) -> Response<Body> {
    let plain = [
        ("content-type", "text/plain"),
        ("cache-control", "max-age=5"),
    ];
    match payload.path().unwrap() {
        "/204" => StatusCode::NO_CONTENT.into_response(),
        "/304" => (StatusCode::NOT_MODIFIED, [("etag", "\"7\"")]).into_response(),
        "/empty" => StatusCode::OK.into_response(),
        "/limit" => "a".repeat(1000).into_response(),
        "/large" => "a".repeat(1001).into_response(),
        "/grows" => {
            let frames = ["a".repeat(1000), "a".to_owned()];
            Response::new(Body::new(Script::frames(frames)))
        }
        "/slow" => Response::new(Body::new(Script::new([
            Step::Data("a".into()),
            Step::Hangs,
        ]))),
        "/broken" => Response::new(Body::new(Script::new([
            Step::Data("a".into()),
            Step::Fails("the disk is gone".into()),
        ]))),
        "/short" => Response::builder()
            .header("content-length", "2")
            .body(Body::new(Script::frames(["a"])))
            .unwrap(),
        "/stream" => Response::builder()
            .header("trailer", "x-checksum")
            .body(Body::new(Script::new([
                Step::Data("a".into()),
                Step::Waits(Duration::from_millis(1)),
                Step::Data("b".into()),
                Step::Trailers(
                    [("x-checksum".parse().unwrap(), "1".parse().unwrap())]
                        .into_iter()
                        .collect(),
                ),
            ])))
            .unwrap(),
        "/signed" => Response::builder()
            .header("signature-input", "sig1=()")
            .header("signature", "sig1=:YQ==:")
            .body(Body::empty())
            .unwrap(),
        _ => (plain, payload.bytes().clone()).into_response(),
    }
}

/// The status, and the code of a rejection or the body.
pub async fn said(response: Response<Full<Bytes>>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, code_or_body(&body))
}

pub fn says(status: u16, what: &str) -> (u16, String) {
    (status, what.to_owned())
}
