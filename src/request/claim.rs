//! Last stage: the store's one atomic step. What comes out of it is the payload.

use std::sync::Arc;

use super::{
    authenticate::Authentic, payload::VerifiedPayload, pending::PendingPayload,
    processing::Processing, verifier::Settings,
};
use crate::{
    error::{Rejection, RejectionKind, StoreError},
    future::within,
    metrics::{ClaimOutcome, Stopwatch},
    once::{Claim, Claimed, Lease, Leased, NonceStore, claimed_outcome},
};

/// A request that was verified, and what remains to be done for it to be used once.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum Verified {
    /// With [`Processing::AtMostOnce`]: it is new, and claimed.
    Claimed(VerifiedPayload),
    /// With [`Processing::Retryable`]: it is new, and the lease is to be completed or released once
    /// the outcome is known.
    Leased(VerifiedPayload, Lease),
    /// With a scheme whose requests may be alike: nothing is claimed, whatever the processing.
    Unclaimed(VerifiedPayload),
    /// With [`Processing::InTransaction`]: the handler's transaction finds out whether it is new.
    Pending(PendingPayload),
}

impl Verified {
    /// The verified snapshot; `None` while it is pending.
    #[must_use]
    pub fn payload(&self) -> Option<&VerifiedPayload> {
        match self {
            Self::Claimed(payload) | Self::Leased(payload, _) | Self::Unclaimed(payload) => {
                Some(payload)
            }
            Self::Pending(_) => None,
        }
    }

    /// What the span of a verification calls it.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Claimed(_) => "claimed",
            Self::Leased(..) => "leased",
            Self::Unclaimed(_) => "unclaimed",
            Self::Pending(_) => "pending",
        }
    }
}

impl Authentic {
    /// Whether the scheme answers by itself, once the request is claimed.
    pub(super) fn is_answered(&self) -> bool {
        self.snapshot.answer.is_some()
    }

    /// Once more, after something was waited for.
    pub(super) fn check_freshness(&self) -> Result<(), Rejection> {
        let settings = &self.verifier.settings;
        settings.check_freshness(&VerifiedPayload::new(Arc::clone(&self.snapshot)))
    }

    /// With [`Processing::InTransaction`], waits until no duplicate is in its handler.
    pub(super) async fn wait_for_turn(&mut self) -> Result<(), Rejection> {
        let settings = &self.verifier.settings;
        let (Processing::InTransaction, Some(claim), None) =
            (settings.processing, &self.claim, &self.turn)
        else {
            return Ok(());
        };
        let turn = settings.turns.take(claim, settings.store_timeout).await;
        let turn = turn
            .and_then(|turn| match turn.is_used() {
                // The duplicate of an event extends its record, which is in the database.
                true if !claim.extends() => Err(replayed(claim)),
                _ => Ok(turn),
            })
            .inspect_err(|rejection| self.subject.refused(rejection))?;
        self.turn = Some(turn);
        Ok(())
    }

    /// Claims the nonce, or takes the lease on it, or leaves it to the handler's transaction.
    ///
    /// # Errors
    /// When the request was seen before, is being handled, or is no longer fresh, or when the store
    /// refuses or gives no answer. A claim that was made is not given back.
    ///
    /// # Panics
    /// When there is something to wait for, outside of a Tokio runtime with its timer.
    pub async fn claim(mut self) -> Result<Verified, Rejection> {
        self.wait_for_turn().await?;
        let Self {
            verifier,
            snapshot,
            claim,
            subject,
            turn,
        } = self;
        let settings = &verifier.settings;
        let payload = VerifiedPayload::new(snapshot);
        let Some(claim) = claim else {
            return Ok(Verified::Unclaimed(payload));
        };
        match (settings.processing, &settings.store) {
            (Processing::AtMostOnce, Some(store)) => {
                let asked = Stopwatch::start();
                let claimed = within(settings.store_timeout, store.claim(&claim)).await;
                asked.claimed(claimed_outcome(&claimed));
                settings.ask_live(&**store);
                claimed
                    .map_err(Rejection::from)
                    .and_then(|claimed| match claimed {
                        Claimed::New => Ok(()),
                        _ => Err(replayed(&claim)),
                    })
                    .inspect_err(|rejection| subject.refused(rejection))?;
                subject.used();
                settings.check_freshness(&payload)?;
                Ok(Verified::Claimed(payload))
            }
            (Processing::Retryable { lease: duration }, Some(store)) => {
                // Before the store is asked: what is refused here leaves nothing to be given back.
                let Ok(running) = Arc::clone(&settings.running).try_acquire_owned() else {
                    return Err(Rejection::new(
                        RejectionKind::HandlersExhausted,
                        "as many handlers as may are running; `max_running` is the bound",
                    ));
                };
                let timeout = settings.store_timeout;
                let lease = Lease::new(
                    Arc::clone(store),
                    claim,
                    duration,
                    timeout,
                    running,
                    subject.clone(),
                );
                let asked = Stopwatch::start();
                let leased = lease.take().await;
                asked.claimed(leased_outcome(&leased));
                settings.ask_live(&**store);
                leased
                    .map_err(Rejection::from)
                    .and_then(|leased| match leased {
                        Leased::Held => Ok(()),
                        Leased::InFlight { remaining } => {
                            let detail = "another attempt holds the lease";
                            Err(Rejection::in_flight(detail, remaining))
                        }
                        Leased::Completed => Err(replayed(lease.claim())),
                    })
                    .inspect_err(|rejection| subject.refused(rejection))?;
                if let Err(stale) = settings.check_freshness(&payload) {
                    // No handler has begun: the same event, signed anew, need not wait for the
                    // lease to end.
                    let _ = lease.release().await;
                    return Err(stale);
                }
                Ok(Verified::Leased(payload, lease))
            }
            // The builder sees to it that only this processing has no store.
            (Processing::InTransaction, _) | (_, None) => Ok(Verified::Pending(
                PendingPayload::new(verifier, payload, claim, subject, turn),
            )),
        }
    }
}

fn leased_outcome(answer: &Result<Leased, StoreError>) -> ClaimOutcome {
    match answer {
        Ok(Leased::Held) => ClaimOutcome::New,
        Ok(Leased::InFlight { .. }) => ClaimOutcome::InFlight,
        Ok(Leased::Completed) => ClaimOutcome::Replayed,
        Err(_) => ClaimOutcome::Failed,
    }
}

impl Settings {
    fn ask_live(&self, store: &dyn NonceStore) {
        self.live.ask(&self.namespace, || store.live());
    }

    /// Once more, after something was waited for.
    pub(super) fn check_freshness(&self, payload: &VerifiedPayload) -> Result<(), Rejection> {
        let now = self.clock.now();
        self.freshness
            .check(now, payload.signed_at(), payload.expires_at())
    }
}

pub(super) fn replayed(claim: &Claim) -> Rejection {
    Rejection::new(
        RejectionKind::RequestReplayed,
        format!(
            "{:?} of key `{}` was recorded before",
            claim.nonce(),
            claim.key_id()
        ),
    )
}
