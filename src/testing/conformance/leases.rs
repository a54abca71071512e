//! The promises of a lease, if a store has leases.

use super::{
    subject::{Subject, exactly_one, is_held, too_many},
    time::{Check, HOUR, SECOND},
};
use crate::{
    error::StoreError,
    once::{Claim, ClaimOutcome, LeaseOutcome, NonceStore, StepOutcome},
};

impl<S: NonceStore> Subject<'_, S> {
    pub(super) async fn a_claim_has_no_holder(&self) -> Check {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        let claim = self.nonce("one");
        self.claims(&claim, ClaimOutcome::New).await?;
        is_held(
            leases.renew(&claim, HOUR).await,
            StepOutcome::Lost,
            "renewing",
        )?;
        is_held(leases.release(&claim).await, StepOutcome::Lost, "releasing")?;
        self.leases(leases, &self.nonce("one"), HOUR, LeaseOutcome::Completed)
            .await
    }

    pub(super) async fn a_lease_is_held_by_one(&self) -> Check {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        self.leases(leases, &self.nonce("one"), HOUR, LeaseOutcome::Held)
            .await?;
        match leases.lease(&self.nonce("one"), HOUR).await {
            Ok(LeaseOutcome::InFlight { remaining })
                if remaining > HOUR - 30 * SECOND && remaining <= HOUR => {}
            answer => return Err(format!("{answer:?} to a copy of a lease of an hour")),
        }
        self.claims(&self.nonce("one"), ClaimOutcome::Replayed)
            .await?;
        for copies in [2, 10, 200] {
            let nonce = format!("{copies} copies");
            let claims = (0..copies).map(|_| self.nonce(&nonce)).collect();
            let lease = async |store: &S, claim: &Claim| match store.leases() {
                Some(leases) => leases.lease(claim, HOUR).await,
                None => Err(StoreError::unavailable("the store has no leases any more")),
            };
            let answers = self.ask_at_once(claims, lease).await;
            exactly_one(&answers, &LeaseOutcome::Held, &nonce)?;
        }
        Ok(())
    }

    pub(super) async fn a_completed_lease_is_final(&self) -> Check {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        let holder = self.nonce("one");
        self.leases(leases, &holder, SECOND, LeaseOutcome::Held)
            .await?;
        is_held(
            leases.complete(&holder).await,
            StepOutcome::Done,
            "completing",
        )?;
        for _ in 0..2 {
            self.leases(leases, &self.nonce("one"), HOUR, LeaseOutcome::Completed)
                .await?;
            self.claims(&self.nonce("one"), ClaimOutcome::Replayed)
                .await?;
            is_held(
                leases.renew(&holder, HOUR).await,
                StepOutcome::Lost,
                "renewing what is completed",
            )?;
            is_held(
                leases.release(&holder).await,
                StepOutcome::Lost,
                "releasing what is completed",
            )?;
            self.time.pass_for_leases(2 * SECOND).await;
        }
        Ok(())
    }

    pub(super) async fn a_message_has_no_more_leases_than_it_may(&self) -> Check {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        let held: Vec<_> = (0..Claim::OPEN_PLACES)
            .map(|place| self.at_open("one", place))
            .collect();
        for claim in &held {
            self.leases(leases, claim, HOUR, LeaseOutcome::Held).await?;
        }
        let beyond = || self.at_open("one", Claim::OPEN_PLACES);
        too_many(leases.lease(&beyond(), HOUR).await)?;
        // A lease that is completed or held is a record. A released lease is not.
        for (place, claim) in held.iter().enumerate() {
            if place == 0 {
                is_held(leases.release(claim).await, StepOutcome::Done, "releasing")?;
            } else {
                is_held(
                    leases.complete(claim).await,
                    StepOutcome::Done,
                    "completing",
                )?;
            }
        }
        self.leases(leases, &beyond(), HOUR, LeaseOutcome::Held)
            .await?;
        too_many(leases.lease(&self.at_open("one", 0), HOUR).await)?;
        too_many(self.store.claim(&self.at_open("one", 0)).await)
    }

    pub(super) async fn a_released_lease_is_free(&self) -> Check {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        for _ in 0..3 {
            let holder = self.nonce("one");
            self.leases(leases, &holder, HOUR, LeaseOutcome::Held)
                .await?;
            is_held(
                leases.release(&holder).await,
                StepOutcome::Done,
                "releasing",
            )?;
            is_held(
                leases.complete(&holder).await,
                StepOutcome::Lost,
                "completing what is released",
            )?;
        }
        self.claims(&self.nonce("one"), ClaimOutcome::New).await
    }

    pub(super) async fn a_lease_ends_by_itself(&self) -> Check {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        for nonce in ["one", "two"] {
            self.leases(leases, &self.nonce(nonce), SECOND, LeaseOutcome::Held)
                .await?;
        }
        self.time.pass_for_leases(2 * SECOND).await;
        self.leases(leases, &self.nonce("one"), HOUR, LeaseOutcome::Held)
            .await?;
        self.claims(&self.nonce("two"), ClaimOutcome::New).await?;
        self.claims(&self.nonce("two"), ClaimOutcome::Replayed)
            .await
    }

    pub(super) async fn a_renewed_lease_goes_on(&self) -> Check {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        let holder = self.nonce("one");
        self.leases(leases, &holder, SECOND, LeaseOutcome::Held)
            .await?;
        is_held(
            leases.renew(&holder, HOUR).await,
            StepOutcome::Done,
            "renewing",
        )?;
        self.time.pass_for_leases(2 * SECOND).await;
        match leases.lease(&self.nonce("one"), HOUR).await {
            Ok(LeaseOutcome::InFlight { .. }) => {}
            answer => return Err(format!("{answer:?} to a copy of what was renewed")),
        }
        is_held(
            leases.complete(&holder).await,
            StepOutcome::Done,
            "completing",
        )
    }

    pub(super) async fn an_old_holder_changes_nothing(&self) -> Check {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        let (old, new) = (self.nonce("one"), self.nonce("one"));
        self.leases(leases, &old, SECOND, LeaseOutcome::Held)
            .await?;
        self.time.pass_for_leases(2 * SECOND).await;
        self.leases(leases, &new, HOUR, LeaseOutcome::Held).await?;
        let by_old = async || {
            is_held(
                leases.renew(&old, HOUR).await,
                StepOutcome::Lost,
                "renewing, by the old holder",
            )?;
            is_held(
                leases.complete(&old).await,
                StepOutcome::Lost,
                "completing, by the old holder",
            )?;
            is_held(
                leases.release(&old).await,
                StepOutcome::Lost,
                "releasing, by the old holder",
            )
        };
        by_old().await?;
        match leases.lease(&self.nonce("one"), HOUR).await {
            Ok(LeaseOutcome::InFlight { .. }) => {}
            answer => {
                return Err(format!(
                    "{answer:?} to a copy, after steps of the old holder"
                ));
            }
        }
        is_held(
            leases.complete(&new).await,
            StepOutcome::Done,
            "completing, by the new holder",
        )?;
        by_old().await?;
        self.leases(leases, &self.nonce("one"), HOUR, LeaseOutcome::Completed)
            .await
    }
}
