//! The outcome of a request that was sent.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// The head and the body of an answer, up to a bound.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The outcome of a request.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) answer: Result<Answer, String>,
    /// When its last byte was handed to the system.
    pub(crate) left: Option<Instant>,
    /// When its answer was there.
    pub(crate) answered: Option<Instant>,
    /// Whether the request was answered before its last byte was sent. Such a duplicate raced with
    /// no other one.
    pub(crate) is_early: bool,
}

impl Sent {
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self {
            answer: Err(why.into()),
            left: None,
            answered: None,
            is_early: false,
        }
    }

    /// The status, or why there is none.
    pub(crate) fn shown(&self) -> String {
        match &self.answer {
            Ok(answer) => answer.status.to_string(),
            Err(why) => why.clone(),
        }
    }
}
