//! The settings of a layer, checked by its builder.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, response};
use tokio::sync::Semaphore;

use super::{answer::StoredAnswer, going_on::GoingOn};
use crate::{
    error::Fault,
    future::{StoreFuture, caught},
    once::{AnswerClaim, AnswerStore, Turn, Turns},
};

pub(crate) struct Settings {
    pub(super) store: Arc<dyn AnswerStore>,
    /// `None`: that of the verifier.
    pub(super) namespace: Option<Arc<str>>,
    pub(super) is_required: bool,
    pub(super) when_cut_off: WhenCutOff,
    pub(super) lease: Duration,
    pub(super) retention: Duration,
    pub(crate) timeout: Duration,
    pub(crate) max_body: usize,
    pub(crate) body_deadline: Duration,
    pub(super) headers: Vec<HeaderName>,
    pub(crate) going_on: Arc<GoingOn>,
    pub(super) taking_back: TakingBack,
    /// The turns of new requests with one key.
    pub(super) claiming: Turns,
    /// The turns of duplicates with one key that were used before: anybody can send duplicates that were
    /// overheard, and a retry of the sender does not wait behind them.
    pub(super) looking_up: Turns,
}

impl Settings {
    /// An answer as it is kept: with the headers that are stored, and with its body unless that is
    /// longer than the limit, or not known.
    pub(crate) fn answer(&self, head: &response::Parts, body: Option<Bytes>) -> StoredAnswer {
        let body = body.filter(|body| body.len() <= self.max_body);
        StoredAnswer::new(head.status, &head.headers, &self.headers, body)
    }

    /// Returns how long the store may take to renew, so that a slow answer still leaves a hold to
    /// renew.
    pub(super) fn renewal_timeout(&self) -> Duration {
        self.timeout.min(self.lease / 3)
    }

    /// Waits until no other request with this key asks the store in this way: duplicates at once
    /// take up one of its connections for each way, and no more. An answer that is at hand needs no
    /// turn. `waits` is called before a wait for the turn.
    ///
    /// # Errors
    /// Returns an error if the turn does not come in time. Nothing was asked then.
    pub(super) async fn in_turn<'a, T: Send + 'a>(
        &self,
        turns: &Turns,
        claim: &AnswerClaim,
        waits: impl FnOnce(),
        ask: impl FnOnce() -> StoreFuture<'a, T>,
    ) -> Result<(StoreFuture<'a, T>, Option<Turn>), Fault> {
        match caught(ask).at_hand() {
            Ok(answer) => Ok((StoreFuture::ready(answer), None)),
            Err(asking) => {
                let turn = match turns.take_at_once(claim) {
                    Ok(turn) => turn,
                    Err(_) => {
                        waits();
                        turns.take(claim, self.timeout).await?
                    }
                };
                Ok((asking, Some(turn)))
            }
        }
    }
}

/// Bounds the claims without an answer that are taken back, and what they ask of a store in distress.
pub(super) struct TakingBack {
    pub(super) places: Arc<Semaphore>,
    pub(super) asking: Semaphore,
}

impl TakingBack {
    /// The most claims that wait to be taken back, and the most that ask the store at one time. The
    /// second is small because renewals need the store's connections too.
    pub(super) const PLACES: usize = 4096;
    pub(super) const ASKING: usize = 2;
}

impl Default for TakingBack {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(Self::PLACES)),
            asking: Semaphore::new(Self::ASKING),
        }
    }
}

/// The fate of an attempt that was cut off before its answer was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenCutOff {
    Unknown,
    RunsAgain,
    /// The handler records its answer in its transaction, so that nothing was done.
    RolledBack,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("namespace", &self.namespace)
            .field("is_required", &self.is_required)
            .field("when_cut_off", &self.when_cut_off)
            .field("lease", &self.lease)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}
