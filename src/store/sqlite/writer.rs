//! The one task of a store that writes: it takes what has come in, in one transaction, and sweeps
//! in between.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    batch::{Step, apply},
    mark::Mark,
    record::Limits,
    schema::{begin, commit, connect},
    sweep::{Cursor, sweep_stretch},
};
use crate::{
    clock::Clock,
    error::StoreError,
    store::batched::{
        Answer, Request, Retentions, Sweep, Taken, Work, gather, leave_out_given_up, sweep,
    },
};

/// Lives until the last sender of its queue is gone.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) options: SqliteConnectOptions,
    /// `None` after an error, because the state of the session ends with the connection.
    pub(super) connection: Option<SqliteConnection>,
    pub(super) mark: Mark,
    pub(super) queue: Taken<Request>,
    /// The start of the sweep's next step.
    pub(super) cursor: Cursor,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    /// For how long the lock of another process is waited for.
    pub(super) wait: Duration,
    pub(super) retentions: Arc<Retentions>,
}

/// The time between two steps of the sweep, and after the last one.
const SWEEP_EVERY: Duration = Duration::from_millis(100);
const SWEEP_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Writer {
    pub(super) async fn run(mut self) {
        sweep(&mut self, SWEEP_EVERY).await;
        if let Some(connection) = self.connection {
            // Moves the log to the database. After a failure here, the next one to open the database does it.
            let _ = connection.close().await;
        }
    }

    async fn commit(
        &mut self,
        batch: &mut Vec<Request>,
    ) -> Result<Vec<Result<Answer, StoreError>>, StoreError> {
        // A failure leaves no connection behind.
        let mut connection = self.take_connection().await?;
        begin(&mut connection, self.wait).await?;
        while self.queue.take_more(batch).await {}
        leave_out_given_up(batch);
        let steps: Vec<_> = batch
            .iter()
            .map(|request| Step {
                claim: &request.claim,
                digest: request.digest,
                action: request.action,
            })
            .collect();
        let now = self.clock.now();
        let applied = if steps.is_empty() {
            None
        } else {
            Some(apply(&mut connection, &steps, now, self.limits).await?)
        };
        commit(&mut connection).await?;
        self.connection = Some(connection);
        let Some(applied) = applied else {
            return Ok(Vec::new());
        };
        for (namespace, retention) in applied.retentions {
            self.retentions.learn(namespace, retention, now);
        }
        if let Err(error) = self.mark.write(applied.steps) {
            tracing::warn!(%error, "the file `-mark` beside the database was not written");
        }
        Ok(applied.answers)
    }

    async fn take_connection(&mut self) -> Result<SqliteConnection, StoreError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => connect(&self.options, self.wait).await,
        }
    }
}

impl Sweep for Writer {
    async fn rest(&mut self, pause: Duration) -> bool {
        gather(self, pause).await
    }

    async fn step(&mut self) -> Result<Duration, StoreError> {
        let (now, wait) = (self.clock.now(), self.wait);
        let mut connection = self.take_connection().await?;
        let swept = sweep_stretch(&mut connection, &self.cursor, now, wait).await?;
        self.connection = Some(connection);
        self.cursor = swept.next;
        Ok(if swept.is_worthwhile {
            Duration::ZERO
        } else if self.cursor.is_start() {
            SWEEP_AGAIN_AFTER
        } else {
            SWEEP_EVERY
        })
    }
}

impl Work for Writer {
    type Asked = Request;

    async fn take(&mut self, batch: &mut Vec<Request>) -> bool {
        self.queue.take(batch).await
    }

    async fn answer(&mut self, batch: &mut Vec<Request>) {
        match self.commit(batch).await {
            Ok(answers) => {
                for (request, answer) in batch.drain(..).zip(answers) {
                    // A caller that has gone takes the outcome for unknown.
                    let _ = request.answer.send(answer);
                }
            }
            Err(error) => {
                for request in batch.drain(..) {
                    let _ = request.answer.send(Err(error.clone()));
                }
            }
        }
    }
}
