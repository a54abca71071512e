//! Tower without a framework and without a socket: a layer around any service of requests.
//!
//! `cargo run --example tower_service`

#![allow(clippy::print_stdout, reason = "an example for people to read")]

use std::{convert::Infallible, error::Error};

use bytes::Bytes;
use countersign::{HeaderScheme, KeyRing, MemoryStore, Part, Signer, VerifiedPayload, VerifyLayer};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Service as _, ServiceBuilder, ServiceExt as _, service_fn};

const SECRET: &str = "an example is no place for a secret";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // time + METHOD + path + body, with nothing between them, as a partner signs it.
    let scheme = HeaderScheme::builder("x-signature")
        .fixed_key_id("partner-1")
        .time("x-timestamp")
        .time_width(10)
        .signs([
            Part::Time,
            Part::method_of(["POST", "PUT"]),
            Part::fixed_path("/orders"),
            Part::Body,
        ])
        .build()?;
    let layer = VerifyLayer::builder(scheme.clone())
        .keys(KeyRing::new().with("partner-1", SECRET)?)
        .store(MemoryStore::new().danger_assume_no_history()) // the first start of an example
        .build()?;
    let mut service = ServiceBuilder::new()
        .layer(layer)
        .service(service_fn(handle));

    let signer = Signer::new(scheme, "partner-1", SECRET)?;
    let request = Request::post("/orders").body(r#"{"item":"anvil"}"#)?;
    let request = signer.sign(request)?.map(Bytes::from);
    for (name, expected) in [
        ("signed", StatusCode::OK),
        ("the same again", StatusCode::CONFLICT),
    ] {
        let copy = request.clone().map(Full::new);
        let response = service.ready().await?.call(copy).await?;
        println!("{name}: {}", response.status());
        if response.status() != expected {
            return Err(format!("{name}: expected {expected}").into());
        }
    }
    Ok(())
}

async fn handle(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let payload = request.extensions().get::<VerifiedPayload>();
    let body = payload.map(|payload| payload.bytes().clone());
    Ok(Response::new(Full::new(body.unwrap_or_default())))
}
