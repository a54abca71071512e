//! `Verify`: verifies a request, then calls the inner service with what was verified.

use std::{
    error::Error as StdError,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, header::CONTENT_LENGTH, request::Parts,
};
use http_body::Body;
use http_body_util::Full;
use tokio::time::timeout;
use tower_service::Service;

use super::{
    handling::{Handling, detach},
    left_over::Watched,
    response::ResponseBody,
    settings::LayerSettings,
};
use crate::{
    error::{Rejection, RejectionKind},
    future::{ResponseFuture, in_box},
    idempotency::KeyTakenOut,
    message::{IDEMPOTENCY_KEY, has_split_cookie, join_cookies, remove_framing, single},
    once::{KeptLease, can_be_kept},
    request::{PendingSlot, Processing, UnprovenSlot, Verified, VerifiedPayload, refused::Refused},
};

/// The service that [`VerifyLayer`](crate::VerifyLayer) makes.
#[derive(Clone, Debug)]
pub struct Verify<S> {
    inner: S,
    settings: Arc<LayerSettings>,
}

impl<S> Verify<S> {
    pub(super) fn new(inner: S, settings: Arc<LayerSettings>) -> Self {
        Self { inner, settings }
    }

    /// Verifies a request with a body of one kind, and calls the inner service with another.
    ///
    /// Each request has an instance of the inner service of its own. The instance that is polled
    /// ready is the one to call.
    fn verify<B, I, R>(
        &mut self,
        request: Request<B>,
    ) -> ResponseFuture<Response<ResponseBody<R>>, S::Error>
    where
        S: Service<Request<I>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Send + 'static,
        R: Body<Data: Send, Error: Send> + Send + 'static,
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
        I: From<Bytes> + Send + 'static,
    {
        let mut service = self.inner.clone();
        let settings = Arc::clone(&self.settings);
        // A value that is moved into a future has room in it to the end: these are handed on by reference.
        let (mut head, body) = request.into_parts();
        ResponseFuture::new(|| async move {
            let asked = settings.verifier.asked(&head.headers);
            // In a box of its own: allocators have boxes of up to 1 KiB at hand, and none of twice that.
            let verifying = in_box(|| settings.verify(&mut head, body, &mut service));
            let verified = match verifying.await {
                Ok(verified) => verified,
                // The verifier has reported it.
                Err(Early::Rejection(rejection)) => return Ok(settings.render(&rejection, asked)),
                Err(Early::Duplicate(refused)) => {
                    // No handler runs for it: what is scarce there is for other requests.
                    drop(service);
                    // Boxed, so that what few requests need makes the future no larger for all.
                    return match Box::pin(settings.answer_to_duplicate(&head, refused)).await {
                        Ok(answer) => Ok(answer.map(ResponseBody::of_layer)),
                        Err(rejection) => Ok(settings.render(&rejection, asked)),
                    };
                }
                Err(Early::Answer(answer)) => {
                    return Ok((*answer).map(ResponseBody::of_layer));
                }
                Err(Early::Failed(error)) => return Err(error),
            };
            if unread(&verified).is_some_and(VerifiedPayload::is_answered) {
                let answer = Box::pin(shake_hands(verified)).await;
                return Ok(answer.map(ResponseBody::of_layer));
            }
            let (body, handling) = settings.hand_on(&mut head, verified);
            let calling = service.call(Request::from_parts(head, I::from(body)));
            match handling {
                Handling::Plain => Ok(settings.answer(calling.await?, asked)),
                Handling::Leased(kept, running) => {
                    let mut response = detach(calling, kept, running).wait().await?;
                    settings.leave(&mut response, asked);
                    Ok(response)
                }
                Handling::InTransaction(fate) => {
                    Ok(settings.judge(calling.await?, fate, asked).await)
                }
            }
        })
    }
}

/// An answer that is given without a call of the inner service.
enum Early<E> {
    Rejection(Rejection),
    /// The request was used before, and its answer may be on record.
    Duplicate(Refused),
    /// The handshake of a scheme. In a box, because few requests have one, and every result has room for it.
    Answer(Box<Response<Bytes>>),
    /// The inner service failed before it was ready.
    Failed(E),
}

impl<E> From<Rejection> for Early<E> {
    fn from(rejection: Rejection) -> Self {
        Self::Rejection(rejection)
    }
}

