//! Signing again: once, where the server asks for it, with its time, and where the sender allows it.

use std::{
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, response::IntoResponse as _, routing::any};
use bytes::Bytes;
use countersign::{
    Clock as _, MemoryStore, RejectionKind, SignLayer,
    client::{PeekedBody, Repeatable, SignAgain},
    clock::SystemClock,
    testing::ManualClock,
};
use http::{
    HeaderMap, Request, Response, StatusCode,
    header::{CONTENT_TYPE, DATE},
};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use tokio::time::Instant;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

use super::{layer::OnlyWhenReady, server::*};
use crate::common::{
    parts::{Script, Step},
    *,
};

const HOUR: u64 = 60 * 60;

fn clock_at(secs: u64) -> ManualClock {
    ManualClock::at(at(secs))
}

fn client(format: Format, clock: &ManualClock, protocol: Protocol) -> SignAgain<HttpClient> {
    let layer = SignLayer::new(format.signer(clock.clone())).danger_sign_again_unverified();
    layer.layer(protocol.client())
}

fn repeatable<B>(mut request: Request<B>) -> Request<B> {
    request.extensions_mut().insert(Repeatable);
    request
}

async fn send<S, R>(client: &S, request: Request<String>) -> Response<Bytes>
where
    S: Service<Request<String>, Response = Response<R>, Error = tower::BoxError> + Clone,
    R: http_body::Body<Error: std::fmt::Debug>,
{
    read(client.clone().oneshot(request).await.unwrap()).await
}

