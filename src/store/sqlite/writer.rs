//! The one task of a store that writes: it takes what has come in, in one transaction, and sweeps
//! in between.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::time::{Instant, timeout_at};

use super::{
    batch::{MAX_STEPS, Step, apply},
    mark::Mark,
    record::Limits,
    schema::{begin, commit, connect},
    sweep::{Cursor, sweep},
};
use crate::{
    clock::Clock,
    error::StoreError,
    store::batched::{Answer, Pace, Request, Taken, leave_out_given_up},
};

/// Lives until the last sender of its queue is gone.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) options: SqliteConnectOptions,
    /// None after an error: whatever state it was in ends with the connection.
    pub(super) connection: Option<SqliteConnection>,
    pub(super) mark: Mark,
    pub(super) queue: Taken<Request>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    /// For how long the lock of another process is waited for.
    pub(super) wait: Duration,
}

/// The time between two steps of the sweep, and after the last one.
const SWEEP_EVERY: Duration = Duration::from_millis(100);
const SWEEP_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Writer {
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(MAX_STEPS);
        let mut cursor = Cursor::anywhere();
        let mut pace = Pace::default();
        let mut next_sweep = Instant::now() + SWEEP_EVERY;
        loop {
            match timeout_at(next_sweep, self.queue.take(&mut batch)).await {
                Ok(false) => break,
                Ok(true) => self.answer(&mut batch).await,
                Err(_) => {}
            }
            if Instant::now() < next_sweep {
                continue;
            }
            let swept = self.sweep(&mut cursor).await;
            if swept.is_err() {
                self.connection = None;
            }
            next_sweep = Instant::now() + pace.pause(swept);
        }
        if let Some(connection) = self.connection {
            // Moves the log to the database. Whatever fails here is done by who opens it next.
            let _ = connection.close().await;
        }
    }

    /// Answers all requests of the batch, and leaves it empty.
    async fn answer(&mut self, batch: &mut Vec<Request>) {
        match self.commit(batch).await {
            Ok(answers) => {
                for (request, answer) in batch.drain(..).zip(answers) {
                    // Who has gone takes the outcome for unknown.
                    let _ = request.answer.send(answer);
                }
            }
            Err(error) => {
                self.connection = None;
                for request in batch.drain(..) {
                    let _ = request.answer.send(Err(error.clone()));
                }
            }
        }
    }

    async fn commit(
        &mut self,
        batch: &mut Vec<Request>,
    ) -> Result<Vec<Result<Answer, StoreError>>, StoreError> {
        let wait = self.wait;
        begin(self.connection().await?, wait).await?;
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
        let (now, limits) = (self.clock.now(), self.limits);
        let connection = self.connection().await?;
        if steps.is_empty() {
            commit(connection).await?;
            return Ok(Vec::new());
        }
        let applied = apply(connection, &steps, now, limits).await?;
        commit(connection).await?;
        if let Err(error) = self.mark.write(applied.steps) {
            tracing::warn!(%error, "the file `-mark` beside the database was not written");
        }
        Ok(applied.answers)
    }

    /// Sweeps on; says when to go on with it.
    async fn sweep(&mut self, cursor: &mut Cursor) -> Result<Duration, StoreError> {
        let (now, wait) = (self.clock.now(), self.wait);
        let swept = sweep(self.connection().await?, cursor, now, wait).await?;
        *cursor = swept.next;
        Ok(if swept.is_worthwhile {
            Duration::ZERO
        } else if cursor.is_start() {
            SWEEP_AGAIN_AFTER
        } else {
            SWEEP_EVERY
        })
    }

    async fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.options, self.wait).await?,
        };
        Ok(self.connection.insert(connection))
    }
}
