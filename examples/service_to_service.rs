//! Two services that sign and verify in both directions, requests and responses, while all of their
//! keys are rotated under load; and what happens to a response that is not the server's.
//!
//! `cargo run --example service_to_service`

#![allow(clippy::print_stdout, reason = "an example for people to read")]

use std::{
    error::Error,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use countersign::{
    HttpMessageSignatures, KeyRing, KeySet, MemoryStore, Secret, SignLayer, Signer,
    VerifiedPayload, VerifyLayer,
    client::Sign,
    error::ResponseError,
    response::{
        ResponseSigner, ResponseVerifier, SignResponseLayer, SignedBy, VerifyResponse,
        VerifyResponseLayer,
    },
};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::{ServiceBuilder, ServiceExt as _};

type BoxError = Box<dyn Error + Send + Sync>;

/// Senders for each direction.
const SENDERS: usize = 4;

/// A key for each service and each direction: what one signs as a client, and what as a server.
const ORDERS_ASKS: &str = "orders-asks";
const ORDERS_ANSWERS: &str = "orders-answers";
const STOCK_ASKS: &str = "stock-asks";
const STOCK_ANSWERS: &str = "stock-answers";

fn secret(key: &str, generation: u32) -> String {
    format!("secret {generation} of {key}, which two know")
}

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let orders = Service::start(ORDERS_ASKS, ORDERS_ANSWERS, STOCK_ASKS, STOCK_ANSWERS).await?;
    let stock = Service::start(STOCK_ASKS, STOCK_ANSWERS, ORDERS_ASKS, ORDERS_ANSWERS).await?;
    println!("  orders on {}, stock on {}\n", orders.origin, stock.origin);

    let stop = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for sender in 0..SENDERS {
        let (to_stock, to_orders) = (stock.origin.clone(), orders.origin.clone());
        load.spawn(orders.clone().ask(to_stock, sender, Arc::clone(&stop)));
        load.spawn(stock.clone().ask(to_orders, sender, Arc::clone(&stop)));
    }
    let rotated = rotate_under_load([&orders, &stock]).await;
    stop.store(true, SeqCst);
    let mut failures = Vec::from_iter(rotated.err());
    while let Some(ended) = load.join_next().await {
        failures.extend(ended?.err());
    }
    for failure in &failures {
        println!("✗ {failure}");
    }
    let handled = orders.handled.load(SeqCst) + stock.handled.load(SeqCst);
    let answered = orders.answered() + stock.answered();
    let once = handled == answered && failures.is_empty();
    println!(
        "\n{} {handled} requests were handled, {answered} answers verified, {} failed",
        mark(once),
        failures.len()
    );

    let refused = refuses_what_the_server_did_not_sign(&orders, &stock).await?;
    Ok(if once && refused {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// All four keys, twice: the receivers accept both secrets, the senders change over, the receivers let
/// go of the old one.
async fn rotate_under_load(services: [&Service; 2]) -> Result<(), BoxError> {
    let report = async |what: &str| {
        settle(services).await?;
        let answers: u64 = services.map(Service::answered).iter().sum();
        println!("✓ {what:<40}{answers:>8} answers verified");
        Ok::<_, BoxError>(())
    };
    report("all sign with secret 1").await?;
    for new in [2, 3] {
        let old = new - 1;
        for service in services {
            service.accept(&[old, new])?;
        }
        report(&format!("all accept secrets {old} and {new}")).await?;
        for service in services {
            service.rotate(new)?;
        }
        report(&format!("all sign with secret {new}")).await?;
        for service in services {
            service.accept(&[new])?;
        }
        report(&format!("nobody accepts secret {old} any more")).await?;
    }
    Ok(())
}

/// A service: what it answers, and how it asks the other one.
#[derive(Clone)]
struct Service {
    origin: String,
    /// Its own key ids, and those of the other.
    asks: &'static str,
    answers: &'static str,
    other_asks: &'static str,
    other_answers: &'static str,
    signer: Signer,
    response_signer: ResponseSigner,
    /// The keys that it accepts: as a server, and as a client.
    requests_from: KeyRing,
    responses_from: KeyRing,
    verifier: ResponseVerifier,
    client: Sign<VerifyResponse<Client<HttpConnector, Full<Bytes>>>>,
    handled: Arc<AtomicU64>,
    /// Answers verified, by each sender.
    verified: Arc<[AtomicU64; SENDERS]>,
}

impl Service {
    async fn start(
        asks: &'static str,
        answers: &'static str,
        other_asks: &'static str,
        other_answers: &'static str,
    ) -> Result<Self, BoxError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let scheme = HttpMessageSignatures::default();

        // As a client: sign the request, send it, verify the response.
        let signer = Signer::new(scheme.clone(), asks, secret(asks, 1))?;
        let responses_from = keys(other_answers, &[1])?;
        let verifier = ResponseVerifier::builder(scheme.clone())
            .keys(responses_from.clone())
            .build()?;
        let client = ServiceBuilder::new()
            .layer(SignLayer::new(signer.clone()))
            .layer(VerifyResponseLayer::new(verifier.clone()))
            .service(Client::builder(TokioExecutor::new()).build_http());

        // As a server: verify the request, handle it, sign the response, or the rejection.
        let requests_from = keys(other_asks, &[1])?;
        let verify = VerifyLayer::builder(scheme.clone())
            .public_origin(&origin)
            .keys(requests_from.clone())
            // The example starts once, and nothing was accepted before.
            .store(MemoryStore::new().danger_assume_no_history())
            .build()?;
        let response_signer = ResponseSigner::new(scheme, answers, secret(answers, 1))?;
        let sign = SignResponseLayer::new(response_signer.clone().public_origin(&origin)?);
        let handled = Arc::new(AtomicU64::new(0));
        let app = Router::new()
            .route("/reserve", post(reserve))
            .with_state(Arc::clone(&handled))
            .layer(verify)
            .layer(sign);
        tokio::spawn(async move { axum::serve(listener, app).await });

        Ok(Self {
            origin,
            asks,
            answers,
            other_asks,
            other_answers,
            signer,
            response_signer,
            requests_from,
            responses_from,
            verifier,
            client,
            handled,
            verified: Arc::default(),
        })
    }

    /// Asks one thing after the other, and fails at the first answer that is not as it should be.
    async fn ask(
        self,
        origin: String,
        sender: usize,
        stop: Arc<AtomicBool>,
    ) -> Result<(), BoxError> {
        let mut number = 0;
        while !stop.load(SeqCst) {
            number += 1;
            let body = format!("{{\"item\":\"anvil\",\"count\":{number}}}");
            let request =
                Request::post(format!("{origin}/reserve")).body(Full::<Bytes>::from(body))?;
            let response = self.client.clone().oneshot(request).await?;
            let by = response.extensions().get::<SignedBy>().cloned();
            let by = by.ok_or("an answer that nobody signed")?;
            let (status, key) = (response.status(), by.key_id().clone());
            let answer = response.into_body().collect().await?.to_bytes();
            if status != 200 || key.as_str() != self.other_answers {
                let text = String::from_utf8_lossy(&answer);
                return Err(format!("{status} under key {key}: {text}").into());
            }
            if let Some(verified) = self.verified.get(sender) {
                verified.fetch_add(1, SeqCst);
            }
        }
        Ok(())
    }

    fn answered(&self) -> u64 {
        self.verified.iter().map(|n| n.load(SeqCst)).sum()
    }

    /// The receiver's side of a rotation.
    fn accept(&self, generations: &[u32]) -> Result<(), BoxError> {
        self.requests_from
            .replace(keys(self.other_asks, generations)?);
        self.responses_from
            .replace(keys(self.other_answers, generations)?);
        Ok(())
    }

    /// The sender's side.
    fn rotate(&self, generation: u32) -> Result<(), BoxError> {
        self.signer
            .rotate(self.asks, secret(self.asks, generation))?;
        let new = secret(self.answers, generation);
        self.response_signer.rotate(self.answers, new)?;
        Ok(())
    }
}

async fn reserve(State(handled): State<Arc<AtomicU64>>, payload: VerifiedPayload) -> String {
    handled.fetch_add(1, SeqCst);
    format!(
        "reserved {} bytes for {}",
        payload.bytes().len(),
        payload.key_id()
    )
}

fn keys(id: &str, generations: &[u32]) -> Result<KeyRing, BoxError> {
    let mut set = KeySet::new(id)?;
    for generation in generations {
        set = set.with(Secret::new(secret(id, *generation))?);
    }
    Ok(KeyRing::new().with_set(set)?)
}

/// Until every sender has had two more answers, the second to a request that was begun after this
/// was: nothing is on its way any more that was signed before. Elsewhere, where a request may take
/// its time, that is so `max_age` later.
async fn settle(services: [&Service; 2]) -> Result<(), BoxError> {
    let answers = || services.map(|service| service.verified.each_ref().map(|n| n.load(SeqCst)));
    let before = answers();
    let moved_on = async {
        while answers()
            .as_flattened()
            .iter()
            .zip(before.as_flattened())
            .any(|(now, before)| *now < before + 2)
        {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(60), moved_on)
        .await
        .map_err(|_| "a sender has stopped".into())
}

/// Two answers that are swapped, one that is changed, and one that is forged.
async fn refuses_what_the_server_did_not_sign(
    orders: &Service,
    stock: &Service,
) -> Result<bool, BoxError> {
    let direct: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let exchange = async || -> Result<_, BoxError> {
        let request = Request::post(format!("{}/reserve", stock.origin)).body("{}".to_owned())?;
        let signed = orders.signer.sign(request)?;
        let (sent, _) = signed.clone().into_parts();
        let (head, body) = direct.request(signed.map(Full::from)).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok((sent, Response::from_parts(head, body)))
    };
    let (one, to_one) = exchange().await?;
    let (_, to_other) = exchange().await?;
    let mut changed = to_one.clone();
    *changed.body_mut() = Bytes::from("reserved nothing");
    let forged = Response::new(Bytes::from("reserved 2 bytes"));

    println!("\n  {:<40}result", "response");
    let mut as_expected = true;
    for (what, answer, genuine) in [
        ("of the server", to_one, true),
        ("to another request", to_other, false),
        ("with another body", changed, false),
        ("of somebody else", forged, false),
    ] {
        let verified = orders.verifier.verify(&one, answer.map(Full::new)).await;
        let outcome = match &verified {
            Ok(_) => "verified".to_owned(),
            Err(error) => refusal(error),
        };
        as_expected &= verified.is_ok() == genuine;
        println!("{} {what:<40}{outcome}", mark(verified.is_ok() == genuine));
    }
    Ok(as_expected)
}

fn refusal(error: &ResponseError) -> String {
    format!("refused: {:?}", error.kind())
}

fn mark(as_expected: bool) -> &'static str {
    if as_expected { "✓" } else { "✗" }
}
