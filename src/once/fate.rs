//! The fate of a ticket that is consumed in a transaction, as far as its holder has come.

use std::sync::{Arc, Mutex};

use tracing::Span;

use super::{claim::Claim, outcome::Subject, turns::Turn};
use crate::{
    error::{Fault, FaultKind},
    lock::lock,
};

/// The fate of a ticket, whose carrier refuses with an `R`.
#[derive(Clone, Debug, Default)]
pub(super) enum Fate<R> {
    /// Nothing was recorded.
    #[default]
    Pending,
    /// It was used before.
    Used(R),
    /// Nothing was recorded, or nothing is known to be, for this reason.
    Failed(R),
    /// Recorded in the caller's transaction; whether that was committed is not known here.
    Consumed(Box<Claim>),
    /// Recorded, and rolled back.
    RolledBack,
    /// COMMIT was begun, and not answered.
    Unknown,
    /// Recorded and committed.
    Committed,
    /// Left to somebody else, who records it later.
    Left,
}

/// A [`Fate`] that the holder of a ticket shares with those who watch it. A turn lasts until all
/// are done.
pub(crate) struct FateCell<R>(Arc<Shared<R>>);

struct Shared<R> {
    fate: Mutex<Fate<R>>,
    subject: Subject,
    turn: Option<Turn>,
    _also: Vec<Turn>,
    /// The span of the verification, for later events.
    span: Span,
}

impl<R> Clone for FateCell<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> Default for FateCell<R> {
    /// Returns the fate of a ticket that is yet to be made, and whose turn nobody waits for.
    fn default() -> Self {
        Self::new(Subject::default(), None, Vec::new())
    }
}

impl<R> FateCell<R> {
    pub(super) fn new(subject: Subject, turn: Option<Turn>, also: Vec<Turn>) -> Self {
        Self(Arc::new(Shared {
            fate: Mutex::new(Fate::Pending),
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

    pub(super) fn set(&self, fate: Fate<R>) {
        if let Fate::Committed = &fate {
            self.0.subject.used();
            if let Some(turn) = &self.0.turn {
                turn.mark_used();
            }
        }
        *lock(&self.0.fate) = fate;
    }
}

impl<R: Clone> FateCell<R> {
    pub(super) fn get(&self) -> Fate<R> {
        lock(&self.0.fate).clone()
    }

    /// Keeps and returns what the carrier says about this fault.
    pub(super) fn refuse(&self, fault: Fault, say: impl FnOnce(Fault) -> R) -> R {
        self.0.subject.refused(&fault);
        let is_used = fault.kind() == FaultKind::Used;
        let refusal = say(fault);
        self.set(match is_used {
            true => Fate::Used(refusal.clone()),
            false => Fate::Failed(refusal.clone()),
        });
        refusal
    }

    /// Keeps and returns why the carrier refused it, before there was a ticket to use up.
    pub(crate) fn fail(&self, refusal: R) -> R {
        self.set(Fate::Failed(refusal.clone()));
        refusal
    }
}
