//! One signed request has one effect: at most once, and retryable, with stores that go wrong.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::{
    Extension, Router,
    body::Body,
    response::{IntoResponse as _, Response},
    routing::post,
};
use countersign::{
    HeaderScheme, OnDuplicate, Part, Processing, Signer, VerifiedPayload, VerifyLayer,
    error::ConfigErrorKind, testing::ManualClock,
};
use http::{Request, StatusCode, header::RETRY_AFTER};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{Instant, sleep},
};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

use crate::common::{
    log::Log,
    parts::{Asked, Fault, FaultyStore},
    *,
};

const LEASE: Duration = Duration::from_secs(30);
const RETRYABLE: Processing = Processing::Retryable { lease: LEASE };

/// A service whose handler takes a time, then has an effect and answers with a status.
#[derive(Clone)]
struct Service {
    clock: ManualClock,
    store: FaultyStore,
    effects: Effects,
    begun: Effects,
    status: Arc<AtomicU16>,
    app: Router,
}

/// This status means a panic.
const PANICS: u16 = 0;

impl Service {
    fn new(processing: Processing, takes: Duration) -> Self {
        Self::with(processing, takes, |layer| layer)
    }

    fn with(
        processing: Processing,
        takes: Duration,
        adjust: impl FnOnce(VerifyLayer) -> VerifyLayer,
    ) -> Self {
        let clock = clock();
        let store = FaultyStore::around(store(&clock));
        let layer = layer(&clock)
            .store(store.clone())
            .processing(processing)
            .build()
            .unwrap();
        let (effects, begun) = (Effects::default(), Effects::default());
        let status = Arc::new(AtomicU16::new(200));
        let handler = {
            let (effects, begun, status) = (effects.clone(), begun.clone(), Arc::clone(&status));
            move |_: VerifiedPayload| {
                let (effects, begun) = (effects.clone(), begun.clone());
                let status = Arc::clone(&status);
                async move {
                    begun.happened();
                    sleep(takes).await;
                    effects.happened();
                    tracing::info!("the handler is done");
                    match status.load(Ordering::SeqCst) {
                        PANICS => panic!("the handler panics"),
                        status => StatusCode::from_u16(status).unwrap(),
                    }
                }
            }
        };
        Self {
            app: Router::new()
                .route("/orders", post(handler))
                .layer(adjust(layer)),
            clock,
            store,
            effects,
            begun,
            status,
        }
    }

    /// Takes no time.
    fn quick(processing: Processing) -> Self {
        Self::new(processing, Duration::ZERO)
    }

    fn answering(self, status: u16) -> Self {
        self.status.store(status, Ordering::SeqCst);
        self
    }

    fn signed(&self) -> Request<String> {
        signer(&self.clock)
            .sign(request("POST", "/orders", "{}"))
            .unwrap()
    }

    async fn response(&self, request: &Request<String>) -> Response {
        let request = request.clone().map(Body::from);
        self.app.clone().oneshot(request).await.unwrap()
    }

    async fn send(&self, request: &Request<String>) -> (u16, String) {
        verdict(self.response(request).await).await
    }
}

