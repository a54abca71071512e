//! No sender is held up by another sender, or by somebody who overheard a request.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use countersign::{
    Processing, VerifyLayer,
    idempotency::IdempotencyLayer,
    request::VerifierBuilder,
    store::{AnswerStore, MemoryAnswers, StoreFuture},
    testing::ManualClock,
};
use http::Request;
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, yield_now},
    time::{sleep, timeout},
};
use tower::{
    ServiceBuilder, ServiceExt, limit::GlobalConcurrencyLimitLayer, util::BoxCloneService,
};

use super::{
    Server, Work, answers, ask,
    hooked::{Call, hooked},
    keyed, sign, verify,
};
use crate::common::{self, KEY, OTHER_KEY, OTHER_SECRET, SECRET};

/// Sends a request whose handler is slow, and hangs up once the handler runs.
async fn hang_up(server: &Server, sender: (&str, &str), key: &str) {
    let request = sign(&server.clock, sender, keyed(key, "/pay", "slow")).map(Body::from);
    let (router, before) = (server.router.clone(), server.effects());
    let sending = tokio::spawn(async move { ask(&router, request).await });
    while server.effects() == before {
        yield_now().await;
    }
    sending.abort();
    assert!(sending.await.unwrap_err().is_cancelled());
    yield_now().await;
}

/// The statuses of retries under two keys of one sender, and under one of another, after all three
/// hung up.
async fn after_hanging_up(max_going_on: usize) -> [u16; 3] {
    let clock = common::clock();
    let builder = IdempotencyLayer::builder(answers(&clock)).max_going_on(max_going_on);
    let server = Server::with(clock, builder);
    let (one, other) = ((KEY, SECRET), (OTHER_KEY, OTHER_SECRET));
    for (sender, key) in [(one, "k1"), (one, "k2"), (other, "k1")] {
        hang_up(&server, sender, key).await;
    }
    server.work.gate.add_permits(3);
    for _ in 0..100 {
        yield_now().await;
    }
    let mut statuses = [0; 3];
    let retries = [(one, "k1"), (one, "k2"), (other, "k1")];
    for (status, (sender, key)) in statuses.iter_mut().zip(retries) {
        let retry = sign(&server.clock, sender, keyed(key, "/pay", "slow"));
        let answer = server.ask(retry.map(Body::from)).await;
        assert!(answer.is_replayed() || *answer.said().1 == *"outcome_unknown");
        *status = answer.said().0;
    }
    assert_eq!(server.effects(), 3, "none ran twice");
    statuses
}

#[tokio::test]
async fn one_sender_that_hangs_up_does_not_cut_off_the_handlers_of_another() {
    assert_eq!(after_hanging_up(2).await, [201, 409, 201]);
    // The twin has places for all: the first sender was cut off by its share, and by nothing else.
    assert_eq!(after_hanging_up(4).await, [201, 201, 201]);
}

/// A store that claims, and finds nothing for as long as one waits.
fn deaf(store: Arc<MemoryAnswers>) -> impl AnswerStore {
    hooked(store, |call, _| match call {
        Call::Find => StoreFuture::new(pending()),
        _ => StoreFuture::ready(Ok(())),
    })
}

/// Anybody can send an overheard request again. The retry of its sender does not wait for the
/// replay. The twin, a second replay, waits in the line of the first.
#[tokio::test(start_paused = true)]
async fn a_replay_does_not_delay_the_retry_of_its_sender() {
    let clock = common::clock();
    let builder = IdempotencyLayer::builder(deaf(answers(&clock)));
    let server = Server::with(clock, builder.store_timeout(Duration::from_secs(3600)));
    let (head, _) = server.sign(keyed("k", "/pay", "{}")).into_parts();
    let overheard = || Request::from_parts(head.clone(), Body::from("{}"));
    assert_eq!(server.ask(overheard()).await.said().0, 201);

    let router = server.router.clone();
    let (first, second) = (overheard(), overheard());
    let replay = tokio::spawn(async move { ask(&router, first).await });
    sleep(Duration::from_secs(1)).await;
    let minute = Duration::from_secs(60);
    let retried = timeout(minute, server.send("k", "/pay", "{}")).await;
    assert!(retried.unwrap().is_replayed());
    assert!(timeout(minute, server.ask(second)).await.is_err());
    assert!(!replay.is_finished());
    replay.abort();
}

/// A handler's permit is for requests that it handles. The twin is a second handler at work, which has
/// the only permit.
#[tokio::test(start_paused = true)]
async fn a_duplicate_holds_no_permit_while_its_answer_is_looked_up() {
    let clock = common::clock();
    let builder = IdempotencyLayer::builder(deaf(answers(&clock)));
    let layer = builder.store_timeout(Duration::from_secs(3600)).build();
    let layer = layer.unwrap();
    let verify = verify(&clock).answer_duplicates_from(&layer);
    let service = ServiceBuilder::new()
        .layer(verify.build().unwrap())
        .layer(layer)
        .concurrency_limit(1)
        .service(Work::new().router());
    let send = |request: Request<Body>| {
        let service = service.clone();
        tokio::spawn(async move { service.oneshot(request).await.unwrap().status() })
    };
    let signed = |key: &str, body: &str| sign(&clock, (KEY, SECRET), keyed(key, "/pay", body));
    let (head, _) = signed("k", "{}").into_parts();
    let original = || Request::from_parts(head.clone(), Body::from("{}"));
    assert_eq!(send(original()).await.unwrap(), 201);

    let duplicate = send(original());
    sleep(Duration::from_secs(1)).await;
    let fresh = send(signed("fresh", "{}").map(Body::from));
    assert_eq!(fresh.await.unwrap(), 201);
    assert!(!duplicate.is_finished());

    let at_work = send(signed("slow", "slow").map(Body::from));
    sleep(Duration::from_secs(1)).await;
    let twin = send(signed("twin", "{}").map(Body::from));
    assert_eq!(twin.await.unwrap(), 503);
    assert!(!at_work.is_finished());
    duplicate.abort();
    at_work.abort();
}

