//! `PendingAnswer`: an answer that is recorded in the handler's own transaction.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use sha2::{Digest as _, Sha256};

use super::{answer::is_stored, settings::Settings};
use crate::{
    error::{Fault, Rejection, RejectionKind},
    future::{lock_wait, within},
    lock::lock,
    once::{AnswerClaim, AnswerIn, StepOutcome},
};

/// Records the answer of a handler in the database transaction in which its effects happen, so that
/// either both are there or neither.
///
/// With [`in_transaction`](super::IdempotencyLayerBuilder::in_transaction), it is an extension of
/// the inner request, and an extractor in Axum. If the request names no key, recording does
/// nothing.
///
/// The layer looks whether the answer was committed before a success leaves: a success without a
/// recorded answer becomes 500 (`answer_not_recorded`). If the handler has not called
/// [`record`](Self::record) at all, it may have committed effects: the outcome is unknown from then
/// on (409, `outcome_unknown`), no retry runs, and it cannot be resolved until the retention ends.
/// If it recorded and did not commit, the next attempt runs.
#[derive(Clone)]
pub struct PendingAnswer(Arc<Shared>);

struct Shared {
    settings: Arc<Settings>,
    /// `None` if the request names no key.
    claim: Option<AnswerClaim>,
    /// The SHA-256 of the answer that was recorded last.
    recorded: Mutex<Option<[u8; 32]>>,
}

impl PendingAnswer {
    pub(super) fn new(settings: Arc<Settings>, claim: Option<AnswerClaim>) -> Self {
        Self(Arc::new(Shared {
            settings,
            claim,
            recorded: Mutex::default(),
        }))
    }

    /// Records the answer in this transaction, and returns it. The caller commits, and then answers
    /// with it.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use countersign::{Rejection, idempotency::PendingAnswer};
    /// use http::Response;
    /// use http_body_util::Full;
    ///
    /// # enum Error { Refused(Rejection), Database(sqlx::Error), Http(http::Error) }
    /// # impl From<Rejection> for Error { fn from(e: Rejection) -> Self { Self::Refused(e) } }
    /// # impl From<sqlx::Error> for Error { fn from(e: sqlx::Error) -> Self { Self::Database(e) } }
    /// # impl From<http::Error> for Error { fn from(e: http::Error) -> Self { Self::Http(e) } }
    /// async fn pay(
    ///     pool: &sqlx::SqlitePool,
    ///     answer: PendingAnswer,
    /// ) -> Result<Response<Full<bytes::Bytes>>, Error> {
    ///     let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    ///     sqlx::query("UPDATE accounts SET balance = balance - 1").execute(&mut *tx).await?;
    ///     let response = Response::builder().status(201).body("paid")?;
    ///     let response = answer.record(&mut tx, response).await?;
    ///     tx.commit().await?;
    ///     Ok(response)
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error, and the transaction must be rolled back, if another attempt has the key by
    /// now (409, `request_in_flight`), if the answer is one that is not stored (500,
    /// `answer_not_recorded`), or if the database fails (503).
    pub async fn record<T: AnswerIn + ?Sized>(
        &self,
        transaction: &mut T,
        response: Response<impl Into<Bytes>>,
    ) -> Result<Response<Full<Bytes>>, Rejection> {
        let (head, body) = response.into_parts();
        let body: Bytes = body.into();
        if let Some(claim) = &self.0.claim {
            let settings = &*self.0.settings;
            if !is_stored(head.status, &head.headers) {
                let detail = format!("such an answer with status {} is not stored", head.status);
                return Err(Rejection::new(RejectionKind::AnswerNotRecorded, detail));
            }
            let answer = settings.answer(&head, Some(body.clone())).to_bytes();
            let wait = lock_wait(settings.timeout);
            let recorded = within(settings.timeout, || {
                transaction.record_answer(claim, &answer, wait)
            });
            if recorded.await? == StepOutcome::Lost {
                return Err(Fault::in_flight(
                    "the hold on the `Idempotency-Key` has expired, and another attempt has it; or \
                     the answer was recorded before",
                    settings.lease,
                )
                .into());
            }
            *lock(&self.0.recorded) = Some(Sha256::digest(&answer).into());
        }
        Ok(Response::from_parts(head, Full::new(body)))
    }

    /// Returns whether this attempt has recorded its answer, in a transaction that may not be
    /// committed.
    pub(crate) fn is_recorded(&self) -> bool {
        lock(&self.0.recorded).is_some()
    }

    /// Returns whether this answer is the one that this attempt has recorded.
    pub(crate) fn has_recorded(&self, answer: &Bytes) -> bool {
        *lock(&self.0.recorded) == Some(Sha256::digest(answer).into())
    }
}

impl fmt::Debug for PendingAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingAnswer")
            .field("claim", &self.0.claim)
            .finish_non_exhaustive()
    }
}