fn code(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn replayed() -> (u16, String) {
    code(409, "request_replayed")
}

fn in_flight() -> (u16, String) {
    code(409, "request_in_flight")
}

fn unavailable() -> (u16, String) {
    code(503, "store_unavailable")
}

fn done() -> (u16, String) {
    code(200, "")
}

/// A panic of a store is an outage of it. One task polls both requests, as a connection does: the
/// other one goes on.
#[tokio::test(start_paused = true)]
async fn a_store_that_panics_serves_nothing_and_other_requests_go_on() {
    for (processing, asked) in [
        (Processing::AtMostOnce, Asked::Claim),
        (RETRYABLE, Asked::Lease),
    ] {
        for fault in [Fault::Panics, Fault::PanicsLater] {
            let service = Service::new(processing, Duration::from_secs(1));
            service.store.fault(asked, fault);
            let (first, second) = (service.signed(), service.signed());
            let (refused, served) = tokio::join!(service.send(&first), service.send(&second));
            assert_eq!((refused, served), (unavailable(), done()), "{fault:?}");
            assert_eq!(service.effects.count(), 1);
        }
    }
}

/// A step that panics is tried again, as one that fails.
#[tokio::test(start_paused = true)]
async fn a_store_that_panics_at_a_step_of_a_lease_is_asked_again() {
    for fault in [Fault::Panics, Fault::PanicsLater] {
        for asked in [Asked::Renew, Asked::Complete] {
            let service = Service::new(RETRYABLE, LEASE);
            service.store.fault(asked, fault);
            let request = service.signed();
            assert_eq!(service.send(&request).await, done(), "{asked:?} {fault:?}");
            sleep(Duration::from_secs(1)).await;
            assert_eq!(service.send(&request).await, replayed());
            assert!(service.store.times(asked) >= 2, "{asked:?} {fault:?}");
        }
    }
}

// At most once

#[tokio::test]
async fn at_most_once_means_once_whatever_the_handler_answers() {
    for status in [200, 204, 302, 404, 500, 503] {
        let service = Service::quick(Processing::AtMostOnce).answering(status);
        let request = service.signed();
        assert_eq!(service.send(&request).await.0, status);
        for _ in 0..3 {
            assert_eq!(service.send(&request).await, replayed(), "{status}");
        }
        assert_eq!(service.effects.count(), 1);
        // The sender signs again, and is served.
        assert_eq!(service.send(&service.signed()).await.0, status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_copies_at_once_one_has_an_effect() {
    for processing in [Processing::AtMostOnce, RETRYABLE] {
        let service = Service::new(processing, Duration::from_millis(20));
        for copies in [2, 10, 200] {
            let before = service.effects.count();
            let request = service.signed();
            let sent: Vec<_> = (0..copies)
                .map(|_| {
                    let (service, request) = (service.clone(), request.clone());
                    tokio::spawn(async move { service.send(&request).await.0 })
                })
                .collect();
            let mut passed = 0;
            for answer in sent {
                match answer.await.unwrap() {
                    200 => passed += 1,
                    status => assert_eq!(status, 409),
                }
            }
            assert_eq!((passed, service.effects.count() - before), (1, 1));
        }
    }
}

#[tokio::test]
async fn a_handler_that_panics_has_used_up_its_request() {
    let service = Service::quick(Processing::AtMostOnce).answering(PANICS);
    let app = CatchPanicLayer::new().layer(service.app.clone());
    let request = service.signed();
    let response = app.oneshot(request.clone().map(Body::from)).await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(service.send(&request).await, replayed());
}

#[tokio::test(start_paused = true)]
async fn at_most_once_a_sender_that_hangs_up_ends_its_handler() {
    let service = Service::new(Processing::AtMostOnce, Duration::from_secs(5));
    let request = service.signed();
    let answer = tokio::time::timeout(Duration::from_secs(1), service.send(&request));
    assert!(answer.await.is_err(), "the response future is dropped");
    sleep(Duration::from_secs(10)).await;
    assert_eq!((service.begun.count(), service.effects.count()), (1, 0));
    // It began, and may have had half an effect: it is used up.
    assert_eq!(service.send(&request).await, replayed());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_in_time_is_not_waited_for() {
    for (processing, asked) in [
        (Processing::AtMostOnce, Asked::Claim),
        (RETRYABLE, Asked::Lease),
    ] {
        let service = Service::quick(processing);
        for (fault, answer) in [
            (Fault::Hangs, unavailable()),
            (Fault::Takes(Duration::from_millis(2001)), unavailable()),
            (Fault::Takes(Duration::from_millis(1999)), done()),
        ] {
            service.store.fault(asked, fault);
            let start = Instant::now();
            assert_eq!(service.send(&service.signed()).await, answer, "{fault:?}");
            assert!(start.elapsed() <= Duration::from_secs(2), "{fault:?}");
        }
        assert_eq!(service.effects.count(), 1);
    }
}

#[tokio::test]
async fn a_store_that_fails_lets_nothing_through_and_says_when_to_come_back() {
    for (processing, asked) in [
        (Processing::AtMostOnce, Asked::Claim),
        (RETRYABLE, Asked::Lease),
    ] {
        let service = Service::quick(processing);
        let request = service.signed();
        let log = Log::captured();
        service.store.fault(asked, Fault::Fails);
        let refused = service.response(&request).await;
        assert!(log.text().contains("cause=\"a cause\""), "{}", log.text());
        assert_eq!(refused.headers()[RETRY_AFTER], "1");
        assert_eq!(verdict(refused).await, unavailable());
        assert_eq!(service.effects.count(), 0);
        // Nothing was recorded, and nothing is lost.
        assert_eq!(service.send(&request).await, done());
    }
}

#[tokio::test]
async fn a_reply_that_was_lost_lets_nothing_through_and_nothing_twice() {
    let service = Service::quick(Processing::AtMostOnce);
    let request = service.signed();
    service.store.fault(Asked::Claim, Fault::LosesTheReply);
    assert_eq!(service.send(&request).await, unavailable());
    assert_eq!(service.send(&request).await, replayed());
    assert_eq!(service.effects.count(), 0);
}

#[tokio::test]
async fn what_is_not_authentic_asks_the_store_nothing() {
    for processing in [Processing::AtMostOnce, RETRYABLE] {
        let service = Service::quick(processing);
        let mut forged = service.signed();
        *forged.body_mut() = "{\"amount\":1}".into();
        assert_eq!(service.send(&forged).await, code(401, "signature_invalid"));
        assert_eq!(service.store.times(Asked::Claim), 0);
        assert_eq!(service.store.times(Asked::Lease), 0);
    }
}

// Duplicates

#[tokio::test]
async fn a_duplicate_is_acknowledged_where_that_is_asked_for() {
    for processing in [Processing::AtMostOnce, RETRYABLE] {
        let service = Service::with(processing, Duration::ZERO, |layer| {
            layer.on_duplicate(OnDuplicate::Acknowledge)
        });
        let request = service.signed();
        assert_eq!(service.send(&request).await, done());
        let acknowledged = service.response(&request).await;
        let headers = acknowledged.headers();
        assert!(!headers.contains_key("content-type"));
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(verdict(acknowledged).await, done());
        assert_eq!(service.effects.count(), 1);
        // Only a duplicate is: whatever else is refused stays refused.
        let mut forged = request.clone();
        forged.body_mut().push(' ');
        assert_eq!(service.send(&forged).await.0, 401);
    }
}

#[tokio::test(start_paused = true)]
async fn with_retryable_only_what_was_completed_is_acknowledged() {
    let service = Service::with(RETRYABLE, Duration::from_secs(5), |layer| {
        layer.on_duplicate(OnDuplicate::Acknowledge)
    })
    .answering(500);
    let request = service.signed();
    let first = tokio::spawn({
        let (service, request) = (service.clone(), request.clone());
        async move { service.send(&request).await }
    });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(service.send(&request).await, in_flight());
    assert_eq!(first.await.unwrap().0, 500);
    // Released: not acknowledged, but handled.
    assert_eq!(service.send(&request).await.0, 500);
    service.status.store(200, Ordering::SeqCst);
    assert_eq!(service.send(&request).await, done());
    assert_eq!(service.effects.count(), 3);
    assert_eq!(service.send(&request).await, done());
    assert_eq!(service.effects.count(), 3, "acknowledged, not handled");
}

#[tokio::test]
async fn an_event_that_is_signed_anew_is_the_same_event() {
    let events = HeaderScheme::builder("x-signature")
        .fixed_key_id(KEY)
        .time("x-timestamp")
        .event_id("x-event-id")
        .signs(Part::lines([Part::Time, Part::Nonce, Part::Body]))
        .build()
        .unwrap();
    let clock = clock();
    let effects = Effects::default();
    let layer = VerifyLayer::builder(events.clone())
        .keys(keys())
        .store(store(&clock))
        .clock(clock.clone())
        .processing(RETRYABLE)
        .build()
        .unwrap();
    let app = echo(&effects).layer(layer);
    let signer = Signer::new(events, KEY, SECRET)
        .unwrap()
        .clock(clock.clone());
    let send = async |event: &str| {
        let request = request("POST", "/hook", "{}");
        let request = signer.sign_with_nonce(request, event).unwrap();
        verdict(app.clone().oneshot(request.map(Body::from)).await.unwrap()).await
    };
    assert_eq!(send("evt_1").await.0, 200);
    // Two days of retries, each with a new time.
    for _ in 0..48 {
        clock.advance(Duration::from_secs(3600));
        assert_eq!(send("evt_1").await, replayed());
    }
    assert_eq!(send("evt_2").await.0, 200);
    assert_eq!(effects.count(), 2);
}

// Retryable

#[tokio::test]
async fn a_success_completes_and_anything_else_releases() {
    for status in [200, 201, 202, 204, 299] {
        let service = Service::quick(RETRYABLE).answering(status);
        let request = service.signed();
        assert_eq!(service.send(&request).await.0, status);
        assert_eq!(service.send(&request).await, replayed(), "{status}");
        assert_eq!(service.effects.count(), 1);
    }
    for status in [301, 304, 400, 404, 409, 429, 500, 503] {
        let service = Service::quick(RETRYABLE).answering(status);
        let request = service.signed();
        for _ in 0..3 {
            assert_eq!(service.send(&request).await.0, status);
        }
        assert_eq!(service.effects.count(), 3, "{status}");
        service.status.store(200, Ordering::SeqCst);
        assert_eq!(service.send(&request).await.0, 200);
        assert_eq!(service.send(&request).await, replayed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_in_flight_is_told_how_long_to_wait() {
    let service = Service::new(RETRYABLE, Duration::from_secs(5));
    let request = service.signed();
    let first = tokio::spawn({
        let (service, request) = (service.clone(), request.clone());
        async move { service.send(&request).await }
    });
    sleep(Duration::from_millis(1500)).await;
    let copy = service.response(&request).await;
    // 28.5 s are left of the lease, told in whole seconds.
    assert_eq!(copy.headers()[RETRY_AFTER], "29");
    assert_eq!(verdict(copy).await, in_flight());
    assert_eq!(first.await.unwrap(), done());
    assert_eq!(service.send(&request).await, replayed());
    assert_eq!(service.effects.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_hangs_up_does_not_cut_off_a_detached_handler() {
    let service = Service::new(RETRYABLE, Duration::from_secs(5));
    let request = service.signed();
    let answer = tokio::time::timeout(Duration::from_secs(1), service.send(&request));
    assert!(answer.await.is_err(), "the response future is dropped");
    assert_eq!(service.effects.count(), 0);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(service.send(&request).await, in_flight());
    sleep(Duration::from_secs(4)).await;
    assert_eq!(service.effects.count(), 1, "it went on");
    assert_eq!(service.store.times(Asked::Complete), 1);
    assert_eq!(service.send(&request).await, replayed());
}

#[tokio::test]
async fn a_connection_that_is_closed_does_not_cut_off_a_detached_handler() {
    let service = Service::new(RETRYABLE, Duration::from_millis(100));
    let addr = serve(service.app.clone()).await;
    let request = service.signed();
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(&to_wire(&request)).await.unwrap();
    until(|| service.begun.count() == 1).await;
    drop(stream);
    until(|| service.store.times(Asked::Complete) == 1).await;
    assert_eq!(service.effects.count(), 1);
    assert_eq!(service.send(&request).await, replayed());
}

/// A handler goes on in a task of its own when its client has gone. The twin's client stays.
#[tokio::test(start_paused = true)]
async fn task_locals_of_outer_middlewares_are_gone_once_a_client_has_hung_up_and_extensions_stay() {
    tokio::task_local!(static OUTER: u8);
    #[derive(Clone)]
    struct Outer(u8);
    for (patience, after) in [(1, None), (9, Some(7))] {
        let clock = clock();
        let layer = layer(&clock).store(store(&clock)).processing(RETRYABLE);
        let (telling, mut told) = tokio::sync::mpsc::unbounded_channel();
        let handler = async move |Extension(Outer(outer)): Extension<Outer>| {
            let before = OUTER.try_with(|outer| *outer).ok();
            sleep(Duration::from_secs(5)).await;
            let after = OUTER.try_with(|outer| *outer).ok();
            telling.send((before, after, outer)).unwrap();
        };
        let app = Router::new().route("/orders", post(handler));
        let app = app.layer(layer.build().unwrap()).layer(Extension(Outer(7)));
        let signed = signer(&clock).sign(request("POST", "/orders", "{}"));
        let answering = OUTER.scope(7, app.oneshot(signed.unwrap().map(Body::from)));
        let answered = tokio::time::timeout(Duration::from_secs(patience), answering).await;
        assert_eq!(answered.is_ok(), after.is_some());
        assert_eq!(told.recv().await, Some((Some(7), after, 7)));
    }
}

/// Nothing would keep the lease: nothing is leased, and no handler runs. The twin has a runtime with
/// its timer.
#[test]
fn a_request_is_not_leased_without_a_runtime_and_its_timer() {
    let service = Service::quick(RETRYABLE);
    let request = service.signed();
    let without_timer = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for refused in [
        ready(service.send(&request)),
        without_timer.block_on(service.send(&request)),
    ] {
        assert_eq!(refused, code(500, "store_misconfigured"));
        assert_eq!(service.store.times(Asked::Lease), 0);
        assert_eq!(service.begun.count(), 0);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(runtime.block_on(service.send(&request)), done());
}

/// Waits for what another task does, and fails after 10 seconds.
async fn until(holds: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(10), async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("it happened within 10 seconds");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_for_as_long_as_its_handler_lives() {
    let service = Service::new(RETRYABLE, LEASE * 10);
    let request = service.signed();
    let first = tokio::spawn({
        let (service, request) = (service.clone(), request.clone());
        async move { service.send(&request).await }
    });
    // A copy now and then, over all ten leases, at no multiple of the renewals.
    for _ in 0..42 {
        sleep(Duration::from_secs(7)).await;
        assert_eq!(service.send(&request).await, in_flight());
    }
    assert_eq!(first.await.unwrap(), done());
    assert_eq!(service.send(&request).await, replayed());
    assert_eq!((service.begun.count(), service.effects.count()), (1, 1));
    let renewals = service.store.times(Asked::Renew);
    assert!(
        (29..=30).contains(&renewals),
        "three each lease: {renewals}"
    );
}

/// The twin: without renewals another attempt gets in; and the first holder, which finds out, can
/// neither complete nor release what is now another's.
#[tokio::test(start_paused = true)]
async fn a_holder_that_lost_its_lease_changes_nothing_and_says_so() {
    for status in [200, 500] {
        let log = Log::captured();
        let service = Service::new(RETRYABLE, LEASE * 2).answering(status);
        let request = service.signed();
        (0..5).for_each(|_| {
            service.store.fault(Asked::Renew, Fault::Fails);
        });
        let first = tokio::spawn({
            let (service, request) = (service.clone(), request.clone());
            async move { service.send(&request).await }
        });
        sleep(LEASE + Duration::from_secs(1)).await;
        assert!(log.text().contains("a lease was not renewed; trying again"));
        service.store.heal();
        let second = tokio::spawn({
            let (service, request) = (service.clone(), request.clone());
            async move { service.send(&request).await }
        });
        assert_eq!(first.await.unwrap().0, status);
        assert!(log.text().contains("a handler outlived its lease"));
        assert_eq!((service.begun.count(), service.effects.count()), (2, 1));
        // The first is done; the second still holds the lease.
        assert_eq!(service.send(&request).await, in_flight());
        assert_eq!(second.await.unwrap().0, status);
        if status == 200 {
            assert!(log.text().contains("its outcome was not recorded"));
            assert_eq!(service.send(&request).await, replayed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_now_and_then_loses_nothing() {
    let service = Service::new(RETRYABLE, LEASE * 3);
    let request = service.signed();
    service.store.fault(Asked::Renew, Fault::Fails);
    service.store.fault(Asked::Renew, Fault::Hangs);
    let first = tokio::spawn({
        let (service, request) = (service.clone(), request.clone());
        async move { service.send(&request).await }
    });
    for _ in 0..12 {
        sleep(Duration::from_secs(7)).await;
        assert_eq!(service.send(&request).await, in_flight());
    }
    assert_eq!(first.await.unwrap(), done());
    assert_eq!(service.begun.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_goes_on_in_the_response_and_leaves_the_lease_to_end() {
    let service = Service::new(RETRYABLE, Duration::from_secs(1)).answering(PANICS);
    let request = service.signed();
    let response = tokio::spawn({
        let (service, request) = (service.clone(), request.clone());
        async move { service.send(&request).await }
    });
    let panic = response.await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref(), Some(&"the handler panics"));
    // Its outcome is unknown: neither completed nor given back.
    assert_eq!(service.store.times(Asked::Complete), 0);
    assert_eq!(service.store.times(Asked::Release), 0);
    assert_eq!(service.send(&request).await, in_flight());

    service.status.store(200, Ordering::SeqCst);
    sleep(LEASE).await;
    assert_eq!(service.send(&request).await, done());
    assert_eq!(service.send(&request).await, replayed());
}

#[tokio::test]
async fn a_panic_is_caught_by_a_layer_outside() {
    for processing in [Processing::AtMostOnce, RETRYABLE] {
        let service = Service::quick(processing).answering(PANICS);
        let app = CatchPanicLayer::new().layer(service.app.clone());
        let request = service.signed().map(Body::from);
        assert_eq!(app.oneshot(request).await.unwrap().status(), 500);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_inner_service_leaves_the_lease_to_end() {
    let clock = clock();
    let store = FaultyStore::around(store(&clock));
    let layer = layer(&clock)
        .store(store.clone())
        .processing(RETRYABLE)
        .build()
        .unwrap();
    let failing = service_fn(|_: Request<Body>| async { Err::<Response, _>("no answer") });
    let service = layer.layer(failing);
    let request = signer(&clock)
        .sign(request("POST", "/orders", "{}"))
        .unwrap();
    let send = || service.clone().oneshot(request.clone().map(Body::from));
    assert_eq!(send().await.unwrap_err(), "no answer");
    assert_eq!(verdict(send().await.unwrap()).await, in_flight());
    assert_eq!(store.times(Asked::Complete), 0);
    assert_eq!(store.times(Asked::Release), 0);
    sleep(LEASE).await;
    assert_eq!(send().await.unwrap_err(), "no answer");
}

#[tokio::test(start_paused = true)]
async fn a_completion_that_fails_is_tried_again_after_the_answer_has_left() {
    let service = Service::quick(RETRYABLE);
    let request = service.signed();
    (0..3).for_each(|_| {
        service.store.fault(Asked::Complete, Fault::Fails);
    });
    let start = Instant::now();
    assert_eq!(service.send(&request).await, done());
    assert_eq!(start.elapsed(), Duration::ZERO, "the answer does not wait");
    assert_eq!(service.send(&request).await, in_flight());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(service.store.times(Asked::Complete), 4);
    assert_eq!(service.send(&request).await, replayed());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(service.store.times(Asked::Complete), 4, "and not on and on");
    assert_eq!(service.effects.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_completion_that_hangs_holds_the_answer_no_longer_than_a_store_may_take() {
    let service = Service::quick(RETRYABLE);
    let request = service.signed();
    service.store.fault(Asked::Complete, Fault::Hangs);
    let start = Instant::now();
    assert_eq!(service.send(&request).await, done());
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(service.send(&request).await, replayed());
}

#[tokio::test(start_paused = true)]
async fn a_completion_whose_reply_was_lost_is_no_second_effect() {
    let service = Service::quick(RETRYABLE);
    let request = service.signed();
    service.store.fault(Asked::Complete, Fault::LosesTheReply);
    assert_eq!(service.send(&request).await, done());
    sleep(LEASE * 2).await;
    assert_eq!(service.send(&request).await, replayed());
    assert_eq!(service.effects.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_completion_that_is_never_recorded_is_logged_as_what_it_means() {
    let log = Log::captured();
    let service = Service::quick(RETRYABLE);
    let request = service.signed();
    (0..100).for_each(|_| {
        service.store.fault(Asked::Complete, Fault::Fails);
    });
    assert_eq!(service.send(&request).await, done());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(service.store.times(Asked::Complete), 9, "bounded");
    assert!(log.text().contains("was never recorded"));
    // As it says: the lease has ended, and a copy runs again.
    assert_eq!(service.send(&request).await, done());
    assert_eq!(service.effects.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_leaves_the_lease_to_end() {
    for fault in [Fault::Fails, Fault::Hangs] {
        let log = Log::captured();
        let service = Service::quick(RETRYABLE).answering(500);
        let request = service.signed();
        service.store.fault(Asked::Release, fault);
        assert_eq!(service.send(&request).await.0, 500);
        assert!(log.text().contains("a lease was not released"));
        assert_eq!(service.send(&request).await, in_flight());
        sleep(LEASE).await;
        assert_eq!(service.send(&request).await.0, 500);
        assert_eq!(service.effects.count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_reply_was_lost_ends_by_itself() {
    let service = Service::quick(RETRYABLE);
    let request = service.signed();
    service.store.fault(Asked::Lease, Fault::LosesTheReply);
    assert_eq!(service.send(&request).await, unavailable());
    assert_eq!(service.send(&request).await, in_flight());
    sleep(LEASE).await;
    assert_eq!(service.send(&request).await, done());
    assert_eq!(service.effects.count(), 1);
}

/// An answer within the time that a store may take leaves nothing of the shortest lease.
#[tokio::test(start_paused = true)]
async fn no_handler_begins_under_a_lease_that_ended_before_its_reply_came() {
    let lease = Duration::from_secs(1);
    let service = Service::new(Processing::Retryable { lease }, Duration::from_secs(2));
    let request = service.signed();
    let late = Fault::DelaysTheReply(Duration::from_millis(1500));
    service.store.fault(Asked::Lease, late);
    let copy = async {
        sleep(Duration::from_millis(1600)).await;
        service.send(&request).await
    };
    let (first, copy) = tokio::join!(service.send(&request), copy);
    assert_eq!((first, copy), (unavailable(), done()));
    assert_eq!(service.effects.count(), 1);
}

/// The store is back before the lease ends: what was answered with success is recorded in time.
#[tokio::test(start_paused = true)]
async fn a_completion_is_tried_again_before_its_lease_ends() {
    let lease = Duration::from_secs(1);
    let service = Service::quick(Processing::Retryable { lease });
    let request = service.signed();
    (0..4).for_each(|_| {
        service.store.fault(Asked::Complete, Fault::Fails);
    });
    assert_eq!(service.send(&request).await, done());
    sleep(Duration::from_millis(1200)).await;
    assert_eq!(service.send(&request).await, replayed());
    assert_eq!(service.effects.count(), 1);
}

#[tokio::test]
async fn a_store_without_leases_is_refused_when_the_layer_is_built() {
    let clock = clock();
    let built = layer(&clock).store(NoLeases).processing(RETRYABLE).build();
    let error = built.unwrap_err();
    assert!(matches!(error.kind(), ConfigErrorKind::Processing(_)));
    assert!(error.to_string().contains("Processing::AtMostOnce"));
    // The twin: it is the leases that it lacks.
    assert!(layer(&clock).store(NoLeases).build().is_ok());
}

struct NoLeases;

impl countersign::store::NonceStore for NoLeases {
    fn claim<'a>(
        &'a self,
        _: &'a countersign::store::Claim,
    ) -> countersign::store::StoreFuture<'a, countersign::store::ClaimOutcome> {
        countersign::store::StoreFuture::ready(Ok(countersign::store::ClaimOutcome::New))
    }

    fn leases(&self) -> Option<&dyn countersign::store::LeaseStore> {
        None
    }

    fn survives_restart(&self) -> bool {
        true
    }

    fn sharing(&self) -> countersign::store::Sharing {
        countersign::store::Sharing::between_processes(self)
    }
}

#[test]
fn a_handler_that_goes_on_and_ends_with_its_runtime_leaves_its_lease_to_end() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let (server, handlers) = (runtime(), runtime());
    server.block_on(async {
        let service = Service::new(RETRYABLE, Duration::from_secs(3600));
        let request = service.signed();
        let mut answer = Box::pin(service.send(&request));
        {
            let _entered = handlers.enter();
            let once = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(answer.as_mut().poll(cx).is_pending())
            });
            assert!(once.await, "the handler runs, on the other runtime");
        }
        // The client has gone, and then the runtime.
        drop(answer);
        handlers.shutdown_background();
        let copy = tokio::time::timeout(Duration::from_secs(10), service.send(&request)).await;
        assert_eq!(copy.expect("an answer"), in_flight());
    });
}

#[tokio::test]
async fn a_handler_logs_within_the_span_of_its_request() {
    for processing in [Processing::AtMostOnce, RETRYABLE] {
        let log = Log::captured();
        let service = Service::quick(processing);
        let span = tracing::info_span!("request", id = 7);
        let request = service.signed();
        service.send(&request).instrument(span).await;
        let text = log.text();
        let line = text.lines().find(|line| line.contains("is done"));
        let line = line.expect("the handler's line");
        assert!(line.contains("request{id=7}"), "{processing:?}: {line}");
    }
}

#[tokio::test]
async fn what_the_inner_service_answers_is_passed_on_whole() {
    for processing in [Processing::AtMostOnce, RETRYABLE] {
        let clock = clock();
        let layer = layer(&clock).processing(processing).build().unwrap();
        let inner = service_fn(|_: Request<Body>| async {
            let headers = [("x-one", "1"), ("content-type", "text/x")];
            Ok::<_, Infallible>((StatusCode::ACCEPTED, headers, "the body").into_response())
        });
        let request = signed(&clock, "POST", "/orders", "{}");
        let response = layer.layer(inner).oneshot(request).await.unwrap();
        assert_eq!(response.headers()["x-one"], "1");
        assert_eq!(response.headers()["content-type"], "text/x");
        assert_eq!(verdict(response).await, code(202, "the body"));
    }
}
