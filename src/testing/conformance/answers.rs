//! The promises that a store of answers must keep.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use super::{
    suite::Broken,
    time::{Check, SECOND, Time},
};
use crate::{
    key::KeyId,
    once::{AnswerClaim, AnswerOutcome, AnswerStore, StepOutcome},
};

/// One store of answers, in the midst of a check.
struct Answers<'t, S> {
    store: Arc<S>,
    time: &'t Time,
    namespace: Arc<str>,
    key: KeyId,
}

const PATIENCE: Duration = Duration::from_secs(60);
const ONE: [u8; 32] = [1; 32];
const OTHER: [u8; 32] = [2; 32];

macro_rules! checks {
    ($($check:ident,)*) => {
        /// The names of all checks of [`run_answers`].
        pub const ANSWER_CHECKS: &[&str] = &[$(stringify!($check)),*];

        /// Runs all checks of a store of answers, one after the other, each on a store that `open`
        /// makes. The store may share its records with others: each check has a namespace and keys
        /// of its own, drawn at random.
        ///
        /// ```
        /// use countersign::{Timestamp, store::MemoryAnswers, testing::{ManualClock, conformance}};
        ///
        /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        /// let clock = ManualClock::at(Timestamp::from_secs(1_700_000_000).unwrap());
        /// let time = conformance::Time::manual(clock.clone());
        /// let store = || MemoryAnswers::builder().clock(clock.clone()).build();
        /// conformance::run_answers(&time, async || store().unwrap()).await?;
        /// # Ok::<_, conformance::Broken>(())
        /// # }).unwrap();
        /// # Ok::<_, std::io::Error>(())
        /// ```
        ///
        /// # Errors
        /// Returns an error if the store breaks a promise. It lists each broken promise, and what
        /// the store did instead.
        ///
        /// # Panics
        /// Panics outside of a Tokio runtime with its timer.
        pub async fn run_answers<S: AnswerStore>(
            time: &Time,
            open: impl AsyncFn() -> S,
        ) -> Result<(), Broken> {
            let mut broken = Vec::new();
            $(
                let answers = Answers {
                    store: Arc::new(open().await),
                    time,
                    namespace: format!("conformance-{:016x}", crate::random::u64()).into(),
                    key: super::suite::key(),
                };
                match timeout(PATIENCE, Box::pin(answers.$check())).await {
                    Ok(Ok(())) => {}
                    Ok(Err(why)) => broken.push((stringify!($check), why)),
                    Err(_) => {
                        broken.push((stringify!($check), format!("no end within {PATIENCE:?}")));
                    }
                }
            )*
            if broken.is_empty() { Ok(()) } else { Err(Broken::new(broken)) }
        }
    };
}

checks! {
    the_first_claim_has_the_key_and_others_wait,
    of_claims_at_once_exactly_one_has_the_key,
    keys_are_apart,
    other_content_is_told_apart,
    an_answer_is_given_again_byte_by_byte,
    an_answer_is_final,
    a_released_key_is_free,
    an_old_holder_changes_nothing,
    a_lease_that_has_expired_is_unknown,
    a_renewed_lease_goes_on,
    an_answer_counts_after_its_lease,
    only_what_is_unknown_is_resolved,
    only_a_claim_that_may_run_again_takes_over,
    of_claims_that_may_run_again_one_takes_over,
    finding_claims_nothing,
    a_record_ends_with_its_retention,
}

fn is<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T, what: &str) -> Check {
    if found == expected {
        return Ok(());
    }
    Err(format!("{found:?} instead of {expected:?} to {what}"))
}

