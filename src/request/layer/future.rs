//! `ResponseFuture`: one box around the way of a request, from its verification to its answer.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;
use http_body::Body;

use super::response::ResponseBody;

type Answering<R, E> = dyn Future<Output = Result<Response<ResponseBody<R>>, E>> + Send;

/// The future of [`Verify`](crate::layer::Verify) and
/// [`BufferedVerify`](crate::layer::BufferedVerify).
///
/// Dropping it ends a verification, and a handler; only with
/// [`Processing::Retryable`](crate::Processing::Retryable) a handler that has begun goes on.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<R: Body, E>(Pin<Box<Answering<R, E>>>);

impl<R: Body, E> ResponseFuture<R, E> {
    pub(super) fn new(
        answering: impl Future<Output = Result<Response<ResponseBody<R>>, E>> + Send + 'static,
    ) -> Self {
        Self(Box::pin(answering))
    }
}

impl<R: Body, E> Future for ResponseFuture<R, E> {
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<R: Body, E> fmt::Debug for ResponseFuture<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
