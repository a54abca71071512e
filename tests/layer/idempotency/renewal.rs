//! The hold on a key lasts for as long as its handler needs it, whatever the store and the handler do.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use axum::{Extension, Router, body::Bytes, routing::post};
use countersign::{
    VerifiedPayload,
    error::StoreError,
    idempotency::{IdempotencyLayer, PendingAnswer},
    store::{
        AnswerClaim, AnswerIn, AnswerOutcome, AnswerStore, MemoryAnswers, Sharing, StepOutcome,
        StoreFuture,
    },
    testing::ManualClock,
};
use http::{Response, StatusCode};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    Server, Work, answers, ask,
    hooked::{Call, hooked},
    keyed, verify,
};
use crate::common::{self, log::Log};

/// A store that goes wrong as often as it is told, and tells when it was asked.
struct Faulty {
    store: Arc<MemoryAnswers>,
    /// How many renewals panic.
    panics: AtomicUsize,
    /// How many answers are not recorded, and how many keys are not released.
    fails: AtomicUsize,
    renewed: Semaphore,
    recorded: Semaphore,
    released: Semaphore,
    /// Told of each renewal.
    listener: Option<mpsc::Sender<()>>,
}

/// Once more, unless it was often enough.
fn goes_wrong(left: &AtomicUsize) -> bool {
    let less = |left: usize| left.checked_sub(1);
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        .is_ok()
}

impl AnswerStore for Faulty {
    fn sharing(&self) -> Sharing {
        self.store.sharing()
    }

    fn claim<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, AnswerOutcome> {
        self.store.claim(claim)
    }

    fn find<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, Option<AnswerOutcome>> {
        self.store.find(claim)
    }

    fn renew<'a>(&'a self, c: &'a AnswerClaim, lease: Duration) -> StoreFuture<'a, StepOutcome> {
        assert!(lease.is_zero() || !goes_wrong(&self.panics), "it panics");
        StoreFuture::new(async move {
            let renewed = self.store.renew(c, lease).await;
            self.renewed.add_permits(1);
            if let Some(listener) = &self.listener {
                let _ = listener.send(());
            }
            renewed
        })
    }

    fn record<'a>(&'a self, c: &'a AnswerClaim, a: &'a Bytes) -> StoreFuture<'a, StepOutcome> {
        if goes_wrong(&self.fails) {
            return StoreFuture::ready(Err(StoreError::unavailable("down")));
        }
        StoreFuture::new(async move {
            let recorded = self.store.record(c, a).await;
            self.recorded.add_permits(1);
            recorded
        })
    }

    fn release<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, StepOutcome> {
        if goes_wrong(&self.fails) {
            return StoreFuture::ready(Err(StoreError::unavailable("down")));
        }
        StoreFuture::new(async move {
            let released = self.store.release(claim).await;
            self.released.add_permits(1);
            released
        })
    }

    fn resolve<'a>(&'a self, c: &'a AnswerClaim, a: &'a Bytes) -> StoreFuture<'a, StepOutcome> {
        self.store.resolve(c, a)
    }
}

impl Faulty {
    fn new(clock: &ManualClock) -> Self {
        Self {
            store: answers(clock),
            panics: AtomicUsize::new(0),
            fails: AtomicUsize::new(0),
            renewed: Semaphore::new(0),
            recorded: Semaphore::new(0),
            released: Semaphore::new(0),
            listener: None,
        }
    }

    /// Behind a layer under which a second attempt runs if it finds no hold.
    fn server(self: &Arc<Self>, clock: ManualClock) -> Server {
        let builder = IdempotencyLayer::builder(Arc::clone(self)).danger_run_again_after_crash();
        Server::with(clock, builder.lease(LEASE))
    }
}

const LEASE: Duration = Duration::from_secs(3);

