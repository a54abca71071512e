//! `SignLayer` and `SignAgainLayer`: how the signing of a client's requests is set.

use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    service::{Sign, SignAgain, SignAgainSettings, SignSettings},
    signer::Signer,
};
use crate::body::BodyLimits;

/// A layer that signs every request of an HTTP client.
///
/// # The steps of a request
/// 1. The layer reads the whole body, which can be any [`Body`](http_body::Body), within limits of
///    size and time, because the signature is in the head. A body of one frame is not copied.
///    Trailers are dropped.
/// 2. The layer signs the request under the [current key](Signer::rotate), with the current time
///    and a new nonce.
/// 3. The client sends the request with a `Full<Bytes>` as its body. The layer returns its answer
///    unchanged.
///
/// A request that cannot be signed is not sent: the error is a
/// [`SignError`](crate::error::SignError). An error of the client is boxed. `downcast_ref` finds
/// either.
///
/// # Position
/// - Nearest to the client: what is covered must be there when it is signed, such as headers that
///   other layers add, and nothing may change it afterwards, such as compression.
/// - A layer that retries repeats the signed request as it is if it is inside of this layer, and a
///   server refuses the duplicate if the first one arrived. Outside of this layer each attempt is a
///   new request, and may have one more effect.
/// - A layer that follows redirects must be outside of this layer, so that each request is signed
///   for the place it goes to. Follow redirects only to servers that you trust: a server that gets
///   a signed request can pass it on to any server at which its signature is valid.
///
/// # Example
/// ```
/// use countersign::{HttpMessageSignatures, SignLayer, Signer};
/// use http::Request;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::{ServiceBuilder, ServiceExt as _};
///
/// # async fn f() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let signer = Signer::new(HttpMessageSignatures::default(), "billing", "the secret of billing")?;
/// let client = ServiceBuilder::new()
///     .layer(SignLayer::new(signer))
///     .service(Client::builder(TokioExecutor::new()).build_http());
///
/// let request = Request::post("http://api.example.com/transfer").body("{}".to_owned())?;
/// let response = client.clone().oneshot(request).await?;
/// # Ok(()) }
/// ```
///
/// A client whose requests have another body is adapted inside of the layer, here Axum's:
/// ```
/// # use countersign::{SignLayer, Signer};
/// # use bytes::Bytes;
/// # use http::Request;
/// # use http_body_util::Full;
/// # use hyper_util::{client::legacy::{Client, connect::HttpConnector}, rt::TokioExecutor};
/// # use tower::{ServiceBuilder, ServiceExt as _};
/// # async fn f(signer: Signer, incoming: Request<axum::body::Body>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let client: Client<HttpConnector, axum::body::Body> =
///     Client::builder(TokioExecutor::new()).build_http();
/// let client = ServiceBuilder::new()
///     .layer(SignLayer::new(signer))
///     .map_request(|request: Request<Full<Bytes>>| request.map(axum::body::Body::new))
///     .service(client);
/// # let response = client.oneshot(incoming).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SignLayer {
    settings: SignSettings,
}

