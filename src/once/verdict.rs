//! Whether the answer of a handler may leave, by what became of the ticket that it was given.

use std::borrow::Cow;

use http::StatusCode;

use super::{
    confirm::Confirm,
    fate::{Fate, FateCell},
    renewal::Handled,
};
use crate::error::{Rejection, RejectionKind};

/// What happens to an answer.
pub(crate) enum Verdict {
    Leaves,
    /// It leaves, in the handler's words for this.
    LeavesFor(Rejection),
    /// This leaves in its place.
    Refused(Rejection),
}

impl FateCell {
    /// An error of the handler's leaves; a success leaves only with a nonce that was recorded, or left
    /// to somebody else.
    pub(crate) async fn judge(&self, status: StatusCode, confirm: Option<&Confirm>) -> Verdict {
        let is_failure = Handled::by(status) == Handled::Released;
        match self.get() {
            Fate::Failed(rejection) if rejection.kind() == RejectionKind::RequestReplayed => {
                Verdict::Refused(rejection)
            }
            Fate::Failed(rejection) if is_failure => Verdict::LeavesFor(rejection),
            _ if is_failure => Verdict::Leaves,
            Fate::Committed | Fate::Left => Verdict::Leaves,
            Fate::Consumed(claim) => {
                let Some(confirm) = confirm else {
                    return Verdict::Leaves;
                };
                match confirm.check(claim).await {
                    Ok(()) => {
                        self.set(Fate::Committed);
                        Verdict::Leaves
                    }
                    Err(rejection) => Verdict::Refused(rejection),
                }
            }
            Fate::Pending => {
                not_recorded("the handler answered with success and consumed no nonce")
            }
            Fate::Failed(rejection) => not_recorded(format!(
                "the handler answered with success, though its nonce was not recorded ({rejection})"
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

fn not_recorded(detail: impl Into<Cow<'static, str>>) -> Verdict {
    Verdict::Refused(Rejection::new(RejectionKind::NonceNotRecorded, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::once::Subject;

    /// Says what becomes of an answer, by what became of the ticket.
    async fn leaves(fate: &Fate, status: u16) -> &'static str {
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
        let failed = |kind| Fate::Failed(Rejection::new(kind, "a test"));
        let replayed = failed(RejectionKind::RequestReplayed);
        let unavailable = failed(RejectionKind::StoreUnavailable);
        const NOT_RECORDED: &str = "nonce_not_recorded";
        for (fate, success, failure) in [
            (Fate::Committed, "leaves", "leaves"),
            (Fate::Left, "leaves", "leaves"),
            (Fate::Pending, NOT_RECORDED, "leaves"),
            (Fate::RolledBack, NOT_RECORDED, "leaves"),
            (Fate::Unknown, NOT_RECORDED, "leaves"),
            (unavailable, NOT_RECORDED, "leaves, in words"),
            (replayed, "request_replayed", "request_replayed"),
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