/// The signature of a request, in either format.
fn signature(headers: &HeaderMap) -> String {
    ["x-signature", "signature"]
        .into_iter()
        .filter_map(|name| headers.get(name))
        .map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

/// Returns what of a request is the nonce, in either format.
fn nonce(headers: &HeaderMap) -> String {
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    text("x-nonce").unwrap_or_else(|| {
        let input = text("signature-input").unwrap();
        let (_, rest) = input.split_once("nonce=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    })
}

#[tokio::test]
async fn a_clock_that_is_off_is_corrected_for_one_signature() {
    let server_clock = clock();
    for format in Format::ALL {
        let server = Server::start(format, &server_clock).await;
        for (protocol, ours) in [
            (Protocol::Http1, NOW - 301),
            (Protocol::Http2, NOW - HOUR),
            (Protocol::Http1, NOW + 6),
            (Protocol::Http2, NOW + HOUR),
        ] {
            let client_clock = clock_at(ours);
            let client = client(format, &client_clock, protocol);
            for body in ["first", "second"] {
                let request = repeatable(server.request(body.to_owned()));
                let answer = send(&client, request).await;
                assert_eq!(said(&answer), accepted(body), "{format:?} at {ours}");
                assert_eq!(answer.headers()["x-signed-at"], NOW.to_string());

                let attempts = server.attempts();
                assert_eq!(
                    attempts.len(),
                    2,
                    "also for the second request: the clock is as it was"
                );
                assert_ne!(nonce(&attempts[0]), nonce(&attempts[1]));
                assert_ne!(signature(&attempts[0]), signature(&attempts[1]));
            }
            assert_eq!(client_clock.now(), at(ours));
        }
        assert_eq!(server.effects.count(), 8);
    }
}

/// The twin: with clocks that agree nothing is signed again.
#[tokio::test]
async fn a_clock_that_is_right_is_not_corrected() {
    let clock = clock();
    let server = Server::start(Format::Rfc9421, &clock).await;
    for seconds_behind in [0, 300] {
        let client = client(
            Format::Rfc9421,
            &clock_at(NOW - seconds_behind),
            Protocol::Http1,
        );
        let answer = send(&client, repeatable(server.request("{}".to_owned()))).await;
        assert_eq!(said(&answer), accepted("{}"));
        assert_eq!(server.attempts().len(), 1);
    }
}

#[tokio::test]
async fn what_hyper_writes_as_date_is_followed() {
    let now = SystemClock::default().now();
    let store = MemoryStore::new().danger_assume_no_history();
    let server = Server::start_with(
        Format::Rfc9421,
        SystemClock::default(),
        store,
        Dated::ByHyper,
    )
    .await;
    for ours in [
        now.saturating_sub(Duration::from_secs(1000)),
        now.saturating_add(Duration::from_secs(1000)),
    ] {
        for protocol in Protocol::ALL {
            let client = client(Format::Rfc9421, &ManualClock::at(ours), protocol);
            let answer = send(&client, repeatable(server.request("{}".to_owned()))).await;
            assert_eq!(said(&answer), accepted("{}"));
            assert_eq!(server.attempts().len(), 2);
        }
    }
}

#[tokio::test]
async fn after_a_restart_of_the_store_the_later_of_both_times_is_signed() {
    for format in Format::ALL {
        // Seconds from the store's start to now, and from now to our clock: what happens to it, and
        // what was signed in the end.
        for (since_start, ours, verdict, signed) in [
            (10, -60, accepted("{}"), Some(10)),
            (10, -5, accepted("{}"), Some(10)),
            (3, 4, accepted("{}"), None),
            (3, 0, refused(503, "sign_again"), None),
        ] {
            let server_clock = clock();
            let store = MemoryStore::builder()
                .clock(server_clock.clone())
                .build()
                .unwrap();
            let server =
                Server::start_with(format, server_clock.clone(), store, Dated::ByItsClock).await;
            server_clock.advance(Duration::from_secs(since_start));
            let client_clock = clock_at((NOW + since_start).checked_add_signed(ours).unwrap());
            let client = client(format, &client_clock, Protocol::Http1);
            let answer = send(&client, repeatable(server.request("{}".to_owned()))).await;
            assert_eq!(said(&answer), verdict, "{since_start} {ours}");
            if let Some(after_start) = signed {
                assert_eq!(
                    answer.headers()["x-signed-at"],
                    (NOW + after_start).to_string()
                );
            }
            let attempts = if verdict.0 == 503 || signed.is_some() {
                2
            } else {
                1
            };
            assert_eq!(server.attempts().len(), attempts, "{since_start} {ours}");
        }
    }
}

#[tokio::test]
async fn nothing_is_repeated_that_is_not_marked() {
    let server_clock = clock();
    let store = MemoryStore::builder()
        .clock(server_clock.clone())
        .build()
        .unwrap();
    let server = Server::start_with(
        Format::House,
        server_clock.clone(),
        store,
        Dated::ByItsClock,
    )
    .await;
    server_clock.advance(Duration::from_secs(10));
    for (ours, code) in [
        (NOW - HOUR, (401, "signature_expired")),
        (NOW + HOUR, (401, "signature_not_yet_valid")),
        (NOW, (503, "sign_again")),
    ] {
        let client = client(Format::House, &clock_at(ours), Protocol::Http1);
        for method in ["GET", "HEAD", "PUT", "POST", "DELETE"] {
            let mut request = server.request(String::new());
            *request.method_mut() = method.parse().unwrap();
            let answer = send(&client, request).await;
            assert_eq!(answer.status(), code.0, "{method}");
            if method != "HEAD" {
                assert_eq!(said(&answer), refused(code.0, code.1), "{method}");
            }
            assert_eq!(server.attempts().len(), 1, "{method}");
        }
    }
    assert_eq!(server.effects.count(), 0);
}

/// The twin of the mark: the plain layer never signs again, whatever is marked.
#[tokio::test]
async fn nothing_is_repeated_by_a_layer_that_was_not_told_to() {
    let server = Server::start(Format::House, &clock()).await;
    let layer = SignLayer::new(signer(&clock_at(NOW - HOUR)));
    let client = layer.layer(Protocol::Http1.client());
    let answer = send(&client, repeatable(server.request("{}".to_owned()))).await;
    assert_eq!(said(&answer), refused(401, "signature_expired"));
    assert_eq!(server.attempts().len(), 1);
}

#[tokio::test]
async fn nothing_is_repeated_twice() {
    let server_clock = clock();
    // Its `Date` is wrong, so that the second signature is as stale as the first.
    for (ours, date, code) in [
        (NOW - HOUR, NOW - HOUR / 2, "signature_expired"),
        (NOW + HOUR, NOW + HOUR / 2, "signature_not_yet_valid"),
        // Asked for a later one, it makes one that is dated ahead.
        (
            NOW - HOUR,
            NOW - HOUR / 2 + 2 * HOUR / 3,
            "signature_not_yet_valid",
        ),
    ] {
        let dated = Dated::By(clock_at(date));
        let server = Server::start_with(
            Format::Rfc9421,
            server_clock.clone(),
            store(&server_clock),
            dated,
        )
        .await;
        let layer =
            SignLayer::new(Format::Rfc9421.signer(clock_at(ours))).danger_sign_again_unverified();
        let client = layer
            .max_correction(Duration::from_secs(2 * HOUR))
            .layer(Protocol::Http2.client());
        let answer = send(&client, repeatable(server.request("{}".to_owned()))).await;
        assert_eq!(said(&answer), refused(401, code));
        assert_eq!(server.attempts().len(), 2);
    }
}

#[tokio::test]
async fn a_date_beyond_the_bound_is_not_followed() {
    let server_clock = clock();
    let server = Server::start(Format::House, &server_clock).await;
    let day = 24 * HOUR;
    for (bound, off, followed) in [
        (None, HOUR, true),
        (None, HOUR + 1, false),
        (Some(400), 400, true),
        (Some(400), 401, false),
        (Some(day), day, true),
        // More than a day counts as a day.
        (Some(10 * day), day + 1, false),
        (Some(0), 400, false),
    ] {
        for ours in [NOW - off, NOW + off] {
            let mut layer = SignLayer::new(signer(&clock_at(ours))).danger_sign_again_unverified();
            if let Some(bound) = bound {
                layer = layer.max_correction(Duration::from_secs(bound));
            }
            let client = layer.layer(Protocol::Http1.client());
            let answer = send(&client, repeatable(server.request("{}".to_owned()))).await;
            let attempts = server.attempts().len();
            assert_eq!(
                (answer.status() == 200, attempts),
                (followed, if followed { 2 } else { 1 }),
                "{bound:?} {off} {ours}"
            );
        }
    }
}

/// An answer as our server gives it, with what may be wrong about it.
fn problem(status: StatusCode, code: &str, date: &str) -> Response<Full<Bytes>> {
    let body = format!(
        r#"{{"type":"about:blank","status":{},"code":"{code}"}}"#,
        status.as_u16()
    );
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/problem+json")
        .header(DATE, date)
        .body(Full::from(body))
        .unwrap()
}

/// Returns how often a client that always gets this answer is called; and the last answer.
async fn calls<R>(
    ours: u64,
    answer: impl Fn() -> Response<R> + Clone + Send + 'static,
) -> (usize, Response<PeekedBody<R>>)
where
    R: http_body::Body<Data = Bytes, Error: Send> + Send + 'static,
{
    let calls = Effects::default();
    let called = calls.clone();
    let client = service_fn(move |_: Request<Full<Bytes>>| {
        called.happened();
        ready(Ok::<_, Infallible>(answer()))
    });
    let client = SignLayer::new(signer(&clock_at(ours)))
        .danger_sign_again_unverified()
        .layer(client);
    let request = repeatable(request("POST", "/orders", "{}"));
    let answer = client.oneshot(request).await.unwrap();
    (calls.count(), answer)
}

/// `NOW`, and hours before and after it.
const DATE_NOW: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

#[tokio::test]
async fn a_date_that_does_not_go_with_the_code_is_not_followed() {
    use RejectionKind::{SignAgain, SignatureExpired, SignatureNotYetValid};
    for (kind, ours, date, expected) in [
        (SignatureExpired, NOW - 400, DATE_NOW, 2),
        (SignatureExpired, NOW, DATE_NOW, 1),
        (SignatureExpired, NOW + 400, DATE_NOW, 1),
        (SignatureExpired, NOW - 400, "yesterday", 1),
        (SignatureExpired, NOW - 400, "", 1),
        (
            SignatureExpired,
            NOW - 400,
            "Tue, 14 Nov 2023 22:13:61 GMT",
            1,
        ),
        (SignatureNotYetValid, NOW + 400, DATE_NOW, 2),
        (SignatureNotYetValid, NOW, DATE_NOW, 1),
        (SignatureNotYetValid, NOW - 400, DATE_NOW, 1),
        (SignatureNotYetValid, NOW + 400, "yesterday", 1),
        (SignAgain, NOW - 400, DATE_NOW, 2),
        (SignAgain, NOW + 400, DATE_NOW, 2),
        (SignAgain, NOW, "yesterday", 2),
        // Ours is the later one, and needs no correction.
        (SignAgain, NOW + 400 * HOUR, DATE_NOW, 2),
        (SignAgain, NOW - 400 * HOUR, DATE_NOW, 1),
    ] {
        let (calls, _) = calls(ours, move || problem(kind.status(), kind.code(), date)).await;
        assert_eq!(calls, expected, "{kind:?} at {ours}, `{date}`");
    }
}

#[tokio::test]
async fn two_dates_are_none() {
    let (calls, _) = calls(NOW - 400, || {
        let mut answer = problem(StatusCode::UNAUTHORIZED, "signature_expired", DATE_NOW);
        answer.headers_mut().append(DATE, DATE_NOW.parse().unwrap());
        answer
    })
    .await;
    assert_eq!(calls, 1);
}

/// Answers that ask for nothing, by their path; each would be followed except one thing.
fn answers() -> Vec<(&'static str, Response<Body>)> {
    let asks = || problem(StatusCode::UNAUTHORIZED, "signature_expired", DATE_NOW);
    let with = |change: fn(&mut Response<Full<Bytes>>)| {
        let mut answer = asks();
        change(&mut answer);
        answer.map(Body::new)
    };
    let coded = |status, code| problem(status, code, DATE_NOW).map(Body::new);
    let mut answers = vec![
        (
            "another status",
            with(|answer| *answer.status_mut() = StatusCode::BAD_REQUEST),
        ),
        (
            "the status of another code",
            with(|answer| *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE),
        ),
        (
            "a success",
            with(|answer| *answer.status_mut() = StatusCode::OK),
        ),
        (
            "another type",
            with(|answer| {
                answer
                    .headers_mut()
                    .insert(CONTENT_TYPE, "application/json".parse().unwrap());
            }),
        ),
        (
            "no type",
            with(|answer| {
                answer.headers_mut().remove(CONTENT_TYPE);
            }),
        ),
        (
            "no JSON",
            with(|answer| *answer.body_mut() = Full::from("{\"code\":\"signature_expired\"")),
        ),
        (
            "no body",
            with(|answer| *answer.body_mut() = Full::default()),
        ),
        (
            "no object",
            with(|answer| *answer.body_mut() = Full::from("\"signature_expired\"")),
        ),
        (
            "no text",
            with(|answer| *answer.body_mut() = Full::from("{\"code\":401}")),
        ),
        (
            "deep",
            with(|answer| *answer.body_mut() = Full::from("[".repeat(4096))),
        ),
        (
            "a long one",
            with(|answer| {
                let body = format!(
                    "{{\"code\":\"signature_expired\",\"a\":\"{}\"}}",
                    "a".repeat(4096)
                );
                *answer.body_mut() = Full::from(body);
            }),
        ),
        (
            "a long one in pieces",
            asks().map(|_| {
                let padding = (0..100).map(|_| " ".repeat(100));
                let frames = ["{\"code\":\"signature_expired\"}".to_owned()];
                stream(Script::frames(frames.into_iter().chain(padding)))
            }),
        ),
        (
            "many frames",
            asks().map(|_| {
                let begin = ["{\"code\":\"signature_expired\"".to_owned()];
                let frames = begin.into_iter().chain((0..100).map(|_| " ".to_owned()));
                stream(Script::frames(frames.chain(["}".to_owned()])))
            }),
        ),
    ];
    let others = RejectionKind::ALL.iter().filter(|kind| {
        !matches!(
            kind,
            RejectionKind::SignAgain
                | RejectionKind::SignatureExpired
                | RejectionKind::SignatureNotYetValid
        )
    });
    answers.extend(others.map(|kind| (kind.code(), coded(kind.status(), kind.code()))));
    answers
}

#[tokio::test]
async fn every_other_answer_is_given_back_byte_for_byte() {
    let effects = Effects::default();
    let counted = effects.clone();
    let handler = move |request: axum::extract::Request| {
        counted.happened();
        let wanted: usize = request.uri().path()[1..].parse().unwrap();
        async move { answers().swap_remove(wanted).1.into_response() }
    };
    let addr = serve(Router::new().fallback(any(handler))).await;
    for protocol in Protocol::ALL {
        let bare = protocol.client();
        let signing = client(Format::Rfc9421, &clock_at(NOW - 400), protocol);
        for (i, (what, _)) in answers().into_iter().enumerate() {
            let request = || Request::get(format!("http://{addr}/{i}"));
            let raw = bare
                .request(request().body(Full::default()).unwrap())
                .await
                .unwrap();
            let raw = read(raw).await;
            let given = send(&signing, repeatable(request().body(String::new()).unwrap())).await;
            assert_eq!(given.status(), raw.status(), "{what}");
            assert_eq!(given.headers(), raw.headers(), "{what}");
            assert_eq!(given.body(), raw.body(), "{what}");
            assert_eq!(given.version(), raw.version(), "{what}");
        }
        // One each: what did not ask was not repeated.
        assert_eq!(effects.count(), 2 * answers().len());
        effects.reset();
    }
}

#[tokio::test]
async fn a_type_may_have_parameters_and_any_case() {
    let (calls, _) = calls(NOW - 400, || {
        let mut answer = problem(StatusCode::UNAUTHORIZED, "signature_expired", DATE_NOW);
        let with = "Application/Problem+JSON; charset=utf-8".parse().unwrap();
        answer.headers_mut().insert(CONTENT_TYPE, with);
        answer
    })
    .await;
    assert_eq!(calls, 2);
}

fn asking(steps: fn() -> Vec<Step>) -> impl Fn() -> Response<Script> + Clone + Send + 'static {
    move || {
        let answer = problem(StatusCode::UNAUTHORIZED, "signature_expired", DATE_NOW);
        answer.map(|_| Script::new(steps()))
    }
}

#[tokio::test]
async fn frames_trailers_and_errors_of_an_answer_stay_as_they_are() {
    fn trailers() -> HeaderMap {
        HeaderMap::from_iter([("x-checksum".parse().unwrap(), "1".parse().unwrap())])
    }
    let (times, answer) = calls(
        NOW,
        asking(|| {
            vec![
                Step::Data("{\"code\":".into()),
                Step::Data(Bytes::new()),
                Step::Data("\"body_timeout\"}".into()),
                Step::Trailers(trailers()),
            ]
        }),
    )
    .await;
    assert_eq!(times, 1);
    let mut body = answer.into_body();
    // A server that knows the size passes on no trailers.
    assert_eq!(
        (body.size_hint().lower(), body.size_hint().exact()),
        (23, None)
    );
    for data in ["{\"code\":", "", "\"body_timeout\"}"] {
        assert!(!body.is_end_stream());
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            data
        );
    }
    assert_eq!(
        body.frame()
            .await
            .unwrap()
            .unwrap()
            .into_trailers()
            .unwrap(),
        trailers()
    );
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());

    // The answer would ask, if it did not break off.
    let (times, answer) = calls(
        NOW - 400,
        asking(|| {
            vec![
                Step::Data("{\"code\":\"signature_expired\"}".into()),
                Step::Fails("the wire is cut".into()),
                Step::Data(" ".into()),
            ]
        }),
    )
    .await;
    assert_eq!(times, 1);
    let mut body = answer.into_body();
    assert_eq!(
        (body.size_hint().lower(), body.size_hint().exact()),
        (28, None)
    );
    assert!(body.frame().await.unwrap().is_ok());
    assert_eq!(
        body.frame().await.unwrap().unwrap_err().to_string(),
        "the wire is cut"
    );
    // After its error, the answer is not asked for more.
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_waited_for_as_long_as_a_body_and_then_given_back() {
    let start = Instant::now();
    let (calls, answer) = calls(
        NOW - 400,
        asking(|| {
            vec![
                Step::Data("{\"code\":".into()),
                Step::Waits(Duration::from_secs(11)),
                Step::Data("\"signature_expired\"}".into()),
            ]
        }),
    )
    .await;
    assert_eq!(calls, 1);
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(
        read(answer).await.body(),
        "{\"code\":\"signature_expired\"}"
    );
    assert_eq!(start.elapsed().as_secs(), 11);
}

/// An answer that is not looked at for long: it is at hand without waiting, and without end.
#[tokio::test]
async fn an_endless_answer_is_given_back() {
    struct Endless;
    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::new()))))
        }
    }
    let (calls, answer) = calls(NOW - 400, || {
        problem(StatusCode::UNAUTHORIZED, "signature_expired", DATE_NOW).map(|_| Endless)
    })
    .await;
    assert_eq!((calls, answer.status().as_u16()), (1, 401));
}

