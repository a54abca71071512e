//! Independent implementations accept what this one signs, it accepts what they sign, and
//! each refuses a request of which any byte was changed on its way: over HTTP, on loopback.
//!
//! Those in other languages are scripts in `tests/peers`, and are skipped, by name, where nothing
//! says that they are installed.

mod cases;
mod httpsig;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use cases::{ABSENT, CASES, Case, LABEL};
use countersign::{
    Clock as _, MemoryStore, Signer, VerifyLayer, clock::SystemClock, testing::ManualClock,
};
use http::Request;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::json;

use crate::{
    common::{self, Effects, KEY, SECRET, at, echo},
    script::{Language, Script},
    wire::{Change, Wire},
};

const PYTHON: &str = "PyPI http-message-signatures 3.0.0";
const NODE: &str = "npm http-message-signatures 1.0.6";
const HTTPSIG: &str = "crate httpsig-hyper 0.0.26";

use Signs::{They, We};

/// Where a peer is known to differ, and why. A test fails when it does so no longer.
const DIFFERENCES: &[(&str, &[Signs], &str, &str)] = &[
    (
        PYTHON,
        &[They],
        "a field in two lines",
        "requests sends each field in one line",
    ),
    (
        PYTHON,
        &[They],
        "bs of two lines",
        "requests sends each field in one line",
    ),
    (
        NODE,
        &[They, We],
        "a quote in the query",
        "it takes the query from `URL`, which encodes `'`; section 2.2.7 takes it as it was sent",
    ),
    (
        NODE,
        &[They, We],
        "a parameter of the query with marks",
        "it encodes with `encodeURIComponent`, which leaves `!'()~`; section 2.2.8 encodes them",
    ),
    (
        HTTPSIG,
        &[They, We],
        "a parameter of the query that is encoded",
        "it takes the parameter as it was sent; section 2.2.8 decodes it and encodes it again",
    ),
    (
        HTTPSIG,
        &[They, We],
        "a parameter of the query with marks",
        "it takes the parameter as it was sent; section 2.2.8 decodes it and encodes it again",
    ),
    (
        HTTPSIG,
        &[They, We],
        "a nonce that has to be escaped",
        "it writes parameters without the escapes of RFC 9651, section 4.1.6",
    ),
    (HTTPSIG, &[They, We], "bs", "it has no `bs`"),
    (HTTPSIG, &[They, We], "bs of two lines", "it has no `bs`"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Signs {
    They,
    We,
}

/// The values of one request.
pub struct Attempt {
    /// As the client sees it.
    server: SocketAddr,
    created: u64,
    nonce: String,
}

impl Attempt {
    fn new(case: &Case, server: SocketAddr) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            server,
            created: SystemClock::default().now().as_secs(),
            nonce: format!("{}#{count}", case.nonce),
        }
    }

    /// As it is before it is signed.
    fn request(&self, case: &Case) -> Request<&'static str> {
        let mut request = Request::builder()
            .method(case.method)
            .uri(format!("http://{}{}", self.server, case.target));
        for (name, value) in case.headers {
            request = request.header(*name, *value);
        }
        request.body(case.body).expect("a valid request")
    }

    /// Returns what is changed of the signature, whatever it covers; then what is changed of the
    /// rest.
    fn changes(&self, case: &Case) -> Vec<Change> {
        let created = |created: u64| format!("created={created}");
        let mut changes = vec![
            (created(self.created), created(self.created - 1)),
            ("#".to_owned(), "+".to_owned()),
            (format!("{LABEL}=:"), format!("{LABEL}=:AAAA")),
        ];
        let owned = |&(from, to): &(&str, &str)| (from.to_owned(), to.to_owned());
        changes.extend(case.changes.iter().map(owned));
        changes
    }
}

struct Peer {
    name: &'static str,
    /// Where it verifies.
    server: SocketAddr,
    /// The crate has none.
    script: Option<Script>,
}

impl Peer {
    async fn script(name: &'static str, language: Language) -> Option<Self> {
        let mut script = Script::start(language, "rfc9421", &[KEY, SECRET])?;
        let port = script.answer().await["port"].as_u64().expect("its port");
        Some(Self {
            name,
            server: SocketAddr::from(([127, 0, 0, 1], port.try_into().expect("a port"))),
            script: Some(script),
        })
    }

    async fn httpsig() -> Self {
        Self {
            name: HTTPSIG,
            server: httpsig::serve().await,
            script: None,
        }
    }

    /// Signs a request and sends it; 0 where it could not.
    async fn sign_and_send(&mut self, case: &Case, attempt: &Attempt) -> (u16, String) {
        let Some(script) = &mut self.script else {
            let answer = httpsig::sign_and_send(case, attempt).await;
            return answer.unwrap_or_else(|error| (0, error.to_string()));
        };
        let answer = script
            .ask(&json!({
                "method": case.method,
                "url": attempt.request(case).uri().to_string(),
                "headers": case.headers,
                "body": case.body,
                "digest": case.digest_name(),
                "covers": case.covers(),
                "created": attempt.created,
                "expires_after": case.expires.then_some(cases::EXPIRES_AFTER.as_secs()),
                "nonce": attempt.nonce,
                "tag": case.tag,
                "label": LABEL,
            }))
            .await;
        let status = answer["status"].as_u64().and_then(|s| s.try_into().ok());
        let body = answer["body"].as_str().expect("the body of an answer");
        (
            status.expect("a status"),
            common::code_or_body(body.as_bytes()),
        )
    }
}

