//! Claims that nobody waits for: no key is left claimed without a handler.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use axum::body::{Body, Bytes};
use countersign::{
    error::{StoreError, StoreErrorKind},
    idempotency::IdempotencyLayer,
    store::{
        AnswerClaim, AnswerOutcome, AnswerStore, MemoryAnswers, Sharing, StepOutcome, StoreFuture,
    },
};
use http::Request;
use tokio::{sync::Semaphore, task::yield_now};
use tower::ServiceExt as _;

use super::{
    Server, answers,
    hooked::{Call, hooked},
    keyed,
};
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
    /// Whether the next release panics.
    panics: Arc<AtomicBool>,
    /// How a renewal is refused.
    renewals: Option<StoreErrorKind>,
}

impl AnswerStore for Odd {
    fn sharing(&self) -> Sharing {
        self.store.sharing()
    }

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
        if let Some(kind) = self.renewals {
            return StoreFuture::ready(Err(StoreError::new(kind, "refused")));
        }
        self.store.renew(c, lease)
    }

    fn record<'a>(&'a self, c: &'a AnswerClaim, a: &'a Bytes) -> StoreFuture<'a, StepOutcome> {
        self.store.record(c, a)
    }

    fn release<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, StepOutcome> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "it panics");
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
    panics: Arc<AtomicBool>,
}

