//! Bodies that are read whole before the upstream is asked for.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::answer::Refused;

/// All bodies of one route at one time, in bytes; more if one body may be longer.
const BUDGET: usize = 64 * 1024 * 1024;

/// The room that a body takes up, until it is dropped.
pub(super) type Room = Option<OwnedSemaphorePermit>;

/// What a route takes in without the library.
#[derive(Clone, Debug)]
pub(super) struct Buffered {
    max_bytes: usize,
    deadline: Duration,
    budget: Arc<Semaphore>,
}

impl Buffered {
    pub(super) fn new(max_bytes: usize, deadline: Duration) -> Self {
        let budget = BUDGET.max(max_bytes).min(Semaphore::MAX_PERMITS);
        Self {
            max_bytes,
            deadline,
            budget: Arc::new(Semaphore::new(budget)),
        }
    }

    /// Reads a body, without its trailers, which nobody has looked at.
    pub(super) async fn read(&self, body: Incoming) -> Result<(Bytes, Room), Refused> {
        let reading = timeout(self.deadline, self.read_all(body)).await;
        reading.unwrap_or(Err(Refused::BodyLate))
    }

    async fn read_all(&self, mut body: Incoming) -> Result<(Bytes, Room), Refused> {
        let is_too_large = |len: u64| len > u64::try_from(self.max_bytes).unwrap_or(u64::MAX);
        if is_too_large(body.size_hint().lower()) {
            return Err(Refused::BodyTooLarge);
        }
        let mut read = BytesMut::new();
        let mut room: Room = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Refused::BodyBroken)?.into_data() else {
                continue;
            };
            if data.is_empty() {
                continue;
            }
            if data.len() > self.max_bytes - read.len() {
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
