//! `VerifyResponseLayer`: a client gets what the server signed, or an error.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_layer::Layer;
use tower_service::Service;

use super::verifier::ResponseVerifier;
use crate::{body::BoxError, future::ResponseFuture};

/// A layer that verifies every response that an HTTP client gets.
///
/// # The steps of a response
/// 1. A response is refused before its body is read if it has no signature, or if its signature is
///    stale, under an unknown key, over another status or header, or for another request.
/// 2. The body is read, within limits of size and time, and compared with the covered digest.
/// 3. The caller gets the response with a `Full<Bytes>` as its body, and with
///    [`SignedBy`](crate::response::SignedBy) among its extensions.
///
/// The error of a refused response is a [`ResponseError`](crate::error::ResponseError). It is boxed,
/// as an error of the client is, and `downcast_ref` finds it. The outcome of the request is then
/// not known. A request to which no response could be bound is not sent.
///
/// A verified response is final only if its [outcome](crate::response::SignedBy::outcome) is: even
/// a signed refusal may be the answer to a request that was altered on the way, and the genuine
/// request may be delivered later.
///
/// # Position
/// - Put it inside of [`SignLayer`](crate::SignLayer), because it must see the request as it is
///   sent. Put it nearest to the client: every layer that changes a response, such as
///   decompression, or that follows redirects must be outside of it.
/// - Put it inside of [`SignAgainLayer`](crate::client::SignAgainLayer) too, which uses the
///   verified outcome and the signed time. If the client's clock is behind, the response is dated
///   ahead by as much, which [`max_skew`](crate::response::ResponseVerifierBuilder::max_skew) must
///   allow.
///
/// # Example
/// ```
/// use countersign::{
///     response::{ResponseVerifier, VerifyResponseLayer}, HttpMessageSignatures, KeyRing,
///     SignLayer, Signer,
/// };
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::{ServiceBuilder, ServiceExt as _};
///
/// # async fn f() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let scheme = HttpMessageSignatures::default();
/// let signer = Signer::new(scheme.clone(), "partner-1", "the secret of partner 1")?;
/// let verifier = ResponseVerifier::builder(scheme)
///     .keys(KeyRing::new().with("api", "the secret of the api for partner 1")?)
///     .build()?;
/// let client = ServiceBuilder::new()
///     .layer(SignLayer::new(signer))
///     .layer(VerifyResponseLayer::new(verifier))
///     .service(Client::builder(TokioExecutor::new()).build_http());
///
/// let request = http::Request::post("http://api.example.com/transfer").body("{}".to_owned())?;
/// let response = client.oneshot(request).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifyResponseLayer {
    verifier: ResponseVerifier,
}

impl VerifyResponseLayer {
    /// Verifies with this verifier.
    pub fn new(verifier: ResponseVerifier) -> Self {
        Self { verifier }
    }
}

impl<S> Layer<S> for VerifyResponseLayer {
    type Service = VerifyResponse<S>;

    fn layer(&self, inner: S) -> VerifyResponse<S> {
        VerifyResponse {
            inner,
            verifier: self.verifier.clone(),
        }
    }
}

/// The service that [`VerifyResponseLayer`] makes.
#[derive(Clone, Debug)]
pub struct VerifyResponse<S> {
    inner: S,
    verifier: ResponseVerifier,
}

impl<S, B, R> Service<Request<B>> for VerifyResponse<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    R: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = ResponseFuture<Self::Response, BoxError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        let sent = super::kept::keep_sent(&head);
        if let Err(error) = self.verifier.check(&sent) {
            return ResponseFuture::new(|| async { Err(error.into()) });
        }
        let answering = self.inner.call(Request::from_parts(head, body));
        let verifier = self.verifier.clone();
        ResponseFuture::new(|| async move {
            let response = answering.await.map_err(Into::into)?;
            let verified = verifier.verify(&sent, response).await?;
            Ok(verified.map(Full::new))
        })
    }
}
