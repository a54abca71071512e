//! Steps on nonces that wait to be done many at once, and their answers.

use std::{fmt, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    action::{Action, Answer},
    gather::{Asked, Taken},
};
use crate::{error::StoreError, once::Claim};

/// A step that somebody waits for.
#[derive(Debug)]
pub(in crate::store) struct Request {
    pub(in crate::store) claim: Claim,
    pub(in crate::store) digest: [u8; 32],
    pub(in crate::store) action: Action,
    pub(in crate::store) answer: oneshot::Sender<Result<Answer, StoreError>>,
}

impl Asked for Request {
    fn is_given_up(&self) -> bool {
        self.answer.is_closed()
    }
}

/// The end of the queue that sends steps. When it is dropped, the task at the other end ends.
pub(in crate::store) struct Queue {
    requests: mpsc::Sender<Request>,
    wait: Duration,
    database: &'static str,
}

impl Queue {
    /// A queue in which nobody waits for longer than `wait`, and its other end, at which at most so
    /// many steps are taken together.
    pub(in crate::store) fn new(
        database: &'static str,
        wait: Duration,
        most: usize,
    ) -> (Self, Taken<Request>) {
        let (requests, taken) = Taken::new(most);
        let queue = Self {
            requests,
            wait,
            database,
        };
        (queue, taken)
    }

    /// Has a step done, and returns its answer.
    pub(in crate::store) async fn ask(
        &self,
        claim: &Claim,
        action: Action,
    ) -> Result<Answer, StoreError> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            claim: claim.clone(),
            digest: claim.digest(),
            action,
            answer,
        };
        let asked = async {
            self.requests.send(request).await.ok()?;
            answered.await.ok()
        };
        match timeout(self.wait, asked).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(StoreError::unavailable(
                "the runtime that the store was opened on has ended",
            )),
            Err(_) => Err(StoreError::late(self.database, self.wait)),
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.requests.max_capacity() - self.requests.capacity();
        write!(f, "{waiting} waiting")
    }
}
