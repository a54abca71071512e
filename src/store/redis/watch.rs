//! The inspection of a server, every second by the server's own clock: a command that waits for
//! nothing ends after a second, and the inspection goes behind it. When the clock jumps ahead, the
//! server ends the wait before it drops any record, and the jump is recorded while it lasts.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use redis::{Pipeline, Value, aio::MultiplexedConnection};
use tokio::time::{sleep, timeout};

use super::{
    error::{self, late},
    inspected::{Inspected, inspected},
    shared::{Server, Shared},
};
use crate::error::{StoreError, in_full};

/// How often a server is inspected, by its own clock.
const INSPECTION: Duration = Duration::from_secs(1);

/// How long an inspection may be late. A wait that began while the clock was ahead ends too late.
const LATE: Duration = Duration::from_secs(1);

/// Somebody who writes to the key that is waited for ends the wait too early.
const PAUSE: Duration = Duration::from_millis(10);

impl Shared {
    /// Has a server watched over a connection of its own, until the server is not used any more.
    pub(super) fn watch(self: &Arc<Self>, server: &Arc<Server>, connection: MultiplexedConnection) {
        let (shared, server) = (Arc::downgrade(self), Arc::downgrade(server));
        tokio::spawn(watch(shared, server, connection));
    }
}

async fn watch(shared: Weak<Shared>, server: Weak<Server>, mut connection: MultiplexedConnection) {
    loop {
        let (Some(used), Some(by)) = (server.upgrade(), shared.upgrade()) else {
            return;
        };
        if used.link.is_broken() {
            return;
        }
        let mut commands = Pipeline::with_capacity(2);
        let wait = commands
            .cmd("BLPOP")
            .arg(format!("{}:watch", used.link.key));
        wait.arg(INSPECTION.as_secs());
        commands.add_command(used.link.inspection(by.terms_later(), &by.knowledge));
        drop((used, by));

        let start = Instant::now();
        let found = inspection(&mut connection, &commands).await;
        let (Some(used), Some(by)) = (server.upgrade(), shared.upgrade()) else {
            return;
        };
        // The address may lead to another server by now.
        let found = match found {
            Ok(found) if found.id != used.id => {
                Err(StoreError::unavailable("another master has taken over"))
            }
            found => found,
        };
        if let Err(error) = by.judge(&used, found) {
            let error = in_full(&error);
            tracing::warn!(error, "a Redis server is not fit to remember nonces");
            return;
        }
        if start.elapsed() < PAUSE {
            sleep(PAUSE).await;
        }
    }
}

async fn inspection(
    connection: &mut MultiplexedConnection,
    commands: &Pipeline,
) -> Result<Inspected, StoreError> {
    let wait = INSPECTION + LATE;
    let asked = timeout(wait, connection.send_packed_commands(commands, 0, 2)).await;
    let mut answers = asked.map_err(|_| late(wait))?.map_err(error::unavailable)?;
    let answer = answers.pop().ok_or_else(error::unexpected)?;
    let answer = Value::extract_error(answer).map_err(error::unavailable)?;
    inspected(answer)
}