fn course(claims: Claims, going_on: usize) -> Course {
    let clock = common::clock();
    let store = answers(&clock);
    let (releases, panics) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let odd = Odd {
        store: Arc::clone(&store),
        claims,
        given_up: Mutex::default(),
        releases: Arc::clone(&releases),
        panics: Arc::clone(&panics),
        renewals: None,
    };
    let builder = IdempotencyLayer::builder(odd).max_going_on(going_on);
    let server = Server::with(clock, builder.store_timeout(Duration::from_secs(1)));
    Course {
        server,
        store,
        releases,
        panics,
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

#[tokio::test(start_paused = true)]
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

/// A claim that is answered when its hold is about to end is renewed before its handler runs. If it
/// was lost, no handler runs; the twin was not.
#[tokio::test(start_paused = true)]
async fn a_claim_that_is_answered_late_holds_its_key_before_its_handler_runs() {
    for is_lost in [true, false] {
        let gate = Arc::new(Semaphore::new(0));
        let clock = common::clock();
        let store = answers(&clock);
        let odd = Odd {
            store: Arc::clone(&store),
            claims: Claims::AnsweredLate(Arc::clone(&gate)),
            given_up: Mutex::default(),
            releases: Arc::default(),
            panics: Arc::default(),
            renewals: None,
        };
        let builder = IdempotencyLayer::builder(odd).lease(Duration::from_secs(3));
        let builder = builder.store_timeout(Duration::from_secs(10));
        let server = Server::with(clock.clone(), builder.danger_run_again_after_crash());
        let late = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            if is_lost {
                clock.advance(Duration::from_secs(24 * 60 * 60));
            }
            gate.add_permits(1);
        };
        let (answer, ()) = tokio::join!(server.send("k", "/pay", "{}"), late);
        let expected = if is_lost { (409, 0) } else { (201, 1) };
        assert_eq!((answer.said().0, server.effects()), expected);
    }
}

/// However its renewal is refused, no handler runs for it, and its key is free again.
#[tokio::test(start_paused = true)]
async fn a_claim_that_is_answered_late_and_not_renewed_is_taken_back() {
    use StoreErrorKind::{Full, KeyOverQuota, Unavailable};
    for kind in [Full, KeyOverQuota, Unavailable] {
        let gate = Arc::new(Semaphore::new(0));
        let clock = common::clock();
        let store = answers(&clock);
        let odd = Odd {
            store: Arc::clone(&store),
            claims: Claims::AnsweredLate(Arc::clone(&gate)),
            given_up: Mutex::default(),
            releases: Arc::default(),
            panics: Arc::default(),
            renewals: Some(kind),
        };
        let builder = IdempotencyLayer::builder(odd).lease(Duration::from_secs(3));
        let server = Server::with(clock, builder.store_timeout(Duration::from_secs(10)));
        let late = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert!(!store.is_empty(), "it was claimed");
            gate.add_permits(1);
        };
        let (answer, ()) = tokio::join!(server.send("k", "/pay", "{}"), late);
        assert!([429, 503].contains(&answer.said().0), "{kind:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(store.is_empty() && server.effects() == 0, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
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

/// A request that is refused because there is no room has left nothing that could be released.
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

/// Nothing would hold the key of a handler without a runtime and its timer: nothing is claimed, and
/// none runs. The twin has both.
#[test]
fn a_key_is_not_claimed_without_a_runtime_and_its_timer() {
    let clock = common::clock();
    let store = answers(&clock);
    let server = Server::with(clock, IdempotencyLayer::builder(Arc::clone(&store)));
    let refused = common::ready(server.send("k", "/pay", "{}"));
    assert_eq!(refused.said(), (500, "store_misconfigured".into()));
    assert!(store.is_empty() && server.effects() == 0);
    let without_timer = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let refused = without_timer.block_on(server.send("k", "/pay", "{}"));
    assert_eq!(refused.said(), (500, "store_misconfigured".into()));
    assert!(store.is_empty() && server.effects() == 0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let served = runtime.block_on(server.send("k", "/pay", "{}"));
    assert_eq!((served.said().0, server.effects()), (201, 1));
}

/// A store that panics when it is told for the first time.
#[tokio::test(start_paused = true)]
async fn a_claim_is_taken_back_from_a_store_that_panics() {
    let course = course(Claims::CarriedOutLate, 1);
    course.panics.store(true, Ordering::SeqCst);
    let refused = course.server.send("k", "/pay", "{}").await;
    assert_eq!(refused.said(), (503, "store_unavailable".into()));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!course.panics.load(Ordering::SeqCst), "it has panicked");
    let again = course.server.send("k", "/pay", "{}").await;
    assert_eq!((again.said().0, course.server.effects()), (201, 1));
}

/// A store that counts who claims or finds at one time, each for as long as others take to do it too.
fn crowded(store: Arc<MemoryAnswers>, most: Arc<AtomicUsize>) -> impl AnswerStore {
    let asking = Arc::<AtomicUsize>::default();
    hooked(store, move |call, _| {
        let (asking, most) = (Arc::clone(&asking), Arc::clone(&most));
        StoreFuture::new(async move {
            if [Call::Claim, Call::Find].contains(&call) {
                most.fetch_max(asking.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..100 {
                    yield_now().await;
                }
                asking.fetch_sub(1, Ordering::SeqCst);
            }
            Ok(())
        })
    })
}

/// Duplicates at once would use up the connections of a pool that all keys share. The twins have a
/// key each, and do.
#[tokio::test]
async fn duplicates_of_one_key_ask_the_store_one_at_a_time() {
    const SENDERS: usize = 50;
    let crowd = async |key: fn(usize) -> String, signs_again: bool| {
        let clock = common::clock();
        let most = Arc::<AtomicUsize>::default();
        let store = crowded(answers(&clock), Arc::clone(&most));
        let server = Arc::new(Server::with(clock, IdempotencyLayer::builder(store)));
        let once = server.sign(keyed("k", "/pay", "{}"));
        let (head, _) = once.into_parts();
        let mut senders = tokio::task::JoinSet::new();
        for n in 0..SENDERS {
            let (server, head) = (Arc::clone(&server), head.clone());
            senders.spawn(async move {
                let request = match signs_again {
                    true => server.sign(keyed(&key(n), "/pay", "{}")),
                    false => Request::from_parts(head, Body::from("{}")),
                };
                server.ask(request).await.said().0
            });
        }
        let statuses = senders.join_all().await;
        assert!(
            statuses.iter().all(|status| [201, 409].contains(status)),
            "{statuses:?}"
        );
        (most.load(Ordering::SeqCst), server.effects())
    };
    let one = |_: usize| "k".to_owned();
    assert_eq!(crowd(one, true).await, (1, 1));
    // The very same signature, whose answer is looked up beside the first claim.
    let (most, effects) = crowd(one, false).await;
    assert!(most <= 2 && effects == 1, "{most}, {effects}");
    let (most, effects) = crowd(|n| format!("k{n}"), true).await;
    assert!(
        most > 10 && effects == SENDERS,
        "{most} at once, {effects} effects"
    );
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
