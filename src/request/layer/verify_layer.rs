//! `VerifyLayer`: its position, and its settings.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, request::Parts};
use tower_layer::Layer;

use super::{
    service::{BufferedVerify, Verify},
    settings::{LayerSettings, OnDuplicate},
};
use crate::{
    error::Rejection,
    idempotency::IdempotencyLayer,
    once::{Confirm, TransactIn},
    request::{VerifiedPayload, Verifier, VerifierBuilder},
    scheme::Scheme,
};

/// A layer behind which every request is verified, and used once.
///
/// # The steps of a request
/// 1. A request without a signature, with a stale signature, or under an unknown key is refused
///    before its body is read. There are three exceptions: Mailgun's signature is in the body, so is
///    Linear's time, and a handshake that you configured may be asked in up to 1 KiB of a body that
///    is not signed.
/// 2. The body is buffered, within limits of size, time and memory, and the MAC is compared in
///    constant time.
/// 3. Only then is the inner service asked whether it is ready, for at most
///    [`readiness_timeout`](VerifierBuilder::readiness_timeout). So an unverified request never
///    holds a permit of the inner service. After the wait, freshness is checked again.
/// 4. Then the nonce is claimed. A duplicate is answered with 409, or with 200 as
///    [`on_duplicate`](VerifyLayer::on_duplicate) says.
/// 5. The inner service gets the [`VerifiedPayload`](crate::VerifiedPayload) as an extension, and
///    the same bytes as its body. Trailers are dropped, and headers that some frameworks read as
///    another method (such as `x-http-method-override`) are removed unless they are covered. An
///    offer of `Upgrade` is removed too: `Upgrade`, `HTTP2-Settings`, their options of
///    `Connection`, and hyper's extension for upgrades.
///    (With [`Processing::InTransaction`](crate::Processing::InTransaction) nothing is claimed
///    yet: the body is empty, and the extension is a [`PendingSlot`](crate::request::PendingSlot).)
/// 6. The answer gets `Cache-Control: private, no-store`, unless the handler has set its own.
///
/// # A refusal before a large body
/// A refusal is sent at once. Some clients write their whole body before they read the answer, and
/// would lose the answer if the connection were closed. So, with HTTP/1, the rest of the body is
/// read and dropped in the background: for at most 64 bodies at once, for at most 10 seconds or
/// [`body_deadline`](VerifierBuilder::body_deadline), and for at most as many bytes in all as the
/// [budget](VerifierBuilder::body_budget_bytes) has for unverified bodies. Beyond these limits, and
/// without a Tokio runtime, the connection is closed. A body that the client holds back with
/// `Expect: 100-continue` is not asked for.
///
/// # Position
/// The MAC covers the bytes as they arrived, so put this layer outside of any layer that
/// decompresses or changes a request. Put a
/// [`SignResponseLayer`](crate::response::SignResponseLayer) outside of this layer, so that
/// rejections are signed too. Put CORS outside of this layer: preflight requests are not signed. In
/// Axum the layer works at every place in a router: it uses the target as it was before a nested
/// router removed a prefix.
///
/// This layer is always ready. Put a concurrency limit inside of this layer: outside of it, a
/// stranger who sends a body would hold a permit. Put load shedding inside too, directly around the
/// limit. Add both layers in one `tower::ServiceBuilder`. If each is added by its own call of
/// Axum's `Router::layer`, Axum puts a service between them that is always ready, and a request
/// waits for its permit after its nonce was claimed.
///
/// # Example
/// ```
/// # use countersign::{
/// #     HeaderScheme, KeyRing, MemoryStore, Part, Signer, VerifiedPayload, VerifyLayer,
/// # };
/// use axum::{Router, body::Body, routing::post};
/// use http::{Request, StatusCode};
/// use tower::ServiceExt as _;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let scheme = HeaderScheme::builder("x-signature")
/// #     .fixed_key_id("partner-1").time("x-timestamp").nonce("x-nonce")
/// #     .signs(Part::lines([Part::Method, Part::Authority, Part::PathAndQuery, Part::Time, Part::Nonce, Part::Body]))
/// #     .build()?;
/// let layer = VerifyLayer::builder(scheme.clone())
///     .public_origin("https://api.example.com")
///     .keys(KeyRing::new().with("partner-1", "the secret of partner 1")?)
///     .store(MemoryStore::new().danger_assume_no_history())
///     .build()?;
///
/// let transfer = async |payload: VerifiedPayload| format!("moved {} bytes", payload.bytes().len());
/// let app = Router::new().route("/transfer", post(transfer)).layer(layer);
///
/// // A signed request passes:
/// let signer = Signer::new(scheme, "partner-1", "the secret of partner 1")?;
/// let request = Request::post("https://api.example.com/transfer").body("{}")?;
/// let request = signer.sign(request)?.map(Body::from);
/// let response = app.clone().oneshot(request).await?;
/// assert_eq!(response.status(), StatusCode::OK);
///
/// // Another without a signature does not:
/// let request = Request::post("https://api.example.com/transfer").body(Body::from("{}"))?;
/// let response = app.oneshot(request).await?;
/// assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifyLayer {
    pub(super) settings: Arc<LayerSettings>,
}

