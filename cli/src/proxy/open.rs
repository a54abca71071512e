//! Requests of routes that verify nothing: their bodies arrive whole before the upstream is asked for.

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tower_service::Service as _;

use super::{
    answer::{AnswerBody, Refused},
    upstream::{Failed, Forward},
};

/// All bodies of one route at one time, in bytes; more if one body may be longer.
const BUDGET: usize = 64 * 1024 * 1024;

/// For a whole body.
const DEADLINE: Duration = Duration::from_secs(10);

/// What a route that verifies nothing takes in.
#[derive(Clone, Debug)]
pub(super) struct Open {
    max_body_bytes: usize,
    budget: Arc<Semaphore>,
}

impl Open {
    pub(super) fn new(max_body_bytes: usize) -> Self {
        let budget = BUDGET.max(max_body_bytes).min(Semaphore::MAX_PERMITS);
        Self {
            max_body_bytes,
            budget: Arc::new(Semaphore::new(budget)),
        }
    }

    /// Forwards a request that nobody verifies. A client that is slow with its body takes no turn of
    /// the upstream.
    pub(super) async fn answer(
        &self,
        mut forward: Forward,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Failed> {
        let (head, body) = request.into_parts();
        let reading = timeout(DEADLINE, self.read(body)).await;
        let (body, _room) = match reading.unwrap_or(Err(Refused::BodyLate)) {
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

    /// Reads a body, without its trailers, which nobody has looked at.
    async fn read(
        &self,
        mut body: Incoming,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refused> {
        let is_too_large = |len: u64| len > u64::try_from(self.max_body_bytes).unwrap_or(u64::MAX);
        if is_too_large(body.size_hint().lower()) {
            return Err(Refused::BodyTooLarge);
        }
        let mut read = BytesMut::new();
        let mut room: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Refused::BodyBroken)?.into_data() else {
                continue;
            };
            if data.is_empty() {
                continue;
            }
            if data.len() > self.max_body_bytes - read.len() {
                return Err(Refused::BodyTooLarge);
            }
            let bytes = u32::try_from(data.len()).map_err(|_| Refused::BodyTooLarge)?;
            let more = Arc::clone(&self.budget).try_acquire_many_owned(bytes);
            let more = more.map_err(|_| Refused::NoRoom)?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            read.extend_from_slice(&data);
        }
        Ok((read.freeze(), room))
    }
}
