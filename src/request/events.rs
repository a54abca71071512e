//! Events of which one request holds several: each is used once, whichever request it comes with.

use super::payload::{Events, VerifiedPayload};
use crate::{
    error::{Rejection, RejectionKind, StoreError, malformed},
    future::{lock_wait, within},
    metrics::Stopwatch,
    once::{Claim, ClaimOutcome, ConsumeIn, LeaseOutcome, counted, for_good},
};

/// The greatest length of an event id, in bytes.
const MAX_ID: usize = 256;

impl VerifiedPayload {
    /// Records one event of several that this request holds, and returns whether it is new: `false`
    /// if it was recorded before, with this request or another under the same key.
    ///
    /// Ask right before the event's effect. An event is recorded at most once: if the handler fails
    /// after this and before the effect, the event is not handled again. The same holds after an
    /// error: the event may be recorded although the answer was lost. With
    /// [`once_in`](Self::once_in) both happen in one transaction, or neither.
    ///
    /// The id is covered: take it from [`bytes`](Self::bytes), with all that makes it unique, and in
    /// one spelling. It has 1 to 256 bytes. It is remembered as the request is: for the sender's
    /// retries, and for as long as duplicates come.
    ///
    /// ```
    /// # use countersign::{Rejection, VerifiedPayload};
    /// async fn handle(payload: &VerifiedPayload, event_id: &str) -> Result<(), Rejection> {
    ///     if payload.once(event_id).await? {
    ///         println!("{event_id} is handled");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the id has no byte or too many; if the store refuses or gives no answer;
    /// if there is no store, because the handler's transaction records; or if the requests of the
    /// scheme hold no events: only [`HubSpot`](crate::webhooks::HubSpot) has them.
    ///
    /// # Panics
    /// Panics if there is something to wait for, outside of a Tokio runtime with its timer.
    pub async fn once(&self, event_id: impl AsRef<[u8]>) -> Result<bool, Rejection> {
        let (events, claim) = self.on_event(event_id.as_ref())?;
        let Some(store) = &events.store else {
            return Err(misused(
                "there is no store: the handler's transaction records events, with `once_in`",
            ));
        };
        let asked = Stopwatch::start();
        let claimed = within(events.timeout, || store.claim(&claim)).await;
        is_new(&asked, claimed)
    }

    /// Does the same as [`once`](Self::once) in the handler's own transaction, which has the effect
    /// too. If the transaction commits, the event is recorded. If it is rolled back, the event is
    /// new again.
    ///
    /// It works with every [`Processing`](crate::Processing). With
    /// [`InTransaction`](crate::Processing::InTransaction), pass on the transaction in which the
    /// request was consumed. With another processing, choose the layer's
    /// [`namespace`](crate::request::VerifierBuilder::namespace) or key id: services that share the
    /// database under the names that a preset has by itself would use up each other's events.
    ///
    /// Record the events of a request in one order, such as that of their ids: otherwise two
    /// transactions may wait for each other, and the database ends one of them.
    ///
    /// # Errors
    /// Returns an error as [`once`](Self::once) does, and if the database fails.
    ///
    /// # Panics
    /// Panics if there is something to wait for, outside of a Tokio runtime with its timer.
    pub async fn once_in<T: ConsumeIn + ?Sized>(
        &self,
        transaction: &mut T,
        event_id: impl AsRef<[u8]>,
    ) -> Result<bool, Rejection> {
        let (events, claim) = self.on_event(event_id.as_ref())?;
        let (asked, wait) = (Stopwatch::start(), lock_wait(events.timeout));
        let claimed = within(events.timeout, || transaction.consume(&claim, wait)).await;
        is_new(&asked, claimed)
    }

    fn on_event(&self, id: &[u8]) -> Result<(&Events, Claim), Rejection> {
        if !(1..=MAX_ID).contains(&id.len()) {
            return Err(malformed(format!("an event id is not of 1 to {MAX_ID} bytes")).into());
        }
        let events = self.events().ok_or_else(|| {
            misused("requests of this scheme hold no events: their nonce tells them apart")
        })?;
        Ok((events, events.terms.on_event(id)))
    }
}

fn is_new(asked: &Stopwatch, claimed: Result<ClaimOutcome, StoreError>) -> Result<bool, Rejection> {
    Ok(counted(asked, claimed.map(for_good))? == LeaseOutcome::Held)
}

fn misused(detail: &'static str) -> Rejection {
    Rejection::new(RejectionKind::StoreMisconfigured, detail)
}
