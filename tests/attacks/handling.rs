//! Rows 28, 35 and 36: what happens to a request while, and after, its handler runs.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
    routing::any,
};
use countersign::{
    OnDuplicate, Processing,
    error::StoreError,
    store::{Claim, ClaimOutcome, LeaseOutcome, LeaseStore, NonceStore, StepOutcome, StoreFuture},
    testing::ManualClock,
};
use http::{StatusCode, header::RETRY_AFTER};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tower::ServiceExt as _;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    common::{self, Effects, serve},
    naive::{self, Fault},
    subject::{
        ALL, BODY, Breach, Finding, Frames, HOUSE, IN_FLIGHT, OK, REPLAYED, SlowStore, Subject,
        Target, refused, to_wire,
    },
};

pub const LEASE: Duration = Duration::from_secs(3);
pub const RETRYABLE: Processing = Processing::Retryable { lease: LEASE };
const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// A handler whose runs are told of, held until they are let go, and answer as it is written here;
/// `0` panics. Each has an effect as it begins.
#[derive(Clone)]
struct Script {
    effects: Effects,
    runs: Arc<AtomicUsize>,
    entered: Arc<Semaphore>,
    answers: Arc<[(u16, Semaphore)]>,
}

impl Script {
    fn new<const N: usize>(answers: [u16; N]) -> Self {
        Self {
            effects: Effects::default(),
            runs: Arc::default(),
            entered: Arc::new(Semaphore::new(0)),
            answers: answers.map(|answer| (answer, Semaphore::new(0))).into(),
        }
    }

    /// No run is held.
    fn unheld<const N: usize>(answers: [u16; N]) -> Self {
        let script = Self::new(answers);
        (0..N).for_each(|run| script.let_go(run));
        script
    }

    /// Waits for the next run to begin.
    async fn entered(&self) {
        let entered = timeout(SECOND * 60, self.entered.acquire()).await;
        entered.expect("a run begins").unwrap().forget();
    }

    fn let_go(&self, run: usize) {
        self.answers[run].1.add_permits(1);
    }

    fn app(&self) -> Router {
        let script = self.clone();
        let handler = move || {
            let script = script.clone();
            async move {
                let run = script.runs.fetch_add(1, Ordering::SeqCst);
                script.effects.happened();
                script.entered.add_permits(1);
                let (answer, held) = &script.answers[run];
                held.acquire().await.unwrap().forget();
                if *answer == 0 {
                    panic!("as it is written");
                }
                (StatusCode::from_u16(*answer).unwrap(), "handled")
            }
        };
        Router::new().route("/transfer", any(handler))
    }

    /// Behind the layer; a panic in a handler becomes 500.
    fn behind<S: NonceStore>(
        &self,
        subject: &Subject,
        clock: &ManualClock,
        store: S,
        processing: Processing,
        on_duplicate: OnDuplicate,
    ) -> Target {
        let layer = subject.layer(clock).store(store).processing(processing);
        let layer = layer.build().unwrap().on_duplicate(on_duplicate);
        let mut target = Target::of(clock, |_| {
            self.app().layer(layer).layer(CatchPanicLayer::new())
        });
        target.effects = self.effects.clone();
        target
    }

    fn retryable<S: NonceStore>(&self, subject: &Subject, clock: &ManualClock, store: S) -> Target {
        self.behind(subject, clock, store, RETRYABLE, OnDuplicate::Reject)
    }
}

/// Sends it without waiting for the answer.
fn sending(target: &Target, request: &http::Request<String>) -> JoinHandle<(u16, String)> {
    let (app, request) = (target.app.clone(), request.clone().map(Body::from));
    tokio::spawn(async move { common::verdict(app.oneshot(request).await.unwrap()).await })
}

/// The answer is that of the handler, after one more effect.
async fn handled(target: &Target, request: &http::Request<String>, status: u16) -> Finding {
    let effects = target.effects.count();
    let answer = target.send(request.clone()).await;
    if (answer.0, target.effects.count()) != (status, effects + 1) {
        return Err(Breach::Answer(format!(
            "{answer:?} instead of a run with {status}"
        )));
    }
    Ok(())
}

