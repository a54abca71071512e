//! Last stage: the store's one atomic step. It results in the payload.

use std::sync::Arc;

use super::{
    authenticate::Authentic, payload::VerifiedPayload, pending::PendingPayload,
    processing::Processing, unproven::UnprovenPayload, usable::Usable, verifier::Settings,
};
use crate::{
    error::{Rejection, RejectionKind},
    once::{Guarded as _, Lease},
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
    /// With a scheme that signs values which are not sent: **nothing is believed yet**. The handler's
    /// transaction supplies them, and finds out whether the request is genuine, and new.
    Unproven(UnprovenPayload),
}

impl Verified {
    /// Returns the verified snapshot; `None` while it is pending, or not proven.
    #[must_use]
    pub fn payload(&self) -> Option<&VerifiedPayload> {
        match self {
            Self::Claimed(payload) | Self::Leased(payload, _) | Self::Unclaimed(payload) => {
                Some(payload)
            }
            Self::Pending(_) | Self::Unproven(_) => None,
        }
    }

    /// Returns what the span of a verification calls it.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Claimed(_) => "claimed",
            Self::Leased(..) => "leased",
            Self::Unclaimed(_) => "unclaimed",
            Self::Pending(_) => "pending",
            Self::Unproven(_) => "unproven",
        }
    }
}

impl Authentic {
    /// Returns whether the scheme answers by itself, once the request is claimed.
    pub(super) fn is_answered(&self) -> bool {
        self.usable.unread().payload.is_answered()
    }

    /// Once more, after something was waited for.
    pub(super) fn check_freshness(&self) -> Result<(), Rejection> {
        Ok(self.usable.unread().check_freshness()?)
    }

    /// With [`Processing::InTransaction`], waits until no duplicate is in its handler.
    pub(super) async fn wait_for_turn(&mut self) -> Result<(), Rejection> {
        let settings = &self.verifier.settings;
        match (&mut self.usable, settings.processing) {
            (Usable::Once(ticket), Processing::InTransaction) => {
                // Boxed, so that it makes the future no larger where there are no turns.
                Box::pin(ticket.wait_for_turn(settings.memory.turns())).await
            }
            _ => Ok(()),
        }
    }

    /// Claims the nonce, or takes the lease on it, or leaves it to the handler's transaction.
    ///
    /// # Errors
    /// Returns an error if the request was seen before, is being handled, or is no longer fresh, or
    /// if the store refuses or gives no answer. A claim that was made is not given back.
    ///
    /// # Panics
    /// Panics if there is something to wait for, outside of a Tokio runtime with its timer.
    pub async fn claim(mut self) -> Result<Verified, Rejection> {
        self.wait_for_turn().await?;
        let settings = &self.verifier.settings;
        let ticket = match self.usable {
            Usable::Once(ticket) => ticket,
            Usable::Again(unread) => {
                unread.check_freshness()?;
                return Ok(Verified::Unclaimed(unread.payload));
            }
        };
        match (settings.processing, settings.memory.store()) {
            (Processing::AtMostOnce, Some(store)) => {
                let claimed = ticket.claim(&**store).await;
                settings.ask_live();
                Ok(Verified::Claimed(claimed?))
            }
            (Processing::Retryable { lease: duration }, Some(store)) => {
                // Before the store is asked: what is refused here leaves nothing to be given back.
                let Ok(running) = Arc::clone(&settings.running).try_acquire_owned() else {
                    return Err(Rejection::new(
                        RejectionKind::HandlersExhausted,
                        "as many handlers as `max_running` allows are running",
                    ));
                };
                let leased = ticket.lease(Arc::clone(store), duration).await;
                settings.ask_live();
                let (payload, mut lease) = leased?;
                lease.count_running(running);
                Ok(Verified::Leased(payload, lease))
            }
            // The builder sees to it that only this processing has no store.
            (Processing::InTransaction, _) | (_, None) => {
                Ok(Verified::Pending(PendingPayload::new(ticket)))
            }
        }
    }
}

impl Settings {
    fn ask_live(&self) {
        self.live
            .ask(self.memory.namespace(), || self.memory.live());
    }
}
