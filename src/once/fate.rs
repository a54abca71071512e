//! The fate of a ticket that is consumed in a transaction, as far as its holder has come.

use std::sync::{Arc, Mutex};

use tracing::Span;

use super::{claim::Claim, outcome::Subject, turns::Turn};
use crate::{error::Rejection, lock::lock};

/// What became of a ticket.
#[derive(Clone, Debug, Default)]
pub(super) enum Fate {
    /// Nothing was recorded.
    #[default]
    Pending,
    /// Nothing was recorded, or nothing is known to be, for this reason.
    Failed(Rejection),
    /// Recorded in the caller's transaction; whether that was committed is not known here.
    Consumed(Claim),
    /// Recorded, and rolled back.
    RolledBack,
    /// COMMIT was begun, and not answered.
    Unknown,
    /// Recorded and committed.
    Committed,
    /// Left to somebody else, who records it later.
    Left,
}

/// A [`Fate`] that the holder of a ticket shares with whoever watches. A turn lasts until both are
/// done.
#[derive(Clone)]
pub(crate) struct FateCell(Arc<Shared>);

struct Shared {
    fate: Mutex<Fate>,
    subject: Subject,
    turn: Option<Turn>,
    _also: Vec<Turn>,
    /// That of the verification, for what is logged after it.
    span: Span,
}

impl Default for FateCell {
    /// That of a ticket which is yet to be made, and whose turn nobody waits for.
    fn default() -> Self {
        Self::new(Subject::default(), None, Vec::new())
    }
}

impl FateCell {
    pub(super) fn new(subject: Subject, turn: Option<Turn>, also: Vec<Turn>) -> Self {
        Self(Arc::new(Shared {
            fate: Mutex::default(),
            subject,
            turn,
            _also: also,
            span: Span::current(),
        }))
    }

    /// Logs in the span of the verification.
    pub(crate) fn in_span<T>(&self, log: impl FnOnce() -> T) -> T {
        self.0.span.in_scope(log)
    }

    pub(super) fn get(&self) -> Fate {
        lock(&self.0.fate).clone()
    }

    pub(super) fn set(&self, fate: Fate) {
        match &fate {
            Fate::Committed => {
                self.0.subject.used();
                if let Some(turn) = &self.0.turn {
                    turn.mark_used();
                }
            }
            Fate::Failed(rejection) => self.0.subject.refused(rejection),
            _ => {}
        }
        *lock(&self.0.fate) = fate;
    }

    pub(crate) fn fail(&self, rejection: Rejection) -> Rejection {
        self.set(Fate::Failed(rejection.clone()));
        rejection
    }
}