/// Claims, effects and the answer to a copy, after a request was dropped.
type Given = (usize, usize, (u16, String));

/// The request is given up after this many polls, for each number of polls until it is done, and a
/// copy is sent each time.
async fn given_up_at_every_point(make: impl Fn() -> Target) -> Result<Vec<Given>, Breach> {
    let mut given = Vec::new();
    for polls in 0..1000 {
        let target = make();
        let genuine = HOUSE.signed(&target.clock);
        let slow = Frames::new([&BODY[..10], &BODY[10..]], |_| {});
        let request = genuine.clone().map(|_| Body::new(slow));
        let mut answering = Box::pin(target.app.clone().oneshot(request));
        let mut left = polls;
        let done = poll_fn(|cx| {
            if left == 0 {
                return Poll::Ready(false);
            }
            left -= 1;
            cx.waker().wake_by_ref();
            answering.as_mut().poll(cx).map(|_| true)
        })
        .await;
        drop(answering);
        let (claims, effects) = (target.claims.count(), target.effects.count());
        let copy = target.send(genuine).await;
        if target.effects.count() > 1 {
            return Err(Breach::Effect(format!(
                "given up after {polls} polls: {copy:?}"
            )));
        }
        given.push((claims, effects, copy));
        if done {
            return Ok(given);
        }
    }
    panic!("never done");
}

/// Pauses before its effect, and after.
fn pausing(effects: &Effects) -> Router {
    let effects = effects.clone();
    let handler = async move |body: String| {
        tokio::task::yield_now().await;
        effects.happened();
        tokio::task::yield_now().await;
        body
    };
    Router::new().route("/transfer", any(handler))
}

#[tokio::test]
async fn a28_a_request_that_is_dropped_at_any_point_has_at_most_one_effect() {
    let make = || {
        let clock = common::clock();
        let inner = common::store(&clock);
        let store = SlowStore {
            inner,
            clock: clock.clone(),
            then: None,
        };
        Target::around(&HOUSE, &clock, store, pausing, |layer| layer)
    };
    let given = given_up_at_every_point(make).await.unwrap();
    for (claims, effects, (status, code)) in &given {
        match (claims, effects) {
            (0, _) => assert_eq!(*status, OK, "nothing is burned before the claim: {code}"),
            // The store was asked, and was not yet done.
            (1, 0) if *status == OK => {}
            _ => assert_eq!((*status, code.as_str()), REPLAYED, "it stays burned"),
        }
    }
    let count =
        |wanted: &dyn Fn(&Given) -> bool| given.iter().filter(|given| wanted(given)).count();
    assert!(count(&|given| given.0 == 0) >= 3, "in the body");
    assert!(
        count(&|given| given.0 == 1 && given.1 == 0 && given.2.0 == 409) >= 2,
        "claimed, and not run"
    );
    assert!(
        count(&|given| given.1 == 1) >= 2,
        "after the effect, and at the end"
    );
}

#[tokio::test]
async fn a28_twin_a_server_that_gives_the_nonce_back_on_drop_is_found() {
    for (fault, survives) in [(Fault::None, true), (Fault::GivesBackOnDrop, false)] {
        let make = || {
            let clock = common::clock();
            Target::of(&clock, |effects| {
                naive::server(&HOUSE, &clock, pausing(effects), fault, || {})
            })
        };
        let found = given_up_at_every_point(make).await;
        assert_eq!(found.is_ok(), survives, "{fault:?}: {found:?}");
        assert!(survives || matches!(found, Err(Breach::Effect(_))));
    }
}

/// At most once: whatever became of its handler.
pub async fn panics<S: NonceStore>(subject: &Subject, clock: &ManualClock, store: S) -> Finding {
    let script = Script::unheld([0, 200]);
    let (processing, on_duplicate) = (Processing::AtMostOnce, OnDuplicate::Reject);
    let target = script.behind(subject, clock, store, processing, on_duplicate);
    let genuine = subject.signed(clock);
    handled(&target, &genuine, 500).await?;
    refused(&target, genuine, REPLAYED).await?;
    clock.advance(SECOND);
    handled(&target, &subject.signed(clock), OK).await
}

