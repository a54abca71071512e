//! `Processing::Retryable`: a handler that runs under a lease, detached from its connection.

use std::panic;

use http::Response;
use http_body::Body;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument as _;

use super::{leased_body::LeasedBody, response::ResponseBody};
use crate::{
    error::{Rejection, RejectionKind},
    once::{Handled, KeptLease},
};

/// Runs the handler in a task of its own, in the span in which the request is, and waits for it.
/// Its panic goes on here, as if it had not been detached.
///
/// # Errors
/// When it was cancelled with its runtime.
pub(super) async fn detached<F, R, E>(
    handling: F,
    kept: KeptLease,
    running: Option<OwnedSemaphorePermit>,
) -> Result<Result<Response<ResponseBody<R>>, E>, Rejection>
where
    F: Future<Output = Result<Response<R>, E>> + Send + 'static,
    R: Body<Error: Send> + Send + 'static,
    R::Data: Send,
    E: Send + 'static,
{
    let handled = tokio::spawn(handle(handling, kept, running).in_current_span());
    handled.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => panic::resume_unwind(panic),
        Err(_) => Rejection::new(
            RejectionKind::StoreUnavailable,
            "the handler was cancelled with its runtime; its outcome is unknown",
        ),
    })
}

/// Runs the handler, and then completes or releases its lease. It counts as running until then, for
/// as long as the permit is here.
///
/// A handler that panics, or answers with an error instead of a response, leaves its outcome
/// unknown: the lease is left to end by itself.
async fn handle<F, R, E>(
    handling: F,
    kept: KeptLease,
    _running: Option<OwnedSemaphorePermit>,
) -> Result<Response<ResponseBody<R>>, E>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
{
    let (head, body) = handling.await?.into_parts();
    let handled = Handled::by(head.status);
    let body = if handled == Handled::Completed && !body.is_end_stream() {
        ResponseBody::leased(LeasedBody::begin(body, kept).await)
    } else {
        // It ends without a value.
        let _ = kept.settle(handled).await;
        ResponseBody::inner(body)
    };
    Ok(Response::from_parts(head, body))
}
