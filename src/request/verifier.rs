//! Verifies requests: all stages, one after another.

use std::{
    convert::Infallible,
    future::{poll_fn, ready},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Response, request::Parts};
use http_body::Body;
use tokio::sync::Semaphore;
use tracing::{Span, field::Empty};

use super::{
    admit::first_key, budget::Budget, builder::VerifierBuilder, claim::Verified, methods::Methods,
    processing::Processing,
};
use crate::{
    body::BodyLimits,
    clock::Clock,
    error::Rejection,
    key::KeyStore,
    message::{Origins, original_uri},
    metrics::{LiveNonces, Stopwatch},
    once::{NonceStore, Turns, User},
    proof::Freshness,
    scheme::{Describe, Scheme},
};

/// Verifies requests. It knows nothing of Tower or Axum; [`VerifyLayer`](crate::request::layer::VerifyLayer)
/// adapts it.
///
/// ```
/// # use countersign::*;
/// use http_body_util::Full;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// # let scheme = HeaderScheme::builder("x-signature")
/// #     .fixed_key_id("partner-1").time("x-timestamp").nonce("x-nonce")
/// #     .signs(Part::lines([Part::Method, Part::PathAndQuery, Part::Time, Part::Nonce, Part::Body]))
/// #     .build()?;
/// let secret = "the secret of partner 1";
/// let verifier = Verifier::builder(scheme.clone())
///     .keys(KeyRing::new().with("partner-1", secret)?)
///     .store(MemoryStore::new().assume_no_history())
///     .build()?;
///
/// let request = http::Request::post("/transfer").body("{}")?;
/// let signer = Signer::new(scheme, "partner-1", secret)?;
/// let (head, body) = signer.sign(request)?.into_parts();
///
/// let verified = verifier.verify(&head, Full::<bytes::Bytes>::from(body)).await?;
/// assert_eq!(verified.payload().unwrap().bytes(), "{}");
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Verifier {
    pub(super) settings: Arc<Settings>,
}

/// All that a verification needs, checked against each other by the builder.
pub(crate) struct Settings {
    pub(super) scheme: Box<dyn Describe>,
    pub(super) keys: Arc<dyn KeyStore>,
    /// `None` with [`Processing::InTransaction`] alone.
    pub(super) store: Option<Arc<dyn NonceStore>>,
    pub(super) clock: Box<dyn Clock>,
    pub(super) origins: Origins,
    pub(super) freshness: Freshness,
    /// `None` where any method may come, because the signature covers it.
    pub(super) methods: Option<Methods>,
    /// The longest time for which any claim is remembered, counted from the moment of the claim.
    pub(super) retention: Duration,
    pub(super) body: BodyLimits,
    pub(super) budget: Arc<Budget>,
    pub(super) namespace: Arc<str>,
    /// Its place among the users of the store, which it leaves when it is dropped.
    pub(super) _user: Option<Arc<User>>,
    pub(super) processing: Processing,
    /// A permit for each handler that may run under a lease.
    pub(super) running: Arc<Semaphore>,
    pub(super) store_timeout: Duration,
    pub(super) readiness_timeout: Duration,
    pub(super) live: LiveNonces,
    /// Whose turn it is to read a long body whole.
    pub(super) long_bodies: Arc<Semaphore>,
    /// Of [`Processing::InTransaction`].
    pub(super) turns: Turns,
}

impl Settings {
    /// That of one verification.
    fn span(&self) -> Span {
        let span = tracing::info_span!(
            "countersign.verify",
            namespace = &*self.namespace,
            key_id = Empty,
            body_bytes = Empty,
            outcome = Empty,
        );
        // One that nobody wants would still be entered, and its fields be looked up.
        if span.is_disabled() {
            Span::none()
        } else {
            span
        }
    }
}

impl Verifier {
    /// Configures a verifier; every setting states its default.
    pub fn builder(scheme: impl Scheme) -> VerifierBuilder<Self> {
        VerifierBuilder::new(scheme)
    }