impl LayerSettings {
    /// Verifies the request and claims it, once the inner service is ready.
    async fn verify<S, B, I>(
        &self,
        head: &mut Parts,
        body: B,
        service: &mut S,
    ) -> Result<Verified, Early<S::Error>>
    where
        S: Service<Request<I>>,
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
        I: From<Bytes>,
    {
        if has_split_cookie(head) {
            join_cookies(&mut head.headers);
        }
        // In one place, because each stage that it is handed through would keep room for it.
        let body = pin!(Watched::new(body, head, &self.left_over));
        if let Some(answer) = self.verifier.handshake(head) {
            return Err(Early::Answer(Box::new(answer)));
        }
        if self.verifier.asks_in_body(head) {
            // Boxed, so that what few schemes need makes the future no larger for all.
            let answer = Box::pin(self.verifier.handshake_in_body(head, body)).await;
            return Err(match answer {
                Ok(answer) => Early::Answer(Box::new(answer)),
                Err(rejection) => {
                    self.report(&rejection);
                    rejection.into()
                }
            });
        }
        let refuse = |payload: &VerifiedPayload| {
            let refuse = self.refuse.as_ref()?;
            refuse(head, payload).map(|answer| Early::Answer(Box::new(answer)))
        };
        let readiness = pin!(async {
            if matches!(self.verifier.processing(), Processing::Retryable { .. }) {
                can_be_kept()?;
            }
            let ready = until_ready(service, self.verifier.readiness_timeout()).await?;
            Ok(ready.map_err(Early::Failed))
        });
        let verified = self
            .verifier
            .verify_when(head, body, refuse, readiness, |rejection| {
                if !self.may_have_answered(rejection) {
                    self.report(rejection);
                }
            })
            .await;
        let verified = match verified {
            Ok(verified) => verified,
            Err(refused) if self.may_have_answered(&refused.rejection) => {
                return Err(Early::Duplicate(refused));
            }
            Err(refused) => return Err(refused.rejection.into()),
        };
        let (verified, ready) = verified?;
        match ready {
            None if !unread(&verified).is_some_and(VerifiedPayload::is_answered) => {
                Err(not_ready(Duration::ZERO).into())
            }
            _ => Ok(verified),
        }
    }

    /// Puts what was verified in the place of what was sent.
    fn hand_on(&self, head: &mut Parts, verified: Verified) -> (Bytes, Handling) {
        let strip = self.strip_uncovered;
        self.verifier.withdraw_upgrade(head);
        match verified {
            Verified::Claimed(payload) | Verified::Unclaimed(payload) => {
                (hand_over(head, payload, strip), Handling::Plain)
            }
            Verified::Leased(payload, mut lease) => {
                let body = hand_over(head, payload, strip);
                head.extensions.insert(lease.status());
                lease.hold(head.extensions.get().cloned());
                let running = lease.take_running();
                // Before the service is called, which may block its thread as well.
                let kept = KeptLease::new(lease);
                (body, Handling::Leased(kept, running))
            }
            Verified::Pending(mut pending) => {
                rewrite_headers(&mut head.headers, Some(pending.unread()), 0, strip);
                let fate = pending.fate();
                head.extensions.insert(PendingSlot::holding(pending));
                (Bytes::new(), Handling::InTransaction(fate))
            }
            Verified::Unproven(unproven) => {
                // Nothing is known to be covered.
                rewrite_headers(&mut head.headers, None, 0, strip);
                let fate = unproven.fate();
                head.extensions.insert(UnprovenSlot::holding(unproven));
                (Bytes::new(), Handling::InTransaction(fate))
            }
        }
    }
}

/// The payload, also if nothing is recorded of it yet.
fn unread(verified: &Verified) -> Option<&VerifiedPayload> {
    match verified {
        Verified::Pending(pending) => Some(pending.unread()),
        verified => verified.payload(),
    }
}

/// Answers a handshake, which nobody handles.
async fn shake_hands(verified: Verified) -> Response<Bytes> {
    let answer = unread(&verified).and_then(VerifiedPayload::handshake);
    if let Verified::Leased(_, lease) = verified {
        // The lease ends by itself if the store cannot be told.
        let _ = lease.complete().await;
    }
    answer.unwrap_or_default()
}

