//! Row 53: a success counts once its body came to its end.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
    routing::any,
};
use bytes::Bytes;
use countersign::{
    Verifier,
    request::{Lease, Verified},
    store::NonceStore,
    testing::ManualClock,
};
use http::{HeaderMap, StatusCode, header::CONTENT_LENGTH};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpStream, time::sleep};
use tower::ServiceExt as _;

use crate::{
    common::{
        self,
        parts::{Asked, Fault, FaultyStore, Script, Step},
    },
    handling::{LEASE, RETRYABLE},
    subject::{
        ALL, Breach, Finding, HOUSE, IN_FLIGHT, OK, REPLAYED, Subject, Target, refused, to_wire,
    },
};

fn data(text: &'static str) -> Step {
    Step::Data(text.into())
}

fn broken() -> Step {
    Step::Fails("the source of the body broke".into())
}

/// An application whose runs answer with these bodies, one after the other.
fn answering(
    effects: &common::Effects,
    answer: impl Fn(usize) -> Response + Send + Sync + 'static,
) -> Router {
    let (effects, answer) = (effects.clone(), Arc::new(answer));
    let handler = async move || {
        effects.happened();
        answer(effects.count())
    };
    Router::new().route("/transfer", any(handler))
}

fn target<S: NonceStore>(
    subject: &Subject,
    clock: &ManualClock,
    store: S,
    answer: impl Fn(usize) -> Response + Send + Sync + 'static,
) -> Target {
    let app = |effects: &common::Effects| answering(effects, answer);
    Target::around(subject, clock, store, app, |layer| {
        layer.processing(RETRYABLE)
    })
}

/// When a server that is often written takes a request for handled.
#[derive(Clone, Copy, Debug)]
enum Naive {
    /// By the status, before the body.
    ByStatus,
    /// Only if all of the body was taken.
    IfTakenWhole,
}

fn naive(naive: Naive, answer: impl Fn(usize) -> Response + Send + Sync + 'static) -> Target {
    let clock = common::clock();
    let verifier = Verifier::builder(common::scheme())
        .public_origin(common::ORIGIN)
        .keys(common::keys())
        .store(common::store(&clock))
        .clock(clock.clone())
        .processing(RETRYABLE)
        .build()
        .unwrap();
    Target::of(&clock, |effects| {
        answering(effects, answer).layer(from_fn(move |request: Request, next: Next| {
            let verifier = verifier.clone();
            async move {
                let (head, body) = request.into_parts();
                let (payload, lease) = match verifier.verify(&head, body).await {
                    Ok(Verified::Leased(payload, lease)) => (payload, lease),
                    Ok(other) => panic!("{other:?}"),
                    Err(rejection) => return rejection.into_response(),
                };
                let request = Request::from_parts(head, Body::from(payload.bytes().clone()));
                let response = next.run(request).await;
                match naive {
                    Naive::ByStatus => {
                        lease.complete().await.unwrap();
                        response
                    }
                    Naive::IfTakenWhole => response.map(|body| {
                        Body::new(TakenWhole {
                            body,
                            lease: Some(lease),
                        })
                    }),
                }
            }
        }))
    })
}

struct TakenWhole {
    body: Body,
    lease: Option<Lease>,
}

impl http_body::Body for TakenWhole {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none()
            && let Some(lease) = self.lease.take()
        {
            common::ready(lease.complete()).unwrap();
        }
        Poll::Ready(frame)
    }
}

impl Drop for TakenWhole {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            common::ready(lease.release()).unwrap();
        }
    }
}

async fn response(target: &Target, request: &http::Request<String>) -> Response {
    let request = request.clone().map(Body::from);
    target.app.clone().oneshot(request).await.unwrap()
}

