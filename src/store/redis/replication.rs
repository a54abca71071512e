//! `WAIT`: an answer only once replicas have what was recorded.
//!
//! `WAIT` blocks its connection, so it has one of its own. It waits for what its own connection has
//! written; so a small write goes before it, which replicas get after all that was answered before.

use std::time::Duration;

use redis::{ConnectionInfo, Pipeline, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    error,
    link::{connect, late, read},
    slot,
};
use crate::error::StoreError;

type Answer = oneshot::Sender<Result<(), StoreError>>;

/// All who wait at one time are answered by one `WAIT`.
#[derive(Debug)]
pub(super) struct Replication {
    queue: mpsc::Sender<Answer>,
}

/// How many wait for the next `WAIT` at most.
const QUEUE: usize = 4096;

impl Replication {
    /// A task of its own, which ends with this.
    pub(super) async fn start(
        info: ConnectionInfo,
        (slot, replicas): (u16, u16),
        wait: Duration,
    ) -> Result<Self, StoreError> {
        let mut connection = connect(info, wait).await?;
        let key = format!("countersign:{{{}}}:replicated", slot::tag_in(slot));
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while waiting.recv_many(&mut batch, QUEUE).await > 0 {
                let outcome = replicated(&mut connection, &key, replicas, wait).await;
                for answer in batch.drain(..) {
                    let answer: Answer = answer;
                    // Who has given up does not wait for it.
                    let _ = answer.send(outcome.clone());
                }
            }
        });
        Ok(Self { queue })
    }

    /// Whether the replicas have all that was answered before.
    pub(super) async fn done(&self) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        let ended = || StoreError::unavailable("the task that waits for replicas has ended");
        self.queue.send(answer).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

async fn replicated(
    connection: &mut MultiplexedConnection,
    key: &str,
    replicas: u16,
    wait: Duration,
) -> Result<(), StoreError> {
    let mut commands = Pipeline::new();
    commands.cmd("SET").arg(key).arg(1);
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    commands.cmd("WAIT").arg(replicas).arg(millis.max(1));
    let asked = timeout(wait * 2, connection.send_packed_commands(&commands, 0, 2));
    let answers = asked.await.map_err(|_| late(wait))?;
    let answers = answers.map_err(error::unavailable)?.into_iter();
    let answers = answers
        .map(Value::extract_error)
        .collect::<Result<Vec<_>, _>>();
    let last = answers.map_err(error::unavailable)?.pop();
    let have: u16 = read(last.ok_or_else(error::unexpected)?)?;
    if have < replicas {
        return Err(StoreError::unavailable(format!(
            "{have} of {replicas} replicas have what was recorded"
        )));
    }
    Ok(())
}
