//! gRPC with `tonic`: every call is signed by the client, verified by the server, and used once.
//!
//! The messages are plain text here, so that the example needs no code generator; services that
//! `tonic` generates take the layer in the same way.
//!
//! `cargo run --example grpc`

#![allow(clippy::print_stdout, reason = "an example for people to read")]

use std::{
    convert::Infallible,
    error::Error,
    future::{Ready, ready},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, BufMut as _, Bytes};
use countersign::{
    HttpMessageSignatures, KeyRing, MemoryStore, SignLayer, Signer, VerifiedPayload, VerifyLayer,
};
use http::{HeaderValue, uri::PathAndQuery};
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::net::TcpListener;
use tonic::{
    Code, Request, Response, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{NamedService, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use tower::{Service, ServiceBuilder, service_fn};

type AnyError = Box<dyn Error + Send + Sync>;

const SECRET: &str = "an example is no place for a secret";
const MOVE: &str = "/bank.Transfers/Move";

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let layer = VerifyLayer::builder(HttpMessageSignatures::default())
        .public_origin(&origin)
        .keys(KeyRing::new().with("partner-1", SECRET)?)
        .store(MemoryStore::new().danger_assume_no_history()) // the first start of an example
        // A client of gRPC takes its code from the status, if there is no body to be decoded.
        .render_rejection(|_| (HeaderValue::from_static("text/plain"), Bytes::new()))
        .build()?;
    // A unary call is one body, which is buffered and verified. A call that streams without an end
    // cannot be: its body would never be complete.
    let server = Server::builder()
        .layer(layer.buffered())
        .add_service(Transfers)
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(server);

    for (name, secret, times, expected) in [
        ("signed", SECRET, 1, Code::Ok),
        (
            "under another secret",
            "a secret that the server has not",
            1,
            Code::Unauthenticated,
        ),
        // gRPC has no code for 409.
        ("signed, and sent twice", SECRET, 2, Code::Unknown),
    ] {
        let signer = Signer::new(HttpMessageSignatures::default(), "partner-1", secret)?;
        let http = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http::<Full<Bytes>>();
        // Somebody on the way: sends what was signed as often as they like.
        let send = service_fn(move |request: http::Request<Full<Bytes>>| {
            let http = http.clone();
            async move {
                for _ in 1..times {
                    http.request(request.clone()).await?;
                }
                http.request(request).await
            }
        });
        let service = ServiceBuilder::new()
            .layer(SignLayer::new(signer))
            .service(send);
        let mut client = Grpc::with_origin(service, origin.parse()?);
        client.ready().await?;
        let order = Request::new("7 to alice".to_owned());
        let answer = client
            .unary(order, PathAndQuery::from_static(MOVE), Text)
            .await;
        let code = match answer {
            Ok(answer) => {
                println!("{name}: {}", answer.into_inner());
                Code::Ok
            }
            Err(status) => {
                println!("{name}: refused, {:?}", status.code());
                status.code()
            }
        };
        if code != expected {
            return Err(format!("{name}: expected {expected:?}").into());
        }
    }
    Ok(())
}

/// The traits of a service that `tonic` has generated.
#[derive(Clone)]
struct Transfers;

impl NamedService for Transfers {
    const NAME: &'static str = "bank.Transfers";
}

type Answering = dyn Future<Output = Result<http::Response<tonic::body::Body>, Infallible>> + Send;

impl Service<http::Request<tonic::body::Body>> for Transfers {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<Answering>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async move {
            if request.uri().path() != MOVE {
                return Ok(Status::unimplemented("there is no such method").into_http());
            }
            let mut grpc = tonic::server::Grpc::new(Text);
            Ok(grpc.unary(Move, request).await)
        })
    }
}

/// The method: the payload is in the extensions of the request.
struct Move;

impl UnaryService<String> for Move {
    type Response = String;
    type Future = Ready<Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let Some(payload) = request.extensions().get::<VerifiedPayload>() else {
            return ready(Err(Status::internal("the service has no layer")));
        };
        let text = format!("moved {} for {}", request.get_ref(), payload.key_id());
        ready(Ok(Response::new(text)))
    }
}

/// Messages that are text.
#[derive(Clone, Copy)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let text = String::from_utf8(bytes.to_vec());
        text.map(Some)
            .map_err(|_| Status::invalid_argument("not UTF-8"))
    }
}
