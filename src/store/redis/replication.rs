//! `WAIT`: an answer only once replicas have what was recorded.
//!
//! `WAIT` blocks its connection, so it has one of its own. It waits for what its own connection has
//! written; so a small write goes before it, which replicas get after all that was answered before.
//! This holds for the master that has answered: a connection may lead to its successor by now.

use std::time::Duration;

use redis::{ConnectionInfo, Pipeline, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    error,
    error::{late, read},
    link::connect,
    slot,
    time::millis,
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
        master: String,
        wait: Duration,
    ) -> Result<Self, StoreError> {
        let mut connection = connect(info, wait).await?;
        let of = Of {
            key: format!("countersign:{{{}}}:replicated", slot::tag_in(slot)),
            master,
            replicas,
        };
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while waiting.recv_many(&mut batch, QUEUE).await > 0 {
                let outcome = replicated(&mut connection, &of, wait).await;
                for answer in batch.drain(..) {
                    let answer: Answer = answer;
                    // A caller that has given up does not wait for it.
                    let _ = answer.send(outcome.clone());
                }
            }
        });
        Ok(Self { queue })
    }

    /// Returns whether the replicas have all that was answered before.
    pub(super) async fn done(&self) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        let ended = || StoreError::unavailable("the task that waits for replicas has ended");
        self.queue.send(answer).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

/// The kind of wait.
struct Of {
    /// The sender of the small write's outcome.
    key: String,
    /// The replication id of the master that claims are recorded on.
    master: String,
    replicas: u16,
}

async fn replicated(
    connection: &mut MultiplexedConnection,
    of: &Of,
    wait: Duration,
) -> Result<(), StoreError> {
    let replicas = of.replicas;
    let mut commands = Pipeline::new();
    // A lease is completed on a server without memory too.
    let set = "#!lua flags=allow-oom\nreturn redis.call('SET', KEYS[1], 1)";
    commands.cmd("EVAL").arg(set).arg(1).arg(&of.key);
    commands.cmd("WAIT").arg(replicas).arg(millis(wait).max(1));
    commands.cmd("INFO").arg("replication");
    let asked = timeout(wait * 2, connection.send_packed_commands(&commands, 0, 3));
    let answers = asked.await.map_err(|_| late(wait))?;
    let answers = answers.map_err(error::unavailable)?.into_iter();
    let answers = answers
        .map(Value::extract_error)
        .collect::<Result<Vec<_>, _>>();
    let mut answers = answers.map_err(error::unavailable)?;
    let mut last = || answers.pop().ok_or_else(error::unexpected);
    let (info, have): (String, u16) = (read(last()?)?, read(last()?)?);
    let id = info
        .lines()
        .find_map(|line| line.strip_prefix("master_replid:"));
    if id != Some(&of.master) {
        return Err(StoreError::unavailable(
            "another master has taken over, and may not have what was recorded",
        ));
    }
    if have < replicas {
        return Err(StoreError::unavailable(format!(
            "{have} of {replicas} replicas have what was recorded"
        )));
    }
    Ok(())
}
