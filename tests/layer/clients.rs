//! Real clients of other makers: those that write a whole body before they read the answer, and
//! those that would rather speak another protocol.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    pin::Pin,
    process::Command,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use countersign::{VerifiedPayload, VerifyLayer, request::VerifierBuilder};
use http::{HeaderValue, Request, Version};
use http_body::Frame;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower::ServiceExt as _;

use crate::common::{self, clock, layer, log, verdict};

const MIB: usize = 1024 * 1024;

async fn served() -> SocketAddr {
    let handler = async |_: VerifiedPayload| "handled";
    let layer = layer(&clock()).danger_any_authority().build().unwrap();
    common::serve(Router::new().route("/", post(handler)).layer(layer)).await
}

fn said(command: &mut Command) -> String {
    let run = command.output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    format!("{said}{}", String::from_utf8_lossy(&run.stderr))
}

fn curl(test: &str) -> Option<Command> {
    if Command::new("curl").arg("--version").output().is_err() {
        log::missing(test, "`curl` is not installed");
        return None;
    }
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20"]);
    Some(curl)
}

const PYTHON: &str = r#"
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=20)
connection.request("POST", "/", body=b"x" * int(sys.argv[2]))
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"#;

const NODE: &str = r#"
const [url, length] = process.argv.slice(-2);
fetch(url, { method: "POST", body: Buffer.alloc(Number(length), "x") })
    .then(async (answer) => console.log(answer.status, await answer.text()))
    .catch((error) => console.log(error, error.cause));
"#;

/// The body is refused before it is read, and the answer still arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_before_a_large_body_reaches_clients_that_write_first() {
    const TEST: &str = "a_refusal_before_a_large_body_reaches_clients_that_write_first";
    let addr = served().await;
    let folder = tempfile::tempdir().unwrap();
    for length in [MIB, 5 * MIB] {
        let body = folder.path().join("body");
        fs::write(&body, "x".repeat(length)).unwrap();
        let url = format!("http://{addr}/");
        let mut answers = Vec::new();
        // With `Expect: 100-continue`, as curl sends it by itself, and without.
        for expect in ["Expect: 100-continue", "Expect:"] {
            let Some(mut curl) = curl(TEST) else { break };
            curl.args(["--write-out", "%{http_code}", "-H", expect]);
            let body = format!("@{}", body.display());
            answers.push(said(curl.args(["--data-binary", &body, &url])));
        }
        if let Some(mut python) = common::python(TEST) {
            let arguments = [PYTHON, &addr.to_string(), &length.to_string()];
            answers.push(said(python.arg("-c").args(arguments)));
        }
        if let Some(mut node) = common::node(TEST) {
            answers.push(said(node.args([
                "-e",
                NODE,
                "--",
                &url,
                &length.to_string(),
            ])));
        }
        for answer in answers {
            let is_refusal = answer.contains("401") && answer.contains("signature_missing");
            assert!(is_refusal, "{length}: {answer}");
        }
    }
}

/// Clients that offer to go on with HTTP/2 do so with every request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_offers_an_upgrade_is_served() {
    const TEST: &str = "a_client_that_offers_an_upgrade_is_served";
    let clock = clock();
    let scheme = countersign::webhooks::GitHub::new();
    let builder = VerifyLayer::builder(scheme.clone()).secret(common::SECRET);
    let layer = builder.store(common::store(&clock)).clock(clock.clone());
    let handler = async |request: axum::extract::Request| {
        let upgrade = request.headers().contains_key("upgrade");
        format!("upgrade: {upgrade}")
    };
    let app = Router::new().route("/", post(handler));
    let addr = common::serve(app.layer(layer.build().unwrap())).await;
    let signer = countersign::Signer::with_secret(scheme, common::SECRET).unwrap();
    let signature = |body: &'static str| {
        let request = Request::post("/").body(Bytes::from_static(body.as_bytes()));
        let signed = signer.sign(request.unwrap()).unwrap();
        let value = &signed.headers()["x-hub-signature-256"];
        format!("x-hub-signature-256: {}", value.to_str().unwrap())
    };
    let url = format!("http://{addr}/");
    if let Some(mut curl) = curl(TEST) {
        let body = r#"{"by":"curl"}"#;
        curl.args([
            "--http2",
            "--data-binary",
            body,
            "-H",
            &signature(body),
            &url,
        ]);
        let answer = said(&mut curl);
        assert!(answer.contains("upgrade: false"), "{answer}");
    }
    if Command::new("java").arg("-version").output().is_err() {
        log::skipped(TEST, "`java` is not installed");
        return;
    }
    let body = r#"{"by":"java"}"#;
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("Sends.java");
    fs::write(
        &source,
        r#"
import java.net.URI;
import java.net.http.*;
public class Sends {
    public static void main(String[] arguments) throws Exception {
        var signature = arguments[1].split(": ");
        var request = HttpRequest.newBuilder(URI.create(arguments[0]))
            .header(signature[0], signature[1])
            .POST(HttpRequest.BodyPublishers.ofString(arguments[2])).build();
        var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.statusCode() + " " + answer.body());
    }
}
"#,
    )
    .unwrap();
    let mut java = Command::new("java");
    let answer = said(java.arg(source).args([&*url, &signature(body), body]));
    if answer.contains("jdk.compiler") || answer.contains("ClassNotFoundException") {
        log::skipped(TEST, "`java` has no compiler");
        return;
    }
    assert!(answer.contains("200 upgrade: false"), "{answer}");
}

