//! `SignResponseLayer`: how the signing of a server's responses is set.

use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    sign_service::{SignResponse, SignResponseSettings},
    signer::ResponseSigner,
};
use crate::body::BodyLimits;

/// A layer that signs every response of a service, bound to the request that it answers.
///
/// # The steps of a response
/// 1. The whole body is read, within limits of size and time, because the signature is in the head.
///    Trailers are dropped, and `content-length` is that of the body. A response to `HEAD`, and one
///    with 204 or 304, is signed without a body.
/// 2. The response is signed under the [current key](ResponseSigner::rotate), with the current
///    time. Its headers stay as they are, `Cache-Control` among them. Only `countersign-outcome`
///    and `countersign-received` are [the server's
///    own](crate::HttpMessageSignatures#statements-of-a-response).
/// 3. A response that cannot be signed is replaced by 500 with the code `response_not_signed`,
///    which is signed if possible. This happens if the body is over the limit, broken off, too
///    slow, or shorter or longer than its `content-length`; if the response switches protocols; or
///    if it has a signature of the same label already. The reason is in the log and, as a
///    [`Rejection`](crate::Rejection), among the extensions. The request has been handled all the
///    same.
///
/// A request that no response could be bound to, such as one with two `Host`s, is answered with 400
/// or 421, without a signature, and does not reach the inner service.
///
/// # Position
/// - Outside of [`VerifyLayer`](crate::VerifyLayer), so that rejections are signed too, and their
///   outcome is stated. Without that layer inside, every outcome is `open`. Put it also outside
///   of any layer that changes a response, such as compression. In Axum it works at every place of
///   a router.
/// - Do not use it for streams that are longer than the limit, or that do not end.
/// - With [`Processing::Retryable`](crate::Processing::Retryable) the lease is completed by what
///   the handler answered, even where 500 takes its place here.
///
/// # Example
/// ```
/// use axum::{Router, routing::post};
/// use countersign::{
///     response::{ResponseSigner, SignResponseLayer}, HttpMessageSignatures, KeyRing,
///     MemoryStore, VerifyLayer,
/// };
///
/// # async fn transfer() {}
/// let verify = VerifyLayer::builder(HttpMessageSignatures::default())
///     .public_origin("https://api.example.com")
///     .keys(KeyRing::new().with("partner-1", "the secret of partner 1")?)
///     .store(MemoryStore::new())
///     .build()?;
/// let signer = ResponseSigner::new(
///     HttpMessageSignatures::default(),
///     "api",
///     "the secret of the api for partner 1",
/// )?;
///
/// let app: Router = Router::new()
///     .route("/transfer", post(transfer))
///     .layer(verify)
///     .layer(SignResponseLayer::new(signer.public_origin("https://api.example.com")?));
/// # Ok::<_, countersign::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SignResponseLayer {
    settings: SignResponseSettings,
}

impl SignResponseLayer {
    /// Signs with this signer; clones of it share its key.
    pub fn new(signer: ResponseSigner) -> Self {
        Self {
            settings: SignResponseSettings {
                signer,
                limits: BodyLimits::default(),
            },
        }
    }

    /// Sets the greatest length of a body, in bytes. Default: 1 MiB.
    pub fn max_body_bytes(mut self, max: usize) -> Self {
        self.settings.limits.max_bytes = max;
        self
    }

    /// Sets the time in which the whole body must be there, once the response has begun. Default:
    /// 10 seconds.
    pub fn body_deadline(mut self, deadline: Duration) -> Self {
        self.settings.limits.deadline = deadline;
        self
    }
}

impl<S> Layer<S> for SignResponseLayer {
    type Service = SignResponse<S>;

    fn layer(&self, inner: S) -> SignResponse<S> {
        SignResponse::new(inner, Arc::new(self.settings.clone()))
    }
}
