//! Requests that are being handled, also those whose client has gone.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::{
    answer::{AnswerBody, BoxError},
    clients::Held,
    measures::OneMore,
};

/// Counts requests that are being handled.
#[derive(Clone, Debug, Default)]
pub(super) struct Running(Arc<RwLock<()>>);

/// A request that is being handled; on the request, and on its answer until the end of the body.
#[derive(Clone)]
pub(super) struct Handled(Arc<Of>);

/// The parts and facts of a request that are kept.
struct Of {
    key_id: OnceLock<String>,
    _running: OwnedRwLockReadGuard<()>,
    _in_flight: OneMore,
}

impl Running {
    /// Begins to handle a request.
    pub(super) async fn begin(&self) -> Handled {
        Handled(Arc::new(Of {
            key_id: OnceLock::new(),
            _running: Arc::clone(&self.0).read_owned().await,
            _in_flight: OneMore::request(),
        }))
    }

    /// Waits until no request is being handled.
    pub(super) async fn end(&self) {
        drop(self.0.write().await);
    }
}

impl Handled {
    /// Notes under which key the request was verified.
    pub(super) fn verified_as(&self, key_id: &str) {
        self.0.key_id.get_or_init(|| key_id.to_owned());
    }

    /// The key that it was verified under, as soon as it is.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.0.key_id.get().map(String::as_str)
    }

    /// Keeps the request, and that its client has it, until its answer has come to its end.
    pub(super) fn until_the_end_of(
        self,
        answer: Response<AnswerBody>,
        of_client: Option<Held>,
    ) -> Response<AnswerBody> {
        answer.map(|body| {
            let answering = Answering {
                body,
                _handled: self,
                _of_client: of_client,
            };
            answering.boxed_unsync()
        })
    }
}

/// The body of an answer, with its request.
struct Answering {
    body: AnswerBody,
    _handled: Handled,
    _of_client: Option<Held>,
}

impl Body for Answering {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for Handled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handled")
    }
}