/// A body whose sender sees whether anybody still reads it.
struct Sent(UnboundedReceiver<Bytes>);

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.0.poll_recv(cx);
        data.map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

/// A refusal, and the sender of the body that was refused.
async fn refused(
    router: &Router,
    change: impl FnOnce(&mut Request<Body>),
) -> UnboundedSender<Bytes> {
    let (sender, body) = unbounded_channel();
    let mut request = Request::post("/").body(Body::new(Sent(body))).unwrap();
    change(&mut request);
    let answer = verdict(router.clone().oneshot(request).await.unwrap()).await;
    assert_eq!(answer, (401, "signature_missing".to_owned()));
    sender
}

fn router(
    set: impl FnOnce(VerifierBuilder<VerifyLayer>) -> VerifierBuilder<VerifyLayer>,
) -> Router {
    let layer = set(layer(&clock()).danger_any_authority()).build().unwrap();
    let handler = async |_: VerifiedPayload| "handled";
    Router::new().route("/", post(handler)).layer(layer)
}

/// Lets what is in the background go on until nobody has anything to do.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_left_of_a_refused_body_is_dropped_to_its_end() {
    let router = router(|layer| layer);
    let sender = refused(&router, |_| {}).await;
    for _ in 0..100 {
        sender.send(Bytes::from_static(&[0; 1024])).unwrap();
    }
    settle().await;
    assert!(!sender.is_closed(), "there could be more");
    drop(sender);
}

/// The last of 65 bodies is cut off, and there is room again once one has ended.
#[tokio::test]
async fn the_rest_of_at_most_64_bodies_is_dropped_at_once() {
    let router = router(|layer| layer);
    let mut senders = Vec::new();
    for _ in 0..64 {
        senders.push(refused(&router, |_| {}).await);
    }
    let beyond = refused(&router, |_| {}).await;
    settle().await;
    assert!(beyond.is_closed());
    assert!(senders.iter().all(|sender| !sender.is_closed()));
    senders.pop();
    settle().await;
    let again = refused(&router, |_| {}).await;
    settle().await;
    assert!(!again.is_closed());
}

/// All bodies together, of the share of those that were not verified: here 1 MiB.
#[tokio::test]
async fn no_more_bytes_are_dropped_than_unverified_bodies_may_take_up() {
    let router = router(|layer| layer.max_body_bytes(64 * 1024).body_budget_bytes(2 * MIB));
    let frame = || Bytes::from(vec![0; 64 * 1024]);
    let first = refused(&router, |_| {}).await;
    for _ in 0..15 {
        first.send(frame()).unwrap();
        settle().await;
    }
    assert!(!first.is_closed());
    // The bytes that the first one has dropped count for as long as it goes on.
    let second = refused(&router, |_| {}).await;
    for _ in 0..2 {
        let _ = second.send(frame());
        settle().await;
    }
    assert!(second.is_closed() && !first.is_closed());
    for _ in 0..2 {
        let _ = first.send(frame());
        settle().await;
    }
    assert!(first.is_closed());
    // They are given back.
    let again = refused(&router, |_| {}).await;
    again.send(vec![0; 64 * 1024].into()).unwrap();
    settle().await;
    assert!(!again.is_closed());
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_body_is_dropped_for_a_time_only() {
    for (deadline, most) in [(3, 3), (60, 10)] {
        let deadline = Duration::from_secs(deadline);
        let router = router(|layer| layer.body_deadline(deadline));
        let sender = refused(&router, |_| {}).await;
        settle().await;
        tokio::time::sleep(Duration::from_secs(most) - Duration::from_millis(5)).await;
        assert!(!sender.is_closed(), "{deadline:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
        settle().await;
        assert!(sender.is_closed(), "{deadline:?}");
    }
}

/// A client that waits to be asked is not asked; and over HTTP/2 a stream ends by itself.
#[tokio::test]
async fn a_body_that_is_held_back_is_not_asked_for() {
    let router = router(|layer| layer);
    let waits = refused(&router, |request| {
        let expect = HeaderValue::from_static("100-continue");
        request.headers_mut().insert("expect", expect);
    });
    let waits = waits.await;
    let http2 = refused(&router, |request| *request.version_mut() = Version::HTTP_2).await;
    let short = refused(&router, |request| {
        *request.body_mut() = Body::from("short");
    });
    let short = short.await;
    settle().await;
    assert!(waits.is_closed() && http2.is_closed() && short.is_closed());
}

/// A server that cuts a body off loses its answer on the way to such a client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twin_a_server_that_cuts_the_body_off_is_found() {
    use tokio::io::AsyncWriteExt as _;
    let refuse = async |_: axum::extract::Request| http::StatusCode::UNAUTHORIZED;
    let naive = common::serve(Router::new().route("/", post(refuse))).await;
    let ours = served().await;
    let wrote_all = async |addr: SocketAddr| {
        let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        let length = 24 * MIB;
        let head =
            format!("POST / HTTP/1.1\r\nhost: api.example.com\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; length]).await.is_ok()
    };
    assert!(
        !wrote_all(naive).await,
        "more than the buffers of both sides hold"
    );
    assert!(wrote_all(ours).await);
}
