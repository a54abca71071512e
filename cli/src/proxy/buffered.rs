//! Bodies that are read whole before the upstream is asked for.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use countersign::request::BodyBudget;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{select, time::timeout};

use super::{
    answer::Refused,
    room::{Pool, Room},
};

/// The room for all bodies, in bytes. Strangers on open routes take up a quarter and no more.
#[derive(Clone, Debug)]
pub(super) struct Rooms {
    bytes: usize,
    pub(super) verified: BodyBudget,
    pub(super) open: Pool,
    pub(super) to_sign: Pool,
}

impl Rooms {
    /// Returns rooms of this many bytes: the existing rooms, if they have the same size.
    pub(super) fn of(bytes: usize, before: Option<&Self>) -> Self {
        if let Some(before) = before.filter(|before| before.bytes == bytes) {
            return before.clone();
        }
        let half = Self::verified_half(bytes);
        Self {
            bytes,
            verified: BodyBudget::new(half),
            open: Pool::new(half / 2),
            to_sign: Pool::new(half / 2),
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

/// The body that a route takes in without the library.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffered {
    pub(super) max_bytes: usize,
    pub(super) deadline: Duration,
}

impl Buffered {
    /// Reads a body, without its trailers, which nobody has looked at.
    pub(super) async fn read(&self, body: Incoming, pool: &Pool) -> Result<(Bytes, Room), Refused> {
        let reading = timeout(self.deadline, self.read_all(body, pool)).await;
        reading.unwrap_or(Err(Refused::BodyLate))
    }

    async fn read_all(&self, mut body: Incoming, pool: &Pool) -> Result<(Bytes, Room), Refused> {
        let is_too_large = |len: u64| len > u64::try_from(self.max_bytes).unwrap_or(u64::MAX);
        if is_too_large(body.size_hint().lower()) {
            return Err(Refused::BodyTooLarge);
        }
        let mut read = BytesMut::new();
        let mut room = pool.enter();
        loop {
            let frame = select! {
                frame = body.frame() => frame,
                () = room.displaced() => return Err(Refused::NoRoom),
            };
            let Some(frame) = frame else {
                break;
            };
            let Ok(data) = frame.map_err(|_| Refused::BodyBroken)?.into_data() else {
                continue;
            };
            if data.is_empty() {
                continue;
            }
            if data.len() > self.max_bytes - read.len() {
                return Err(Refused::BodyTooLarge);
            }
            if !room.grow(data.len()) {
                return Err(Refused::NoRoom);
            }
            read.extend_from_slice(&data);
        }
        match room.complete() {
            true => Ok((read.freeze(), room)),
            false => Err(Refused::NoRoom),
        }
    }
}
