//! `Processing::InTransaction`: whether a handler's answer may leave, by what became of the nonce.

use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;

use crate::{
    error::{Rejection, RejectionKind, StoreError},
    future::StoreFuture,
    once::{Claim, ConsumeIn as _, Fate, TransactIn},
};

/// What happens to an answer.
pub(super) enum Verdict {
    /// It leaves.
    Passes,
    /// It leaves, in the handler's words for this.
    PassesFor(Rejection),
    /// This leaves in its place.
    Refused(Rejection),
    /// It leaves if this claim was committed.
    Consumed(Claim),
}

/// An error of the handler's passes; a success passes only with a nonce that was recorded.
pub(super) fn judge(fate: Fate, status: StatusCode) -> Verdict {
    match fate {
        Fate::Failed(rejection) if rejection.kind() == RejectionKind::RequestReplayed => {
            Verdict::Refused(rejection)
        }
        Fate::Failed(rejection) if !status.is_success() => Verdict::PassesFor(rejection),
        _ if !status.is_success() => Verdict::Passes,
        Fate::Committed => Verdict::Passes,
        Fate::Consumed(claim) => Verdict::Consumed(claim),
        Fate::Pending => not_recorded("the handler answered with success and consumed no nonce"),
        Fate::Failed(rejection) => not_recorded(format!(
            "the handler answered with success, though its nonce was not recorded ({rejection})"
        )),
        Fate::RolledBack => {
            not_recorded("the handler answered with success, and its transaction was rolled back")
        }
        Fate::Unknown => not_recorded(
            "the handler answered with success, and it is unknown whether its transaction was \
             committed",
        ),
    }
}

fn not_recorded(detail: impl Into<std::borrow::Cow<'static, str>>) -> Verdict {
    Verdict::Refused(Rejection::new(RejectionKind::NonceNotRecorded, detail))
}

/// The answer to a claim that was looked up.
pub(super) fn judge_confirmed(confirmed: Result<bool, StoreError>) -> Result<(), Rejection> {
    match confirmed {
        Ok(true) => Ok(()),
        Ok(false) => Err(Rejection::new(
            RejectionKind::NonceNotRecorded,
            "the handler consumed its nonce and answered with success, and no such attempt was \
             committed",
        )),
        Err(error) => Err(Rejection::with_source(
            RejectionKind::StoreUnavailable,
            "the outcome is unknown: the handler answered with success, and its attempt could not \
             be looked up",
            error,
        )),
    }
}

/// Looks up whether an attempt was committed.
#[derive(Clone)]
pub(super) struct Confirm(Arc<dyn Fn(Claim) -> StoreFuture<'static, bool> + Send + Sync>);

impl Confirm {
    pub(super) fn within<D: TransactIn + 'static>(database: D, limit: Duration) -> Self {
        let database = Arc::new(database);
        Self(Arc::new(move |claim| {
            let database = Arc::clone(&database);
            StoreFuture::new(async move {
                let look_up = async {
                    let mut transaction = database.begin().await?;
                    let recorded = transaction.is_recorded(&claim).await?;
                    D::rollback(transaction).await?;
                    Ok(recorded)
                };
                tokio::time::timeout(limit, look_up)
                    .await
                    .unwrap_or_else(|_| {
                        Err(StoreError::unavailable(format!(
                            "the database gave no answer within {limit:?}"
                        )))
                    })
            })
        }))
    }

    pub(super) fn look_up(&self, claim: Claim) -> StoreFuture<'static, bool> {
        (self.0)(claim)
    }
}

impl fmt::Debug for Confirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Confirm")
    }
}
