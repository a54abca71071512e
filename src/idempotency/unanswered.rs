//! A claim that nobody got an answer to: the key is taken back, because no handler runs for it.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;
use tracing::Instrument as _;

use super::settings::Settings;
use crate::{
    error::in_full,
    future::within,
    once::{AnswerClaim, StepOutcome, until},
};

/// A claim on its way. If it is dropped before it is answered, it may be made or not, now or later:
/// it is taken back.
pub(super) struct Unanswered<'c> {
    settings: &'c Arc<Settings>,
    claim: &'c AnswerClaim,
    /// It may be dropped outside of the runtime.
    runtime: Option<Handle>,
    is_answered: bool,
}

/// For how long a claim that was given up may still be carried out: longer than a store of this
/// crate lets a statement wait.
const LANDING: Duration = Duration::from_secs(40);

impl<'c> Unanswered<'c> {
    pub(super) fn new(settings: &'c Arc<Settings>, claim: &'c AnswerClaim) -> Self {
        Self {
            settings,
            claim,
            runtime: Handle::try_current().ok(),
            is_answered: false,
        }
    }

    /// The record is another's, there is none, or a handler runs for it.
    pub(super) fn leave(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        // A claim that still waited for its turn left nothing to take back.
        if self.is_answered || !self.claim.may_be_asked() {
            return;
        }
        let places = Arc::clone(&self.settings.taking_back.places);
        let (runtime, place) = match (&self.runtime, places.try_acquire_owned()) {
            (Some(runtime), Ok(place)) => (runtime, place),
            (runtime, _) => {
                let reason = match runtime {
                    Some(_) => "too many are",
                    None => "it was made outside of a Tokio runtime",
                };
                tracing::warn!(
                    "a claim on an `Idempotency-Key` was not answered, and is not taken back, \
                     because {reason}: if it was made, its outcome is unknown"
                );
                return;
            }
        };
        let (settings, claim) = (Arc::clone(self.settings), self.claim.clone());
        let taking_back = async move {
            take_back(&settings, &claim).await;
            drop(place);
        };
        runtime.spawn(taking_back.in_current_span());
    }
}

/// Tells the store to release the claim. The store may carry it out after that, so it is told again
/// for a while.
async fn take_back(settings: &Settings, claim: &AnswerClaim) {
    let release = || async {
        let _asking = settings.taking_back.asking.acquire().await;
        match within(settings.timeout, || settings.store.release(claim)).await {
            Ok(released) => released == StepOutcome::Done,
            Err(error) => {
                let error = in_full(&error);
                tracing::warn!(error, "an `Idempotency-Key` was not released");
                false
            }
        }
    };
    if !release().await {
        until(release, LANDING, LANDING / 10).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use tokio::time::sleep;

    use super::*;
    use crate::{
        future::StoreFuture,
        idempotency::{IdempotencyLayer, settings::TakingBack},
        key::KeyId,
        once::{AnswerOutcome, AnswerStore, Sharing},
    };

    /// A store that is told to release, and does not answer.
    #[derive(Default)]
    struct Hanging {
        asking: AtomicUsize,
        most: AtomicUsize,
        asked: AtomicUsize,
    }

    /// One who asks, until it gives up.
    struct Asking<'s>(&'s Hanging);

    impl Drop for Asking<'_> {
        fn drop(&mut self) {
            self.0.asking.fetch_sub(1, Ordering::SeqCst);
        }
    }

    impl AnswerStore for Hanging {
        fn sharing(&self) -> Sharing {
            Sharing::within_process(self)
        }

        fn claim<'a>(&'a self, _: &'a AnswerClaim) -> StoreFuture<'a, AnswerOutcome> {
            StoreFuture::new(std::future::pending())
        }

        fn find<'a>(&'a self, _: &'a AnswerClaim) -> StoreFuture<'a, Option<AnswerOutcome>> {
            StoreFuture::new(std::future::pending())
        }

        fn renew<'a>(&'a self, _: &'a AnswerClaim, _: Duration) -> StoreFuture<'a, StepOutcome> {
            StoreFuture::new(std::future::pending())
        }

        fn record<'a>(&'a self, _: &'a AnswerClaim, _: &'a Bytes) -> StoreFuture<'a, StepOutcome> {
            StoreFuture::new(std::future::pending())
        }

        fn release<'a>(&'a self, _: &'a AnswerClaim) -> StoreFuture<'a, StepOutcome> {
            StoreFuture::new(async move {
                self.asked.fetch_add(1, Ordering::SeqCst);
                let asking = self.asking.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(asking, Ordering::SeqCst);
                let _asking = Asking(self);
                std::future::pending().await
            })
        }

        fn resolve<'a>(&'a self, _: &'a AnswerClaim, _: &'a Bytes) -> StoreFuture<'a, StepOutcome> {
            StoreFuture::new(std::future::pending())
        }
    }

    fn claim(n: usize) -> AnswerClaim {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_be_bytes());
        AnswerClaim::new("n".into(), KeyId::new("k").unwrap(), digest, [0; 32])
    }

    /// Nothing was asked for it, so there is nothing to take back. The twin had its turn.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    #[tokio::test(start_paused = true)]
    async fn a_claim_that_still_waited_for_its_turn_is_not_taken_back() {
        let layer = IdempotencyLayer::new(Hanging::default());
        let places = &layer.settings.taking_back.places;
        let (waited, twin) = (claim(1), claim(2));
        let _ = waited.waits();
        drop(Unanswered::new(&layer.settings, &waited));
        assert_eq!(places.available_permits(), TakingBack::PLACES);
        twin.waits().ends();
        drop(Unanswered::new(&layer.settings, &twin));
        assert_eq!(places.available_permits(), TakingBack::PLACES - 1);
    }

    /// A store in distress is asked by few at one time, and no more wait for it than there are places.
    /// The twin asks for each claim at once.
    #[tokio::test(start_paused = true)]
    async fn a_store_in_distress_is_not_asked_without_bound() {
        const CLAIMS: usize = TakingBack::PLACES + 100;
        let store = Arc::new(Hanging::default());
        let layer = IdempotencyLayer::new(Arc::clone(&store));
        for n in 0..CLAIMS {
            drop(Unanswered::new(&layer.settings, &claim(n)));
        }
        let places = &layer.settings.taking_back.places;
        assert_eq!(places.available_permits(), 0);
        sleep(Duration::from_secs(24 * 3600)).await;
        assert_eq!(store.most.load(Ordering::SeqCst), TakingBack::ASKING);
        assert!(store.asked.load(Ordering::SeqCst) >= TakingBack::PLACES);
        assert_eq!(places.available_permits(), TakingBack::PLACES, "it ends");

        let twin = Arc::new(Hanging::default());
        for n in 0..CLAIMS {
            let twin = Arc::clone(&twin);
            tokio::spawn(async move { twin.release(&claim(n)).await });
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!(twin.most.load(Ordering::SeqCst), CLAIMS);
    }
}
