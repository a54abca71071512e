//! Requests of routes that verify nothing: their bodies arrive whole before the upstream is asked for.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tower_service::Service as _;

use super::{
    answer::AnswerBody,
    buffered::{Buffered, Rooms},
    upstream::{Failed, Forward},
};

/// For a whole body.
const DEADLINE: Duration = Duration::from_secs(10);

/// The limits of a route that verifies nothing.
#[derive(Clone, Debug)]
pub(super) struct Open(Buffered);

impl Open {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self(Buffered {
            max_bytes,
            deadline: DEADLINE,
        })
    }

    /// Forwards a request that nobody verifies. A client that is slow with its body takes no turn of
    /// the upstream.
    pub(super) async fn answer(
        &self,
        mut forward: Forward,
        request: Request<Incoming>,
        rooms: &Rooms,
    ) -> Result<Response<AnswerBody>, Failed> {
        let (head, body) = request.into_parts();
        let (body, _room) = match self.0.read(body, &rooms.open).await {
            Ok(read) => read,
            Err(refused) => return Ok(refused.answer()),
        };
        poll_fn(|context| {
            tower_service::Service::<Request<Full<Bytes>>>::poll_ready(&mut forward, context)
        })
        .await?;
        forward
            .call(Request::from_parts(head, Full::new(body)))
            .await
    }
}