impl VerifyLayer {
    /// Returns a builder of a layer.
    pub fn builder(scheme: impl Scheme) -> VerifierBuilder<Self> {
        VerifierBuilder::new(scheme, Self::new)
    }

    /// Returns a layer around an existing verifier. The settings that only a layer has get their
    /// defaults.
    ///
    /// ```
    /// use countersign::{Verifier, VerifyLayer};
    ///
    /// # fn f(verifier: Verifier) -> VerifyLayer {
    /// VerifyLayer::new(verifier).strip_uncovered_headers()
    /// # }
    /// ```
    pub fn new(verifier: Verifier) -> Self {
        Self {
            settings: Arc::new(LayerSettings::new(verifier)),
        }
    }

    /// Sets the answer to a duplicate. Default: [`OnDuplicate::Reject`]; with the presets for
    /// webhooks, [`OnDuplicate::Acknowledge`].
    pub fn on_duplicate(mut self, on_duplicate: OnDuplicate) -> Self {
        self.settings_mut().on_duplicate = on_duplicate;
        self
    }

    /// Removes every header that the signature does not cover from the request that the inner
    /// service gets, except `content-length`. Default: headers stay, so that tracing and
    /// compression work.
    pub fn strip_uncovered_headers(mut self) -> Self {
        self.settings_mut().strip_uncovered = true;
        self
    }

    /// Checks in this database, before a success is sent, that the handler committed its nonce.
    /// Default: no check.
    ///
    /// Use it with [`Processing::InTransaction`](crate::Processing::InTransaction) if handlers call
    /// [`consume`](crate::PendingPayload::consume) in a transaction of their own: otherwise the
    /// layer cannot see whether they committed it, or rolled it back in whole or to a savepoint. A
    /// success without a committed nonce becomes 500. The check costs a short transaction for each
    /// such success. After [`transact`](crate::PendingPayload::transact) the outcome is known, and
    /// nothing is checked.
    pub fn confirm_in(mut self, database: impl TransactIn + 'static) -> Self {
        let limit = self.settings.verifier.store_timeout();
        self.settings_mut().confirm = Some(Confirm::new(database, limit));
        self
    }

    /// Answers a duplicate with the stored answer to its intention. Default: duplicates are
    /// answered as [`on_duplicate`](Self::on_duplicate) says.
    ///
    /// A sender that got no answer can then send the same signed request again. It gets the stored
    /// answer, or 409 while the first request is handled, and no handler runs. `idempotency` must
    /// be the [`IdempotencyLayer`] inside of this layer.
    ///
    /// # Security
    /// An attacker who captures a signed request and sends it again, while its signature is fresh,
    /// gets the answer to it. Without this setting, the replay is refused. A replay changes nothing
    /// in either case.
    ///
    /// ```
    /// # use axum::{Router, routing::post};
    /// # use countersign::{HttpMessageSignatures, KeyRing, MemoryStore, VerifyLayer};
    /// use countersign::{idempotency::IdempotencyLayer, store::MemoryAnswers};
    ///
    /// let idempotency = IdempotencyLayer::new(MemoryAnswers::new());
    /// let verify = VerifyLayer::builder(HttpMessageSignatures::default())
    ///     .public_origin("https://api.example.com")
    ///     .keys(KeyRing::new().with("partner-1", "the secret of partner 1")?)
    ///     .store(MemoryStore::new())
    ///     .answer_duplicates_from(&idempotency)
    ///     .build()?;
    /// let app: Router = Router::new()
    ///     .route("/transfer", post(async || "moved"))
    ///     .layer(idempotency)
    ///     .layer(verify);
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    pub fn answer_duplicates_from(mut self, idempotency: &IdempotencyLayer) -> Self {
        self.settings_mut().idempotency = Some(idempotency.clone());
        self
    }

