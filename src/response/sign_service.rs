//! `SignResponse`: calls the inner service, reads its response whole, and signs it.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, Response, StatusCode, header::CONTENT_LENGTH, request::Parts,
};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::{kept::keep_received, signer::ResponseSigner};
use crate::{
    body::{self, BodyLimits, BoxError},
    error::{Rejection, RejectionKind, SignError, SignErrorKind},
    future::ResponseFuture,
    message::{remove_framing, single},
    scheme::rfc9421::has_body,
};

/// The service that [`SignResponseLayer`](crate::response::SignResponseLayer) makes.
#[derive(Clone, Debug)]
pub struct SignResponse<S> {
    inner: S,
    settings: Arc<SignResponseSettings>,
}

impl<S> SignResponse<S> {
    pub(super) fn new(inner: S, settings: Arc<SignResponseSettings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, B, R> Service<Request<B>> for SignResponse<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = S::Error;
    type Future = ResponseFuture<Self::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        self.settings.signer.ask_for_outcome(&mut head);
        let kept = keep_received(&head);
        if let Err(fault) = self.settings.signer.check(&kept) {
            let rejection = Rejection::from(fault);
            rejection.report();
            let refusal = rejection.to_response().map(Full::new);
            return ResponseFuture::new(|| async { Ok(refusal) });
        }
        let handling = self.inner.call(Request::from_parts(head, body));
        let settings = Arc::clone(&self.settings);
        ResponseFuture::new(|| async move {
            let response = handling.await?;
            Ok(settings.answer(&kept, response).await.map(Full::new))
        })
    }
}

impl SignResponseSettings {
    /// The response, signed; or what takes its place.
    async fn answer<R>(&self, request: &Parts, response: Response<R>) -> Response<Bytes>
    where
        R: Body<Data: Into<Bytes>, Error: Into<BoxError>>,
    {
        let signed = match self.buffer(&request.method, response).await {
            Ok(response) => self.signer.sign(request, response),
            Err(error) => Err(error),
        };
        signed.unwrap_or_else(|error| {
            let rejection = Rejection::new(RejectionKind::ResponseNotSigned, error.to_string());
            rejection.report();
            let replacement = || {
                let mut response = rejection.to_response();
                if !has_body(&request.method, response.status()) {
                    response.body_mut().clear();
                }
                response
            };
            let signed = self.signer.sign(request, replacement());
            signed.unwrap_or_else(|_| replacement())
        })
    }

    async fn buffer<R>(
        &self,
        method: &Method,
        response: Response<R>,
    ) -> Result<Response<Bytes>, SignError>
    where
        R: Body<Data: Into<Bytes>, Error: Into<BoxError>>,
    {
        let (mut head, body) = response.into_parts();
        let headers = &mut head.headers;
        let body = if has_body(method, head.status) {
            let body = body::read(body, &self.limits, |_: &[u8], _| Ok(())).await?;
            check_length(headers, &body)?;
            headers.insert(CONTENT_LENGTH, body.len().into());
            body
        } else {
            // The handler said what the body would be, or it can be seen here.
            let length = body.size_hint().exact().filter(|length| *length > 0);
            match (head.status, length) {
                (StatusCode::NO_CONTENT, _) => drop(headers.remove(CONTENT_LENGTH)),
                (StatusCode::NOT_MODIFIED, _) | (_, None) => {}
                (_, Some(length)) => {
                    headers.entry(CONTENT_LENGTH).or_insert(length.into());
                }
            }
            Bytes::new()
        };
        remove_framing(headers);
        Ok(Response::from_parts(head, body))
    }
}

/// A body that is not as long as was said broke off, and must not be signed as if it were whole.
fn check_length(headers: &HeaderMap, body: &Bytes) -> Result<(), SignError> {
    let Some(declared) = single(headers, &CONTENT_LENGTH)? else {
        return Ok(());
    };
    if *declared == body.len().to_string() {
        return Ok(());
    }
    Err(SignError::of_kind(
        SignErrorKind::BodyUnreadable,
        format!(
            "the body has {} bytes, and `content-length` is {declared:?}",
            body.len()
        ),
    ))
}

#[derive(Clone, Debug)]
pub(super) struct SignResponseSettings {
    pub(super) signer: ResponseSigner,
    pub(super) limits: BodyLimits,
}
