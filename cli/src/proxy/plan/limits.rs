//! Limits of the whole proxy.

use std::time::Duration;

use super::{
    super::written,
    values::{number, seconds},
};
use crate::{serving::ConnectionLimits, toml_file::Fault};

const MIB: u64 = 1024 * 1024;

/// Limits of the whole proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    /// Connections of one client, or its requests behind a trusted forwarder.
    pub(crate) per_client: usize,
    pub(crate) connection: ConnectionLimits,
    /// How long requests that are being answered may take when the proxy ends.
    pub(crate) drain: Duration,
    /// Requests of a kind that are being handled at one time, for each upstream.
    pub(in crate::proxy) requests: usize,
    /// The room for all bodies that are not forwarded yet, in bytes.
    pub(in crate::proxy) body_bytes: usize,
}

impl Limits {
    /// Returns whether all are alike but those that a reload changes.
    pub(crate) fn is_like(self, other: Self) -> bool {
        let changed = Self {
            requests: other.requests,
            body_bytes: other.body_bytes,
            ..self
        };
        changed == other
    }

    pub(super) fn read(written: &written::Limits) -> Result<Self, Fault> {
        let default = ConnectionLimits::default();
        let head_bytes = number(written.head_bytes.as_ref(), 8192..1_048_577, "bytes")?;
        let head_deadline = seconds(written.head_deadline.as_ref(), 1..301)?;
        let idle_deadline = seconds(written.idle_deadline.as_ref(), 1..3601)?;
        let streams = number(written.streams.as_ref(), 1..10_001, "requests")?;
        let connections = number(written.connections.as_ref(), 1..1_000_001, "connections")?;
        let per_client = number(written.per_client.as_ref(), 1..1_000_001, "connections")?;
        let requests = number(written.requests.as_ref(), 1..1_000_001, "requests")?;
        let body_bytes = 4 * MIB..4096 * MIB + 1;
        let body_bytes = number(written.body_bytes.as_ref(), body_bytes, "bytes")?;
        Ok(Self {
            requests: requests.unwrap_or(1024),
            body_bytes: body_bytes.unwrap_or(128 * 1024 * 1024),
            connections: connections.unwrap_or(1024),
            per_client: per_client.unwrap_or(256),
            connection: ConnectionLimits {
                head_deadline: head_deadline.unwrap_or(default.head_deadline),
                idle_deadline: idle_deadline.unwrap_or(default.idle_deadline),
                head_bytes: head_bytes.unwrap_or(64 * 1024),
                streams: streams.unwrap_or(default.streams),
            },
            drain: seconds(written.drain.as_ref(), 0..3601)?.unwrap_or(Duration::from_secs(30)),
        })
    }
}
