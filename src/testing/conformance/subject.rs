//! One store in the midst of a check: what the checks ask it.

use std::{
    fmt,
    future::poll_fn,
    sync::{Arc, Barrier},
    task::Poll,
    thread,
    time::Duration,
};

use http::Method;
use tokio::runtime::Handle;

use super::time::{Check, HOUR, SECOND, Time};
use crate::{
    clock::Timestamp,
    error::{StoreError, StoreErrorKind},
    key::KeyId,
    once::{
        Claim, ClaimOutcome, LeaseOutcome, LeaseStore, Nonce, NonceKind, NonceStore, StepOutcome,
    },
};

/// One store, in the midst of a check.
pub(super) struct Subject<'t, S> {
    pub(super) store: Arc<S>,
    pub(super) time: &'t Time,
    pub(super) namespace: Arc<str>,
    pub(super) key: KeyId,
}

impl<S: NonceStore> Subject<'_, S> {
    pub(super) fn in_an_hour(&self) -> Timestamp {
        self.time.now().saturating_add(HOUR)
    }

    /// An attempt of its own on this nonce, for an hour.
    pub(super) fn nonce(&self, nonce: &str) -> Claim {
        self.nonce_until(nonce, self.in_an_hour())
    }

    /// Returns the message with this nonce, sent to a path that anybody can make up.
    pub(super) fn at_open(&self, nonce: &str, place: usize) -> Claim {
        let path = format!("/{place}");
        self.nonce(nonce).at_open_place(Method::POST, path)
    }

    pub(super) fn nonce_until(&self, nonce: &str, deadline: Timestamp) -> Claim {
        self.attempt(NonceKind::Covered, nonce, deadline)
    }

    pub(super) fn attempt(&self, kind: NonceKind, nonce: &str, deadline: Timestamp) -> Claim {
        Claim::new(
            Arc::clone(&self.namespace),
            self.key.clone(),
            Nonce::new(kind, nonce),
            deadline,
        )
    }

    /// Does something that must be done before a deadline, which it is given, and returns that
    /// deadline. On a machine that is slow at that moment, it is done once more, with a later one.
    pub(super) async fn in_time(
        &self,
        work: impl AsyncFn(Timestamp) -> Check,
    ) -> Result<Timestamp, String> {
        let mut failed = String::new();
        for term in [3 * SECOND, 20 * SECOND] {
            let deadline = self.time.now().saturating_add(term);
            match work(deadline).await {
                Ok(()) => return Ok(deadline),
                Err(why) => failed = why,
            }
            // The clock of the store may be a second ahead.
            if self.time.now().saturating_add(SECOND) < deadline {
                break;
            }
        }
        Err(failed)
    }

    pub(super) async fn claims(&self, claim: &Claim, expected: ClaimOutcome) -> Check {
        match self.store.claim(claim).await {
            Ok(answer) if answer == expected => Ok(()),
            answer => Err(format!(
                "{answer:?} instead of {expected:?} to a claim on {:?} of `{}`",
                claim.nonce(),
                claim.key_id()
            )),
        }
    }

    pub(super) async fn does_not_win(&self, claim: &Claim) -> Check {
        match self.store.claim(claim).await {
            Ok(ClaimOutcome::New) => Err(format!("{:?} was claimed again", claim.nonce())),
            _ => Ok(()),
        }
    }

    pub(super) async fn leases(
        &self,
        leases: &dyn LeaseStore,
        claim: &Claim,
        duration: Duration,
        expected: LeaseOutcome,
    ) -> Check {
        match leases.lease(claim, duration).await {
            Ok(answer) if answer == expected => Ok(()),
            answer => Err(format!(
                "{answer:?} instead of {expected:?} to a lease on {:?}",
                claim.nonce()
            )),
        }
    }

    /// Stores sweep when they are asked, or by themselves now and then.
    pub(super) async fn give_time_to_sweep(&self) -> Check {
        for round in 0..12 {
            for nonce in 0..10 {
                let nonce = format!("to sweep {round} {nonce} {}", crate::random::u64());
                self.claims(&self.nonce(&nonce), ClaimOutcome::New).await?;
            }
            if let Some(clock) = &self.time.0 {
                clock.advance(2 * SECOND);
            }
            tokio::time::sleep(SECOND / 10).await;
        }
        Ok(())
    }

    /// The answers to these claims, asked for at once from as many threads as there may be.
    pub(super) async fn ask_at_once<T: Send + 'static>(
        &self,
        claims: Vec<Claim>,
        ask: impl AsyncFn(&S, &Claim) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Vec<Result<T, StoreError>> {
        const THREADS: usize = 16;
        let shares = claims.chunks(claims.len().div_ceil(THREADS));
        let line = Arc::new(Barrier::new(shares.len()));
        let threads: Vec<_> = shares
            .map(|claims| {
                let (store, ask) = (Arc::clone(&self.store), ask.clone());
                let (claims, line) = (claims.to_vec(), Arc::clone(&line));
                let runtime = Handle::current();
                thread::spawn(move || {
                    line.wait();
                    runtime.block_on(join(claims.iter().map(|claim| ask(&store, claim))))
                })
            })
            .collect();
        while !threads.iter().all(thread::JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let answers = threads.into_iter().map(thread::JoinHandle::join);
        answers.flat_map(Result::unwrap_or_default).collect()
    }
}

pub(super) fn exactly_one<T: PartialEq + fmt::Debug>(
    answers: &[Result<T, StoreError>],
    winner: &T,
    what: &str,
) -> Check {
    let is = |answer: &&Result<T, StoreError>| answer.as_ref().is_ok_and(|a| a == winner);
    match answers.iter().filter(is).count() {
        1 => Ok(()),
        won => Err(format!("{what}: {won} answers are {winner:?}")),
    }
}

pub(super) fn too_many<T: fmt::Debug>(answer: Result<T, StoreError>) -> Check {
    match answer {
        Err(error) if error.kind() == StoreErrorKind::TooManyPlaces => Ok(()),
        answer => Err(format!("{answer:?} to one more place of a message")),
    }
}

pub(super) fn is_held(
    answer: Result<StepOutcome, StoreError>,
    expected: StepOutcome,
    what: &str,
) -> Check {
    match answer {
        Ok(answer) if answer == expected => Ok(()),
        answer => Err(format!("{answer:?} instead of {expected:?} to {what}")),
    }
}

/// Polls all of them from one task, in their order.
pub(super) async fn join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|cx| {
        let mut next = Poll::Ready(());
        for (future, output) in all.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(cx) {
                Poll::Ready(answer) => *output = Some(answer),
                Poll::Pending => next = Poll::Pending,
            }
        }
        next
    })
    .await;
    all.into_iter().filter_map(|(_, output)| output).collect()
}
