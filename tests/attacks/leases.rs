//! Rows 48 and 52: handlers that block their threads, and how many run at once.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use axum::{Router, body::Body, routing::any};
use countersign::{
    Processing, Verifier, VerifyLayer,
    layer::LeaseStatus,
    request::{UntilSettled, Verified, VerifierBuilder},
    store::{Claim, ClaimOutcome, LeaseOutcome, LeaseStore, NonceStore, StepOutcome, StoreFuture},
    testing::ManualClock,
};
use http::{StatusCode, header::RETRY_AFTER};
use tokio::{
    runtime::{Builder, Handle},
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tower::{ServiceBuilder, ServiceExt as _, limit::GlobalConcurrencyLimitLayer, service_fn};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    common::{
        self, Effects,
        parts::{Asked, Fault, FaultyStore},
    },
    handling::{LEASE, RETRYABLE},
    subject::{
        ALL, BODY, Breach, Finding, HOUSE, IN_FLIGHT, OK, REPLAYED, Subject, Target, refused,
    },
};

/// Short, because these tests run in real time, and long enough for a busy machine to renew it.
const SHORT: Duration = Duration::from_secs(3);

/// Holds a thread until it is let go, and tells when it does.
#[derive(Clone)]
struct Blocks {
    how: Blocking,
    entered: Arc<Semaphore>,
    let_go: Arc<Mutex<mpsc::Receiver<()>>>,
}

#[derive(Clone, Copy, Debug)]
enum Blocking {
    /// The runtime is told, and moves its other tasks to another thread.
    InPlace,
    /// The runtime is not told: the other tasks have the other threads.
    Untold,
}

impl Blocks {
    fn new(how: Blocking) -> (Self, mpsc::Sender<()>) {
        let (lets_go, let_go) = mpsc::channel();
        let blocks = Self {
            how,
            entered: Arc::new(Semaphore::new(0)),
            let_go: Arc::new(Mutex::new(let_go)),
        };
        (blocks, lets_go)
    }

    /// The second run and all later ones find that they may go on.
    fn run(&self) {
        let block = || {
            self.entered.add_permits(1);
            let let_go = self.let_go.lock().unwrap();
            let _ = let_go.recv_timeout(Duration::from_secs(30));
        };
        match self.how {
            Blocking::InPlace => tokio::task::block_in_place(block),
            Blocking::Untold => block(),
        }
    }

    async fn entered(&self) {
        let entered = timeout(Duration::from_secs(30), self.entered.acquire()).await;
        entered.expect("a run begins").unwrap().forget();
    }

    fn app(&self, effects: &Effects) -> Router {
        let (blocks, effects) = (self.clone(), effects.clone());
        let handler = async move || {
            effects.happened();
            if effects.count() == 1 {
                blocks.run();
            }
            "handled"
        };
        Router::new().route("/transfer", any(handler))
    }
}

fn sending(target: &Target, request: &http::Request<String>) -> JoinHandle<(u16, String)> {
    let (app, request) = (target.app.clone(), request.clone().map(Body::from));
    tokio::spawn(async move { common::verdict(app.oneshot(request).await.unwrap()).await })
}