/// Waits until it has happened, for a minute of the paused clock.
async fn until(happened: &Semaphore) {
    let waited = timeout(Duration::from_secs(60), happened.acquire()).await;
    waited.expect("it never happened").unwrap().forget();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_while_it_renews_cuts_off_no_handler() {
    let clock = common::clock();
    let store = Arc::new(Faulty::new(&clock));
    store.panics.store(2, Ordering::SeqCst);
    let server = store.server(clock);
    let (router, signed) = (
        server.router.clone(),
        server.sign(keyed("k", "/pay", "slow")),
    );
    let first = tokio::spawn(async move { ask(&router, signed).await });
    until(&store.renewed).await;
    let waits = server.send("k", "/pay", "slow").await;
    assert_eq!(waits.said(), (409, "request_in_flight".into()));
    server.work.gate.add_permits(1);
    assert_eq!(first.await.unwrap().said().0, 201);
    assert!(server.send("k", "/pay", "slow").await.is_replayed());
    assert_eq!(server.effects(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_offered_late_is_held_until_it_is_recorded() {
    let clock = common::clock();
    let store = Arc::new(Faulty::new(&clock));
    store.fails.store(usize::MAX, Ordering::SeqCst);
    let server = store.server(clock);
    assert_eq!(server.send("k", "/pay", "{}").await.said().0, 201);
    for _ in 0..3 {
        server.clock.advance(LEASE - Duration::from_millis(1));
        until(&store.renewed).await;
        let waits = server.send("k", "/pay", "{}").await;
        assert_eq!(waits.said(), (409, "request_in_flight".into()));
    }
    store.fails.store(0, Ordering::SeqCst);
    until(&store.recorded).await;
    assert!(server.send("k", "/pay", "{}").await.is_replayed());
    assert_eq!(server.effects(), 1);
}

/// Its thread is one of two, as with a server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_its_thread_is_renewed() {
    let (telling, told) = mpsc::channel();
    let told = Arc::new(Mutex::new(told));
    let blocks = async move |_: VerifiedPayload| {
        let told = told.lock().unwrap();
        for _ in 0..3 {
            if told.recv_timeout(Duration::from_secs(10)).is_err() {
                return StatusCode::INTERNAL_SERVER_ERROR;
            }
        }
        StatusCode::CREATED
    };
    let clock = common::clock();
    let store = Faulty {
        listener: Some(telling),
        ..Faulty::new(&clock)
    };
    let layer = IdempotencyLayer::builder(store).lease(Duration::from_secs(1));
    let router = Router::new()
        .route("/pay", post(blocks))
        .layer(layer.build().unwrap())
        .layer(verify(&clock).build().unwrap());
    let server = Server {
        router,
        work: Work::new(),
        clock,
    };
    let (router, signed) = (server.router.clone(), server.sign(keyed("k", "/pay", "{}")));
    // On a thread of the runtime, which the thread of the test is not.
    let answer = tokio::spawn(async move { ask(&router, signed).await });
    assert_eq!(answer.await.unwrap().said().0, 201);
}

/// A handler that says nothing about the intention, behind a store that fails so often.
async fn released_by(fails: usize) -> (Server, Arc<Faulty>) {
    let clock = common::clock();
    let store = Arc::new(Faulty::new(&clock));
    store.fails.store(fails, Ordering::SeqCst);
    let builder = IdempotencyLayer::builder(Arc::clone(&store)).lease(LEASE);
    let server = Server::with(clock, builder);
    assert_eq!(server.send("k", "/pay", "500").await.said().0, 500);
    (server, store)
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_released_at_once_is_released_later_and_held_until_then() {
    let (server, store) = released_by(6).await;
    server.clock.advance(LEASE - Duration::from_millis(1));
    until(&store.renewed).await;
    server.clock.advance(Duration::from_millis(1));
    let waits = server.send("k", "/pay", "500").await;
    assert_eq!(waits.said(), (409, "request_in_flight".into()));
    until(&store.released).await;
    assert_eq!(server.send("k", "/pay", "500").await.said().0, 500);
    assert_eq!(server.effects(), 2);
}

/// The twin: of a key that is never released, nobody knows what its attempt did.
#[tokio::test(start_paused = true)]
async fn twin_a_key_that_is_never_released_is_unknown_and_is_not_asked_for_without_end() {
    let (server, store) = released_by(usize::MAX).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    server.clock.advance(LEASE);
    let tried = usize::MAX - store.fails.load(Ordering::SeqCst);
    assert!((2..40).contains(&tried), "{tried}");
    let unknown = server.send("k", "/pay", "500").await;
    assert_eq!(unknown.said(), (409, "outcome_unknown".into()));
}

/// A transaction that is committed as soon as it records.
struct Committed(Arc<MemoryAnswers>);

impl AnswerIn for Committed {
    fn record_answer<'a>(
        &'a mut self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
        _: Duration,
    ) -> StoreFuture<'a, StepOutcome> {
        self.0.record(claim, answer)
    }
}

/// A handler goes on after its COMMIT for longer than its hold: nothing is wrong with that, and the
/// log says so. The twin records nothing, and its key is lost.
#[tokio::test(start_paused = true)]
async fn a_handler_that_goes_on_after_its_commit_has_outlived_nothing() {
    for records in [true, false] {
        let log = Log::captured();
        let clock = common::clock();
        let store = Arc::new(Faulty::new(&clock));
        let handler = {
            let (store, clock) = (Arc::clone(&store), clock.clone());
            async move |pending: PendingAnswer| {
                let answer = Response::new("paid");
                if records {
                    let mut transaction = Committed(Arc::clone(&store.store));
                    pending.record(&mut transaction, answer).await.unwrap();
                } else {
                    // Its record ends beneath it.
                    clock.advance(Duration::from_secs(24 * 60 * 60));
                }
                until(&store.renewed).await;
                until(&store.renewed).await;
                "paid"
            }
        };
        let layer = IdempotencyLayer::builder(Arc::clone(&store)).in_transaction();
        let router = Router::new()
            .route("/pay", post(handler))
            .layer(layer.lease(LEASE).build().unwrap())
            .layer(verify(&clock).build().unwrap());
        let server = Server {
            router,
            work: Work::new(),
            clock,
        };
        let answer = server.send("k", "/pay", "{}").await;
        assert_eq!(answer.said().0, if records { 200 } else { 500 });
        assert_eq!(log.text().contains("outlived"), !records, "{log:?}");
    }
}

/// A handler recorded its answer in a transaction that was rolled back, and answers with it. Another
/// attempt has taken its key over, and committed: the answer of the first does not leave. The twin
/// commits.
#[tokio::test(start_paused = true)]
async fn an_answer_that_was_rolled_back_does_not_leave_because_another_attempt_has_answered() {
    for commits in [false, true] {
        let clock = common::clock();
        let (store, other) = (answers(&clock), answers(&clock));
        let handler = {
            let store = Arc::clone(&store);
            async move |Extension(claimed): Extension<Claimed>, pending: PendingAnswer| {
                let claim = claimed.0.lock().unwrap().clone().unwrap();
                assert_eq!(claim.namespace(), "default");
                if commits {
                    let mut transaction = Committed(store);
                    return pending
                        .record(&mut transaction, Response::new("first"))
                        .await;
                }
                // It records in what is thrown away.
                other.claim(&claim).await.unwrap();
                let mut transaction = Committed(other);
                let answer = pending
                    .record(&mut transaction, Response::new("first"))
                    .await;
                let retry = AnswerClaim::new(
                    claim.namespace().into(),
                    claim.key_id().clone(),
                    *claim.digest(),
                    *claim.fingerprint(),
                );
                store.renew(&claim, Duration::ZERO).await.unwrap();
                let retry = retry.running_again();
                let taken_over = store.claim(&retry).await.unwrap();
                assert_eq!(taken_over, AnswerOutcome::Claimed);
                store.record(&retry, &"another".into()).await.unwrap();
                answer
            }
        };
        let claimed = Claimed::default();
        let store = spied(store, claimed.clone());
        let layer = IdempotencyLayer::builder(store).in_transaction();
        let router = Router::new()
            .route("/pay", post(handler))
            .layer(Extension(claimed))
            .layer(layer.build().unwrap())
            .layer(verify(&clock).build().unwrap());
        let server = Server {
            router,
            work: Work::new(),
            clock,
        };
        let answer = server.send("k", "/pay", "{}").await;
        if commits {
            assert_eq!(answer.said(), (200, "first".into()));
        } else {
            assert_eq!(answer.said(), (500, "answer_not_recorded".into()));
        }
    }
}

/// The claim that was made last.
#[derive(Clone, Default)]
struct Claimed(Arc<Mutex<Option<AnswerClaim>>>);

/// A store that tells which claim was made.
fn spied(store: Arc<MemoryAnswers>, claimed: Claimed) -> impl AnswerStore {
    hooked(store, move |call, claim| {
        if call == Call::Claim {
            *claimed.0.lock().unwrap() = Some(claim.clone());
        }
        StoreFuture::ready(Ok(()))
    })
}