    /// Takes a request through all stages: in a span of `tracing`, and with an event for a refusal,
    /// as [the front page](crate#logs) says.
    ///
    /// # Errors
    /// When any of them refuses it.
    ///
    /// # Panics
    /// When there is something to wait for, outside of a Tokio runtime with its timer.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` would keep room for its arguments twice"
    )]
    pub fn verify<B>(
        &self,
        head: &Parts,
        body: B,
    ) -> impl Future<Output = Result<Verified, Rejection>>
    where
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        async move {
            let at_once = ready(Ok(Ok::<(), Infallible>(())));
            match self.verify_when(head, body, at_once).await? {
                Ok((verified, _)) => Ok(verified),
                Err(never) => match never {},
            }
        }
    }

    /// Takes a request through all stages, and before the claim waits until it may be handled:
    /// nothing is claimed for a request that nobody handles, and nothing that is scarce is held for
    /// one that is not believed yet. Nobody handles a request that the scheme answers by itself.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` would keep room for its arguments twice"
    )]
    pub(crate) fn verify_when<B, T, E>(
        &self,
        head: &Parts,
        body: B,
        ready: impl Future<Output = Result<Result<T, E>, Rejection>>,
    ) -> impl Future<Output = Result<Result<(Verified, Option<T>), E>, Rejection>>
    where
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        async move {
            let span = self.settings.span();
            let started = Stopwatch::start();
            let mut taking = pin!(self.take_through(head, body, ready, &span));
            // `Instrument` would have the future moved into it.
            let verified = poll_fn(|context| {
                let _entered = span.enter();
                taking.as_mut().poll(context)
            })
            .await;
            started.verified(verified.is_ok());
            match &verified {
                Ok(Ok((verified, _))) => {
                    span.record("outcome", verified.outcome());
                }
                // The inner service failed, and says so itself.
                Ok(Err(_)) => {}
                Err(rejection) => {
                    span.record("outcome", rejection.kind().code());
                    span.in_scope(|| rejection.report());
                }
            }
            verified
        }
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` would keep room for its arguments twice"
    )]
    fn take_through<B, T, E>(
        &self,
        head: &Parts,
        body: B,
        ready: impl Future<Output = Result<Result<T, E>, Rejection>>,
        span: &Span,
    ) -> impl Future<Output = Result<Result<(Verified, Option<T>), E>, Rejection>>
    where
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        async move {
            let admitting = self.parse(head)?.admit();
            // Within a block, so that no room is kept for what was handed on.
            let (receiving, signed_in_head) = {
                let admitted = admitting.await?;
                span.record("key_id", first_key(&admitted.signatures));
                let signed_in_head = !admitted.signatures.is_empty();
                (admitted.receive(body), signed_in_head)
            };
            let mut authentic = {
                let received = receiving.await?;
                if !signed_in_head {
                    span.record("key_id", first_key(&received.signatures));
                }
                span.record("body_bytes", received.body.len());
                received.authenticate()?
            };
            if authentic.is_answered() {
                return Ok(Ok((authentic.claim().await?, None)));
            }
            // Before the inner service is asked: a duplicate that waits holds no permit of it.
            authentic.wait_for_turn().await?;
            let ready = match ready.await? {
                Ok(ready) => ready,
                Err(error) => return Ok(Err(error)),
            };
            authentic.check_freshness()?;
            Ok(Ok((authentic.claim().await?, Some(ready))))
        }
    }

    /// What a 401 asks the client for, in `Accept-Signature` (RFC 9421, section 5); `None` with a
    /// scheme that has no such header. The layer adds it by itself.
    #[must_use]
    pub fn accept_signature(&self) -> Option<&HeaderValue> {
        self.settings.scheme.accept_signature()
    }

    /// What the sender wants to be answered, of a request by which it asks, unsigned, whether this
    /// is the right place; `None` with every other, and with a scheme that was not told to answer
    /// it. The layer does so by itself.
    #[must_use]
    pub fn handshake(&self, head: &Parts) -> Option<Response<Bytes>> {
        self.settings
            .scheme
            .answer_unsigned(&head.method, original_uri(head))
    }

    /// Whether the sender retries until it is answered with success.
    pub(crate) fn sender_retries(&self) -> bool {
        self.settings.scheme.profile().sender_retries
    }

    /// How requests are processed.
    #[must_use]
    pub fn processing(&self) -> Processing {
        self.settings.processing
    }

    /// How long the inner service of a layer may take to be ready.
    pub(crate) fn readiness_timeout(&self) -> Duration {
        self.settings.readiness_timeout
    }

    pub(crate) fn store_timeout(&self) -> Duration {
        self.settings.store_timeout
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("scheme", &self.settings.scheme)
            .field("namespace", &self.settings.namespace)
            .field("processing", &self.settings.processing)
            .finish_non_exhaustive()
    }
}
