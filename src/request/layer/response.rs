//! `ResponseBody`: the inner service's body, or one of the layer's own.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

use super::leased_body::LeasedBody;
use crate::body::TakenBody;

pin_project! {
    /// The body of an answer: the inner service's, or that of a rejection or a handshake.
    #[derive(Debug)]
    pub struct ResponseBody<R: Body> {
        #[pin]
        body: Either<R>,
    }
}

pin_project! {
    #[project = EitherProjection]
    #[derive(Debug)]
    enum Either<R: Body> {
        Inner { #[pin] body: R },
        Leased { body: Pin<Box<LeasedBody<R>>> },
        Begun { body: Box<TakenBody<R>> },
        Layer { #[pin] body: Full<Bytes> },
    }
}

impl<R: Body> ResponseBody<R> {
    pub(super) fn inner(body: R) -> Self {
        Self {
            body: Either::Inner { body },
        }
    }

    pub(super) fn leased(body: Pin<Box<LeasedBody<R>>>) -> Self {
        Self {
            body: Either::Leased { body },
        }
    }

    pub(super) fn begun(body: TakenBody<R>) -> Self {
        Self {
            body: Either::Begun {
                body: Box::new(body),
            },
        }
    }

    pub(super) fn of_layer(body: Bytes) -> Self {
        Self {
            body: Either::Layer {
                body: Full::new(body),
            },
        }
    }
}

/// Empty: what a timeout outside of the layer answers with.
impl<R: Body> Default for ResponseBody<R> {
    fn default() -> Self {
        Self::of_layer(Bytes::new())
    }
}

impl<R: Body<Data = Bytes>> Body for ResponseBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        match self.project().body.project() {
            EitherProjection::Inner { body } => body.poll_frame(cx),
            EitherProjection::Leased { body } => body.as_mut().poll_frame(cx),
            EitherProjection::Begun { body } => Pin::new(&mut **body).poll_frame(cx),
            EitherProjection::Layer { body } => body.poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Either::Inner { body } => body.is_end_stream(),
            Either::Leased { body } => body.is_end_stream(),
            Either::Begun { body } => body.is_end_stream(),
            Either::Layer { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Either::Inner { body } => body.size_hint(),
            Either::Leased { body } => body.size_hint(),
            Either::Begun { body } => body.size_hint(),
            Either::Layer { body } => body.size_hint(),
        }
    }
}
