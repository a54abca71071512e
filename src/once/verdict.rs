//! Whether the answer of a handler may leave, by what became of the ticket that it was given.

use std::{borrow::Cow, fmt::Display};

use http::StatusCode;

use super::{
    confirm::Confirm,
    fate::{Fate, FateCell},
    renewal::Handled,
};
use crate::error::{Fault, FaultKind};

/// The treatment of an answer.
pub(crate) enum Verdict<R> {
    Leaves,
    /// It leaves, in the handler's words for this.
    LeavesFor(R),
    /// This leaves in its place.
    Refused(R),
}

impl<R: Clone + Display + From<Fault>> FateCell<R> {
    /// An error of the handler's leaves; a success leaves only with a nonce that was recorded, or left
    /// to somebody else.
    pub(crate) async fn judge(&self, status: StatusCode, confirm: Option<&Confirm>) -> Verdict<R> {
        let is_failure = Handled::by(status) == Handled::Released;
        match self.get() {
            Fate::Used(refusal) => Verdict::Refused(refusal),
            Fate::Failed(refusal) if is_failure => Verdict::LeavesFor(refusal),
            _ if is_failure => Verdict::Leaves,
            Fate::Committed | Fate::Left => Verdict::Leaves,
            Fate::Consumed(claim) => {
                let Some(confirm) = confirm else {
                    return Verdict::Leaves;
                };
                match confirm.check(*claim).await {
                    Ok(()) => {
                        self.set(Fate::Committed);
                        Verdict::Leaves
                    }
                    Err(fault) => Verdict::Refused(fault.into()),
                }
            }
            Fate::Pending => {
                not_recorded("the handler answered with success and consumed no nonce")
            }
            Fate::Failed(refusal) => not_recorded(format!(
                "the handler answered with success, though its nonce was not recorded ({refusal})"
            )),
            Fate::RolledBack => not_recorded(
                "the handler answered with success, and its transaction was rolled back",
            ),
            Fate::Unknown => not_recorded(
                "the handler answered with success, and it is unknown whether its transaction was \
                 committed",
            ),
        }
    }
}

fn not_recorded<R: From<Fault>>(detail: impl Into<Cow<'static, str>>) -> Verdict<R> {
    Verdict::Refused(Fault::new(FaultKind::NotRecorded, detail).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::{Rejection, StoreErrorKind},
        once::Subject,
    };

    /// Says what happens to an answer, by what became of the ticket.
    async fn leaves(fate: &Fate<Rejection>, status: u16) -> &'static str {
        let cell = FateCell::new(Subject::default(), None, Vec::new());
        cell.set(fate.clone());
        match cell
            .judge(StatusCode::from_u16(status).unwrap(), None)
            .await
        {
            Verdict::Leaves => "leaves",
            Verdict::LeavesFor(_) => "leaves, in words",
            Verdict::Refused(rejection) => rejection.kind().code(),
        }
    }

    #[tokio::test]
    async fn a_success_or_a_switch_of_protocols_leaves_only_with_a_nonce_that_was_recorded() {
        let refusal = |kind| Rejection::from(Fault::new(kind, "a test"));
        let used = Fate::Used(refusal(FaultKind::Used));
        let unavailable = FaultKind::Store(StoreErrorKind::Unavailable);
        let failed = Fate::Failed(refusal(unavailable));
        const NOT_RECORDED: &str = "nonce_not_recorded";
        for (fate, success, failure) in [
            (Fate::Committed, "leaves", "leaves"),
            (Fate::Left, "leaves", "leaves"),
            (Fate::Pending, NOT_RECORDED, "leaves"),
            (Fate::RolledBack, NOT_RECORDED, "leaves"),
            (Fate::Unknown, NOT_RECORDED, "leaves"),
            (failed, NOT_RECORDED, "leaves, in words"),
            (used, "request_replayed", "request_replayed"),
        ] {
            for status in [101, 200, 204, 299] {
                assert_eq!(leaves(&fate, status).await, success, "{status}");
            }
            for status in [100, 103, 301, 404, 500] {
                assert_eq!(leaves(&fate, status).await, failure, "{status}");
            }
        }
    }
}