impl<S: AnswerStore> Answers<'_, S> {
    fn claim(&self) -> AnswerClaim {
        self.claim_on(crate::random::bytes())
    }

    fn claim_on(&self, digest: [u8; 32]) -> AnswerClaim {
        AnswerClaim::new(Arc::clone(&self.namespace), self.key.clone(), digest, ONE)
    }

    /// Another attempt of the same request.
    fn again(&self, claim: &AnswerClaim) -> AnswerClaim {
        self.claim_on(*claim.digest())
    }

    async fn asked(&self, claim: &AnswerClaim) -> Result<AnswerOutcome, String> {
        let asked = self.store.claim(claim).await;
        asked.map_err(|error| format!("{error:?} to a claim"))
    }

    async fn claims(&self, claim: &AnswerClaim, expected: AnswerOutcome, what: &str) -> Check {
        is(&self.asked(claim).await?, &expected, what)
    }

    async fn waits(&self, claim: &AnswerClaim, what: &str) -> Check {
        match self.asked(claim).await? {
            AnswerOutcome::InFlight { remaining } if remaining <= claim.lease() + SECOND => Ok(()),
            other => Err(format!("{other:?} instead of a wait to {what}")),
        }
    }

    async fn finds(&self, claim: &AnswerClaim, expected: Option<AnswerOutcome>) -> Check {
        let found = self.store.find(claim).await;
        let found = found.map_err(|error| format!("{error:?} to a search"))?;
        is(&found, &expected, "a search")
    }

    async fn records(&self, claim: &AnswerClaim, answer: &Bytes, expected: StepOutcome) -> Check {
        let recorded = self.store.record(claim, answer).await;
        let recorded = recorded.map_err(|error| format!("{error:?} to an answer"))?;
        is(&recorded, &expected, "an answer")
    }

    async fn renews(&self, claim: &AnswerClaim, lease: Duration, expected: StepOutcome) -> Check {
        let renewed = self.store.renew(claim, lease).await;
        let renewed = renewed.map_err(|error| format!("{error:?} to a renewal"))?;
        is(&renewed, &expected, "a renewal")
    }

    async fn releases(&self, claim: &AnswerClaim, expected: StepOutcome) -> Check {
        let released = self.store.release(claim).await;
        let released = released.map_err(|error| format!("{error:?} to a release"))?;
        is(&released, &expected, "a release")
    }

    async fn resolves(&self, claim: &AnswerClaim, answer: &Bytes, expected: StepOutcome) -> Check {
        let resolved = self.store.resolve(claim, answer).await;
        let resolved = resolved.map_err(|error| format!("{error:?} to a resolution"))?;
        is(&resolved, &expected, "a resolution")
    }

    async fn held(&self) -> Result<AnswerClaim, String> {
        let claim = self.claim();
        self.claims(&claim, AnswerOutcome::Claimed, "the first claim")
            .await?;
        Ok(claim)
    }

    /// An answer that was cut off.
    async fn unknown(&self) -> Result<AnswerClaim, String> {
        let claim = self.held().await?;
        self.renews(&claim, Duration::ZERO, StepOutcome::Done)
            .await?;
        Ok(claim)
    }

    async fn the_first_claim_has_the_key_and_others_wait(&self) -> Check {
        let first = self.held().await?;
        self.waits(&self.again(&first), "the second claim").await?;
        self.waits(&first, "the same attempt, made twice").await
    }

    async fn of_claims_at_once_exactly_one_has_the_key(&self) -> Check {
        let claim = self.claim();
        self.exactly_one((0..64).map(|_| self.again(&claim))).await
    }

    async fn exactly_one(&self, claims: impl Iterator<Item = AnswerClaim>) -> Check {
        let asking: Vec<_> = claims
            .map(|claim| {
                let store = Arc::clone(&self.store);
                tokio::spawn(async move { store.claim(&claim).await })
            })
            .collect();
        let mut won = 0;
        for asked in asking {
            match asked.await {
                Ok(Ok(AnswerOutcome::Claimed)) => won += 1,
                Ok(Ok(AnswerOutcome::InFlight { .. })) => {}
                // A store may fail under load; it may not let two through.
                Ok(Err(_)) => {}
                other => return Err(format!("{other:?} to one of many claims")),
            }
        }
        is(&won, &1, "claims at once")
    }

    async fn keys_are_apart(&self) -> Check {
        let first = self.held().await?;
        for at in [0, 15, 31] {
            let mut digest = *first.digest();
            if let Some(byte) = digest.get_mut(at) {
                *byte ^= 1;
            }
            let other = self.claim_on(digest);
            self.claims(&other, AnswerOutcome::Claimed, "a claim on another key")
                .await?;
        }
        Ok(())
    }

    async fn other_content_is_told_apart(&self) -> Check {
        let first = self.held().await?;
        let (namespace, key) = (Arc::clone(&self.namespace), self.key.clone());
        let other = AnswerClaim::new(namespace, key, *first.digest(), OTHER);
        self.claims(
            &other,
            AnswerOutcome::OtherContent,
            "other content in flight",
        )
        .await?;
        self.records(&first, &"answer".into(), StepOutcome::Done)
            .await?;
        self.claims(
            &other,
            AnswerOutcome::OtherContent,
            "other content, answered",
        )
        .await?;
        let again = AnswerOutcome::Answered("answer".into());
        self.claims(&self.again(&first), again, "a retry after other content")
            .await?;
        let cut_off = self.unknown().await?;
        let (namespace, key) = (Arc::clone(&self.namespace), self.key.clone());
        let other = AnswerClaim::new(namespace, key, *cut_off.digest(), OTHER).running_again();
        self.claims(
            &other,
            AnswerOutcome::OtherContent,
            "other content that may run again",
        )
        .await
    }

    async fn an_answer_is_given_again_byte_by_byte(&self) -> Check {
        let long: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        for answer in [
            Bytes::new(),
            Bytes::from_static(b"\0'\\\"\xff"),
            long.into(),
        ] {
            let claim = self.held().await?;
            self.records(&claim, &answer, StepOutcome::Done).await?;
            let expected = AnswerOutcome::Answered(answer);
            self.finds(&claim, Some(expected.clone())).await?;
            self.claims(&self.again(&claim), expected, "a retry")
                .await?;
        }
        Ok(())
    }

    async fn an_answer_is_final(&self) -> Check {
        let claim = self.held().await?;
        self.records(&claim, &"first".into(), StepOutcome::Done)
            .await?;
        self.records(&claim, &"second".into(), StepOutcome::Lost)
            .await?;
        self.renews(&claim, SECOND, StepOutcome::Lost).await?;
        self.releases(&claim, StepOutcome::Lost).await?;
        let again = self.again(&claim).running_again();
        self.claims(&again, AnswerOutcome::Answered("first".into()), "a retry")
            .await
    }

    async fn a_released_key_is_free(&self) -> Check {
        let claim = self.held().await?;
        self.releases(&claim, StepOutcome::Done).await?;
        self.finds(&claim, None).await?;
        let (namespace, key) = (Arc::clone(&self.namespace), self.key.clone());
        let other = AnswerClaim::new(namespace, key, *claim.digest(), OTHER);
        self.claims(&other, AnswerOutcome::Claimed, "a claim after a release")
            .await
    }

    async fn an_old_holder_changes_nothing(&self) -> Check {
        let old = self.held().await?;
        self.releases(&old, StepOutcome::Done).await?;
        let new = self.again(&old);
        self.claims(&new, AnswerOutcome::Claimed, "the next attempt")
            .await?;
        self.records(&old, &"old".into(), StepOutcome::Lost).await?;
        self.renews(&old, Duration::ZERO, StepOutcome::Lost).await?;
        self.releases(&old, StepOutcome::Lost).await?;
        self.waits(&self.again(&old), "a claim beside the next attempt")
            .await?;
        self.records(&new, &"new".into(), StepOutcome::Done).await
    }

    async fn a_lease_that_has_expired_is_unknown(&self) -> Check {
        let claim = self.claim().with_lease(SECOND / 2);
        self.claims(&claim, AnswerOutcome::Claimed, "a claim")
            .await?;
        self.time.pass(SECOND).await;
        self.finds(&claim, Some(AnswerOutcome::Unknown)).await?;
        self.claims(
            &self.again(&claim),
            AnswerOutcome::Unknown,
            "a claim after its lease",
        )
        .await
    }

    async fn a_renewed_lease_goes_on(&self) -> Check {
        let claim = self.claim().with_lease(SECOND / 2);
        self.claims(&claim, AnswerOutcome::Claimed, "a claim")
            .await?;
        self.renews(&claim, 60 * SECOND, StepOutcome::Done).await?;
        self.time.pass(SECOND).await;
        match self.asked(&self.again(&claim)).await? {
            AnswerOutcome::InFlight { remaining } if remaining > 50 * SECOND => {}
            other => return Err(format!("{other:?} to a claim during a renewed lease")),
        }
        // A record that has expired can be renewed.
        let cut_off = self.unknown().await?;
        self.renews(&cut_off, 60 * SECOND, StepOutcome::Done)
            .await?;
        self.waits(
            &self.again(&cut_off).with_lease(60 * SECOND),
            "a lease that came back",
        )
        .await
    }

    async fn an_answer_counts_after_its_lease(&self) -> Check {
        let claim = self.unknown().await?;
        self.records(&claim, &"late".into(), StepOutcome::Done)
            .await?;
        let again = self.again(&claim);
        self.claims(&again, AnswerOutcome::Answered("late".into()), "a retry")
            .await
    }

    async fn only_what_is_unknown_is_resolved(&self) -> Check {
        let answer = Bytes::from("resolved");
        self.resolves(&self.claim(), &answer, StepOutcome::Lost)
            .await?;
        let at_work = self.held().await?;
        self.resolves(&self.again(&at_work), &answer, StepOutcome::Lost)
            .await?;
        self.records(&at_work, &"its own".into(), StepOutcome::Done)
            .await?;
        self.resolves(&self.again(&at_work), &answer, StepOutcome::Lost)
            .await?;
        let cut_off = self.unknown().await?;
        self.resolves(&self.again(&cut_off), &answer, StepOutcome::Done)
            .await?;
        self.records(&cut_off, &"too late".into(), StepOutcome::Lost)
            .await?;
        let again = self.again(&cut_off);
        self.claims(&again, AnswerOutcome::Answered(answer), "a retry")
            .await
    }

    async fn only_a_claim_that_may_run_again_takes_over(&self) -> Check {
        let cut_off = self.unknown().await?;
        let again = self.again(&cut_off);
        self.claims(&again, AnswerOutcome::Unknown, "a retry")
            .await?;
        let again = self.again(&cut_off).running_again();
        self.finds(&again, None).await?;
        self.claims(&again, AnswerOutcome::Claimed, "a retry that may run again")
            .await?;
        self.records(&cut_off, &"old".into(), StepOutcome::Lost)
            .await?;
        self.records(&again, &"new".into(), StepOutcome::Done).await
    }

    async fn of_claims_that_may_run_again_one_takes_over(&self) -> Check {
        let cut_off = self.unknown().await?;
        self.exactly_one((0..32).map(|_| self.again(&cut_off).running_again()))
            .await
    }

    async fn finding_claims_nothing(&self) -> Check {
        let claim = self.claim();
        self.finds(&claim, None).await?;
        self.claims(&claim, AnswerOutcome::Claimed, "a claim after a search")
            .await
    }

    async fn a_record_ends_with_its_retention(&self) -> Check {
        let claim = self.claim().with_retention(SECOND);
        self.claims(&claim, AnswerOutcome::Claimed, "a claim")
            .await?;
        self.records(&claim, &"answer".into(), StepOutcome::Done)
            .await?;
        let end = self.time.now().saturating_add(SECOND);
        self.time.pass_beyond(end).await;
        self.finds(&claim, None).await?;
        self.claims(
            &self.again(&claim),
            AnswerOutcome::Claimed,
            "a claim after its end",
        )
        .await
    }
}
