//! A connection to one server that was found fit: it evicts nothing, is not a replica, and what it
//! may have forgotten is known. It never connects again by itself, so that no step waits in a queue
//! of its own for a server to come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, Pipeline, Value, aio::MultiplexedConnection,
};
use tokio::time::timeout;

use super::{
    error::{self, Failure, late},
    inspected::{Inspected, inspected},
    knowledge::Knowledge,
    queue::{Answers, Lane, Queue, WITHOUT_INSPECTION},
    slot,
    time::millis,
};
use crate::{error::StoreError, message::Encoding};

#[derive(Debug)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    queue: Queue,
    /// The key of what this server has recorded of itself.
    pub(super) key: Box<str>,
    scripts: Scripts,
    is_broken: Arc<AtomicBool>,
}

/// The scripts, as the server names them.
#[derive(Debug)]
struct Scripts {
    record: String,
    /// The same, for steps that a server without memory carries out.
    record_of_holder: String,
    namespace: String,
    inspect: String,
    quota: String,
    answers: String,
    answers_of_holder: String,
}

/// How many canaries a server has.
const CANARIES: u32 = 8;

/// For how long a canary lives longer than the one before. It is less than [`SPARE`]: a jump of the
/// clock that loses a record takes a canary along.
///
/// [`SPARE`]: super::time::SPARE
const CANARY: Duration = Duration::from_secs(8);

/// How a server is inspected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) wait: Duration,
    pub(super) clock_difference: Duration,
    /// Nothing was accepted before the server's first record of itself.
    pub(super) assume_no_history: bool,
}

impl Link {
    /// Connects to the server that has the slot, and inspects it.
    pub(super) async fn connect(
        info: ConnectionInfo,
        slot: u16,
        terms: Terms,
        knowledge: &Arc<Knowledge>,
    ) -> Result<(Self, Inspected), StoreError> {
        let mut connection = connect(info, terms.wait).await?;
        let mut load = Pipeline::new();
        for script in [
            include_str!("record.lua"),
            concat!("#!lua flags=allow-oom\n", include_str!("record.lua")),
            include_str!("namespace.lua"),
            include_str!("inspect.lua"),
            include_str!("quota.lua"),
            include_str!("answers.lua"),
            concat!("#!lua flags=allow-oom\n", include_str!("answers.lua")),
            include_str!("check.lua"),
        ] {
            load.cmd("SCRIPT").arg("LOAD").arg(script);
        }
        let loaded = timeout(
            terms.wait,
            connection.send_packed_commands(&load, 0, load.len()),
        );
        let loaded = loaded.await.map_err(|_| late(terms.wait))?;
        let values =
            loaded.and_then(|values| values.into_iter().map(Value::extract_error).collect());
        let values: Vec<Value> = values.map_err(error::unavailable)?;
        let mut scripts = values.into_iter().map(redis::from_redis_value::<String>);
        let mut script = || match scripts.next() {
            Some(script) => script.map_err(|error| error::unavailable(error.into())),
            None => Err(error::unexpected()),
        };
        let scripts = Scripts {
            record: script()?,
            record_of_holder: script()?,
            namespace: script()?,
            inspect: script()?,
            quota: script()?,
            answers: script()?,
            answers_of_holder: script()?,
        };
        let key: Box<str> = format!("countersign:{{{}}}", slot::tag_in(slot)).into();
        let is_broken = Arc::new(AtomicBool::new(false));
        let queue = Queue::start(Lane {
            connection: connection.clone(),
            check: script()?,
            key: key.clone(),
            knowledge: Arc::clone(knowledge),
            wait: terms.wait,
            is_broken: Arc::clone(&is_broken),
        });
        let link = Self {
            connection,
            queue,
            key,
            scripts,
            is_broken,
        };
        let inspected = link.inspect(terms, knowledge).await?;
        Ok((link, inspected))
    }

    /// Asks the server whether it is still fit.
    pub(super) async fn inspect(
        &self,
        terms: Terms,
        knowledge: &Knowledge,
    ) -> Result<Inspected, StoreError> {
        let inspect = self.inspection(terms, knowledge);
        let asked = timeout(terms.wait, self.ask(&inspect)).await;
        let answer = asked
            .map_err(|_| late(terms.wait))?
            .map_err(Failure::into_error)?;
        inspected(answer)
    }

    /// The command whose answer [`inspected`] reads.
    pub(super) fn inspection(&self, terms: Terms, knowledge: &Knowledge) -> Cmd {
        let known = knowledge.record_at(&self.key);
        let (name, commands) = known
            .map(|known| (known.name, known.commands))
            .unwrap_or_default();
        let mut inspect = redis::cmd("EVALSHA");
        inspect.arg(&self.scripts.inspect).arg(1 + CANARIES);
        inspect.arg(self.key.as_bytes());
        for canary in 1..=CANARIES {
            inspect.arg(format!("{}:canary:{canary}", self.key));
        }
        inspect
            .arg(u8::from(terms.assume_no_history))
            .arg(millis(terms.clock_difference))
            .arg(Encoding::Hex.encode(&crate::random::bytes::<16>()))
            .arg(name)
            .arg(knowledge.mark())
            .arg(millis(CANARY))
            .arg(millis(WITHOUT_INSPECTION))
            .arg(commands);
        inspect
    }

    pub(super) fn break_off(&self) {
        self.is_broken.store(true, Ordering::Release);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    /// With the key of the record and, at an open place, that of the message's places.
    pub(super) fn record_script(&self, keys: &[&[u8]]) -> Cmd {
        script_on(&self.scripts.record, keys)
    }

    /// A server without memory carries it out as well: for steps that write no more than they find.
    pub(super) fn record_script_of_holder(&self, keys: &[&[u8]]) -> Cmd {
        script_on(&self.scripts.record_of_holder, keys)
    }

    /// With the key of the record, and that of its owner's index.
    pub(super) fn answers_script(&self, keys: &[&[u8]]) -> Cmd {
        script_on(&self.scripts.answers, keys)
    }

    /// A server without memory carries it out as well: for steps that write little on a record.
    pub(super) fn answers_script_of_holder(&self, keys: &[&[u8]]) -> Cmd {
        script_on(&self.scripts.answers_of_holder, keys)
    }

    pub(super) fn quota_script(&self, key: &[u8]) -> Cmd {
        script(&self.scripts.quota, key)
    }

    pub(super) fn namespace_script(&self, key: &[u8]) -> Cmd {
        script(&self.scripts.namespace, key)
    }

    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, Failure> {
        let mut connection = self.connection.clone();
        let value = connection.send_packed_command(command).await;
        value
            .and_then(Value::extract_error)
            .map_err(error::of_driver)
    }

    /// Asks the server, and finds out whether it was still as it was inspected.
    pub(super) async fn ask_and_check(&self, commands: Vec<Cmd>) -> Result<Answers, Failure> {
        self.queue.ask(commands).await
    }
}

fn script(script: &str, key: &[u8]) -> Cmd {
    script_on(script, &[key])
}

fn script_on(script: &str, keys: &[&[u8]]) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(script).arg(keys.len()).arg(keys);
    command
}

/// A plain connection.
pub(super) async fn connect(
    info: ConnectionInfo,
    wait: Duration,
) -> Result<MultiplexedConnection, StoreError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(wait))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(1024);
    let client = Client::open(info).map_err(error::unavailable)?;
    let connected = client.get_multiplexed_async_connection_with_config(&config);
    match timeout(wait, Box::pin(connected)).await {
        Ok(connected) => connected.map_err(error::unavailable),
        Err(_) => Err(late(wait)),
    }
}
