//! Bodies that are large, slow or broken, on both sides, and look-ups that give no answer.

use std::{future::pending, time::Duration};

use bytes::Bytes;
use countersign::{
    KeyStore, Rejection,
    error::{KeyError, ResponseErrorKind, ResponseErrorKind::*},
    key::KeyFuture,
    response::{ResponseVerifierBuilder, SignResponseLayer},
    store::StoreFuture,
};
use http::{Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt as _, Full};
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::world::*;
use crate::common::{
    log::Log,
    parts::{Script, Step},
    *,
};

async fn verdict(
    verifier: ResponseVerifierBuilder,
    request: &Parts,
    response: Response<Script>,
) -> Result<Bytes, ResponseErrorKind> {
    let verifier = verifier.build().unwrap();
    let verified = verifier.verify(request, response).await;
    let verified = verified.map_err(|error| error.kind())?;
    Ok(verified.into_body())
}

/// A signed response over this body, that comes as it is told.
fn signed(request: &Parts, body: &str, steps: Script) -> Response<Script> {
    let response = Response::new(Bytes::from(body.to_owned()));
    let response = response_signer(&clock()).sign(request, response).unwrap();
    response.map(|_| steps)
}

#[tokio::test]
async fn the_mac_is_compared_before_the_body_is_read() {
    let request = sent(&clock());
    let response = signed(&request, "moved", Script::never_polled());
    let other = sent(&clock());
    let refused = verdict(response_verifier(&clock()), &other, response).await;
    assert_eq!(refused, Err(SignatureInvalid));

    let unsigned = Response::new(Script::never_polled());
    let refused = verdict(response_verifier(&clock()), &request, unsigned).await;
    assert_eq!(refused, Err(SignatureMissing));

    let stale = signed(&request, "moved", Script::never_polled());
    let later = clock();
    later.advance(Duration::from_secs(301));
    let refused = verdict(response_verifier(&later), &request, stale).await;
    assert_eq!(refused, Err(SignatureExpired));
}

/// The twin: where the MAC holds, the body is read.
#[tokio::test]
async fn a_body_that_comes_in_frames_is_read_whole() {
    let request = sent(&clock());
    let frames = Script::new([
        Step::Data("mo".into()),
        Step::Waits(Duration::from_millis(1)),
        Step::Data(Bytes::new()),
        Step::Data("ved".into()),
    ]);
    let response = signed(&request, "moved", frames);
    let body = verdict(response_verifier(&clock()), &request, response).await;
    assert_eq!(body, Ok("moved".into()));
}

#[tokio::test]
async fn a_body_that_nothing_covers_is_refused_at_its_first_byte() {
    let request = sent(&clock());
    let frames = Script::new([Step::Data("x".into()), Step::IsNeverPolled]);
    let response = signed(&request, "", frames);
    let refused = verdict(response_verifier(&clock()), &request, response).await;
    assert_eq!(refused, Err(BodyNotCovered));
}

