//! `Idempotent`: claims the key of a request, runs its handler, and records the answer.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    collect::{Collected, collect},
    duplicate::said,
};
use crate::{
    error::{Rejection, RejectionKind},
    future::{ResponseFuture, take_ready},
    idempotency::{
        Applicant, Asked, Held, IdempotencyLayer, PendingAnswer, StoredAnswer, is_stored,
    },
    request::{
        VerifiedPayload,
        layer::{detached::Detached, response::ResponseBody, service::until_ready},
    },
};

/// The service that [`IdempotencyLayer`] makes.
#[derive(Clone, Debug)]
pub struct Idempotent<S> {
    inner: S,
    layer: IdempotencyLayer,
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = Idempotent<S>;

    fn layer(&self, inner: S) -> Idempotent<S> {
        Idempotent {
            inner,
            layer: self.clone(),
        }
    }
}

impl<S, B, R> Service<Request<B>> for Idempotent<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Body<Data = Bytes, Error: Send> + Send + 'static,
    B: Send + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<Self::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = take_ready(&mut self.inner);
        let layer = self.layer.clone();
        ResponseFuture::new(|| async move { serve(layer, service, request).await })
    }
}

async fn serve<S, B, R>(
    layer: IdempotencyLayer,
    mut service: S,
    request: Request<B>,
) -> Result<Response<ResponseBody<R>>, S::Error>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Body<Data = Bytes, Error: Send> + Send + 'static,
    B: Send + 'static,
{
    let (mut head, body) = request.into_parts();
    let named = match head.extensions.get::<VerifiedPayload>() {
        Some(payload) => layer.named(said(payload, &head)),
        None => Err(Rejection::new(
            RejectionKind::StoreMisconfigured,
            "an `IdempotencyLayer` got a request without a verified payload: put it inside of a \
             `VerifyLayer`, whose processing is not `InTransaction`; answers can be recorded in \
             transactions with `in_transaction` of the layer itself",
        )),
    };
    let named = match named {
        Ok(named) => named,
        Err(rejection) => return Ok(refuse(&rejection)),
    };
    let pending = layer
        .is_in_transaction()
        .then(|| layer.pending(named.as_ref()));
    if let Some(pending) = &pending {
        head.extensions.insert(pending.clone());
    }
    let request = Request::from_parts(head, body);
    let Some(named) = named else {
        return service.call(request).await.map(inner);
    };
    let applicant = Applicant::new(&layer.settings.going_on, &named);
    let running = async move {
        let mut has_waited = false;
        // A request that waits for others with its key gives back what is scarce in the service.
        let waits = || {
            service = service.clone();
            has_waited = true;
        };
        let held = match layer.ask(named, waits).await {
            Ok(Asked::New(held)) => held,
            Ok(Asked::Answered(answer)) => {
                tracing::info!("stored answer replayed");
                return Ok(answer.replayed().map(ResponseBody::of_layer));
            }
            Err(rejection) => return Ok(refuse(&rejection)),
        };
        if has_waited {
            let not_ready = match until_ready(&mut service, layer.settings.timeout).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(Err(error)),
                Err(rejection) => Some(Ok(refuse(&rejection))),
            };
            if let Some(answer) = not_ready {
                held.release().await;
                return answer;
            }
        }
        let response = service.call(request).await?;
        Ok(settle(&layer, held, pending.as_ref(), response).await)
    };
    Detached::new(running, Some(applicant)).wait().await
}

fn inner<R: Body>(response: Response<R>) -> Response<ResponseBody<R>> {
    response.map(ResponseBody::inner)
}

fn refuse<R: Body>(rejection: &Rejection) -> Response<ResponseBody<R>> {
    rejection.report();
    rejection.to_response().map(ResponseBody::of_layer)
}

/// Records the answer, or releases the key, before the answer leaves.
async fn settle<R: Body<Data = Bytes>>(
    layer: &IdempotencyLayer,
    held: Held,
    pending: Option<&PendingAnswer>,
    response: Response<R>,
) -> Response<ResponseBody<R>> {
    if let Some(pending) = pending {
        match was_recorded(&held, pending, response.status()).await {
            Ok(true) => {
                held.leave();
                return inner(response);
            }
            Ok(false) => {}
            // Its record was rolled back, or it stays.
            Err(rejection) if pending.is_recorded() => {
                held.release().await;
                return refuse(&rejection);
            }
            // It may have committed effects: a retry would make them a second time.
            Err(rejection) => {
                held.record(StoredAnswer::unknown()).await;
                return refuse(&rejection);
            }
        }
    }
    let (head, body) = response.into_parts();
    if !is_stored(head.status, &head.headers) {
        held.release().await;
        return inner(Response::from_parts(head, body));
    }
    let settings = &*layer.settings;
    let answer = |body| settings.answer(&head, body);
    let body = match collect(body, settings.max_body, settings.body_deadline).await {
        Collected::Whole(body) => {
            held.record(answer(Some(body.clone()))).await;
            ResponseBody::of_layer(body)
        }
        Collected::Begun(body) => {
            held.record(answer(None)).await;
            ResponseBody::begun(body)
        }
        // The effect of the handler stays, and its answer is not known: the hold is given up.
        Collected::Failed(body) => ResponseBody::begun(body),
    };
    Response::from_parts(head, body)
}

/// Returns whether the handler's transaction has recorded and committed the answer.
///
/// # Errors
/// Returns an error if the answer is a success that was not recorded, or it cannot be told.
async fn was_recorded(
    held: &Held,
    pending: &PendingAnswer,
    status: StatusCode,
) -> Result<bool, Rejection> {
    if pending.is_recorded() && held.is_answered_by(pending).await? {
        return Ok(true);
    }
    if status.is_success() || status.is_redirection() {
        return Err(Rejection::new(
            RejectionKind::AnswerNotRecorded,
            "the handler answered with success, and no answer was committed: call \
             `PendingAnswer::record` in the transaction, and commit it",
        ));
    }
    Ok(false)
}
