//! A server on a loopback socket, a client that signs, and what happens to altered requests.
//!
//! `cargo run --example quickstart`

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "an example for people to read"
)]

use std::{
    error::Error,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{Router, routing::any};
use bytes::Bytes;
use countersign::{
    HttpMessageSignatures, KeyRing, MemoryStore, Signer, VerifiedJson, VerifiedPayload,
    VerifyLayer, rfc9421::Component,
};
use http::{Method, Request, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{net::TcpListener, task::JoinSet};

const KEY: &str = "partner-1";
const SECRET: &str = "a secret that only the partner and we know";

#[derive(serde::Deserialize)]
struct Transfer {
    to: String,
    amount: u64,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);

    // RFC 9421. The signature must also cover the currency, which is in a header.
    let scheme = HttpMessageSignatures::builder()
        .covers(Component::header("x-currency")?)
        .build()?;

    // The server: one layer.
    let layer = VerifyLayer::builder(scheme.clone())
        .public_origin(&origin)
        .keys(KeyRing::new().with(KEY, SECRET)?)
        .store(MemoryStore::new().danger_assume_no_history())
        .max_body_bytes(16 * 1024)
        .build()?;
    let moved = Arc::new(AtomicU64::new(0));
    let ledger = Arc::clone(&moved);
    let transfer = move |payload: VerifiedPayload, VerifiedJson(order): VerifiedJson<Transfer>| {
        ledger.fetch_add(order.amount, Ordering::SeqCst);
        let currency = payload
            .header("x-currency")
            .and_then(|value| value.to_str().ok());
        let answer = format!(
            "moved {} {} to {}, as {} signed",
            order.amount,
            currency.unwrap_or("?"),
            order.to,
            payload.key_id(),
        );
        async { answer }
    };
    let app = Router::new()
        .route("/transfer", any(transfer.clone()))
        .route("/refund", any(transfer))
        .layer(layer);
    tokio::spawn(async move { axum::serve(listener, app).await });

    // The client.
    let signer = Signer::new(scheme, KEY, SECRET)?;
    let sender = Sender {
        client: Client::builder(TokioExecutor::new()).build_http(),
        origin,
        signer,
    };
    let passed = sender.show().await?;

    println!(
        "\n  The ledger moved {}: 25 for the first transfer, 25 for one of the 100 duplicates.",
        moved.load(Ordering::SeqCst)
    );
    let passed = passed && moved.load(Ordering::SeqCst) == 50;
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

type Signed = Request<Full<Bytes>>;
type Alteration = fn(&mut Signed);

struct Sender {
    client: Client<HttpConnector, Full<Bytes>>,
    origin: String,
    signer: Signer,
}

impl Sender {
    async fn show(&self) -> Result<bool, Box<dyn Error>> {
        println!(
            "  A server on {}, a client that signs, and others in between.\n",
            self.origin
        );
        println!("  {:<34}{:<8}answer", "request", "status");
        let mut passed = true;

        let genuine = self.signed(r#"{"to":"bob","amount":25}"#)?;
        passed &= self
            .row(
                "a signed transfer",
                genuine.clone(),
                200,
                "moved 25 EUR to bob",
            )
            .await?;
        passed &= self
            .row("the same once more", genuine, 409, "request_replayed")
            .await?;

        let altered: [(&str, Alteration); 6] = [
            ("with another body", |request| {
                *request.body_mut() = Full::from(r#"{"to":"eve","amount":25}"#);
            }),
            ("with another path", |request| {
                retarget(request, "/refund?batch=7");
            }),
            ("with another query", |request| {
                retarget(request, "/transfer?batch=8");
            }),
            ("with another method", |request| {
                *request.method_mut() = Method::PUT;
            }),
            ("with another header", |request| {
                request
                    .headers_mut()
                    .insert("x-currency", "BTC".parse().expect("a value"));
            }),
            ("with another nonce", |request| {
                let input = request.headers()["signature-input"].to_str();
                let other = input.expect("text").replace("nonce=\"", "nonce=\"0");
                request
                    .headers_mut()
                    .insert("signature-input", other.parse().expect("a value"));
            }),
        ];
        for (what, alter) in altered {
            let mut request = self.signed(r#"{"to":"bob","amount":25}"#)?;
            alter(&mut request);
            passed &= self.row(what, request, 401, "signature_invalid").await?;
        }

        let mut unsigned = self.signed("{}")?;
        unsigned.headers_mut().remove("signature");
        unsigned.headers_mut().remove("signature-input");
        passed &= self
            .row("without a signature", unsigned, 401, "signature_missing")
            .await?;
        let large = self.signed(&" ".repeat(20 * 1024))?;
        passed &= self
            .row(
                "a body of 20 KiB, limit 16 KiB",
                large,
                413,
                "body_too_large",
            )
            .await?;

        let (accepted, refused) = self.copies_at_once(100).await?;
        let as_expected = (accepted, refused) == (1, 99);
        println!(
            "{} {:<34}{:<8}{accepted} accepted, {refused} refused as duplicates",
            mark(as_expected),
            "100 duplicates at once",
            "",
        );
        Ok(passed & as_expected)
    }

    fn signed(&self, body: &str) -> Result<Signed, Box<dyn Error>> {
        let request = Request::post(format!("{}/transfer?batch=7", self.origin))
            .header("x-currency", "EUR")
            .body(body.to_owned())?;
        Ok(self.signer.sign(request)?.map(Full::from))
    }

    async fn row(
        &self,
        what: &str,
        request: Signed,
        status: u16,
        answer: &str,
    ) -> Result<bool, Box<dyn Error>> {
        let (found_status, found_answer) = send(&self.client, request).await?;
        let as_expected = found_status == status && found_answer.starts_with(answer);
        println!(
            "{} {what:<34}{found_status:<8}{found_answer}",
            mark(as_expected)
        );
        if !as_expected {
            println!("    expected was {status} {answer}");
        }
        Ok(as_expected)
    }

    async fn copies_at_once(&self, copies: usize) -> Result<(usize, usize), Box<dyn Error>> {
        let request = self.signed(r#"{"to":"bob","amount":25}"#)?;
        let mut sending = JoinSet::new();
        for _ in 0..copies {
            let (client, request) = (self.client.clone(), request.clone());
            sending
                .spawn(async move { send(&client, request).await.map(|(status, _)| status).ok() });
        }
        let statuses = sending.join_all().await;
        let count = |status| {
            statuses
                .iter()
                .filter(|found| **found == Some(status))
                .count()
        };
        Ok((count(200), count(409)))
    }
}

fn mark(as_expected: bool) -> &'static str {
    if as_expected { "✓" } else { "✗" }
}

fn retarget(request: &mut Signed, target: &'static str) {
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static(target));
    *request.uri_mut() = parts.try_into().expect("a URI");
}

/// The status, and the code of a rejection or what the handler answered.
async fn send(
    client: &Client<HttpConnector, Full<Bytes>>,
    request: Signed,
) -> Result<(u16, String), Box<dyn Error>> {
    let response = client.request(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    let code = serde_json::from_slice::<serde_json::Value>(&body)
        .ok()
        .and_then(|problem| Some(problem.get("code")?.as_str()?.to_owned()));
    Ok((
        status,
        code.unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned()),
    ))
}