/// A handler blocks its thread for longer than its lease, until `long_enough` says so.
async fn blocks_its_thread(
    target: &Target,
    genuine: &http::Request<String>,
    (blocks, let_go): (Blocks, mpsc::Sender<()>),
    long_enough: impl Fn(Duration) -> bool,
) -> Finding {
    let answering = sending(target, genuine);
    blocks.entered().await;
    let begun = Instant::now();
    while !long_enough(begun.elapsed()) {
        assert!(begun.elapsed() < Duration::from_secs(30), "no renewals");
        sleep(Duration::from_millis(5)).await;
    }
    let copy = refused(target, genuine.clone(), IN_FLIGHT).await;
    let_go.send(()).unwrap();
    assert_eq!(answering.await.unwrap(), (OK, "handled".into()));
    copy?;
    refused(target, genuine.clone(), REPLAYED).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a48_a_handler_that_blocks_its_thread_keeps_its_lease() {
    for how in [Blocking::InPlace, Blocking::Untold] {
        let clock = common::clock();
        let store = FaultyStore::around(common::store(&clock));
        let blocking = Blocks::new(how);
        let app = |effects: &Effects| blocking.0.app(effects);
        let target = Target::around(&HOUSE, &clock, store.clone(), app, |layer| {
            layer.processing(Processing::Retryable { lease: SHORT })
        });
        let genuine = HOUSE.signed(&clock);
        // Four renewals, a third of a lease apart, are more than a lease.
        let renewed = |_| store.times(Asked::Renew) >= 4;
        let found = blocks_its_thread(&target, &genuine, blocking, renewed).await;
        assert!(found.is_ok(), "{how:?}: {found:?}");
    }
}

/// Renews in the task of the handler, between its polls.
fn renewing_in_its_task(clock: &ManualClock, inner: impl FnOnce(&Effects) -> Router) -> Target {
    let verifier = Verifier::builder(common::scheme())
        .public_origin(common::ORIGIN)
        .keys(common::keys())
        .store(common::store(clock))
        .clock(clock.clone())
        .processing(Processing::Retryable { lease: SHORT })
        .build()
        .unwrap();
    Target::of(clock, |effects| {
        let inner = inner(effects);
        Router::new().fallback_service(service_fn(move |request: http::Request<Body>| {
            let (verifier, inner) = (verifier.clone(), inner.clone());
            async move {
                let (head, body) = request.into_parts();
                let (payload, lease) = match verifier.verify(&head, body).await {
                    Ok(Verified::Leased(payload, lease)) => (payload, lease),
                    Ok(other) => panic!("{other:?}"),
                    Err(rejection) => return Ok(rejection.to_response().map(Body::from)),
                };
                let body = Body::from(payload.bytes().clone());
                let handling = inner.oneshot(http::Request::from_parts(head, body));
                let renewing = async {
                    loop {
                        sleep(lease.duration() / 3).await;
                        lease.renew().await.unwrap();
                    }
                };
                tokio::select! {
                    answer = handling => {
                        lease.complete().await.unwrap();
                        answer
                    }
                    () = renewing => unreachable!(),
                }
            }
        }))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a48_twin_a_lease_that_is_renewed_in_the_handlers_task_is_found() {
    let clock = common::clock();
    let blocking = Blocks::new(Blocking::InPlace);
    let target = renewing_in_its_task(&clock, |effects| blocking.0.app(effects));
    let genuine = HOUSE.signed(&clock);
    let found = blocks_its_thread(&target, &genuine, blocking, |past| past > SHORT).await;
    assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
}

/// One server has one thread, and its handler blocks it until the lease has ended and another server
/// has handled a copy. Then it comes to its effect, and asks before it, or not. How many effects
/// there are.
async fn blocks_its_only_thread(asks: bool) -> usize {
    let clock = common::clock();
    let store = Arc::new(common::store(&clock));
    let layer = || {
        let layer = HOUSE.layer(&clock).store(Arc::clone(&store));
        let layer = layer.processing(Processing::Retryable { lease: SHORT });
        layer.build().unwrap()
    };
    let genuine = HOUSE.signed(&clock);
    let effects = Effects::default();
    let (blocks, let_go) = Blocks::new(Blocking::Untold);

    let (blocking, effect) = (blocks.clone(), effects.clone());
    let handler = async move |lease: LeaseStatus| {
        assert!(lease.is_held(), "it has only begun");
        blocking.run();
        if asks && !lease.is_held() {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        effect.happened();
        StatusCode::OK
    };
    let slow = Router::new()
        .route("/transfer", any(handler))
        .layer(layer());
    let request = genuine.clone().map(Body::from);
    let slow = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(slow.oneshot(request)).unwrap().status()
    });
    blocks.entered().await;

    let quick = Target::of(&clock, |_| crate::subject::app(&effects).layer(layer()));
    let mut copy = quick.send(genuine.clone()).await;
    while copy.1 == IN_FLIGHT.1 {
        sleep(Duration::from_millis(5)).await;
        copy = quick.send(genuine.clone()).await;
    }
    assert_eq!(copy, (OK, BODY.into()), "its lease has ended");
    let_go.send(()).unwrap();
    assert_eq!(slow.join().unwrap().is_success(), !asks);
    // The old holder answered with a failure, or a success, and changed nothing.
    refused(&quick, genuine, REPLAYED).await.unwrap();
    effects.count()
}

#[tokio::test]
async fn a48_a_handler_that_asks_before_its_effect_is_told_that_its_lease_is_lost() {
    assert_eq!(blocks_its_only_thread(true).await, 1);
}

#[tokio::test]
async fn a48_twin_a_handler_that_does_not_ask_has_its_effect_beside_a_duplicate() {
    assert_eq!(blocks_its_only_thread(false).await, 2);
}

/// Tells whether its lease is held, as often as it is asked.
fn telling(told: &mpsc::Sender<LeaseStatus>) -> Router {
    let told = told.clone();
    let handler = async move |lease: LeaseStatus| {
        told.send(lease).unwrap();
        sleep(LEASE * 3).await;
    };
    Router::new().route("/transfer", any(handler))
}

#[tokio::test(start_paused = true)]
async fn a48_a_lease_is_held_as_the_store_says() {
    let third = LEASE / 3;
    let last = Duration::from_millis(1);
    for (fault, held_for) in [
        (None, LEASE * 3),
        // From the last renewal that was answered, at the second third.
        (Some(Fault::Fails), third * 2 + LEASE),
        (Some(Fault::LosesTheReply), third * 2 + LEASE),
    ] {
        let clock = common::clock();
        let store = FaultyStore::around(common::store(&clock));
        let (told, asked) = mpsc::channel();
        let target = Target::around(
            &HOUSE,
            &clock,
            store.clone(),
            |_| telling(&told),
            |layer| layer.processing(RETRYABLE),
        );
        let answering = sending(&target, &HOUSE.signed(&clock));
        sleep(third * 2 + last).await;
        for fault in std::iter::repeat_n(fault, 20).flatten() {
            store.fault(Asked::Renew, fault);
        }
        let lease = asked.try_recv().unwrap();
        assert!(lease.is_held());
        sleep(held_for - third * 2 - last * 2).await;
        assert!(lease.is_held(), "{fault:?}");
        sleep(last * 2).await;
        assert!(!lease.is_held(), "{fault:?}");
        assert_eq!(answering.await.unwrap().0, OK);
        assert!(!lease.is_held(), "it is completed");
    }
}

#[tokio::test(start_paused = true)]
async fn a48_a_lease_that_another_took_is_not_held() {
    let clock = common::clock();
    let store = FaultyStore::around(common::store(&clock));
    let (told, asked) = mpsc::channel();
    let target = Target::around(
        &HOUSE,
        &clock,
        store.clone(),
        |_| telling(&told),
        |layer| layer.processing(RETRYABLE),
    );
    let genuine = HOUSE.signed(&clock);
    for _ in 0..3 {
        store.fault(Asked::Renew, Fault::Fails);
    }
    let first = sending(&target, &genuine);
    sleep(LEASE + Duration::from_millis(1)).await;
    let second = sending(&target, &genuine);
    sleep(LEASE / 3).await;
    let leases: Vec<_> = asked.try_iter().collect();
    let held: Vec<_> = leases.iter().map(LeaseStatus::is_held).collect();
    assert_eq!(held, [false, true], "the store told the first");
    assert_eq!(first.await.unwrap().0, OK);
    assert!(leases[1].is_held());
    assert_eq!(second.await.unwrap().0, OK);
    refused(&target, genuine, REPLAYED).await.unwrap();
}

/// A renewal that panics is one that failed: for this lease and for every other.
#[tokio::test(start_paused = true)]
async fn a48_a_store_that_panics_ends_no_renewals() {
    for subject in ALL {
        let clock = common::clock();
        let (told, _asked) = mpsc::channel();
        let store = PanicsOnce::around(common::store(&clock));
        let target = Target::around(
            subject,
            &clock,
            store,
            |_| telling(&told),
            |layer| layer.processing(RETRYABLE),
        );
        let bodies = ["1", "2", "3"];
        let requests =
            bodies.map(|body| subject.sign(&clock, common::request("POST", "/transfer", body)));
        let answering = requests.each_ref().map(|request| sending(&target, request));
        for _ in 0..8 {
            sleep(LEASE / 3).await;
            for request in &requests {
                refused(&target, request.clone(), IN_FLIGHT).await.unwrap();
            }
        }
        for answer in answering {
            assert_eq!(answer.await.unwrap().0, OK);
        }
        for request in requests {
            refused(&target, request, REPLAYED).await.unwrap();
        }
    }
}

/// However a request ends, nothing is left that renews.
#[tokio::test(start_paused = true)]
async fn a48_no_renewer_is_left_behind() {
    let clock = common::clock();
    let store = FaultyStore::around(common::store(&clock));
    let handler = async |body: String| {
        sleep(LEASE).await;
        match body.as_str() {
            "panics" => panic!("as it was told"),
            "refuses" => (StatusCode::CONFLICT, Body::empty()),
            "streams" => (
                StatusCode::OK,
                Body::new(common::parts::Script::frames(["a", "b"])),
            ),
            _ => (StatusCode::OK, Body::from("done")),
        }
    };
    let app = |_: &Effects| Router::new().route("/transfer", any(handler));
    let target = Target::around(&HOUSE, &clock, store.clone(), app, |layer| {
        layer.processing(RETRYABLE)
    });
    let app = target.app.clone().layer(CatchPanicLayer::new());
    let alive = || Handle::current().metrics().num_alive_tasks();
    let before = alive();
    for body in ["answers", "refuses", "panics", "streams", "is dropped"] {
        let request = HOUSE.sign(&clock, common::request("POST", "/transfer", body));
        let answering = app.clone().oneshot(request.map(Body::from));
        if body == "is dropped" {
            assert!(timeout(LEASE / 2, answering).await.is_err());
            assert_eq!(
                alive(),
                before + 2,
                "its handler, and the keeper of its lease"
            );
            sleep(LEASE).await;
        } else {
            drop(answering.await.unwrap());
        }
        // A panic, or a body that was dropped, is told to the keeper without a wait.
        tokio::task::yield_now().await;
        assert_eq!(alive(), before, "{body}");
    }
    let renewals = store.times(Asked::Renew);
    sleep(LEASE * 10).await;
    assert_eq!(store.times(Asked::Renew), renewals);
}

/// The first renewal of each lease panics.
struct PanicsOnce<S> {
    inner: S,
    panicked: Mutex<HashSet<[u8; 32]>>,
}

impl<S> PanicsOnce<S> {
    fn around(inner: S) -> Self {
        Self {
            inner,
            panicked: Mutex::default(),
        }
    }
}

impl<S: NonceStore> NonceStore for PanicsOnce<S> {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        self.inner.claim(claim)
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        Some(self)
    }

    fn survives_restart(&self) -> bool {
        self.inner.survives_restart()
    }

    fn sharing(&self) -> countersign::store::Sharing {
        self.inner.sharing()
    }
}

impl<S: NonceStore> LeaseStore for PanicsOnce<S> {
    fn lease<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, LeaseOutcome> {
        self.inner.leases().unwrap().lease(claim, duration)
    }

    fn renew<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, StepOutcome> {
        let panics = self.panicked.lock().unwrap().insert(claim.digest());
        assert!(!panics, "the first renewal panics");
        self.inner.leases().unwrap().renew(claim, duration)
    }

    fn complete<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        self.inner.leases().unwrap().complete(claim)
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        self.inner.leases().unwrap().release(claim)
    }
}

const EXHAUSTED: (u16, &str) = (503, "handlers_exhausted");

/// The requests that an outer limit on concurrency allows.
const ALLOWED: usize = 2;

/// A handler that runs until it is let go, and how many of it run.
#[derive(Clone)]
struct Long {
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    let_go: Arc<Semaphore>,
}

impl Long {
    fn new() -> Self {
        Self {
            running: Arc::default(),
            most: Arc::default(),
            let_go: Arc::new(Semaphore::new(0)),
        }
    }

    fn app(&self, effects: &Effects) -> Router {
        let (long, effects) = (self.clone(), effects.clone());
        let handler = async move |body: String| {
            let running = long.running.fetch_add(1, Ordering::SeqCst) + 1;
            long.most.fetch_max(running, Ordering::SeqCst);
            let held = long.let_go.acquire().await;
            held.unwrap().forget();
            long.running.fetch_sub(1, Ordering::SeqCst);
            effects.happened();
            if body == "panics" {
                panic!("as it was told");
            }
            "handled"
        };
        Router::new().route("/transfer", any(handler))
    }

    /// Behind the layer, behind a limit on concurrency.
    fn target<S: NonceStore>(
        &self,
        subject: &Subject,
        store: S,
        settings: impl FnOnce(VerifierBuilder<VerifyLayer>) -> VerifierBuilder<VerifyLayer>,
    ) -> Target {
        let app = |effects: &Effects| self.app(effects);
        let target = Target::around(subject, &common::clock(), store, app, |layer| {
            settings(layer.processing(RETRYABLE))
        });
        let limit = ServiceBuilder::new()
            .layer(CatchPanicLayer::new())
            .layer(GlobalConcurrencyLimitLayer::new(ALLOWED));
        Target {
            app: target.app.clone().layer(limit),
            ..target
        }
    }
}

/// Fifty requests, whose senders hang up.
async fn hung_up(target: &Target, subject: &Subject) -> Vec<http::Request<String>> {
    let requests: Vec<_> = (0..50)
        .map(|n| common::request("POST", "/transfer", &n.to_string()))
        .map(|request| subject.sign(&target.clock, request))
        .collect();
    for request in &requests {
        let sent = target.app.clone().oneshot(request.clone().map(Body::from));
        let _ = timeout(Duration::from_millis(1), sent).await;
    }
    requests
}

#[tokio::test(start_paused = true)]
async fn a52_no_more_handlers_run_than_may_whatever_their_senders_do() {
    for subject in ALL {
        let long = Long::new();
        let store = FaultyStore::around(common::store(&common::clock()));
        let target = long.target(subject, store.clone(), |layer| layer.max_running(ALLOWED));
        let requests = hung_up(&target, subject).await;
        assert_eq!(long.running.load(Ordering::SeqCst), ALLOWED);
        assert_eq!(
            store.times(Asked::Lease),
            ALLOWED,
            "of the others none was asked for"
        );

        // Refused in time to be sent again, and not burned.
        let refusal = target
            .app
            .clone()
            .oneshot(requests[2].clone().map(Body::from));
        let refusal = refusal.await.unwrap();
        assert_eq!(refusal.headers()[RETRY_AFTER], "1");
        let (status, code) = common::verdict(refusal).await;
        assert_eq!((status, code.as_str()), EXHAUSTED);
        long.let_go.add_permits(requests.len());
        sleep(LEASE).await;
        for (n, request) in requests.into_iter().enumerate() {
            let expected = if n < ALLOWED {
                REPLAYED
            } else {
                (OK, "handled")
            };
            let (status, code) = target.send(request).await;
            assert_eq!((status, code.as_str()), expected, "{}: {n}", subject.name);
        }
        assert_eq!(
            long.most.load(Ordering::SeqCst),
            ALLOWED,
            "{}",
            subject.name
        );
        assert_eq!(target.effects.count(), 50);
    }
}

#[tokio::test(start_paused = true)]
async fn a52_twin_without_a_bound_of_its_own_the_layer_escapes_the_limit() {
    let long = Long::new();
    let store = common::store(&common::clock());
    let target = long.target(&HOUSE, store, |layer| layer.max_running(1000));
    hung_up(&target, &HOUSE).await;
    assert_eq!(
        long.running.load(Ordering::SeqCst),
        50,
        "and 2 were allowed"
    );
}

/// However a handler ends, another may run: also where it is a duplicate, or the store fails.
#[tokio::test(start_paused = true)]
async fn a52_whatever_becomes_of_a_request_its_place_is_free_again() {
    let long = Long::new();
    let store = FaultyStore::around(common::store(&common::clock()));
    let target = long.target(&HOUSE, store.clone(), |layer| layer.max_running(1));
    long.let_go.add_permits(1000);
    let sign = |body| HOUSE.sign(&target.clock, common::request("POST", "/transfer", body));
    let again = sign("once more");
    assert_eq!(target.send(again.clone()).await.0, OK);
    for _ in 0..3 {
        refused(&target, again.clone(), REPLAYED).await.unwrap();
        assert_eq!(target.send(sign("panics")).await.0, 500);
        store.fault(Asked::Lease, Fault::Fails);
        assert_eq!(target.send(sign("")).await.1, "store_unavailable");
        store.fault(Asked::Lease, Fault::Hangs);
        let given_up = target.app.clone().oneshot(sign("").map(Body::from));
        assert!(timeout(Duration::from_millis(1), given_up).await.is_err());
        // A store that takes no completion does not keep others from running.
        store.fault(Asked::Complete, Fault::Fails);
        assert_eq!(target.send(sign("")).await.0, OK);
    }
    assert_eq!(target.send(sign("")).await, (OK, "handled".into()));
    assert_eq!(long.most.load(Ordering::SeqCst), 1);
}

/// A body that a client takes slowly is no handler: it holds the lease, and no place.
#[tokio::test(start_paused = true)]
async fn a52_a_response_that_is_taken_slowly_holds_no_place() {
    let clock = common::clock();
    let streamed = async || Body::new(common::parts::Script::new([common::parts::Step::Hangs]));
    let app = |_: &Effects| Router::new().route("/transfer", any(streamed));
    let target = Target::around(&HOUSE, &clock, common::store(&clock), app, |layer| {
        layer.processing(RETRYABLE).max_running(1)
    });
    let mut held = Vec::new();
    for _ in 0..10 {
        let request = HOUSE.signed(&clock).map(Body::from);
        let response = target.app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        held.push(response);
    }
}

#[tokio::test]
async fn a52_the_bound_is_between_one_and_a_million() {
    let clock = common::clock();
    let built = |max| {
        let layer = HOUSE.layer(&clock).store(common::store(&clock));
        layer.max_running(max).build()
    };
    for max in [0, 1_000_001, usize::MAX] {
        let error = built(max).unwrap_err().to_string();
        assert!(error.contains("max_running"), "{error}");
    }
    for max in [1, 1_000_000] {
        assert!(built(max).is_ok());
    }
}

/// Where there is no lease there is no status of one: the handler does not run.
#[tokio::test]
async fn a48_a_handler_that_asks_for_a_lease_needs_one() {
    let clock = common::clock();
    let handler = async |_: LeaseStatus| "handled";
    let app = |_: &Effects| Router::new().route("/transfer", any(handler));
    let target = Target::around(&HOUSE, &clock, common::store(&clock), app, |layer| layer);
    let (status, code) = target.send(HOUSE.signed(&clock)).await;
    assert_eq!((status, code.as_str()), (500, "not_verified"));
}

/// Whoever waits for the last request of a process waits for its outcome to be recorded too.
#[tokio::test]
async fn a_value_of_a_request_is_held_until_its_lease_is_settled() {
    let clock = common::clock();
    let held = Arc::new(());
    let left = Arc::downgrade(&held);
    let seen = Weak::clone(&left);
    let handler = any(async move |request: http::Request<Body>| {
        drop(request);
        seen.strong_count().to_string()
    });
    let layer = HOUSE.layer(&clock).store(common::store(&clock));
    let layer = layer.processing(RETRYABLE).build().unwrap();
    let mut request = HOUSE.signed(&clock).map(Body::from);
    request.extensions_mut().insert(UntilSettled::new(held));
    let app = Router::new().route("/transfer", handler).layer(layer);
    let answered = app.oneshot(request).await.unwrap().into_body();
    let answered = axum::body::to_bytes(answered, 9).await.unwrap();
    assert_eq!(answered, "1");
    let settled = async {
        while left.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), settled).await.unwrap();
}
