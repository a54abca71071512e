//! `SignLayer` and `SignAgainLayer`: how the signing of a client's requests is set.

use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{Sign, SignAgain, Signer};
use crate::body::BodyLimits;

/// A layer that signs every request of an HTTP client.
///
/// # What happens to a request
/// 1. Its body may be any [`Body`](http_body::Body). It is read whole, within limits of size and
///    time, for the signature stands in the head; a body of one frame is not copied. Trailers are
///    dropped.
/// 2. It is signed under the [present key](Signer::rotate), with the present time and a new nonce.
/// 3. The client sends it with a `Full<Bytes>` as its body. The answer is given back as it is.
///
/// A request that cannot be signed is not sent: the error is a [`SignError`](crate::SignError). An
/// error of the client comes boxed as it is. Either is found by `downcast_ref`.
///
/// # Where it stands
/// - Nearest to the client: what is covered has to be there when it is signed, such as headers that
///   other layers add, and nothing may change it afterwards, such as compression.
/// - A layer that retries repeats the signed request as it is where it stands inside of this layer,
///   and a server refuses the copy if the first one arrived. Outside of this layer each attempt is
///   a new request, and may have one more effect.
/// - Redirects are followed outside of this layer, if at all, so that each request is signed for
///   the place it goes to; and only where every place may get one, for whoever gets a signed
///   request can pass it on to where its signature is valid.
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
/// # use countersign::*;
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

#[derive(Clone, Debug)]
pub(super) struct SignSettings {
    pub(super) signer: Signer,
    pub(super) limits: BodyLimits,
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

    /// The greatest length of a body, in bytes. Default: 1 MiB.
    pub fn max_body_bytes(mut self, max: usize) -> Self {
        self.settings.limits.max_bytes = max;
        self
    }

    /// The time in which the whole body has to be there. Default: 10 seconds.
    pub fn body_deadline(mut self, deadline: Duration) -> Self {
        self.settings.limits.deadline = deadline;
        self
    }

    /// Signs a request that may be repeated a second time, where the server asks for it. Default:
    /// each request is signed once.
    pub fn sign_again(self) -> SignAgainLayer {
        SignAgainLayer {
            settings: SignAgainSettings {
                sign: self.settings,
                max_correction: Duration::from_secs(60 * 60),
            },
        }
    }
}

impl<S> Layer<S> for SignLayer {
    type Service = Sign<S>;

    fn layer(&self, inner: S) -> Sign<S> {
        Sign::new(inner, Arc::new(self.settings.clone()))
    }
}

/// A [`SignLayer`] that signs anew, once, where the server asks for it; made by
/// [`SignLayer::sign_again`].
///
/// # When
/// Only for a request whose sender said that it may be repeated, with [`Repeatable`] among its
/// extensions; its method is not asked. And only where the answer is `application/problem+json`, up
/// to 4 KiB, with one of these as its `code`, and the status that belongs to it:
///
/// | code | signed anew with |
/// | --- | --- |
/// | `signature_expired` | the server's `Date`, where it is later than what was signed |
/// | `signature_not_yet_valid` | the server's `Date`, where it is earlier than what was signed |
/// | `sign_again` | the present time, or the server's `Date` where that is later |
///
/// The correction is for this one signature; the clock of the [`Signer`] stays as it is. Where it
/// would be larger than [`max_correction`](Self::max_correction), nothing is signed. The second
/// request has a new nonce, and is signed under the key of that moment.
///
/// Every other answer is given back with its body byte for byte, and so is the answer to the second
/// request, whatever it says.
///
/// # Security
/// - Both requests are valid, once each, as long as they are fresh: a first one that was dated ahead
///   becomes valid when its time comes. Whoever saw it can then send it. Mark as [`Repeatable`] only
///   what may happen twice, or has a covered `Idempotency-Key` that the server honours.
/// - Whoever answers can make us sign once more, with a time of their choice within the correction.
///   So have the answers come over TLS, from a server that was authenticated, or have them verified
///   by a [`VerifyResponseLayer`](crate::VerifyResponseLayer) inside of this one; and do not allow
///   for a larger correction than clocks are off.
///
/// # Example
/// ```
/// # use countersign::*;
/// use http::Request;
/// # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// # use tower::{ServiceBuilder, ServiceExt as _};
/// # async fn f(signer: Signer) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let client = Client::builder(TokioExecutor::new()).build_http();
/// let client = ServiceBuilder::new()
///     .layer(SignLayer::new(signer).sign_again())
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

#[derive(Clone, Debug)]
pub(super) struct SignAgainSettings {
    pub(super) sign: SignSettings,
    pub(super) max_correction: Duration,
}

impl SignAgainLayer {
    /// The greatest correction of a clock, towards the past and the future. Default: 1 hour; more
    /// than 1 day counts as 1 day.
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

/// Says that a request may be signed anew and sent again, as an extension of the request.
///
/// ```
/// use countersign::Repeatable;
///
/// let request = http::Request::put("https://api.example.com/orders/7")
///     .extension(Repeatable)
///     .body("{}")?;
/// # Ok::<_, http::Error>(())
/// ```
///
/// See [`SignAgainLayer`] for what that means.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a mark that holds nothing")]
pub struct Repeatable;
