//! A store around the store in memory, with a step of the test's own before each call.

use std::{sync::Arc, time::Duration};

use axum::body::Bytes;
use countersign::store::{
    AnswerClaim, AnswerOutcome, AnswerStore, MemoryAnswers, Sharing, StepOutcome, StoreFuture,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Claim,
    Find,
    Renew,
    Record,
    Release,
    Resolve,
}

/// Each call is carried out after `before`, unless that fails.
pub(super) fn hooked<H>(store: Arc<MemoryAnswers>, before: H) -> impl AnswerStore
where
    H: Fn(Call, &AnswerClaim) -> StoreFuture<'static, ()> + Send + Sync + 'static,
{
    Hooked { store, before }
}

struct Hooked<H> {
    store: Arc<MemoryAnswers>,
    before: H,
}

impl<H: Fn(Call, &AnswerClaim) -> StoreFuture<'static, ()>> Hooked<H> {
    fn call<'a, T: Send + 'a>(
        &'a self,
        (call, claim): (Call, &'a AnswerClaim),
        carry_out: impl FnOnce(&'a MemoryAnswers) -> StoreFuture<'a, T> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        let before = (self.before)(call, claim);
        let store = &*self.store;
        StoreFuture::new(async move {
            before.await?;
            carry_out(store).await
        })
    }
}

impl<H> AnswerStore for Hooked<H>
where
    H: Fn(Call, &AnswerClaim) -> StoreFuture<'static, ()> + Send + Sync + 'static,
{
    fn sharing(&self) -> Sharing {
        self.store.sharing()
    }

    fn claim<'a>(&'a self, c: &'a AnswerClaim) -> StoreFuture<'a, AnswerOutcome> {
        self.call((Call::Claim, c), |store| store.claim(c))
    }

    fn find<'a>(&'a self, c: &'a AnswerClaim) -> StoreFuture<'a, Option<AnswerOutcome>> {
        self.call((Call::Find, c), |store| store.find(c))
    }

    fn renew<'a>(&'a self, c: &'a AnswerClaim, lease: Duration) -> StoreFuture<'a, StepOutcome> {
        self.call((Call::Renew, c), move |store| store.renew(c, lease))
    }

    fn record<'a>(&'a self, c: &'a AnswerClaim, a: &'a Bytes) -> StoreFuture<'a, StepOutcome> {
        self.call((Call::Record, c), |store| store.record(c, a))
    }

    fn release<'a>(&'a self, c: &'a AnswerClaim) -> StoreFuture<'a, StepOutcome> {
        self.call((Call::Release, c), |store| store.release(c))
    }

    fn resolve<'a>(&'a self, c: &'a AnswerClaim, a: &'a Bytes) -> StoreFuture<'a, StepOutcome> {
        self.call((Call::Resolve, c), |store| store.resolve(c, a))
    }
}