    /// Sets a function that can answer a verified request before its nonce is claimed. If `refuse`
    /// returns an answer, the layer sends it as it is, the inner service does not run, and the same
    /// request may come again. Default: no function.
    ///
    /// Use it for decisions that need only the request, such as whether a part is covered. It is
    /// called after the MAC has passed, and before the inner service is asked whether it is ready.
    ///
    /// # Security
    /// The request may be a duplicate, because nothing has checked that yet: `refuse` must not
    /// change anything. It is not called by a layer that [observes](Self::danger_observe_only), for
    /// a request that the scheme answers itself, or if a part of the message is
    /// [supplied](crate::Part::supplied) later.
    ///
    /// ```
    /// # use countersign::{VerifiedPayload, VerifyLayer};
    /// use http::{Response, StatusCode, request::Parts};
    ///
    /// # fn f(layer: VerifyLayer) -> VerifyLayer {
    /// layer.refuse_if(|head: &Parts, payload: &VerifiedPayload| {
    ///     let is_unsigned = head.uri.query().is_some() && payload.query().is_none();
    ///     is_unsigned.then(|| {
    ///         let mut answer = Response::new("The query is not signed.\n".into());
    ///         *answer.status_mut() = StatusCode::BAD_REQUEST;
    ///         answer
    ///     })
    /// })
    /// # }
    /// ```
    pub fn refuse_if(
        mut self,
        refuse: impl Fn(&Parts, &VerifiedPayload) -> Option<Response<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        self.settings_mut().refuse = Some(Arc::new(refuse));
        self
    }

    /// Sets a function that writes the body of rejections: its content type and its bytes. Default:
    /// `application/problem+json`.
    ///
    /// The function cannot change status and headers. Do not show [`Rejection::reason`] to the
    /// sender. If a scheme needs refusals without a body, as [`Xero`](crate::webhooks::Xero) does,
    /// they stay without a body.
    ///
    /// ```
    /// # use countersign::{Rejection, VerifyLayer};
    /// use http::HeaderValue;
    ///
    /// # fn f(layer: VerifyLayer) -> VerifyLayer {
    /// layer.render_rejection(|rejection: &Rejection| {
    ///     let text = format!("refused: {}\n", rejection.kind().code());
    ///     (HeaderValue::from_static("text/plain"), text.into())
    /// })
    /// # }
    /// ```
    pub fn render_rejection(
        mut self,
        renderer: impl Fn(&Rejection) -> (HeaderValue, Bytes) + Send + Sync + 'static,
    ) -> Self {
        self.settings_mut().renderer = Some(Arc::new(renderer));
        self
    }

    /// Returns the same layer for services whose request body cannot be made from bytes, such as
    /// services of plain hyper. It takes any body, and gives the inner service a `Full<Bytes>`.
    pub fn buffered(self) -> BufferedLayer {
        BufferedLayer(self)
    }

    fn settings_mut(&mut self) -> &mut LayerSettings {
        Arc::make_mut(&mut self.settings)
    }
}

