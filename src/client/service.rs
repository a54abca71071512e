//! `Sign` and `SignAgain`: they read a request's body, sign the request, and call the client.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::{
    again::{Attempt, asked_to_sign_again, time_after_never},
    peeked::PeekedBody,
    signer::Signer,
};
use crate::{
    body::{self, BodyLimits, BoxError},
    error::SignError,
    future::{ResponseFuture, take_ready},
    message::remove_framing,
};

/// The service that [`SignLayer`](crate::SignLayer) makes.
#[derive(Clone, Debug)]
pub struct Sign<S> {
    pub(super) inner: S,
    pub(super) settings: Arc<SignSettings>,
}

impl<S> Sign<S> {
    pub(super) fn new(inner: S, settings: Arc<SignSettings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, B> Service<Request<B>> for Sign<S>
where
    S: Service<Request<Full<Bytes>>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S::Response, BoxError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = take_ready(&mut self.inner);
        let settings = Arc::clone(&self.settings);
        ResponseFuture::new(|| async move { settings.send(service, request).await })
    }
}

/// The service that [`SignAgainLayer`](crate::client::SignAgainLayer) makes.
#[derive(Clone, Debug)]
pub struct SignAgain<S> {
    pub(super) inner: S,
    pub(super) settings: Arc<SignAgainSettings>,
}

impl<S> SignAgain<S> {
    pub(super) fn new(inner: S, settings: Arc<SignAgainSettings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, B, R> Service<Request<B>> for SignAgain<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + 'static,
    R: Body<Data = Bytes, Error: Send> + Send + 'static,
{
    type Response = Response<PeekedBody<R>>;
    type Error = BoxError;
    type Future = ResponseFuture<Self::Response, BoxError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = take_ready(&mut self.inner);
        let settings = Arc::clone(&self.settings);
        ResponseFuture::new(|| async move { settings.send(service, request).await })
    }
}

impl SignSettings {
    pub(super) async fn send<S, B, I>(
        &self,
        mut service: S,
        request: Request<B>,
    ) -> Result<S::Response, BoxError>
    where
        S: Service<Request<I>, Error: Into<BoxError>>,
        B: Body<Data: Into<Bytes>, Error: Into<BoxError>>,
        I: From<Bytes>,
    {
        let request = self.buffer(request).await?;
        let signed = self.signer.sign(request)?;
        service.call(signed.map(I::from)).await.map_err(Into::into)
    }

    async fn buffer<B>(&self, request: Request<B>) -> Result<Request<Bytes>, SignError>
    where
        B: Body<Data: Into<Bytes>, Error: Into<BoxError>>,
    {
        let (mut head, body) = request.into_parts();
        let body = body::read(body, &self.limits, |_: &[u8], _| Ok(())).await?;
        remove_framing(&mut head.headers);
        Ok(Request::from_parts(head, body))
    }
}

impl SignAgainSettings {
    pub(super) async fn send<S, B, I, R>(
        &self,
        mut service: S,
        request: Request<B>,
    ) -> Result<Response<PeekedBody<R>>, BoxError>
    where
        S: Service<Request<I>, Response = Response<R>, Error: Into<BoxError>>,
        B: Body<Data: Into<Bytes>, Error: Into<BoxError>>,
        I: From<Bytes>,
        R: Body<Data = Bytes>,
    {
        let signer = &self.sign.signer;
        let request = self.sign.buffer(request).await?;
        let unsigned = request
            .extensions()
            .get::<Repeatable>()
            .map(|_| request.clone());
        let signed_at = signer.clock.now();
        let signed = signer.sign_at(request, signed_at)?;
        let answer = service.call(signed.map(I::from)).await;
        let mut answer = answer.map_err(Into::into)?.map(PeekedBody::new);

        let Some(unsigned) = unsigned else {
            return Ok(answer);
        };
        let attempt = Attempt {
            signed_at,
            now: signer.clock.now(),
        };
        let time = if self.unverified {
            let asked = asked_to_sign_again(&mut answer, self.sign.limits.deadline).await;
            asked.and_then(|asked| asked.time_to_sign(&attempt, self.max_correction))
        } else {
            time_after_never(&answer, &attempt, self.max_correction)
        };
        let Some(time) = time else {
            return Ok(answer);
        };
        drop(answer);
        poll_fn(|cx| service.poll_ready(cx))
            .await
            .map_err(Into::into)?;
        let signed = signer.sign_at(unsigned, time)?;
        let answer = service.call(signed.map(I::from)).await;
        Ok(answer.map_err(Into::into)?.map(PeekedBody::new))
    }
}

#[derive(Clone, Debug)]
pub(super) struct SignSettings {
    pub(super) signer: Signer,
    pub(super) limits: BodyLimits,
}

#[derive(Clone, Debug)]
pub(super) struct SignAgainSettings {
    pub(super) sign: SignSettings,
    /// Goes by what any answer asks for.
    pub(super) unverified: bool,
    pub(super) max_correction: Duration,
}

/// Says that a request may be signed again, as an extension of the request.
///
/// ```
/// use countersign::client::Repeatable;
///
/// let request = http::Request::put("https://api.example.com/orders/7")
///     .extension(Repeatable)
///     .body("{}")?;
/// # Ok::<_, http::Error>(())
/// ```
///
/// See [`SignAgainLayer`](crate::client::SignAgainLayer) for what that means.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a mark that holds nothing")]
pub struct Repeatable;