/// Waits until the service is ready, which may take something scarce, such as a permit: it is given
/// back when the service is dropped. A service that is ready at once needs no timer.
pub(super) async fn until_ready<S: Service<R>, R>(
    service: &mut S,
    limit: Duration,
) -> Result<Result<(), S::Error>, Rejection> {
    let asked = poll_fn(|context| Poll::Ready(service.poll_ready(context))).await;
    match asked {
        Poll::Ready(answer) => Ok(answer),
        Poll::Pending => {
            // Boxed, so that who does not wait keeps no room for it.
            let ready = poll_fn(|context| service.poll_ready(context));
            Box::pin(timeout(limit, ready))
                .await
                .map_err(|_| not_ready(limit))
        }
    }
}

fn not_ready(limit: Duration) -> Rejection {
    Rejection::new(
        RejectionKind::ServiceNotReady,
        format!("the inner service was not ready within {limit:?}"),
    )
}

impl<S, B, R> Service<Request<B>> for Verify<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Body<Data: Send, Error: Send> + Send + 'static,
    B: Body<Data = Bytes> + From<Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<Self::Response, S::Error>;

    /// Is always ready: nothing scarce is held for a request that was not verified.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.verify(request)
    }
}

/// The service that [`BufferedLayer`](crate::layer::BufferedLayer) makes.
#[derive(Clone, Debug)]
pub struct BufferedVerify<S>(pub(super) Verify<S>);

impl<S, B, R> Service<Request<B>> for BufferedVerify<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Body<Data: Send, Error: Send> + Send + 'static,
    B: Body<Data: Into<Bytes>, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<Self::Response, S::Error>;

    /// Is always ready: nothing scarce is held for a request that was not verified.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.0.verify(request)
    }
}

/// Headers that some frameworks read as another method.
const METHOD_OVERRIDES: [&str; 3] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

/// Returns whether a handler does not see a header of this name as it was sent.
fn is_rewritten(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name, "content-encoding" | "trailer" | "transfer-encoding")
        || METHOD_OVERRIDES.contains(&name)
}

/// The payload becomes an extension, and its bytes the body.
fn hand_over(head: &mut Parts, payload: VerifiedPayload, strip_uncovered: bool) -> Bytes {
    // If not all of it is covered, the body that was sent would say more than the payload does.
    let body = match payload.danger_uncovered_body() {
        None => payload.bytes().clone(),
        Some(_) => Bytes::new(),
    };
    if strip_uncovered
        && head.headers.contains_key(IDEMPOTENCY_KEY)
        && payload.as_ref().header_bytes(&IDEMPOTENCY_KEY).is_none()
    {
        head.extensions.insert(KeyTakenOut);
    }
    rewrite_headers(
        &mut head.headers,
        Some(&payload),
        body.len(),
        strip_uncovered,
    );
    head.extensions.insert(payload);
    body
}

fn rewrite_headers(
    headers: &mut HeaderMap,
    payload: Option<&VerifiedPayload>,
    body_len: usize,
    strip_uncovered: bool,
) {
    if strip_uncovered {
        let covered = payload.map(VerifiedPayload::covered_headers);
        *headers = covered.into_iter().flatten().cloned().collect();
        headers.insert(CONTENT_LENGTH, body_len.into());
        return;
    }
    let covers = |name| payload.is_some_and(|payload| payload.header(name).is_some());
    let mut was_chunked = false;
    if headers.keys().any(is_rewritten) {
        // A `Content-Encoding` that names a coding was refused: this one says that there is none.
        for name in METHOD_OVERRIDES.into_iter().chain(["content-encoding"]) {
            if headers.contains_key(name) && !covers(name) {
                headers.remove(name);
            }
        }
        was_chunked = remove_framing(headers);
    }
    // While the payload is pending, the body is empty.
    let says_another = match single(headers, &CONTENT_LENGTH) {
        Ok(len) => len.is_some_and(|len| !is_length(len, body_len)),
        Err(_) => true,
    };
    if was_chunked || says_another {
        headers.insert(CONTENT_LENGTH, body_len.into());
    }
}

/// Returns whether the value is exactly this length.
fn is_length(value: &HeaderValue, body_len: usize) -> bool {
    let digits = value.to_str().ok().filter(|len| !len.starts_with('+'));
    digits.and_then(|digits| digits.parse().ok()) == Some(body_len)
}
