//! Whether the answer of a handler may leave, by what became of the ticket that it was given.

use std::borrow::Cow;

use http::StatusCode;

use super::{
    confirm::Confirm,
    fate::{Fate, FateCell},
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
    /// An error of the handler's leaves; a success leaves only with a nonce that was recorded.
    pub(crate) async fn judge(&self, status: StatusCode, confirm: Option<&Confirm>) -> Verdict {
        match self.get() {
            Fate::Failed(rejection) if rejection.kind() == RejectionKind::RequestReplayed => {
                Verdict::Refused(rejection)
            }
            Fate::Failed(rejection) if !status.is_success() => Verdict::LeavesFor(rejection),
            _ if !status.is_success() => Verdict::Leaves,
            Fate::Committed => Verdict::Leaves,
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