#[tokio::test]
async fn the_second_request_has_the_same_body_and_the_key_of_its_moment() {
    let sent: Arc<Mutex<Vec<Request<Full<Bytes>>>>> = Arc::default();
    let sink = Arc::clone(&sent);
    let signer = signer(&clock_at(NOW - 400));
    let rotating = signer.clone();
    let client = service_fn(move |request| {
        sink.lock().unwrap().push(request);
        rotating
            .rotate("partner-1-new", "a newer secret of partner 1")
            .unwrap();
        ready(Ok::<_, Infallible>(problem(
            StatusCode::UNAUTHORIZED,
            "signature_expired",
            DATE_NOW,
        )))
    });
    let client = SignLayer::new(signer)
        .danger_sign_again_unverified()
        .layer(client);
    let body = Bytes::from(b"{}".to_vec());
    let request = repeatable(request("POST", "/orders", "").map(|_| Full::new(body.clone())));
    client.oneshot(request).await.unwrap();

    let sent = std::mem::take(&mut *sent.lock().unwrap());
    let keys: Vec<_> = sent
        .iter()
        .map(|request| request.headers()["x-key-id"].clone())
        .collect();
    assert_eq!(keys, [KEY, "partner-1-new"]);
    for request in sent {
        let given = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(given.as_ptr(), body.as_ptr(), "never copied");
    }
}

