//! Parts that misbehave as they are told: bodies, and a store.

use std::{
    collections::VecDeque,
    future::pending,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use countersign::{
    MemoryStore, Timestamp,
    error::StoreError,
    store::{
        Claim, ClaimOutcome, LeaseOutcome, LeaseStore, NonceStore, Sharing, StepOutcome,
        StoreFuture,
    },
};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One step of a [`Script`].
pub enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Fails(BoxError),
    Waits(Duration),
    Hangs,
    /// A reader that polls up to here has gone too far.
    IsNeverPolled,
}

/// A body that does one step after the other, and counts the frames that were taken.
pub struct Script {
    steps: VecDeque<Step>,
    waiting: Option<Pin<Box<Sleep>>>,
    taken: Arc<AtomicUsize>,
    hint: SizeHint,
}

impl Script {
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            waiting: None,
            taken: Arc::default(),
            hint: SizeHint::default(),
        }
    }

    pub fn frames<D: Into<Bytes>>(frames: impl IntoIterator<Item = D>) -> Self {
        Self::new(frames.into_iter().map(|data| Step::Data(data.into())))
    }

    /// A body that fails the test if it is polled at all.
    pub fn never_polled() -> Self {
        Self::new([Step::IsNeverPolled])
    }

    /// Declares a length, as `content-length` does.
    pub fn declaring(mut self, length: u64) -> Self {
        self.hint = SizeHint::with_exact(length);
        self
    }

    /// Returns how many frames were taken, also once the body is given away.
    pub fn taken(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.taken)
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                std::task::ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            let frame = match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Data(data)) => Ok(Frame::data(data)),
                Some(Step::Trailers(trailers)) => Ok(Frame::trailers(trailers)),
                Some(Step::Fails(error)) => Err(error),
                Some(Step::Waits(time)) => {
                    self.waiting = Some(Box::pin(sleep(time)));
                    continue;
                }
                Some(Step::Hangs) => {
                    self.steps.push_front(Step::Hangs);
                    return Poll::Pending;
                }
                Some(Step::IsNeverPolled) => panic!("the body was polled too far"),
            };
            self.taken.fetch_add(1, Ordering::SeqCst);
            return Poll::Ready(Some(frame));
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

/// The faults of a [`FaultyStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Claim,
    Lease,
    Renew,
    Complete,
    Release,
}

/// How the next answer goes wrong.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Fails,
    Hangs,
    /// When it is asked.
    Panics,
    /// When its answer is waited for.
    PanicsLater,
    Takes(Duration),
    /// The step is done, and nobody is told.
    LosesTheReply,
    /// The step is done, and told after this time.
    DelaysTheReply(Duration),
}

/// A memory store that goes wrong as it is told, and tells what it was asked.
#[derive(Clone)]
pub struct FaultyStore(Arc<Faulty>);

struct Faulty {
    store: MemoryStore,
    faults: Mutex<Vec<(Asked, Fault)>>,
    asked: Mutex<Vec<Asked>>,
}

impl FaultyStore {
    pub fn around(store: MemoryStore) -> Self {
        Self(Arc::new(Faulty {
            store,
            faults: Mutex::default(),
            asked: Mutex::default(),
        }))
    }

    /// The next time this is asked, that goes wrong. May be said several times.
    pub fn fault(&self, asked: Asked, fault: Fault) -> &Self {
        lock(&self.0.faults).push((asked, fault));
        self
    }

    /// Takes back what was said and has not gone wrong yet.
    pub fn heal(&self) {
        lock(&self.0.faults).clear();
    }

    /// Returns how often this was asked.
    pub fn times(&self, asked: Asked) -> usize {
        lock(&self.0.asked).iter().filter(|a| **a == asked).count()
    }

    fn answer<'a, T: Send + Unpin + 'a>(
        &'a self,
        asked: Asked,
        step: impl FnOnce() -> StoreFuture<'a, T> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        lock(&self.0.asked).push(asked);
        let mut faults = lock(&self.0.faults);
        let Some(next) = faults.iter().position(|(a, _)| *a == asked) else {
            return step();
        };
        let told = || StoreError::unavailable("as it was told").with_source("a cause");
        match faults.remove(next).1 {
            Fault::Fails => StoreFuture::ready(Err(told())),
            Fault::Hangs => StoreFuture::new(pending()),
            Fault::Panics => panic!("the store panics"),
            Fault::PanicsLater => StoreFuture::new(async { panic!("the store panics") }),
            Fault::Takes(time) => StoreFuture::new(async move {
                sleep(time).await;
                step().await
            }),
            Fault::LosesTheReply => StoreFuture::new(async move {
                step().await?;
                Err(told())
            }),
            Fault::DelaysTheReply(time) => StoreFuture::new(async move {
                let answer = step().await;
                sleep(time).await;
                answer
            }),
        }
    }
}

impl NonceStore for FaultyStore {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        self.answer(Asked::Claim, move || self.0.store.claim(claim))
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        Some(self)
    }

    fn survives_restart(&self) -> bool {
        false
    }

    fn sharing(&self) -> countersign::store::Sharing {
        countersign::store::Sharing::within_process(self)
    }
}

impl LeaseStore for FaultyStore {
    fn lease<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, LeaseOutcome> {
        self.answer(Asked::Lease, move || self.0.store.lease(claim, duration))
    }

    fn renew<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, StepOutcome> {
        self.answer(Asked::Renew, move || self.0.store.renew(claim, duration))
    }

    fn complete<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        self.answer(Asked::Complete, move || self.0.store.complete(claim))
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        self.answer(Asked::Release, move || self.0.store.release(claim))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A store as another process has it: nobody in this process sees which database it is on.
pub struct OfAnotherProcess<S>(pub S);

impl<S: NonceStore> NonceStore for OfAnotherProcess<S> {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        self.0.claim(claim)
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        self.0.leases()
    }

    fn survives_restart(&self) -> bool {
        self.0.survives_restart()
    }

    fn sharing(&self) -> Sharing {
        Sharing::between_processes(self)
    }

    fn live(&self) -> Option<usize> {
        self.0.live()
    }

    fn refuses_until(&self, max_skew: Duration) -> Option<Timestamp> {
        self.0.refuses_until(max_skew)
    }

    fn taken_until(
        &self,
        namespace: &str,
        needed: Duration,
        signed_at: Timestamp,
    ) -> Option<Timestamp> {
        self.0.taken_until(namespace, needed, signed_at)
    }
}
