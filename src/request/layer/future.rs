//! `ResponseFuture`: first the verification, then the inner service's own future.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use http_body::Body;
use tower_service::Service;

use super::{
    detached::detached,
    response::ResponseBody,
    verify_layer::{LayerSettings, OnDuplicate},
};
use crate::{
    error::{Rejection, RejectionKind},
    once::{FateCell, KeptLease, Lease, Verdict},
    scheme::rfc9421::ACCEPT_SIGNATURE,
};

/// An answer that is given without a call of the inner service.
pub(super) enum Early<E> {
    Rejection(Rejection),
    /// The handshake of a scheme.
    Answer(Response<Bytes>),
    /// The inner service failed before it was ready.
    Failed(E),
}

impl<E> From<Rejection> for Early<E> {
    fn from(rejection: Rejection) -> Self {
        Self::Rejection(rejection)
    }
}

/// How the inner service is to be called.
pub(super) enum Handling {
    Plain,
    Leased(Lease),
    InTransaction(FateCell),
}

type Answering<R, E> = dyn Future<Output = Result<Response<ResponseBody<R>>, E>> + Send;

/// The future of [`Verify`](crate::request::layer::Verify) and [`BufferedVerify`](crate::request::layer::BufferedVerify).
///
/// Dropping it ends a verification, and a handler; only with
/// [`Processing::Retryable`](crate::request::Processing::Retryable) a handler that has begun goes on.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<R: Body, E>(Pin<Box<Answering<R, E>>>);

impl<R: Body, E> ResponseFuture<R, E> {
    pub(super) fn new(
        answering: impl Future<Output = Result<Response<ResponseBody<R>>, E>> + Send + 'static,
    ) -> Self {
        Self(Box::pin(answering))
    }
}

impl<R: Body, E> Future for ResponseFuture<R, E> {
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl LayerSettings {
    /// Calls the service that was polled ready, and watches what becomes of the request.
    pub(super) async fn handle<S, B, R>(
        &self,
        mut service: S,
        mut request: Request<B>,
        handling: Handling,
    ) -> Result<Response<ResponseBody<R>>, S::Error>
    where
        S: Service<Request<B>, Response = Response<R>>,
        S::Future: Send + 'static,
        S::Error: Send + 'static,
        R: Body<Data: Send, Error: Send> + Send + 'static,
    {
        match handling {
            Handling::Plain => service.call(request).await.map(answer),
            Handling::Leased(mut lease) => {
                request.extensions_mut().insert(lease.status());
                let running = lease.take_running();
                // Before the service is called, which may block its thread as well.
                let kept = KeptLease::new(lease);
                match detached(service.call(request), kept, running).await {
                    Ok(result) => result.map(private),
                    Err(rejection) => Ok(self.refuse(&rejection)),
                }
            }
            Handling::InTransaction(fate) => {
                let response = service.call(request).await?;
                let status = response.status();
                Ok(match fate.judge(status, self.confirm.as_ref()).await {
                    Verdict::Leaves => answer(response),
                    Verdict::LeavesFor(rejection) => {
                        rejection.report();
                        answer(response)
                    }
                    Verdict::Refused(rejection) => self.refuse(&rejection),
                })
            }
        }
    }
}

/// The handler's answer is about one signed request: it is nobody else's.
fn answer<R: Body>(response: Response<R>) -> Response<ResponseBody<R>> {
    private(response.map(ResponseBody::inner))
}

fn private<B>(mut response: Response<B>) -> Response<B> {
    response
        .headers_mut()
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("private, no-store"));
    response
}

impl LayerSettings {
    /// The answer to a refusal that comes after verification.
    fn refuse<R: Body>(&self, rejection: &Rejection) -> Response<ResponseBody<R>> {
        rejection.report();
        self.render(rejection)
    }

    pub(super) fn render<R: Body>(&self, rejection: &Rejection) -> Response<ResponseBody<R>> {
        let kind = rejection.kind();
        let mut response = match &self.renderer {
            None => rejection.to_response(),
            Some(render) => {
                let (content_type, body) = render(rejection);
                rejection.to_response_with(content_type, body)
            }
        };
        if kind.status() == StatusCode::UNAUTHORIZED
            && let Some(accept) = self.verifier.accept_signature()
        {
            let headers = response.headers_mut();
            headers.insert(ACCEPT_SIGNATURE, accept.clone());
        }
        if kind == RejectionKind::RequestReplayed && self.on_duplicate == OnDuplicate::Acknowledge {
            *response.status_mut() = StatusCode::OK;
            *response.body_mut() = Bytes::new();
            response.headers_mut().remove(CONTENT_TYPE);
        }
        response.map(ResponseBody::of_layer)
    }
}

impl<R: Body, E> fmt::Debug for ResponseFuture<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
