//! A store in a database answers claims and leases by steps that it sends and awaits.

use std::time::Duration;

#[cfg(any(feature = "postgres", feature = "redis"))]
use super::quota::Quota;
use super::{
    action::{Action, Answer, unexpected},
    retentions::Retentions,
};
use crate::{
    clock::Timestamp,
    error::StoreError,
    future::StoreFuture,
    once::{Claim, ClaimOutcome, LeaseOutcome, LeaseStore, NonceStore, Sharing, StepOutcome},
};

/// A store that sends each step to a database and awaits its answer. It is a store of nonces and of
/// leases by that alone.
pub(in crate::store) trait Steps: Send + Sync + 'static {
    /// Does a step, and returns what came of it.
    fn step(
        &self,
        claim: &Claim,
        action: Action,
    ) -> impl Future<Output = Result<Answer, StoreError>> + Send;

    /// Returns what identifies the database, wherever it was opened.
    fn identity(&self) -> &[u8];

    /// Returns what this process knows of namespaces.
    fn retentions(&self) -> &Retentions;

    /// Returns the counts of each key, if this process keeps them.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    fn quota(&self) -> Option<&Quota> {
        None
    }
}

/// Does a step, which counts for the quota of its key.
async fn counted(store: &impl Steps, claim: &Claim, action: Action) -> Result<Answer, StoreError> {
    #[cfg(any(feature = "postgres", feature = "redis"))]
    if let Some(quota) = store.quota() {
        if action.may_add() {
            let counted = quota.count(claim);
            let answer = store.step(counted.claim(), action).await;
            return counted.settle(answer);
        }
        let answer = store.step(claim, action).await;
        if let (Action::Release, Ok(Answer::Held(StepOutcome::Done))) = (action, &answer) {
            quota.released(claim);
        }
        return answer;
    }
    store.step(claim, action).await
}

async fn hold(
    store: &impl Steps,
    claim: &Claim,
    action: Action,
) -> Result<StepOutcome, StoreError> {
    match counted(store, claim, action).await? {
        Answer::Held(held) => Ok(held),
        other => Err(unexpected(other)),
    }
}

impl<S: Steps> NonceStore for S {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::new(async move {
            match counted(self, claim, Action::Claim).await? {
                Answer::Claimed(claimed) => Ok(claimed),
                other => Err(unexpected(other)),
            }
        })
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        Some(self)
    }

    fn survives_restart(&self) -> bool {
        true
    }

    fn sharing(&self) -> Sharing {
        Sharing::of_database(self.identity())
    }

    fn taken_until(&self, namespace: &str, _: Duration, signed_at: Timestamp) -> Option<Timestamp> {
        self.retentions().taken_until(namespace, signed_at)
    }
}

impl<S: Steps> LeaseStore for S {
    fn lease<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, LeaseOutcome> {
        StoreFuture::new(async move {
            match counted(self, claim, Action::Lease(duration)).await? {
                Answer::Leased(leased) => Ok(leased),
                other => Err(unexpected(other)),
            }
        })
    }

    fn renew<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::new(hold(self, claim, Action::Renew(duration)))
    }

    fn complete<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::new(hold(self, claim, Action::Complete))
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::new(hold(self, claim, Action::Release))
    }
}
