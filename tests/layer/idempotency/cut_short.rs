//! Claims that nobody waits for: no key is left claimed without a handler.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use axum::body::Bytes;
use countersign::{
    error::{StoreError, StoreErrorKind},
    idempotency::IdempotencyLayer,
    store::{AnswerClaim, AnswerOutcome, AnswerStore, MemoryAnswers, StepOutcome, StoreFuture},
};
use tokio::{sync::Semaphore, task::yield_now};
use tower::ServiceExt as _;

use super::{Server, answers, keyed};
use crate::common;

/// When a claim is carried out, and what is answered.
enum Claims {
    /// At once, and answered when there is a permit.
    AnsweredLate(Arc<Semaphore>),
    /// Never answered, and carried out right after it was released for the first time.
    CarriedOutLate,
    Refused(StoreErrorKind),
}

struct Odd {
    store: Arc<MemoryAnswers>,
    claims: Claims,
    given_up: Mutex<Option<AnswerClaim>>,
    releases: Arc<AtomicUsize>,
}

impl AnswerStore for Odd {
    fn claim<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, AnswerOutcome> {
        if let Claims::Refused(kind) = self.claims {
            return StoreFuture::ready(Err(StoreError::new(kind, "refused")));
        }
        StoreFuture::new(async move {
            match &self.claims {
                Claims::AnsweredLate(gate) => {
                    let outcome = self.store.claim(claim).await;
                    gate.acquire().await.unwrap().forget();
                    outcome
                }
                Claims::CarriedOutLate if self.releases.load(Ordering::SeqCst) == 0 => {
                    *self.given_up.lock().unwrap() = Some(claim.clone());
                    std::future::pending().await
                }
                _ => self.store.claim(claim).await,
            }
        })
    }

    fn find<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, Option<AnswerOutcome>> {
        self.store.find(claim)
    }

    fn renew<'a>(&'a self, c: &'a AnswerClaim, lease: Duration) -> StoreFuture<'a, StepOutcome> {
        self.store.renew(c, lease)
    }

    fn record<'a>(&'a self, c: &'a AnswerClaim, a: &'a Bytes) -> StoreFuture<'a, StepOutcome> {
        self.store.record(c, a)
    }

    fn release<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::new(async move {
            let released = self.store.release(claim).await?;
            self.releases.fetch_add(1, Ordering::SeqCst);
            let late = self.given_up.lock().unwrap().take();
            if let Some(late) = late {
                let landed = self.store.claim(&late).await?;
                assert_eq!(landed, AnswerOutcome::Claimed);
            }
            Ok(released)
        })
    }

    fn resolve<'a>(&'a self, c: &'a AnswerClaim, a: &'a Bytes) -> StoreFuture<'a, StepOutcome> {
        self.store.resolve(c, a)
    }
}

struct Course {
    server: Server,
    store: Arc<MemoryAnswers>,
    releases: Arc<AtomicUsize>,
}

fn course(claims: Claims, going_on: usize) -> Course {
    let clock = common::clock();
    let store = answers(&clock);
    let releases = Arc::<AtomicUsize>::default();
    let odd = Odd {
        store: Arc::clone(&store),
        claims,
        given_up: Mutex::default(),
        releases: Arc::clone(&releases),
    };
    let builder = IdempotencyLayer::builder(odd).max_going_on(going_on);
    let server = Server::with(clock, builder.store_timeout(Duration::from_secs(1)));
    Course {
        server,
        store,
        releases,
    }
}

/// Sends a request, and hangs up once the store has claimed its key.
async fn hang_up(course: &Course) {
    let signed = course.server.sign(keyed("k", "/pay", "{}"));
    let sending = course.server.router.clone().oneshot(signed);
    let mut sending = Box::pin(sending);
    while course.store.is_empty() {
        let mut context = Context::from_waker(Waker::noop());
        assert!(sending.as_mut().poll(&mut context).is_pending());
        yield_now().await;
    }
}

async fn until(holds: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        yield_now().await;
    }
    panic!("it never came");
}

#[tokio::test]
async fn a_client_that_hangs_up_while_its_key_is_claimed_is_served_all_the_same() {
    let gate = Arc::new(Semaphore::new(0));
    let course = course(Claims::AnsweredLate(Arc::clone(&gate)), 1);
    hang_up(&course).await;
    gate.add_permits(2);
    until(|| course.server.effects() == 1).await;
    course.server.clock.advance(Duration::from_secs(31));
    let again = course.server.send("k", "/pay", "{}").await;
    assert_eq!((again.said().0, again.is_replayed()), (201, true));
    assert_eq!(course.server.effects(), 1);
}

#[tokio::test]
async fn one_that_may_not_go_on_leaves_no_key_behind() {
    let gate = Arc::new(Semaphore::new(0));
    let course = course(Claims::AnsweredLate(Arc::clone(&gate)), 0);
    hang_up(&course).await;
    until(|| course.store.is_empty()).await;
    gate.add_permits(1);
    let again = course.server.send("k", "/pay", "{}").await;
    assert_eq!((again.said().0, course.server.effects()), (201, 1));
}

/// A COMMIT or a script that is carried out after the store was told to forget it.
#[tokio::test(start_paused = true)]
async fn a_claim_that_is_carried_out_late_is_taken_back() {
    let course = course(Claims::CarriedOutLate, 1);
    let refused = course.server.send("k", "/pay", "{}").await;
    assert_eq!(refused.said(), (503, "store_unavailable".into()));
    // Time passes only when everything waits for it.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(course.releases.load(Ordering::SeqCst), 2);
    let again = course.server.send("k", "/pay", "{}").await;
    assert_eq!((again.said().0, course.server.effects()), (201, 1));
}

/// What is refused for want of room has left nothing that could be released.
#[tokio::test(start_paused = true)]
async fn what_a_full_store_refuses_is_not_released() {
    for (kind, releases) in [
        (StoreErrorKind::Full, false),
        (StoreErrorKind::KeyOverQuota, false),
        (StoreErrorKind::Unavailable, true),
    ] {
        let course = course(Claims::Refused(kind), 1);
        course.server.send("k", "/pay", "{}").await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let released = course.releases.load(Ordering::SeqCst);
        assert_eq!(released > 0, releases, "{kind:?}");
        assert!(released < 20, "{released}: it ends");
    }
}

/// A store that answers at once needs no runtime, not even to fail.
#[test]
fn a_claim_that_fails_without_a_runtime_is_refused() {
    let course = course(Claims::Refused(StoreErrorKind::Unavailable), 1);
    let signed = course.server.sign(keyed("k", "/pay", "{}"));
    let mut sending = pin!(course.server.router.clone().oneshot(signed));
    let mut context = Context::from_waker(Waker::noop());
    let polled = sending.as_mut().poll(&mut context);
    assert!(polled.is_ready());
}

/// A handler that commits effects and forgets to record its answer runs once.
#[tokio::test]
async fn a_handler_that_forgets_to_record_in_its_transaction_runs_once() {
    let clock = common::clock();
    let builder = IdempotencyLayer::builder(answers(&clock)).in_transaction();
    let server = Server::with(clock, builder);
    let first = server.send("k", "/pay", "{}").await;
    assert_eq!(first.said(), (500, "answer_not_recorded".into()));
    for _ in 0..2 {
        server.clock.advance(Duration::from_secs(31));
        let again = server.send("k", "/pay", "{}").await;
        assert_eq!(again.said(), (409, "outcome_unknown".into()));
    }
    assert_eq!(server.effects(), 1);
}
