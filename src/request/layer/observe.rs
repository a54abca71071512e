//! `ObserveLayer`: verifies, logs and counts, and lets every request through.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    observed_body::{ObservedBody, Observing},
    settings::LayerSettings,
    verify_layer::{BufferedLayer, VerifyLayer},
};
use crate::{
    error::{ConfigError, ConfigErrorKind, Rejection},
    future::ResponseFuture,
    once::{Handled, KeptLease, Report, can_be_kept},
    request::{Processing, Verified, VerifiedPayload},
};

impl VerifyLayer {
    /// Verifies every request as this layer would, logs and counts what it would refuse, and **lets
    /// every request through**: for the days before a service that is in use begins to verify.
    ///
    /// A request that is not signed, is forged or was used before reaches the handler, like every
    /// other. No payload is given out, so the extractors of this crate answer 500: a handler reads
    /// the request as it did before.
    ///
    /// - A request that would be refused is logged as `request would be refused`, with the same
    ///   fields as a refusal, and counted as one. A duplicate that would be acknowledged is logged
    ///   as `duplicate would be acknowledged`.
    /// - Head, body and response are passed on as they are. The inner service gets an
    ///   [`ObservedBody`], with every frame of the body, trailers and errors included: Axum takes
    ///   it; another service must take any body. A body that is longer or slower than the limits,
    ///   or breaks off, is counted, and passed on too. At most the limit of it is held in memory,
    ///   and a slow body delays the handler until `body_deadline`. The body of a request that would
    ///   be refused counts in no budget while the handler has not read it: bound the requests that
    ///   run, as before.
    /// - Nonces are claimed in the same store and namespace, so that a request which was handled is
    ///   a replay once the layer verifies. With [`Processing::Retryable`], a request is completed
    ///   if the handler answers with 2xx, and otherwise released.
    /// - The response has a [`WouldRefuse`] among its extensions if the request would be refused.
    /// - Challenges of senders are not answered, and signed responses state the outcome `open`.
    ///
    /// ```
    /// # use countersign::{MemoryStore, VerifyLayer, webhooks::GitHub};
    /// # use axum::{Router, body::Bytes, routing::post};
    /// let layer = VerifyLayer::builder(GitHub::new())
    ///     .secret("the secret of the webhook")
    ///     .store(MemoryStore::new())
    ///     .build()?
    ///     .danger_observe_only()?;
    ///
    /// let app: Router = Router::new().route("/github", post(async |_: Bytes| "")).layer(layer);
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error with [`Processing::InTransaction`]: nothing records nonces before the
    /// handler does, so that every request could be used once more after the layer is switched on.
    pub fn danger_observe_only(self) -> Result<ObserveLayer, ConfigError> {
        if self.settings.verifier.processing() == Processing::InTransaction {
            let what = "with `Processing::InTransaction` only the handler can record a nonce, and \
                        `danger_observe_only` gives it none; observe with a store and another \
                        processing, in a namespace of its own";
            return Err(ConfigErrorKind::Processing(what).into());
        }
        tracing::warn!("requests are observed only: every request is let through, signed or not");
        Ok(ObserveLayer {
            settings: self.settings,
        })
    }
}

impl BufferedLayer {
    /// As [`VerifyLayer::danger_observe_only`]. The inner service must take any body.
    ///
    /// # Errors
    /// Returns an error as [`VerifyLayer::danger_observe_only`] does.
    pub fn danger_observe_only(self) -> Result<ObserveLayer, ConfigError> {
        self.into_layer().danger_observe_only()
    }
}

/// A layer that verifies, logs and counts, and lets every request through; made by
/// [`VerifyLayer::danger_observe_only`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ObserveLayer {
    settings: Arc<LayerSettings>,
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe {
            inner,
            settings: Arc::clone(&self.settings),
        }
    }
}

/// Says why an [`ObserveLayer`] would refuse a request, as an extension of the response. A layer around
/// it can count and log what would be refused; the client is told nothing.
#[derive(Clone, Debug)]
pub struct WouldRefuse(Rejection);

impl WouldRefuse {
    /// Returns the rejection that the request would be answered with.
    #[must_use]
    pub fn rejection(&self) -> &Rejection {
        &self.0
    }
}

/// The service that [`ObserveLayer`] makes.
#[derive(Clone, Debug)]
pub struct Observe<S> {
    inner: S,
    settings: Arc<LayerSettings>,
}

impl<S, B, R> Service<Request<B>> for Observe<S>
where
    S: Service<Request<ObservedBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Send + 'static,
    B: Body<Data: Into<Bytes>, Error: fmt::Display + Send> + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<Response<R>, S::Error>;

    /// Is always ready, as the layer that verifies is.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut service = self.inner.clone();
        let settings = Arc::clone(&self.settings);
        ResponseFuture::new(|| async move {
            let (request, kept, refused) = settings.observe(request).await;
            poll_fn(|context| service.poll_ready(context)).await?;
            let mut response = service.call(request).await?;
            if let Some(refused) = refused {
                response.extensions_mut().insert(WouldRefuse(refused));
            }
            if let Some(kept) = kept {
                drop(kept.settle(Handled::by(response.status())));
            }
            Ok(response)
        })
    }
}

impl LayerSettings {
    /// The request as it came, the lease on it if it is new and processed under one, and why it would
    /// be refused.
    async fn observe<B>(
        &self,
        request: Request<B>,
    ) -> (
        Request<ObservedBody<B>>,
        Option<KeptLease>,
        Option<Rejection>,
    )
    where
        B: Body<Data: Into<Bytes>, Error: fmt::Display>,
    {
        let (mut head, body) = request.into_parts();
        // Statements about a refused request are not true of a request that is let through.
        let report = head.extensions.remove::<Report>();
        let observing = Observing::new(body);
        let readiness = async {
            if matches!(self.verifier.processing(), Processing::Retryable { .. }) {
                can_be_kept()?;
            }
            Ok(Ok::<(), std::convert::Infallible>(()))
        };
        let verifying = self.verifier.verify_when(
            &head,
            observing.looked_at(),
            |_| None,
            readiness,
            |rejection| {
                rejection.report_observed(self.acknowledges(rejection));
            },
        );
        let (verified, refused) = match verifying.await {
            Ok(Ok((verified, _))) => (Some(verified), None),
            Ok(Err(never)) => match never {},
            Err(refused) => (None, Some(refused.rejection)),
        };
        let refused = refused.filter(|rejection| !self.acknowledges(rejection));
        let charged: Option<VerifiedPayload> = verified
            .as_ref()
            .and_then(|verified| verified.payload().cloned());
        let kept = match verified {
            Some(Verified::Leased(_, mut lease)) => {
                lease.hold(head.extensions.get().cloned());
                Some(KeptLease::new(lease))
            }
            _ => None,
        };
        if let Some(report) = report {
            head.extensions.insert(report);
        }
        let body = observing.pass_on(charged);
        (Request::from_parts(head, body), kept, refused)
    }
}