/// Sends one request, signed by one side and verified by the other, with one of its changes or none.
/// Answers with what was changed, and with the answer.
async fn exchange(
    signs: Signs,
    peer: &mut Peer,
    case: &Case,
    change: Option<usize>,
) -> (Option<Change>, (u16, String)) {
    let wire = Wire::new().await;
    let attempt = Attempt::new(case, wire.addr());
    let change = change.map(|place| attempt.changes(case).swap_remove(place));
    let server = match signs {
        They => server(case, wire.addr()).await,
        We => peer.server,
    };
    wire.to(server, change.clone());
    let answer = match signs {
        They => peer.sign_and_send(case, &attempt).await,
        We => {
            let clock = ManualClock::at(at(attempt.created));
            let signer = Signer::new(case.scheme(), KEY, SECRET)
                .unwrap()
                .clock(clock);
            let signed = signer.sign_with_nonce(attempt.request(case), &attempt.nonce);
            send(signed.unwrap().map(Bytes::from)).await
        }
    };
    (change, answer)
}

/// Our layer, in a server that clients reach at this address.
async fn server(case: &Case, addr: SocketAddr) -> SocketAddr {
    let layer = VerifyLayer::builder(case.scheme())
        .public_origin(format!("http://{addr}"))
        // The signature tells that the authority was changed.
        .public_origin(format!("http://127.0.0.2:{}", addr.port()))
        .keys(common::keys())
        .store(MemoryStore::new().danger_assume_no_history())
        .build()
        .expect("a configuration that is safe");
    common::serve(echo(&Effects::default()).layer(layer)).await
}

async fn send(request: Request<Bytes>) -> (u16, String) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request.map(Full::new));
    let answer = tokio::time::timeout(Duration::from_secs(30), answer).await;
    let answer = answer.expect("an answer within 30 seconds");
    common::verdict(answer.expect("an answer")).await
}

/// Every case is accepted, and refused once any of it was changed, unless the peer is known to
/// differ.
async fn agree(signs: Signs, mut peer: Peer) {
    let name = peer.name;
    for case in CASES {
        let (_, answer) = exchange(signs, &mut peer, case, None).await;
        let what = format!("{name}, {}", case.name);
        let difference = DIFFERENCES.iter().find(|(peer, signing, differs, _)| {
            *peer == name && *differs == case.name && signing.contains(&signs)
        });
        if let Some((.., why)) = difference {
            assert_ne!(answer.0, 200, "{what}: accepted, though {why}");
            continue;
        }
        match signs {
            They => assert_eq!(answer, (200, case.body.to_owned()), "{what}"),
            We => {
                assert_eq!(answer.0, 200, "{what}: {}", answer.1);
                let covered: Vec<String> = serde_json::from_str(&answer.1).unwrap();
                let missing = case.covers().into_iter().find(|c| !covered.contains(c));
                assert_eq!(missing, None, "{what}");
            }
        }
        for place in 0..3 + case.changes.len() {
            let (change, answer) = exchange(signs, &mut peer, case, Some(place)).await;
            let verdict = match signs {
                They => answer.1.starts_with("signature_"),
                We => answer.0 == 401,
            };
            assert!(verdict, "{what}, with {change:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn what_the_python_package_signs_is_accepted() {
    if let Some(peer) = Peer::script(PYTHON, Language::Python).await {
        agree(They, peer).await;
    }
}

#[tokio::test]
async fn the_python_package_accepts_what_is_signed() {
    if let Some(peer) = Peer::script(PYTHON, Language::Python).await {
        agree(We, peer).await;
    }
}

#[tokio::test]
async fn what_the_node_package_signs_is_accepted() {
    if let Some(peer) = Peer::script(NODE, Language::Node).await {
        agree(They, peer).await;
    }
}

#[tokio::test]
async fn the_node_package_accepts_what_is_signed() {
    if let Some(peer) = Peer::script(NODE, Language::Node).await {
        agree(We, peer).await;
    }
}

#[tokio::test]
async fn what_httpsig_hyper_signs_is_accepted() {
    agree(They, Peer::httpsig().await).await;
}

#[tokio::test]
async fn httpsig_hyper_accepts_what_is_signed() {
    agree(We, Peer::httpsig().await).await;
}

/// RFC 9421, section 2.5: an error. The crate signs it as if it were there and empty.
#[tokio::test]
async fn a_field_that_is_not_there_is_refused_though_httpsig_hyper_signs_it() {
    let mut peer = Peer::httpsig().await;
    let (_, answer) = exchange(They, &mut peer, &ABSENT, None).await;
    assert_eq!(answer, (400, "signature_malformed".to_owned()));
}
