//! Signing for `reqwest`: its requests, and its client behind a `SignLayer`.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use reqwest::{Body, Request, Response, ResponseBuilderExt as _};
use tower_service::Service;

use super::{
    service::{Sign, SignAgain},
    signer::Signer,
};
use crate::{
    body::{self, BodyLimits, BoxError},
    error::{SignError, SignErrorKind},
    future::{ResponseFuture, take_ready},
    message::remove_framing,
};

impl Signer {
    /// Signs a request of `reqwest`, as [`Signer::sign`] does.
    ///
    /// The signature does not cover headers that a client adds when it sends, such as its default
    /// headers: if the scheme covers a header, set it on the request. Configure the client to
    /// follow no redirects: otherwise reqwest sends the signed request to any address that the
    /// first server names, and the server there can pass it on.
    ///
    /// ```
    /// # use countersign::Signer;
    /// use reqwest::{Client, redirect::Policy};
    ///
    /// # async fn f(signer: Signer) -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::builder().redirect(Policy::none()).build()?;
    ///
    /// let request = client.post("https://api.example.com/transfer").body("{}").build()?;
    /// let response = client.execute(signer.sign_reqwest(request)?).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// As a Tower service the client takes bodies that are streams, too:
    /// ```
    /// # use countersign::{SignLayer, Signer};
    /// use reqwest::{Client, redirect::Policy};
    /// use tower::{ServiceBuilder, ServiceExt as _};
    ///
    /// # async fn f(signer: Signer, stream: reqwest::Body) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let client = Client::builder().redirect(Policy::none()).build()?;
    /// let signing = ServiceBuilder::new()
    ///     .layer(SignLayer::new(signer))
    ///     .service(client.clone());
    ///
    /// let request = client.post("https://api.example.com/transfer").body(stream).build()?;
    /// let response: reqwest::Response = signing.oneshot(request).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Extensions, such as [`Repeatable`](crate::client::Repeatable), are set on a request of
    /// `http`. Responses of `reqwest` are not verified, so only
    /// [`danger_sign_again_unverified`](crate::SignLayer::danger_sign_again_unverified) signs
    /// again:
    /// ```
    /// # use countersign::client::{Repeatable, SignAgain};
    /// # use tower::ServiceExt as _;
    /// # async fn f(signing: SignAgain<reqwest::Client>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let request = http::Request::put("https://api.example.com/orders/7")
    ///     .extension(Repeatable)
    ///     .body("{}")?;
    /// let response = signing.oneshot(reqwest::Request::try_from(request)?).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns an error as [`Signer::sign`] does; and if the body is a stream, which
    /// [`SignLayer`](crate::SignLayer) would read first.
    pub fn sign_reqwest(&self, mut request: Request) -> Result<Request, SignError> {
        let body = match request.body().map(Body::as_bytes) {
            None => &[],
            Some(Some(bytes)) => bytes,
            Some(None) => {
                let message = "its body is a stream; send it through a `SignLayer`";
                return Err(SignError::of_kind(SignErrorKind::BodyIsStream, message));
            }
        };
        let mut unsigned = http::Request::new(body);
        *unsigned.method_mut() = request.method().clone();
        // The URL as the client sends it.
        *unsigned.uri_mut() = request
            .url()
            .as_str()
            .parse()
            .map_err(|_| SignError::new("its URL cannot be requested"))?;
        *unsigned.headers_mut() = request.headers().clone();
        let (signed, _) = self.sign(unsigned)?.into_parts();
        *request.headers_mut() = signed.headers;
        Ok(request)
    }
}

async fn buffer(mut request: Request, limits: &BodyLimits) -> Result<Request, SignError> {
    if let Some(stream) = request.body_mut().take() {
        let bytes = body::read(stream, limits, |_: &[u8], _| Ok(())).await?;
        *request.body_mut() = Some(bytes.into());
    }
    remove_framing(request.headers_mut());
    Ok(request)
}

impl<S> Service<Request> for Sign<S>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S::Response, BoxError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let mut service = take_ready(&mut self.inner);
        let settings = Arc::clone(&self.settings);
        ResponseFuture::new(|| async move {
            let request = buffer(request, &settings.limits).await?;
            let signed = settings.signer.sign_reqwest(request)?;
            service.call(signed).await.map_err(Into::into)
        })
    }
}

impl<S> Service<Request> for SignAgain<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = BoxError;
    type Future = ResponseFuture<Response, BoxError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let service = AsHttp(take_ready(&mut self.inner));
        let settings = Arc::clone(&self.settings);
        ResponseFuture::new(|| async move {
            let request = http::Request::<Body>::try_from(request)?;
            let answer = settings.send(service, request).await?;
            Ok(answer.map(Body::wrap).into())
        })
    }
}

/// A client of reqwest, with the requests and answers of `http`.
struct AsHttp<S>(S);

impl<S> Service<http::Request<Body>> for AsHttp<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = ResponseFuture<http::Response<Body>, BoxError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = Request::try_from(request).map(|request| self.0.call(request));
        ResponseFuture::new(|| async move {
            let answer = answer?.await.map_err(Into::into)?;
            // The conversion loses the URL, unless the extensions hold it.
            let url = http::Response::builder().url(answer.url().clone());
            let mut answer = http::Response::<Body>::from(answer);
            let url = url.body(())?.into_parts().0.extensions;
            answer.extensions_mut().extend(url);
            Ok(answer)
        })
    }
}
