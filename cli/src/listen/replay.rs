//! Sending recorded requests again: copies, at the same moment.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use tokio::{sync::Barrier, task::JoinSet, time::timeout};

use super::upstream::Target;

/// The longest answer that is read.
const MAX_ANSWER: usize = 1024 * 1024;

const BODY: Duration = Duration::from_secs(30);

/// How a copy was answered.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) answer: Result<Answer, String>,
    pub(crate) took: Duration,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Copy {
    /// Returns whether the application says that it has accepted the request.
    pub(crate) fn is_accepted(&self) -> bool {
        self.answer
            .as_ref()
            .is_ok_and(|answer| answer.status.is_success())
    }
}

/// Opens a connection for each request, then sends all at the same moment.
pub(crate) async fn copies(target: &Target, requests: Vec<Request<Bytes>>) -> Vec<Copy> {
    let barrier = Arc::new(Barrier::new(requests.len()));
    let mut sending = JoinSet::new();
    for (at, request) in requests.into_iter().enumerate() {
        let target = target.clone();
        let barrier = Arc::clone(&barrier);
        sending.spawn(async move {
            let connection = target.connect().await;
            // Also if there is no connection: the others wait for this one.
            barrier.wait().await;
            let started = Instant::now();
            let answering = async {
                let (head, body) = request.into_parts();
                let response = connection?.send(&head, body).await?;
                let status = response.status();
                let body = Limited::new(response.into_body(), MAX_ANSWER).collect();
                let body = timeout(BODY, body)
                    .await
                    .map_err(|_| "the answer has no end".to_owned())?
                    .map_err(|error| format!("the answer broke off: {error}"))?;
                let body = body.to_bytes();
                Ok(Answer { status, body })
            };
            let answer = answering.await;
            let took = started.elapsed();
            (at, Copy { answer, took })
        });
    }
    let mut answered = sending.join_all().await;
    answered.sort_by_key(|(at, _)| *at);
    answered.into_iter().map(|(_, copy)| copy).collect()
}