impl VerifierBuilder<VerifyLayer> {
    /// Accepts another scheme too, for a sender that changes from one scheme to the other, or a
    /// route that takes both. A layer has at most four schemes. Calls of [`keys`](Self::keys) and
    /// [`secret`](Self::secret) after `or` are for this scheme. Every other setting is for all
    /// schemes.
    ///
    /// A layer remembers for as long as its scheme with the longest retention needs. On a namespace
    /// in use, call the store's `extend_retention` first (see [choosing](crate::guide::choosing)).
    ///
    /// - **Every signature must pass.** If a request has the signature headers of several schemes,
    ///   even broken ones, it must pass under each of these schemes. A valid signature of one
    ///   scheme does not help a request whose signature of another is wrong.
    /// - **Several signatures must belong together.** Either one covers the headers of the other,
    ///   as RFC 9421 can; or both name one nonce, or one event id, under one key id, and both cover
    ///   method and path, or neither does. Otherwise anybody could combine the signatures of two
    ///   requests with one body: the answer is 401, `signature_insufficient`.
    /// - **All nonces are claimed**, in the order of the schemes. A request that carries several
    ///   signatures is refused if any of them was used, and then all of them are used. Either
    ///   signature sent alone later is a replay.
    /// - The payload holds what the first of these schemes covers;
    ///   [`VerifiedPayload::scheme`](crate::VerifiedPayload::scheme) names it. Quotas and logs go by
    ///   the first key id.
    /// - No two of the schemes may have a secret in common, or their signature in one header. Key
    ///   stores that look keys up cannot be compared: keep their secrets apart.
    ///
    /// # Limits
    /// A request that was sent with several signatures, and never arrived, can be delivered with
    /// fewer of them: a signature that covers no other is also valid alone. It is then the same
    /// request only if both signatures make one claim: one nonce, or one event id, under one key id,
    /// with method and path covered by both or by neither.
    ///
    /// Signed responses of such a layer state the outcome `open`.
    ///
    /// ```
    /// use countersign::{HttpMessageSignatures, KeyRing, MemoryStore, VerifyLayer, webhooks::GitHub};
    ///
    /// let layer = VerifyLayer::builder(HttpMessageSignatures::default())
    ///     .keys(KeyRing::new().with("partner-1", "the secret of partner 1")?)
    ///     .or(GitHub::new())
    ///     .secret("the secret of the webhook")
    ///     .public_origin("https://api.example.com")
    ///     .store(MemoryStore::new())
    ///     .processing(countersign::Processing::AtMostOnce) // their senders do not retry alike
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    pub fn or(self, scheme: impl Scheme) -> Self {
        self.accept(scheme)
    }

    /// Accepts a request with the signatures of [several schemes](Self::or) even if nothing ties
    /// them together, for a sender that signs each request in two separate ways. Default: refused.
    ///
    /// An attacker who has two signed requests with one body, or one such request and a key of
    /// another scheme, can combine the signatures. The handler then runs once for both. If one of
    /// them was used before, it does not run at all: the other is refused or acknowledged, and its
    /// event is lost. An attacker who stops a request can deliver it once with each signature. A
    /// caller that [consumes](crate::PendingPayload::consume) in a transaction of its own, and
    /// rolls back for a replay, uses up no signature of that request.
    pub fn danger_unrelated_signatures(self) -> Self {
        self.accept_unrelated_signatures()
    }

    /// Sets [`VerifyLayer::on_duplicate`].
    pub fn on_duplicate(self, on_duplicate: OnDuplicate) -> Self {
        self.then(move |layer| layer.on_duplicate(on_duplicate))
    }

    /// Sets [`VerifyLayer::strip_uncovered_headers`].
    pub fn strip_uncovered_headers(self) -> Self {
        self.then(VerifyLayer::strip_uncovered_headers)
    }

    /// Sets [`VerifyLayer::confirm_in`].
    pub fn confirm_in(self, database: impl TransactIn + 'static) -> Self {
        self.then(move |layer| layer.confirm_in(database))
    }

    /// Sets [`VerifyLayer::answer_duplicates_from`]. [`build`](Self::build) refuses a layer whose
    /// answers could be those of another verifier of this process: one that keeps its answers in the
    /// same store and namespace, and has other secrets under a key id.
    pub fn answer_duplicates_from(self, idempotency: &IdempotencyLayer) -> Self {
        let idempotency = idempotency.clone();
        self.then_if(move |layer| {
            idempotency.answers_for(layer.settings.verifier.memory())?;
            Ok(layer.answer_duplicates_from(&idempotency))
        })
    }

    /// Sets [`VerifyLayer::render_rejection`].
    pub fn render_rejection(
        self,
        renderer: impl Fn(&Rejection) -> (HeaderValue, Bytes) + Send + Sync + 'static,
    ) -> Self {
        self.then(move |layer| layer.render_rejection(renderer))
    }
}

impl<S> Layer<S> for VerifyLayer {
    type Service = Verify<S>;

    fn layer(&self, inner: S) -> Verify<S> {
        Verify::new(inner, Arc::clone(&self.settings))
    }
}

/// [`VerifyLayer`] for any body; made by [`VerifyLayer::buffered`].
#[derive(Clone, Debug)]
#[must_use]
pub struct BufferedLayer(VerifyLayer);

impl BufferedLayer {
    pub(super) fn into_layer(self) -> VerifyLayer {
        self.0
    }
}

impl<S> Layer<S> for BufferedLayer {
    type Service = BufferedVerify<S>;

    fn layer(&self, inner: S) -> BufferedVerify<S> {
        BufferedVerify(self.0.layer(inner))
    }
}