#[tokio::test]
async fn a28_a_handler_that_panics_has_used_its_request() {
    for subject in ALL {
        let clock = common::clock();
        panics(subject, &clock, common::store(&clock))
            .await
            .unwrap();
    }
}

/// Tells when the server lets go of a request, answered or not.
fn telling_when_gone(app: Router, gone: &Arc<Semaphore>) -> Router {
    struct Gone(Arc<Semaphore>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.add_permits(1);
        }
    }
    let gone = Arc::clone(gone);
    app.layer(from_fn(move |request: Request, next: Next| {
        let gone = Gone(Arc::clone(&gone));
        async move {
            let response: Response = next.run(request).await;
            drop(gone);
            response
        }
    }))
}

async fn permit(semaphore: &Semaphore) {
    timeout(SECOND * 20, semaphore.acquire())
        .await
        .expect("in time")
        .unwrap()
        .forget();
}

/// At most once: the client goes while its handler is at work.
pub async fn disconnects<S: NonceStore>(
    subject: &Subject,
    clock: &ManualClock,
    store: S,
) -> Finding {
    let script = Script::new([200, 200]);
    script.let_go(1);
    let (processing, on_duplicate) = (Processing::AtMostOnce, OnDuplicate::Reject);
    let target = script.behind(subject, clock, store, processing, on_duplicate);
    let gone = Arc::new(Semaphore::new(0));
    let addr = serve(telling_when_gone(target.app.clone(), &gone)).await;
    let target = Target {
        addr: Some(addr),
        ..target
    };

    let genuine = subject.signed(clock);
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(&to_wire(&genuine)).await.unwrap();
    script.entered().await;
    drop(stream);
    permit(&gone).await;
    refused(&target, genuine, REPLAYED).await?;
    assert_eq!(script.effects.count(), 1);
    Ok(())
}

#[tokio::test]
async fn a28_a_client_that_disconnects_has_used_its_request() {
    for subject in ALL {
        let clock = common::clock();
        disconnects(subject, &clock, common::store(&clock))
            .await
            .unwrap();
    }
}

/// How a handler came to its end.
struct Ending {
    told: mpsc::UnboundedSender<&'static str>,
    how: &'static str,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.told.send(self.how);
    }
}

/// The sender hangs up while the handler is at work. It comes to its end, and that counts.
pub async fn sender_hangs_up<S: NonceStore>(
    subject: &Subject,
    clock: &ManualClock,
    store: S,
    processing: Processing,
) -> Finding {
    let effects = Effects::default();
    let (told, mut endings) = mpsc::unbounded_channel();
    let [entered, held, gone] = [(); 3].map(|()| Arc::new(Semaphore::new(0)));
    let handler = {
        let (effects, entered, held) = (effects.clone(), Arc::clone(&entered), Arc::clone(&held));
        async move || {
            let mut ending = Ending {
                told,
                how: "cut off",
            };
            entered.add_permits(1);
            held.acquire().await.unwrap().forget();
            effects.happened();
            ending.how = "finished";
        }
    };
    let layer = subject.layer(clock).store(store).processing(processing);
    let app = Router::new()
        .route("/transfer", any(handler))
        .layer(layer.build().unwrap());
    let addr = serve(telling_when_gone(app, &gone)).await;

    let genuine = to_wire(&subject.signed(clock));
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(&genuine).await.unwrap();
    permit(&entered).await;
    drop(stream);
    permit(&gone).await;
    held.add_permits(1);
    let ending = timeout(SECOND * 20, endings.recv())
        .await
        .expect("it ends")
        .unwrap();
    if ending != "finished" || effects.count() != 1 {
        return Err(Breach::Answer(format!("the handler was {ending}")));
    }
    // Its completion is recorded after it has ended.
    for _ in 0..1000 {
        let (status, code) = common::exchange(addr, &genuine).await;
        if (status, code.as_str()) != IN_FLIGHT {
            let right = (status, code.as_str()) == REPLAYED && effects.count() == 1;
            return right.then_some(()).ok_or(Breach::Effect(code));
        }
        sleep(Duration::from_millis(5)).await;
    }
    Err(Breach::Answer("in flight for ever".into()))
}

