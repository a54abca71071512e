//! `ResponseFuture`: first the verification, then the inner service's own future.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use pin_project_lite::pin_project;
use tokio::task::JoinHandle;
use tower_service::Service;

use super::{
    OnDuplicate, ResponseBody,
    detached::{self, DetachedResponse},
    layer::LayerSettings,
    transacted::{Verdict, judge, judge_confirmed},
};
use crate::{
    future::StoreFuture,
    rejection::{Rejection, RejectionKind},
    scheme::http_message_signatures::ACCEPT_SIGNATURE,
    verify::{FateCell, Lease},
};

type Verification<B> = Pin<Box<dyn Future<Output = Result<(Request<B>, Handling), Early>> + Send>>;

/// What is answered without the inner service.
pub(super) enum Early {
    Rejection(Rejection),
    /// The handshake of a scheme.
    Answer(Response<Bytes>),
}

impl From<Rejection> for Early {
    fn from(rejection: Rejection) -> Self {
        Self::Rejection(rejection)
    }
}

/// How the inner service is to be called.
pub(super) enum Handling {
    Plain,
    Leased(Lease),
    InTransaction(FateCell),
}

pin_project! {
    /// The future of [`Verify`](crate::Verify) and [`BufferedVerify`](crate::BufferedVerify).
    ///
    /// Dropping it ends a verification, and a handler; only with
    /// [`Processing::Retryable`](crate::Processing::Retryable) a handler that has begun goes on.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
        settings: Arc<LayerSettings>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        Verifying { verification: Verification<B>, service: S },
        Handling { #[pin] handling: S::Future },
        Detached { handling: JoinHandle<Result<S::Response, S::Error>> },
        Transacting { #[pin] handling: S::Future, fate: FateCell },
        Confirming { response: Option<S::Response>, confirming: StoreFuture<'static, bool> },
    }
}

impl<S: Service<Request<B>>, B> ResponseFuture<S, B> {
    pub(super) fn new(
        verification: Verification<B>,
        service: S,
        settings: Arc<LayerSettings>,
    ) -> Self {
        Self {
            state: State::Verifying {
                verification,
                service,
            },
            settings,
        }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Send + 'static,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Verifying {
                    verification,
                    service,
                } => match ready!(verification.as_mut().poll(cx)) {
                    // The verifier has reported it.
                    Err(Early::Rejection(rejection)) => {
                        return Poll::Ready(Ok(this.settings.render(&rejection)));
                    }
                    Err(Early::Answer(answer)) => {
                        return Poll::Ready(Ok(answer.map(ResponseBody::of_layer)));
                    }
                    Ok((request, handling)) => {
                        let called = service.call(request);
                        match handling {
                            Handling::Plain => State::Handling { handling: called },
                            Handling::Leased(lease) => State::Detached {
                                handling: detached::spawn(called, lease),
                            },
                            Handling::InTransaction(fate) => State::Transacting {
                                handling: called,
                                fate,
                            },
                        }
                    }
                },
                StateProjection::Handling { handling } => {
                    return handling.poll(cx).map_ok(answer);
                }
                StateProjection::Detached { handling } => {
                    return Poll::Ready(match ready!(detached::poll(handling, cx)) {
                        DetachedResponse::Answered(result) => result.map(answer),
                        DetachedResponse::Cancelled(rejection) => {
                            Ok(this.settings.refuse(&rejection))
                        }
                    });
                }
                StateProjection::Transacting { handling, fate } => {
                    let response = match ready!(handling.poll(cx)) {
                        Ok(response) => response,
                        Err(error) => return Poll::Ready(Err(error)),
                    };
                    match (judge(fate.get(), response.status()), &this.settings.confirm) {
                        (Verdict::Refused(rejection), _) => {
                            return Poll::Ready(Ok(this.settings.refuse(&rejection)));
                        }
                        (Verdict::Consumed(claim), Some(confirm)) => State::Confirming {
                            response: Some(response),
                            confirming: confirm.look_up(claim),
                        },
                        (Verdict::PassesFor(rejection), _) => {
                            rejection.report();
                            return Poll::Ready(Ok(answer(response)));
                        }
                        (Verdict::Passes | Verdict::Consumed(_), _) => {
                            return Poll::Ready(Ok(answer(response)));
                        }
                    }
                }
                StateProjection::Confirming {
                    response,
                    confirming,
                } => {
                    let confirmed = judge_confirmed(ready!(Pin::new(confirming).poll(cx)));
                    return match (confirmed, response.take()) {
                        (Ok(()), Some(response)) => Poll::Ready(Ok(answer(response))),
                        (Err(rejection), _) => Poll::Ready(Ok(this.settings.refuse(&rejection))),
                        // It was polled after it was done.
                        (Ok(()), None) => Poll::Pending,
                    };
                }
            };
            this.state.set(next);
        }
    }
}

/// The handler's answer is about one signed request: it is nobody else's.
fn answer<R>(response: Response<R>) -> Response<ResponseBody<R>> {
    let mut response = response.map(ResponseBody::inner);
    response
        .headers_mut()
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("private, no-store"));
    response
}

impl LayerSettings {
    /// The answer to a refusal that comes after verification.
    fn refuse<R>(&self, rejection: &Rejection) -> Response<ResponseBody<R>> {
        rejection.report();
        self.render(rejection)
    }

    fn render<R>(&self, rejection: &Rejection) -> Response<ResponseBody<R>> {
        let kind = rejection.kind();
        let mut response = match &self.renderer {
            None => rejection.to_response(),
            Some(render) => {
                let (content_type, body) = render(rejection);
                rejection.to_response_with(content_type, body)
            }
        };
        if kind.status() == StatusCode::UNAUTHORIZED
            && let Some(accept) = self.verifier.accept_signature()
        {
            let headers = response.headers_mut();
            headers.insert(ACCEPT_SIGNATURE, accept.clone());
        }
        if kind == RejectionKind::RequestReplayed && self.on_duplicate == OnDuplicate::Acknowledge {
            *response.status_mut() = StatusCode::OK;
            *response.body_mut() = Bytes::new();
            response.headers_mut().remove(CONTENT_TYPE);
        }
        response.map(ResponseBody::of_layer)
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Verifying { .. } => "ResponseFuture(verifying)",
            State::Handling { .. } => "ResponseFuture(handling)",
            State::Detached { .. } => "ResponseFuture(detached)",
            State::Transacting { .. } => "ResponseFuture(transacting)",
            State::Confirming { .. } => "ResponseFuture(confirming)",
        })
    }
}