impl SignLayer {
    /// Signs with this signer; clones of it share its key.
    pub fn new(signer: Signer) -> Self {
        Self {
            settings: SignSettings {
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

    /// Sets the time in which the whole body must be there. Default: 10 seconds.
    pub fn body_deadline(mut self, deadline: Duration) -> Self {
        self.settings.limits.deadline = deadline;
        self
    }

    /// Signs a repeatable request once more if a verified response says that the first was not
    /// accepted, and never will be. Default: each request is signed once.
    ///
    /// It needs a [`VerifyResponseLayer`](crate::response::VerifyResponseLayer) inside of it.
    /// Without verified responses, nothing is signed again.
    pub fn sign_again(self) -> SignAgainLayer {
        SignAgainLayer {
            settings: SignAgainSettings {
                sign: self.settings,
                unverified: false,
                max_correction: Duration::from_secs(60 * 60),
            },
        }
    }

    /// Signs a repeatable request once more if a response, which nobody verifies, asks for it.
    /// Default: each request is signed once.
    ///
    /// Both requests can then have an effect; see [`SignAgainLayer`] for when.
    pub fn danger_sign_again_unverified(self) -> SignAgainLayer {
        let mut layer = self.sign_again();
        layer.settings.unverified = true;
        layer
    }
}

impl<S> Layer<S> for SignLayer {
    type Service = Sign<S>;

    fn layer(&self, inner: S) -> Sign<S> {
        Sign::new(inner, Arc::new(self.settings.clone()))
    }
}

/// A [`SignLayer`] that signs a request once more; made by [`SignLayer::sign_again`].
///
/// # When
/// Only if all of this holds:
/// - The sender said that the request may be repeated, with
///   [`Repeatable`](crate::client::Repeatable) among its extensions. The method does not count.
/// - The response was verified by a [`VerifyResponseLayer`](crate::response::VerifyResponseLayer)
///   inside of this layer, and its [outcome](crate::response::SignedBy::outcome) is
///   [`Never`](crate::response::Outcome::Never): the first request was not accepted, and no server
///   will ever accept it.
/// - The time of the server, which the second request is signed with, is not further from our own
///   than [`max_correction`](Self::max_correction).
///
/// So a clock that is far behind is corrected for one request. The clock of the [`Signer`] stays as
/// it is. After `signature_not_yet_valid`, 400, 408, 413, or a store that is unavailable, nothing
/// is signed again, because the first request can still be accepted.
///
/// The second request has a new nonce, and is signed under the current key. The caller gets its
/// response, whatever it says. Every response keeps its body byte for byte.
///
/// # Without verified responses
/// [`danger_sign_again_unverified`](SignLayer::danger_sign_again_unverified) goes by responses that
/// nobody verifies. A response must be `application/problem+json`, at most 4 KiB long, with one of
/// these codes and the status of that code:
///
/// | code | signed again with |
/// | --- | --- |
/// | `signature_expired` | the server's `Date`, if it is later than the first signed time |
/// | `signature_not_yet_valid` | the server's `Date`, if it is earlier than the first signed time |
/// | `sign_again` | the current time, or the server's `Date` if that is later |
///
/// - Both requests can have an effect. A first request that was dated ahead becomes valid when its
///   time comes, and somebody who saw it can then deliver it. A first request can also have been
///   accepted before, or be accepted later, if somebody on the way answers in the server's place.
/// - Anybody who can answer can make the client sign once more, with a time of their choice within
///   the correction.
///
/// Use it only if the requests may have two effects, or have a covered `Idempotency-Key` that the
/// server honours.
///
/// # Example
/// ```
/// # use countersign::{
/// #     client::Repeatable, response::{ResponseVerifier, VerifyResponseLayer}, SignLayer,
/// #     Signer,
/// # };
/// use http::Request;
/// # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// # use tower::{ServiceBuilder, ServiceExt as _};
/// # async fn f(signer: Signer, verifier: ResponseVerifier) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let client = Client::builder(TokioExecutor::new()).build_http();
/// let client = ServiceBuilder::new()
///     .layer(SignLayer::new(signer).sign_again())
///     .layer(VerifyResponseLayer::new(verifier))
///     .service(client);
///
/// let request = Request::put("http://api.example.com/orders/7")
///     .extension(Repeatable)
///     .body("{}".to_owned())?;
/// let response = client.oneshot(request).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SignAgainLayer {
    settings: SignAgainSettings,
}

impl SignAgainLayer {
    /// Sets the greatest correction of a clock, towards the past and the future. Default: 1 hour;
    /// more than 1 day counts as 1 day.
    pub fn max_correction(mut self, max: Duration) -> Self {
        self.settings.max_correction = max.min(Duration::from_secs(24 * 60 * 60));
        self
    }
}

impl<S> Layer<S> for SignAgainLayer {
    type Service = SignAgain<S>;

    fn layer(&self, inner: S) -> SignAgain<S> {
        SignAgain::new(inner, Arc::new(self.settings.clone()))
    }
}