/// Sends it until it is in flight no more.
async fn settled(target: &Target, request: &http::Request<String>) -> (u16, String) {
    for _ in 0..1000 {
        let answer = target.send(request.clone()).await;
        if answer.1 != IN_FLIGHT.1 {
            return answer;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("in flight for ever");
}

const WHOLE: &str = "whole";

/// The first run's body fails after these steps; every other comes to its end.
fn failing(steps: Steps) -> impl Fn(usize) -> Response + Send + Sync + 'static {
    move |run| match run {
        1 => Response::new(Body::new(Script::new(steps()))),
        _ => WHOLE.into_response(),
    }
}

/// The sender saw no success, and retries: it is handled again.
async fn is_released_by_a_failure(target: &Target, genuine: &http::Request<String>) -> Finding {
    let broken = response(target, genuine).await;
    assert_eq!(broken.status(), OK);
    assert!(broken.into_body().collect().await.is_err());
    let again = target.send(genuine.clone()).await;
    if (again.0, again.1.as_str(), target.effects.count()) != (OK, WHOLE, 2) {
        return Err(Breach::Answer(format!("{again:?} to a retry")));
    }
    refused(target, genuine.clone(), REPLAYED).await
}

type Steps = fn() -> Vec<Step>;

const BREAKS: [(&str, Steps); 4] = [
    ("at once", || vec![broken()]),
    ("after a frame", || vec![data("half"), broken()]),
    ("later", || {
        vec![
            Step::Waits(LEASE * 3),
            data("half"),
            Step::Waits(LEASE * 3),
            broken(),
        ]
    }),
    ("before its trailers", || {
        vec![data("all"), data("of it"), broken()]
    }),
];

#[tokio::test(start_paused = true)]
async fn a53_a_success_whose_body_fails_is_handled_again() {
    for subject in ALL {
        for (when, steps) in BREAKS {
            let clock = common::clock();
            let target = target(subject, &clock, common::store(&clock), failing(steps));
            let found = is_released_by_a_failure(&target, &subject.signed(&clock)).await;
            assert!(found.is_ok(), "{}, {when}: {found:?}", subject.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a53_twin_a_server_that_completes_by_status_is_found() {
    for (when, steps) in BREAKS {
        let target = naive(Naive::ByStatus, failing(steps));
        let genuine = HOUSE.signed(&target.clock);
        let found = is_released_by_a_failure(&target, &genuine).await;
        assert!(matches!(found, Err(Breach::Answer(_))), "{when}: {found:?}");
    }
}

#[tokio::test]
async fn a53_a_body_that_breaks_off_over_a_socket_is_handled_again() {
    let clock = common::clock();
    let broken_off = failing(|| {
        vec![
            data("half"),
            Step::Waits(Duration::from_millis(10)),
            broken(),
        ]
    });
    let target = target(&HOUSE, &clock, common::store(&clock), broken_off);
    let target = target.on_a_socket().await;
    let genuine = HOUSE.signed(&clock);
    // The last chunk is missing.
    let half = target.send(genuine.clone()).await;
    assert_eq!(half, (OK, "4\r\nhalf\r\n".into()));
    assert_eq!(target.send(genuine.clone()).await, (OK, WHOLE.into()));
    refused(&target, genuine, REPLAYED).await.unwrap();
}

fn endless(_: usize) -> Response {
    Response::new(Body::new(Script::new([data("half"), Step::Hangs])))
}

/// The client goes before the end: the handler has succeeded.
async fn is_completed_without_a_client(
    target: &Target,
    genuine: &http::Request<String>,
) -> Finding {
    let mut answering = response(target, genuine).await;
    let frame = answering.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "half");
    drop(answering);
    let copy = settled(target, genuine).await;
    if (copy.0, copy.1.as_str(), target.effects.count()) != (REPLAYED.0, REPLAYED.1, 1) {
        return Err(Breach::Effect(format!("{} runs", target.effects.count())));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a53_a_client_that_goes_away_leaves_a_completed_request() {
    for subject in ALL {
        let clock = common::clock();
        let target = target(subject, &clock, common::store(&clock), endless);
        let genuine = subject.signed(&clock);
        let found = is_completed_without_a_client(&target, &genuine).await;
        assert!(found.is_ok(), "{}: {found:?}", subject.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a53_twin_a_server_that_completes_only_what_was_taken_whole_is_found() {
    let again = |run| {
        if run == 1 {
            endless(run)
        } else {
            WHOLE.into_response()
        }
    };
    let target = naive(Naive::IfTakenWhole, again);
    let genuine = HOUSE.signed(&target.clock);
    let found = is_completed_without_a_client(&target, &genuine).await;
    assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
}

#[tokio::test]
async fn a53_a_client_that_goes_away_over_a_socket_leaves_a_completed_request() {
    let clock = common::clock();
    let target = target(&HOUSE, &clock, common::store(&clock), endless);
    let target = target.on_a_socket().await;
    let genuine = HOUSE.signed(&clock);
    let mut stream = TcpStream::connect(target.addr.unwrap()).await.unwrap();
    stream.write_all(&to_wire(&genuine)).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"half\r\n") {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
    }
    refused(&target, genuine.clone(), IN_FLIGHT).await.unwrap();
    drop(stream);
    let copy = settled(&target, &genuine).await;
    assert_eq!((copy.0, copy.1.as_str()), REPLAYED);
    assert_eq!(target.effects.count(), 1);
}

/// The head says that the request was handled only once that is on record.
#[tokio::test]
async fn a53_an_ordinary_body_is_completed_before_its_head_leaves() {
    type Answer = fn(usize) -> Response;
    let answers: [(&str, Answer, &str); 4] = [
        ("a text", |_| WHOLE.into_response(), WHOLE),
        ("JSON", |_| Json([1, 2]).into_response(), "[1,2]"),
        ("nothing", |_| StatusCode::NO_CONTENT.into_response(), ""),
        ("no bytes", |_| "".into_response(), ""),
    ];
    for (what, answer, body) in answers {
        let clock = common::clock();
        let target = target(&HOUSE, &clock, common::store(&clock), answer);
        let genuine = HOUSE.signed(&clock);
        let answer = response(&target, &genuine).await;
        refused(&target, genuine, REPLAYED).await.unwrap();

        // It is sent as it would be without the layer.
        let bare = answering(&common::Effects::default(), move |_| body.into_response());
        let plain = http::Request::post("/transfer")
            .body(Body::empty())
            .unwrap();
        let plain = bare.oneshot(plain).await.unwrap();
        if answer.status() == OK {
            let length = |response: &Response| response.headers().get(CONTENT_LENGTH).cloned();
            assert_eq!(length(&answer), length(&plain), "{what}");
        }
        assert_eq!(answer.body().size_hint().exact(), Some(body.len() as u64));
        assert_eq!(answer.body().is_end_stream(), body.is_empty(), "{what}");
        let mut taken = answer.into_body();
        if !body.is_empty() {
            let frame = taken.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), body, "{what}");
        }
        assert!(taken.is_end_stream(), "{what}");
        assert!(taken.frame().await.is_none(), "{what}");
    }
}

/// As long as a body goes on, its request is in flight; it is completed before the end is passed on.
#[tokio::test(start_paused = true)]
async fn a53_a_streamed_body_is_completed_before_its_end_leaves() {
    let steps = |trailers: bool| {
        let mut steps = vec![data("a"), Step::Waits(LEASE * 5), data("b")];
        if trailers {
            steps.push(Step::Trailers(HeaderMap::new()));
        }
        steps
    };
    for trailers in [false, true] {
        let clock = common::clock();
        let streamed = move |_| Response::new(Body::new(Script::new(steps(trailers))));
        let target = target(&HOUSE, &clock, common::store(&clock), streamed);
        let genuine = HOUSE.signed(&clock);
        let mut body = response(&target, &genuine).await.into_body();
        for _ in 0..2 {
            refused(&target, genuine.clone(), IN_FLIGHT).await.unwrap();
            assert!(body.frame().await.unwrap().unwrap().is_data());
        }
        // A client that takes its time.
        sleep(LEASE * 5).await;
        refused(&target, genuine.clone(), IN_FLIGHT).await.unwrap();
        if trailers {
            assert!(body.frame().await.unwrap().unwrap().is_trailers());
            refused(&target, genuine.clone(), REPLAYED).await.unwrap();
        }
        assert!(body.frame().await.is_none());
        refused(&target, genuine, REPLAYED).await.unwrap();
        assert_eq!(target.effects.count(), 1);
    }
}

/// As with a body of one frame: the end leaves, for what was done is done, and the store is asked
/// again.
#[tokio::test(start_paused = true)]
async fn a53_a_completion_that_fails_at_the_end_is_tried_again() {
    for fault in [Fault::Fails, Fault::Hangs] {
        let clock = common::clock();
        let store = FaultyStore::around(common::store(&clock));
        let streamed = |_| Response::new(Body::new(Script::frames(["a", "b"])));
        let target = target(&HOUSE, &clock, store.clone(), streamed);
        let genuine = HOUSE.signed(&clock);
        store.fault(Asked::Complete, fault);
        assert_eq!(target.send(genuine.clone()).await, (OK, "ab".into()));
        refused(&target, genuine.clone(), IN_FLIGHT).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        refused(&target, genuine, REPLAYED).await.unwrap();
        assert_eq!(target.effects.count(), 1);
    }
}

/// A body that panics has failed, and nobody knows how far it came: as with a handler that panics,
/// copies wait until the lease has ended.
#[tokio::test(start_paused = true)]
async fn a53_a_body_that_panics_leaves_its_lease_to_end() {
    let clock = common::clock();
    let panicking = failing(|| vec![data("half"), Step::IsNeverPolled]);
    let target = target(&HOUSE, &clock, common::store(&clock), panicking);
    let genuine = HOUSE.signed(&clock);
    let body = response(&target, &genuine).await.into_body();
    let taken = tokio::spawn(body.collect()).await;
    assert!(taken.unwrap_err().is_panic());
    refused(&target, genuine.clone(), IN_FLIGHT).await.unwrap();
    sleep(LEASE).await;
    assert_eq!(target.send(genuine.clone()).await, (OK, WHOLE.into()));
    refused(&target, genuine, REPLAYED).await.unwrap();
}

/// Any other status gives the request back at once, however its body fares.
#[tokio::test(start_paused = true)]
async fn a53_the_body_of_a_failure_decides_nothing() {
    let clock = common::clock();
    let answer = |run| match run {
        1 => (
            StatusCode::BAD_GATEWAY,
            Body::new(Script::new([Step::Hangs])),
        )
            .into_response(),
        _ => WHOLE.into_response(),
    };
    let target = target(&HOUSE, &clock, common::store(&clock), answer);
    let genuine = HOUSE.signed(&clock);
    let held = response(&target, &genuine).await;
    assert_eq!(held.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(target.send(genuine.clone()).await, (OK, WHOLE.into()));
    refused(&target, genuine, REPLAYED).await.unwrap();
}
