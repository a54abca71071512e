//! Bodies that are read whole before the upstream is asked for.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use countersign::request::BodyBudget;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{answer::Refused, seats::Seats};

/// The room that a body takes up, until it is dropped.
pub(super) type Room = Option<OwnedSemaphorePermit>;

/// The room for all bodies, in bytes, and the seats for requests. Strangers take up none of the half of
/// verified bodies.
#[derive(Clone, Debug)]
pub(super) struct Rooms {
    pub(super) verified: BodyBudget,
    others: Arc<Semaphore>,
    pub(super) seats: Seats,
}

impl Rooms {
    pub(super) fn new(bytes: usize, requests: usize) -> Self {
        let half = Self::verified_half(bytes);
        Self {
            verified: BodyBudget::new(half),
            others: Arc::new(Semaphore::new(half)),
            seats: Seats::new(requests),
        }
    }

    /// The room for bodies of routes that verify, of that many bytes for all.
    pub(super) fn verified_half(bytes: usize) -> usize {
        bytes / 2
    }

    /// The longest body, of that many bytes for all.
    pub(super) fn longest(bytes: usize) -> usize {
        bytes / 4
    }
}

/// What a route takes in without the library.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffered {
    pub(super) max_bytes: usize,
    pub(super) deadline: Duration,
}

impl Buffered {
    /// Reads a body, without its trailers, which nobody has looked at.
    pub(super) async fn read(
        &self,
        body: Incoming,
        rooms: &Rooms,
    ) -> Result<(Bytes, Room), Refused> {
        let reading = timeout(self.deadline, self.read_all(body, rooms)).await;
        reading.unwrap_or(Err(Refused::BodyLate))
    }

    async fn read_all(&self, mut body: Incoming, rooms: &Rooms) -> Result<(Bytes, Room), Refused> {
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
            let more = Arc::clone(&rooms.others).try_acquire_many_owned(bytes);
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