#[tokio::test]
async fn a_client_reads_no_more_than_its_limit() {
    let request = sent(&clock());
    let verifier = || response_verifier(&clock()).max_body_bytes(5);
    let declared = Script::never_polled().declaring(6);
    let grown = Script::new([
        Step::Data("moved".into()),
        Step::Data("!".into()),
        Step::IsNeverPolled,
    ]);
    for body in [declared, grown] {
        let response = signed(&request, "moved!", body);
        let refused = verdict(verifier(), &request, response).await;
        assert_eq!(refused, Err(BodyTooLarge));
    }
    let most = signed(&request, "moved", Script::frames(["moved"]));
    let body = verdict(verifier(), &request, most).await;
    assert_eq!(body, Ok("moved".into()));
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_no_longer_than_its_deadline() {
    let request = sent(&clock());
    for (waits, outcome) in [(9, Ok("aaaaaaaaa".into())), (11, Err(BodyTimeout))] {
        let drops = (0..waits).flat_map(|_| {
            [
                Step::Waits(Duration::from_millis(990)),
                Step::Data("a".into()),
            ]
        });
        let response = signed(&request, &"a".repeat(waits), Script::new(drops));
        let verdict = verdict(response_verifier(&clock()), &request, response).await;
        assert_eq!(verdict, outcome, "{waits} times 990 ms");
    }
}

/// A clock that goes on while the body arrives.
#[tokio::test]
async fn a_response_that_grows_stale_while_it_arrives_is_refused() {
    let request = sent(&clock());
    for (seconds, outcome) in [(300, Ok("moved".into())), (301, Err(SignatureExpired))] {
        let clock = clock();
        let frames = Script::new([
            Step::Waits(Duration::from_millis(20)),
            Step::Data("moved".into()),
        ]);
        let response = signed(&request, "moved", frames);
        let (verdict, ()) = tokio::join!(
            verdict(response_verifier(&clock), &request, response),
            async { clock.advance(Duration::from_secs(seconds)) }
        );
        assert_eq!(verdict, outcome, "{seconds}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused_and_its_error_is_kept() {
    let request = sent(&clock());
    let broken = Script::new([
        Step::Data("mov".into()),
        Step::Fails("the wire is cut".into()),
    ]);
    let response = signed(&request, "moved", broken);
    let verifier = response_verifier(&clock()).build().unwrap();
    let error = verifier.verify(&request, response).await.unwrap_err();
    assert_eq!(error.kind(), BodyUnreadable);
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "the wire is cut");
    assert!(error.to_string().contains("it says 200"), "{error}");
}

/// A key store that is down, or gives no answer.
struct Down {
    hangs: bool,
}

impl KeyStore for Down {
    fn find<'a>(&'a self, _: &'a str) -> KeyFuture<'a> {
        if self.hangs {
            StoreFuture::new(pending())
        } else {
            StoreFuture::ready(Err(KeyError::unavailable("down")))
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_of_the_key_store_nothing_is_believed() {
    let request = sent(&clock());
    for hangs in [true, false] {
        let response = signed(&request, "moved", Script::never_polled());
        let verifier = response_verifier(&clock()).keys(Down { hangs });
        let refused = verdict(verifier, &request, response).await;
        assert_eq!(refused, Err(KeysUnavailable));
    }
}

/// Returns what the layer on the server makes of what a service answers.
async fn answered(
    layer: SignResponseLayer,
    request: &Parts,
    answer: impl Fn() -> Response<Script> + Clone + Send + 'static,
) -> Response<Full<Bytes>> {
    let service = service_fn(move |_: Request<()>| {
        let answer = answer();
        async move { Ok::<_, std::convert::Infallible>(answer) }
    });
    let request = Request::from_parts(request.clone(), ());
    layer.layer(service).oneshot(request).await.unwrap()
}

fn sign_layer() -> SignResponseLayer {
    SignResponseLayer::new(response_signer(&clock())).max_body_bytes(5)
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_signed_becomes_a_signed_500_with_its_reason_in_the_log() {
    type Answer = fn() -> Response<Script>;
    let answers: [(Answer, &str); 9] = [
        (
            || Response::new(Script::never_polled().declaring(6)),
            "more than 5 bytes",
        ),
        (
            || Response::new(Script::frames(["moved", "!"])),
            "more than 5 bytes",
        ),
        (
            || Response::new(Script::new([Step::Data("a".into()), Step::Hangs])),
            "not there after 10s",
        ),
        (
            || Response::new(Script::new([Step::Fails("the disk is gone".into())])),
            "the disk is gone",
        ),
        (
            || {
                let response = Response::builder().header("content-length", "2");
                response.body(Script::frames(["a"])).unwrap()
            },
            "and `content-length` is",
        ),
        (
            || {
                let response = Response::builder().header("content-length", "2");
                let response = response.header("content-length", "1");
                response.body(Script::frames(["a"])).unwrap()
            },
            "appears more than once",
        ),
        (
            || {
                let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
                response.body(Script::frames([""])).unwrap()
            },
            "switched",
        ),
        (
            || {
                let response = Response::builder().header("signature-input", "sig1=()");
                response.body(Script::frames([""])).unwrap()
            },
            "sign under another label",
        ),
        (
            || {
                let response = Response::builder().header("location", "/r\u{e9}sum\u{e9}");
                response.body(Script::frames([""])).unwrap()
            },
            "not visible ASCII",
        ),
    ];
    for (answer, reason) in answers {
        let log = Log::captured();
        let request = sent(&clock());
        let response = answered(sign_layer(), &request, answer).await;
        assert_eq!(response.status(), 500, "{reason}");
        let rejection: &Rejection = response.extensions().get().unwrap();
        assert!(rejection.reason().contains(reason), "{rejection:?}");
        let text = log.text();
        assert!(text.contains("ERROR") && text.contains(reason), "{text}");

        let verifier = response_verifier(&clock()).build().unwrap();
        let verified = verifier.verify(&request, response).await.unwrap();
        let body = String::from_utf8_lossy(verified.body());
        assert!(body.contains("response_not_signed"), "{body}");
        assert!(!body.contains(reason), "the reason stays here");
    }
}

/// The twin: up to the limit, in time, as long as was said.
#[tokio::test(start_paused = true)]
async fn what_can_be_signed_is_signed_as_it_is() {
    let request = sent(&clock());
    let answer = || {
        let frames = Script::new([
            Step::Data("mo".into()),
            Step::Waits(Duration::from_millis(9990)),
            Step::Data("ved".into()),
        ]);
        Response::builder()
            .header("content-length", "5")
            .header("cache-control", "max-age=5")
            .header("transfer-encoding", "chunked")
            .header("trailer", "x-checksum")
            .extension("mark")
            .body(frames)
            .unwrap()
    };
    let response = answered(sign_layer(), &request, answer).await;
    let headers = response.headers();
    assert_eq!(headers["content-length"], "5");
    assert_eq!(headers["cache-control"], "max-age=5");
    assert!(!headers.contains_key("transfer-encoding") && !headers.contains_key("trailer"));
    assert_eq!(response.extensions().get(), Some(&"mark"));
    let verifier = response_verifier(&clock()).build().unwrap();
    let verified = verifier.verify(&request, response).await.unwrap();
    assert_eq!(verified.body(), "moved");
}

#[tokio::test]
async fn a_response_that_can_have_no_body_is_signed_without_one() {
    for (method, status, kept) in [
        ("HEAD", 200, Some("7")),
        ("GET", 304, Some("7")),
        ("HEAD", 304, Some("7")),
        ("GET", 204, None),
        ("HEAD", 204, None),
    ] {
        let mut request = sent(&clock());
        request.method = method.parse().unwrap();
        let answer = move || {
            Response::builder()
                .status(status)
                .header("content-length", "7")
                .header(
                    "content-digest",
                    "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
                )
                .body(Script::never_polled().declaring(7))
                .unwrap()
        };
        let response = answered(sign_layer(), &request, answer).await;
        assert_eq!(response.status(), status);
        let length = response.headers().get("content-length");
        assert_eq!(
            length.map(|value| value.to_str().unwrap()),
            kept,
            "{method} {status}"
        );
        let verifier = response_verifier(&clock()).build().unwrap();
        let verified = verifier.verify(&request, response).await.unwrap();
        assert!(verified.body().is_empty());

        // The digest is that of another response, and covered all the same.
        let mut changed = answered(sign_layer(), &request, answer).await;
        changed.headers_mut().remove("content-digest");
        assert!(verifier.verify(&request, changed).await.is_err());
        // A body that comes all the same is refused.
        let mut filled = answered(sign_layer(), &request, answer).await;
        *filled.body_mut() = Full::from("x");
        let refused = verifier.verify(&request, filled).await.unwrap_err();
        assert_eq!(refused.kind(), BodyNotCovered, "{method} {status}");
    }

    // Where nothing was said, what a body would be is seen here.
    let mut request = sent(&clock());
    request.method = "HEAD".parse().unwrap();
    let answer = || Response::new(Script::never_polled().declaring(7));
    let response = answered(sign_layer(), &request, answer).await;
    assert_eq!(response.headers()["content-length"], "7");
    let answer = || Response::new(Script::new([Step::IsNeverPolled]));
    let response = answered(sign_layer(), &request, answer).await;
    assert!(!response.headers().contains_key("content-length"));
    assert!(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .is_empty()
    );
}
