//! Waits for the inner service, and lets its answer leave as what was used once allows.

use http::{HeaderValue, Response, StatusCode, header::CACHE_CONTROL};
use http_body::Body;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    detached::Detached, leased_body::LeasedBody, response::ResponseBody, settings::LayerSettings,
};
use crate::{
    error::{Rejection, RejectionKind},
    once::{FateCell, Handled, KeptLease, Verdict},
    scheme::Asked,
};

/// How the inner service is to be waited for.
pub(super) enum Handling {
    Plain,
    /// Under a lease, and counted among the handlers that run.
    Leased(KeptLease, Option<OwnedSemaphorePermit>),
    InTransaction(FateCell<Rejection>),
}

impl LayerSettings {
    /// Lets the answer of the service leave if the transaction allows it.
    pub(super) async fn judge<R: Body>(
        &self,
        response: Response<R>,
        fate: FateCell<Rejection>,
        asked: Asked,
    ) -> Response<ResponseBody<R>> {
        let status = response.status();
        match Box::pin(fate.judge(status, self.confirm.as_ref())).await {
            Verdict::Leaves => self.answer(response, asked),
            Verdict::LeavesFor(rejection) => {
                fate.in_span(|| rejection.report());
                self.answer(response, asked)
            }
            Verdict::Refused(rejection) => {
                fate.in_span(|| self.report(&rejection));
                self.render(&rejection, asked)
            }
        }
    }

    pub(super) fn answer<R: Body>(
        &self,
        response: Response<R>,
        asked: Asked,
    ) -> Response<ResponseBody<R>> {
        let mut response = response.map(ResponseBody::inner);
        self.leave(&mut response, asked);
        response
    }

    /// The handler's answer is about one signed request: it is nobody else's.
    pub(super) fn leave<B>(&self, response: &mut Response<B>, asked: Asked) {
        // A layer behind that wants more covered does not know how the scheme asks for it.
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(rejection) = response.extensions().get::<Rejection>()
            && rejection.kind() == RejectionKind::SignatureInsufficient
        {
            self.verifier
                .challenge_as_asked(asked, response.headers_mut());
        }
        response
            .headers_mut()
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("private, no-store"));
    }
}

/// Lets the service that was called go on under the lease when its client has gone.
pub(super) fn detach<F, R, E>(
    calling: F,
    kept: KeptLease,
    running: Option<OwnedSemaphorePermit>,
) -> Detached<impl Future<Output = Result<Response<ResponseBody<R>>, E>> + Send + 'static>
where
    F: Future<Output = Result<Response<R>, E>> + Send + 'static,
    E: Send + 'static,
    R: Body<Data: Send, Error: Send> + Send + 'static,
{
    let handling = async move {
        let handled = under_lease(calling, kept).await;
        drop(running);
        handled
    };
    Detached::new(handling, None)
}

/// Runs the handler, and then completes or releases its lease.
///
/// A handler that panics, or answers with an error instead of a response, leaves its outcome
/// unknown: the lease is left to end by itself.
async fn under_lease<R: Body, E>(
    handling: impl Future<Output = Result<Response<R>, E>>,
    kept: KeptLease,
) -> Result<Response<ResponseBody<R>>, E> {
    let (head, body) = handling.await?.into_parts();
    let handled = Handled::by(head.status);
    let body = if handled == Handled::Completed && !body.is_end_stream() {
        ResponseBody::leased(LeasedBody::begin(body, kept).await)
    } else {
        kept.settle(handled).await;
        ResponseBody::inner(body)
    };
    Ok(Response::from_parts(head, body))
}
