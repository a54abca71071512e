//! The steps on their way to a server. Steps that wait at one time go together, in one round trip,
//! and one look at the server goes behind them: whether anything was lost before it answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
    vec,
};

use redis::{Cmd, Pipeline, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::timeout,
};

use super::{
    error::{self, Failure, late, read},
    knowledge::Knowledge,
    time::millis,
};
use crate::{
    error::StoreError,
    store::batched::{Asked, Taken, Work, gather},
};

/// How many steps go together at most.
const TOGETHER: usize = 512;

/// How many round trips are on their way at one time.
const ROUND_TRIPS: usize = 4;

/// For how long steps go on without an inspection. A server is inspected every second.
pub(super) const WITHOUT_INSPECTION: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Queue {
    steps: mpsc::Sender<Step>,
}

struct Step {
    commands: Vec<Cmd>,
    answer: oneshot::Sender<Result<Answers, Failure>>,
}

impl Asked for Step {
    fn is_given_up(&self) -> bool {
        self.answer.is_closed()
    }
}

/// The answers to the commands of one step.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) values: Vec<Value>,
    /// Whether the server was still as it was inspected, after it gave these answers.
    pub(super) is_as_inspected: bool,
}

/// The state that the tasks of a queue share.
pub(super) struct Lane {
    pub(super) connection: MultiplexedConnection,
    /// The name of the script.
    pub(super) check: String,
    /// The key of the server's record of itself.
    pub(super) key: Box<str>,
    pub(super) knowledge: Arc<Knowledge>,
    pub(super) wait: Duration,
    pub(super) is_broken: Arc<AtomicBool>,
}

impl Queue {
    /// Starts tasks, which end with this.
    pub(super) fn start(lane: Lane) -> Self {
        let (steps, waiting) = Taken::new(TOGETHER);
        let (lane, waiting) = (Arc::new(lane), Arc::new(Mutex::new(waiting)));
        for _ in 0..ROUND_TRIPS {
            let mut round_trips = RoundTrips {
                lane: Arc::clone(&lane),
                waiting: Arc::clone(&waiting),
            };
            tokio::spawn(async move { gather(&mut round_trips, Duration::MAX).await });
        }
        Self { steps }
    }

    pub(super) async fn ask(&self, commands: Vec<Cmd>) -> Result<Answers, Failure> {
        let (answer, answered) = oneshot::channel();
        let ended = || Failure::Lost(StoreError::unavailable("the connection to Redis has ended"));
        let sent = self.steps.send(Step { commands, answer }).await;
        sent.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

/// One task of a queue. Each of its round trips follows the one before.
struct RoundTrips {
    lane: Arc<Lane>,
    waiting: Arc<Mutex<Taken<Step>>>,
}

impl Work for RoundTrips {
    type Asked = Step;

    async fn take(&mut self, steps: &mut Vec<Step>) -> bool {
        self.waiting.lock().await.take(steps).await
    }

    async fn answer(&mut self, steps: &mut Vec<Step>) {
        let mut commands = Pipeline::new();
        let mut asked = Vec::with_capacity(steps.len());
        for step in steps.drain(..) {
            asked.push((step.commands.len(), step.answer));
            for command in step.commands {
                commands.add_command(command);
            }
        }
        match self.lane.ask(commands).await {
            Ok((mut values, is_as_inspected)) => {
                for (count, answer) in asked {
                    let values = values.by_ref().take(count).map(Value::extract_error);
                    let values = values.collect::<Result<_, _>>().map_err(error::of_driver);
                    let answers = values.map(|values| Answers {
                        values,
                        is_as_inspected,
                    });
                    // A caller that has given up does not wait for it.
                    let _ = answer.send(answers);
                }
            }
            Err(failure) => {
                for (_, answer) in asked {
                    let _ = answer.send(Err(failure.clone()));
                }
            }
        }
    }
}

impl Lane {
    /// The answers to these commands, and whether the server was as it was inspected after them.
    async fn ask(&self, mut commands: Pipeline) -> Result<(vec::IntoIter<Value>, bool), Failure> {
        let known = self.knowledge.record_at(&self.key);
        let known = known.ok_or_else(|| Failure::Refused(error::unexpected()))?;
        let check = commands.cmd("EVALSHA").arg(&self.check).arg(1);
        check.arg(self.key.as_bytes());
        check.arg(known.name).arg(known.since);
        check.arg(self.knowledge.mark());
        check.arg(millis(WITHOUT_INSPECTION));
        check.arg(known.commands);
        let count = commands.len();
        let mut connection = self.connection.clone();
        let answers = connection.send_packed_commands(&commands, 0, count);
        let Ok(answers) = timeout(self.wait, answers).await else {
            self.is_broken.store(true, Ordering::Release);
            return Err(Failure::Lost(late(self.wait)));
        };
        let mut values = answers.map_err(error::of_driver)?;
        let checked = values.pop().ok_or_else(error::unexpected);
        let checked = checked.map_err(Failure::Refused)?.extract_error();
        let checked = checked.map_err(error::of_driver)?;
        let commands: Option<u64> = read(checked).map_err(Failure::Refused)?;
        if let Some(commands) = commands {
            self.knowledge.counts(&self.key, commands);
        }
        Ok((values.into_iter(), commands.is_some()))
    }
}