#[tokio::test]
async fn the_service_is_polled_ready_before_each_of_the_two_calls() {
    let client = OnlyWhenReady {
        ready: false,
        answer: || problem(StatusCode::UNAUTHORIZED, "signature_expired", DATE_NOW),
        calls: Effects::default(),
    };
    let mut signing = SignLayer::new(signer(&clock_at(NOW - 400)))
        .danger_sign_again_unverified()
        .layer(client.clone());
    for _ in 0..3 {
        let request = repeatable(request("POST", "/orders", "{}"));
        let signing: &mut _ = tower::ServiceExt::<Request<String>>::ready(&mut signing)
            .await
            .unwrap();
        assert_eq!(signing.call(request).await.unwrap().status(), 401);
    }
    assert_eq!(client.calls.count(), 6);
}

#[tokio::test]
async fn an_error_of_the_second_call_is_the_outcome() {
    let calls = Effects::default();
    let called = calls.clone();
    let client = service_fn(move |_: Request<Full<Bytes>>| {
        called.happened();
        ready(if called.count() == 1 {
            Ok(problem(
                StatusCode::UNAUTHORIZED,
                "signature_expired",
                DATE_NOW,
            ))
        } else {
            Err(SecondFails)
        })
    });
    let client = SignLayer::new(signer(&clock_at(NOW - 400)))
        .danger_sign_again_unverified()
        .layer(client);
    let error = client
        .oneshot(repeatable(request("POST", "/orders", "{}")))
        .await
        .unwrap_err();
    assert!(error.is::<SecondFails>());
}

#[derive(Debug)]
struct SecondFails;

impl std::fmt::Display for SecondFails {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the second fails")
    }
}

impl std::error::Error for SecondFails {}
