//! Steps on nonces that wait to be done many at once, and their answers: what the stores in
//! databases share.

use std::{fmt, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    error::StoreError,
    future::StoreFuture,
    once::{Claim, Claimed, Held, Leased},
};

/// What is asked of a nonce.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Claim,
    /// As a claim, within a transaction of somebody else's, and never queued.
    Consume,
    Lease(Duration),
    Renew(Duration),
    Complete,
    Release,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Claimed(Claimed),
    Leased(Leased),
    Held(Held),
}

/// A step that somebody waits for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) claim: Claim,
    pub(super) digest: [u8; 32],
    pub(super) action: Action,
    pub(super) answer: oneshot::Sender<Result<Answer, StoreError>>,
}

/// How many steps wait at most; who comes later waits for a place.
const PLACES: usize = 4096;

/// The end of the queue at which steps are asked for. Once it is gone, whoever takes them ends.
pub(super) struct Queue {
    requests: mpsc::Sender<Request>,
    wait: Duration,
    database: &'static str,
}

impl Queue {
    /// A queue in which nobody waits for longer than `wait`, and its other end.
    pub(super) fn new(database: &'static str, wait: Duration) -> (Self, mpsc::Receiver<Request>) {
        let (requests, taken) = mpsc::channel(PLACES);
        let queue = Self {
            requests,
            wait,
            database,
        };
        (queue, taken)
    }

    pub(super) fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, Claimed> {
        StoreFuture::new(async move {
            match self.step(claim, Action::Claim).await? {
                Answer::Claimed(claimed) => Ok(claimed),
                other => Err(unexpected(other)),
            }
        })
    }

    pub(super) fn lease<'a>(
        &'a self,
        claim: &'a Claim,
        duration: Duration,
    ) -> StoreFuture<'a, Leased> {
        StoreFuture::new(async move {
            match self.step(claim, Action::Lease(duration)).await? {
                Answer::Leased(leased) => Ok(leased),
                other => Err(unexpected(other)),
            }
        })
    }

    /// A step of who holds the lease.
    pub(super) fn hold<'a>(&'a self, claim: &'a Claim, action: Action) -> StoreFuture<'a, Held> {
        StoreFuture::new(async move {
            match self.step(claim, action).await? {
                Answer::Held(held) => Ok(held),
                other => Err(unexpected(other)),
            }
        })
    }

    async fn step(&self, claim: &Claim, action: Action) -> Result<Answer, StoreError> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            claim: claim.clone(),
            digest: claim.digest(),
            action,
            answer,
        };
        let asked = async {
            self.requests.send(request).await.ok()?;
            answered.await.ok()
        };
        match timeout(self.wait, asked).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(StoreError::unavailable(
                "the runtime that the store was opened on has ended",
            )),
            Err(_) => Err(StoreError::unavailable(format!(
                "{} gave no answer within {:?}",
                self.database, self.wait
            ))),
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.requests.max_capacity() - self.requests.capacity();
        write!(f, "{waiting} waiting")
    }
}

pub(super) fn unexpected(answer: Answer) -> StoreError {
    StoreError::unavailable(format!("the answer is to another question: {answer:?}"))
}