/// A store that makes a claim once the test lets it.
fn gated(store: Arc<MemoryAnswers>, claims: Arc<Semaphore>) -> impl AnswerStore {
    hooked(store, move |call, _| {
        let claims = Arc::clone(&claims);
        StoreFuture::new(async move {
            if call == Call::Claim {
                claims.acquire().await.unwrap().forget();
            }
            Ok(())
        })
    })
}

/// A service with two permits, whose claims wait for the test.
struct Crowd {
    service: BoxCloneService<Request<Body>, Response, Infallible>,
    clock: ManualClock,
    work: Work,
    permits: Arc<Semaphore>,
    claims: Arc<Semaphore>,
}

impl Crowd {
    fn new() -> Self {
        let settings = |verify: VerifierBuilder<VerifyLayer>| verify;
        Self::with(settings, Duration::from_secs(3600))
    }

    fn with(
        settings: impl FnOnce(VerifierBuilder<VerifyLayer>) -> VerifierBuilder<VerifyLayer>,
        store_timeout: Duration,
    ) -> Self {
        let (clock, work) = (common::clock(), Work::new());
        let (permits, claims) = (Arc::new(Semaphore::new(2)), Arc::new(Semaphore::new(0)));
        let store = gated(answers(&clock), Arc::clone(&claims));
        let layer = IdempotencyLayer::builder(store).store_timeout(store_timeout);
        let service = ServiceBuilder::new()
            .layer(settings(verify(&clock)).build().unwrap())
            .layer(layer.build().unwrap())
            .layer(GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(
                &permits,
            )))
            .service(work.router());
        Self {
            service: BoxCloneService::new(ServiceExt::<Request<Body>>::map_response(
                service,
                |answer| answer.map(Body::new),
            )),
            clock,
            work,
            permits,
            claims,
        }
    }

    /// Sends a request, and waits until it waits.
    async fn send(&self, key: &str, body: &str) -> JoinHandle<u16> {
        let request = sign(&self.clock, (KEY, SECRET), keyed(key, "/pay", body)).map(Body::from);
        let service = self.service.clone();
        let sending = tokio::spawn(async move {
            let answer = service.oneshot(request).await.unwrap();
            answer.status().as_u16()
        });
        sleep(Duration::from_secs(1)).await;
        sending
    }
}

/// Many retries of one intention would otherwise have all the permits, and do nothing with them.
#[tokio::test(start_paused = true)]
async fn a_retry_holds_no_permit_while_it_waits_for_its_turn() {
    let crowd = Crowd::new();
    let first = crowd.send("k", "{}").await;
    let retry = crowd.send("k", "{}").await;
    assert_eq!(crowd.permits.available_permits(), 1, "the first has one");
    let fresh = crowd.send("fresh", "{}").await;
    crowd.claims.add_permits(3);
    assert_eq!((first.await.unwrap(), fresh.await.unwrap()), (201, 201));
    assert!([201, 409].contains(&retry.await.unwrap()));
    assert_eq!(crowd.work.effects.count(), 2);
}

/// The first attempt gives the key back. A service that was not polled ready would panic.
#[tokio::test(start_paused = true)]
async fn a_retry_that_has_waited_runs_with_a_permit_or_gives_its_key_back() {
    let crowd = Crowd::new();
    let first = crowd.send("k", "500").await;
    let [runs, gives_back] = [crowd.send("k", "500").await, crowd.send("k", "500").await];
    crowd.claims.add_permits(1);
    assert_eq!(first.await.unwrap(), 500);
    crowd.claims.add_permits(1);
    assert_eq!(runs.await.unwrap(), 500);
    assert_eq!(crowd.work.effects.count(), 2);

    let all = crowd.permits.acquire_many(2).await.unwrap();
    crowd.claims.add_permits(1);
    assert_eq!(gives_back.await.unwrap(), 503);
    drop(all);
    crowd.claims.add_permits(1);
    let last = crowd.send("k", "500").await;
    assert_eq!(last.await.unwrap(), 500);
    assert_eq!(crowd.work.effects.count(), 3);
}

/// Each is a task that outlives its connection, so there must be a bound on those that wait too. They
/// make room when their time is over.
#[tokio::test(start_paused = true)]
async fn a_retryable_retry_counts_as_running_while_it_waits_for_its_turn_and_no_longer() {
    let lease = Duration::from_secs(30);
    let settings = |verify: VerifierBuilder<VerifyLayer>| {
        let verify = verify.processing(Processing::Retryable { lease });
        verify.max_running(2)
    };
    let crowd = Crowd::with(settings, Duration::from_secs(10));
    let first = crowd.send("k", "{}").await;
    let retry = crowd.send("k", "{}").await;
    let beyond = crowd.send("fresh", "{}").await;
    assert_eq!(beyond.await.unwrap(), 503);
    assert!(!first.is_finished() && !retry.is_finished());
    assert_eq!((first.await.unwrap(), retry.await.unwrap()), (503, 503));
    assert_eq!(crowd.work.effects.count(), 0);
    crowd.claims.add_permits(10);
    let [one, other] = [crowd.send("1", "{}").await, crowd.send("2", "{}").await];
    assert_eq!((one.await.unwrap(), other.await.unwrap()), (201, 201));
}