#[tokio::test]
async fn a36_a_sender_that_hangs_up_does_not_cut_its_handler_off() {
    let lease = Duration::from_secs(60);
    for subject in ALL {
        let clock = common::clock();
        let store = common::store(&clock);
        sender_hangs_up(subject, &clock, store, Processing::Retryable { lease })
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a36_twin_a_handler_that_is_not_detached_is_found() {
    let clock = common::clock();
    let store = common::store(&clock);
    let found = sender_hangs_up(&HOUSE, &clock, store, Processing::AtMostOnce).await;
    assert!(matches!(found, Err(Breach::Answer(_))), "{found:?}");
}

/// A request that is answered with `status` is handled again, until it succeeds.
pub async fn gives_back<S: NonceStore>(
    subject: &Subject,
    clock: &ManualClock,
    store: S,
    status: u16,
) -> Finding {
    let script = Script::unheld([status, status, 200]);
    let target = script.retryable(subject, clock, store);
    let genuine = subject.signed(clock);
    handled(&target, &genuine, status).await?;
    handled(&target, &genuine, status).await?;
    handled(&target, &genuine, OK).await?;
    refused(&target, genuine, REPLAYED).await
}

#[tokio::test]
async fn a36_an_answer_that_is_no_success_gives_the_request_back() {
    for subject in ALL {
        for status in [
            300, 301, 304, 400, 401, 404, 409, 413, 422, 429, 500, 502, 503, 599,
        ] {
            let clock = common::clock();
            let store = common::store(&clock);
            gives_back(subject, &clock, store, status).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a36_a_success_completes_the_request() {
    for subject in ALL {
        // After a switch of protocols, the connection is the effect.
        for status in [101, 200, 201, 202, 204, 206, 299] {
            let clock = common::clock();
            let script = Script::unheld([status, 200]);
            let target = script.retryable(subject, &clock, common::store(&clock));
            let genuine = subject.signed(&clock);
            handled(&target, &genuine, status).await.unwrap();
            refused(&target, genuine, REPLAYED).await.unwrap();
        }
    }
}

/// After a panic nobody knows how far the handler came: copies wait until the lease has ended.
pub async fn panics_under_a_lease<S: NonceStore>(
    subject: &Subject,
    clock: &ManualClock,
    store: S,
    margin: Duration,
) -> Finding {
    let script = Script::unheld([0, 200]);
    let target = script.retryable(subject, clock, store);
    let genuine = subject.signed(clock);
    handled(&target, &genuine, 500).await?;
    refused(&target, genuine.clone(), IN_FLIGHT).await?;
    let response = target
        .app
        .clone()
        .oneshot(genuine.clone().map(Body::from))
        .await
        .unwrap();
    let wait: u64 = response.headers()[RETRY_AFTER]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((LEASE - margin..=LEASE).contains(&(SECOND * u32::try_from(wait).unwrap())));
    sleep(LEASE - margin).await;
    refused(&target, genuine.clone(), IN_FLIGHT).await?;
    sleep(margin * 2).await;
    handled(&target, &genuine, OK).await?;
    refused(&target, genuine, REPLAYED).await
}

#[tokio::test(start_paused = true)]
async fn a36_a_handler_that_panics_keeps_its_lease_until_it_ends() {
    for subject in ALL {
        let clock = common::clock();
        panics_under_a_lease(subject, &clock, common::store(&clock), MILLI)
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a36_twin_a_store_without_leases_in_earnest_is_found() {
    let clock = common::clock();
    let store = Unfenced {
        ending_at_once: true,
        ..Unfenced::default()
    };
    let found = panics_under_a_lease(&HOUSE, &clock, store, MILLI).await;
    assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
}

/// Copies are acknowledged once the request was completed, and not before.
pub async fn acknowledged<S: NonceStore>(
    subject: &Subject,
    clock: &ManualClock,
    store: S,
    processing: Processing,
) -> Finding {
    let script = Script::new([500, 200]);
    let target = script.behind(subject, clock, store, processing, OnDuplicate::Acknowledge);
    let genuine = subject.signed(clock);
    for (run, status) in [500, 200].into_iter().enumerate() {
        let answering = sending(&target, &genuine);
        script.entered().await;
        refused(&target, genuine.clone(), IN_FLIGHT).await?;
        script.let_go(run);
        assert_eq!(answering.await.unwrap().0, status);
    }
    for _ in 0..3 {
        let answer = target.send(genuine.clone()).await;
        if answer != (OK, String::new()) || script.effects.count() != 2 {
            return Err(Breach::Answer(format!("{answer:?}")));
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a36_a_duplicate_is_acknowledged_only_after_completion() {
    for subject in ALL {
        let clock = common::clock();
        let store = common::store(&clock);
        acknowledged(subject, &clock, store, RETRYABLE)
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a36_twin_a_claim_that_is_acknowledged_while_it_is_handled_is_found() {
    let clock = common::clock();
    let store = common::store(&clock);
    let found = acknowledged(&HOUSE, &clock, store, Processing::AtMostOnce).await;
    assert!(matches!(found, Err(Breach::Answer(_))), "{found:?}");
}

/// A lease ends while its handler runs, and a copy takes the request over. The old holder's
/// answer then, `outcome`, does not concern the new one.
pub async fn old_holder<S: NonceStore>(
    subject: &Subject,
    clock: &ManualClock,
    store: S,
    outcome: u16,
    margin: Duration,
) -> Finding {
    let script = Script::new([outcome, 200, 200]);
    script.let_go(2);
    let target = script.retryable(subject, clock, Unrenewed(store));
    let genuine = subject.signed(clock);
    let old = sending(&target, &genuine);
    script.entered().await;
    sleep(LEASE - margin).await;
    refused(&target, genuine.clone(), IN_FLIGHT).await?;
    sleep(margin * 2).await;
    let new = sending(&target, &genuine);
    script.entered().await;
    refused(&target, genuine.clone(), IN_FLIGHT).await?;

    script.let_go(0);
    let expected = if outcome == 0 { 500 } else { outcome };
    assert_eq!(old.await.unwrap().0, expected);
    refused(&target, genuine.clone(), IN_FLIGHT).await?;
    script.let_go(1);
    assert_eq!(new.await.unwrap().0, OK);
    refused(&target, genuine, REPLAYED).await
}

#[tokio::test(start_paused = true)]
async fn a35_the_old_holder_of_a_lease_neither_completes_nor_releases_the_new_one() {
    for subject in ALL {
        for outcome in [200, 404, 500, 0] {
            let clock = common::clock();
            let store = common::store(&clock);
            let found = old_holder(subject, &clock, store, outcome, MILLI).await;
            found.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a35_twin_a_store_whose_steps_are_not_fenced_is_found() {
    let clock = common::clock();
    let found = old_holder(&HOUSE, &clock, Unfenced::default(), 200, MILLI).await;
    assert!(
        matches!(found, Err(Breach::Answer(_))),
        "completes the new one: {found:?}"
    );
    let found = old_holder(&HOUSE, &clock, Unfenced::default(), 500, MILLI).await;
    assert!(
        matches!(found, Err(Breach::Effect(_))),
        "releases the new one: {found:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a35_what_an_old_holder_did_does_not_count_when_the_new_one_fails() {
    let clock = common::clock();
    let script = Script::new([200, 500, 200]);
    script.let_go(2);
    let target = script.retryable(&HOUSE, &clock, Unrenewed(common::store(&clock)));
    let genuine = HOUSE.signed(&clock);
    let old = sending(&target, &genuine);
    script.entered().await;
    sleep(LEASE + SECOND).await;
    let new = sending(&target, &genuine);
    script.entered().await;
    script.let_go(0);
    assert_eq!(old.await.unwrap().0, OK);
    script.let_go(1);
    assert_eq!(new.await.unwrap().0, 500);
    handled(&target, &genuine, OK).await.unwrap();
    refused(&target, genuine, REPLAYED).await.unwrap();
}

/// A handler works for much longer than its lease: it stays the only one.
pub async fn outlives_its_lease<S: NonceStore>(
    subject: &Subject,
    clock: &ManualClock,
    store: S,
    leases: u32,
) -> Finding {
    let script = Script::new([200, 200]);
    script.let_go(1);
    let target = script.retryable(subject, clock, store);
    let genuine = subject.signed(clock);
    let answering = sending(&target, &genuine);
    script.entered().await;
    for _ in 0..leases * 3 {
        sleep(LEASE / 3).await;
        refused(&target, genuine.clone(), IN_FLIGHT).await?;
    }
    script.let_go(0);
    assert_eq!(answering.await.unwrap().0, OK);
    refused(&target, genuine, REPLAYED).await
}

#[tokio::test(start_paused = true)]
async fn a35_a_lease_is_renewed_while_its_handler_lives() {
    for subject in ALL {
        let clock = common::clock();
        let store = common::store(&clock);
        outlives_its_lease(subject, &clock, store, 17)
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a35_twin_a_lease_that_is_not_renewed_is_found() {
    let clock = common::clock();
    let store = Unrenewed(common::store(&clock));
    let found = outlives_its_lease(&HOUSE, &clock, store, 17).await;
    assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
}

/// Cannot be reached when a lease is to be renewed.
struct Unrenewed<S>(S);

impl<S: NonceStore> NonceStore for Unrenewed<S> {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        self.0.claim(claim)
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        Some(self)
    }

    fn survives_restart(&self) -> bool {
        self.0.survives_restart()
    }

    fn sharing(&self) -> countersign::store::Sharing {
        self.0.sharing()
    }
}

impl<S: NonceStore> LeaseStore for Unrenewed<S> {
    fn lease<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, LeaseOutcome> {
        self.0.leases().unwrap().lease(claim, duration)
    }

    fn renew<'a>(&'a self, _: &'a Claim, _: Duration) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::ready(Err(StoreError::unavailable("no answer")))
    }

    fn complete<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        self.0.leases().unwrap().complete(claim)
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        self.0.leases().unwrap().release(claim)
    }
}

/// Forgets whose a lease is: anybody who comes completes or releases it.
#[derive(Default)]
struct Unfenced {
    records: Mutex<HashMap<[u8; 32], Option<Instant>>>,
    ending_at_once: bool,
}

impl NonceStore for Unfenced {
    fn claim<'a>(&'a self, _: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::ready(Err(StoreError::unavailable("leases only")))
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        Some(self)
    }

    fn survives_restart(&self) -> bool {
        true
    }

    fn sharing(&self) -> countersign::store::Sharing {
        countersign::store::Sharing::between_processes(self)
    }
}

impl LeaseStore for Unfenced {
    fn lease<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, LeaseOutcome> {
        let mut records = self.records.lock().unwrap();
        let now = Instant::now();
        StoreFuture::ready(Ok(match records.get(&claim.digest()) {
            Some(None) => LeaseOutcome::Completed,
            Some(Some(end)) if *end > now => LeaseOutcome::in_flight(*end - now),
            _ => {
                let end = if self.ending_at_once {
                    now
                } else {
                    now + duration
                };
                records.insert(claim.digest(), Some(end));
                LeaseOutcome::Held
            }
        }))
    }

    fn renew<'a>(&'a self, _: &'a Claim, _: Duration) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::ready(Ok(StepOutcome::Lost))
    }

    fn complete<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        self.records.lock().unwrap().insert(claim.digest(), None);
        StoreFuture::ready(Ok(StepOutcome::Done))
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        self.records.lock().unwrap().remove(&claim.digest());
        StoreFuture::ready(Ok(StepOutcome::Done))
    }
}
