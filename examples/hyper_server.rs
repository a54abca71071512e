//! Plain hyper, without a framework: a server whose handler gets only requests that were verified,
//! each of them once.
//!
//! `cargo run --example hyper_server`

#![allow(clippy::print_stdout, reason = "an example for people to read")]

use std::{convert::Infallible, error::Error};

use bytes::Bytes;
use countersign::{
    HttpMessageSignatures, KeyRing, MemoryStore, Signer, VerifiedPayload, VerifyLayer,
};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};

type AnyError = Box<dyn Error + Send + Sync>;

const SECRET: &str = "an example is no place for a secret";

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let layer = VerifyLayer::builder(HttpMessageSignatures::default())
        .public_origin(&origin)
        .keys(KeyRing::new().with("partner-1", SECRET)?)
        .store(MemoryStore::new().danger_assume_no_history()) // the first start of an example
        .build()?;
    // hyper's `Incoming` cannot be made of bytes: `buffered` takes any body, and hands on
    // `Full<Bytes>`.
    let service = ServiceBuilder::new()
        .layer(layer.buffered())
        .service(service_fn(handle));
    let service = TowerToHyperService::new(service);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let connection = Builder::new(TokioExecutor::new());
                let connection = connection.serve_connection(TokioIo::new(stream), service);
                if let Err(error) = connection.await {
                    println!("a connection: {error}");
                }
            });
        }
    });

    let signer = Signer::new(HttpMessageSignatures::default(), "partner-1", SECRET)?;
    let request = Request::post(format!("{origin}/transfer")).body(r#"{"amount":7}"#)?;
    let signed = signer.sign(request)?;
    let mut altered = signed.clone();
    *altered.body_mut() = r#"{"amount":7000}"#;
    for (name, request, expected) in [
        ("altered", &altered, StatusCode::UNAUTHORIZED),
        ("signed", &signed, StatusCode::OK),
        ("the same again", &signed, StatusCode::CONFLICT),
    ] {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let request = request
            .clone()
            .map(|body| Full::new(Bytes::from_static(body.as_bytes())));
        let response = client.request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        println!("{name}: {status}: {}", String::from_utf8_lossy(&body));
        if status != expected {
            return Err(format!("{name}: expected {expected}").into());
        }
    }
    Ok(())
}

/// The payload is in the extensions; the body is the same bytes.
async fn handle(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = match request.extensions().get::<VerifiedPayload>() {
        Some(payload) => format!("{} sent {} bytes", payload.key_id(), payload.bytes().len()),
        None => "this service has no layer".to_owned(),
    };
    Ok(Response::new(Full::new(Bytes::from(text))))
}
