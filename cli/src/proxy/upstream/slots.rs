//! The streams of a connection of HTTP/2: as many as its server allows, had before a request is
//! claimed. Beyond that number, requests would wait after it.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::{
    client::conn::http2::Connection,
    rt::{Executor, Read, Write},
};
use tokio::{
    pin, select,
    sync::{Notify, mpsc, oneshot, watch},
    time::timeout,
};

use crate::proxy::answer::AnswerBody;

/// How soon the server is asked again: it may allow more by then.
const AGAIN: Duration = Duration::from_millis(20);

/// How long a connection that nobody uses may take to tell its server.
const CLOSED: Duration = Duration::from_millis(100);

/// The streams of one connection, which ends soon after the last handle to them.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    shared: Arc<Shared>,
    /// Asks the connection how many there may be.
    asks: mpsc::Sender<oneshot::Sender<usize>>,
}

#[derive(Debug, Default)]
struct Shared {
    used: Mutex<usize>,
    freed: Notify,
    is_retired: AtomicBool,
}

/// One stream, until it is dropped. The connection can end before it.
#[derive(Debug)]
pub(super) struct Slot(Arc<Shared>);

/// Runs the tasks of one connection, until the other half of the channel is dropped.
#[derive(Clone)]
pub(super) struct Tasks(pub(super) watch::Receiver<()>);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        let Self(mut open) = self.clone();
        tokio::spawn(async move {
            select! {
                _ = task => {}
                _ = open.changed() => {}
            }
        });
    }
}

impl Slots {
    /// Runs a connection. Its tasks end with it.
    pub(super) fn of<T>(
        connection: Connection<T, AnswerBody, Tasks>,
        tasks: watch::Sender<()>,
    ) -> Self
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let (asks, mut asked) = mpsc::channel::<oneshot::Sender<usize>>(64);
        tokio::spawn(async move {
            let _tasks = tasks;
            pin!(connection);
            loop {
                select! {
                    // Its requests say what went wrong.
                    _ = &mut connection => return,
                    ask = asked.recv() => match ask {
                        Some(ask) => drop(ask.send(connection.current_max_send_streams())),
                        // Nobody uses it. A stream may wait for its request to be read.
                        None => return drop(timeout(CLOSED, connection).await),
                    },
                }
            }
        });
        let shared = Arc::default();
        Self { shared, asks }
    }

    /// Returns whether both are streams of one connection.
    pub(super) fn share_with(&self, others: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &others.shared)
    }

    /// Gives no other stream away.
    pub(super) fn retire(&self) {
        self.shared.is_retired.store(true, Ordering::Relaxed);
    }

    /// Waits for a stream.
    ///
    /// # Errors
    /// Returns an error if the connection has ended, or is retired.
    pub(super) async fn take(&self) -> io::Result<Slot> {
        while !self.shared.is_retired.load(Ordering::Relaxed) {
            let freed = self.shared.freed.notified();
            let (answer, told) = oneshot::channel();
            let asked = self.asks.send(answer).await;
            asked.map_err(|_| io::ErrorKind::NotConnected)?;
            let most = told.await.map_err(|_| io::ErrorKind::NotConnected)?;
            if let Some(slot) = self.shared.one_of(most) {
                return Ok(slot);
            }
            let _ = timeout(AGAIN, freed).await;
        }
        Err(io::ErrorKind::NotConnected.into())
    }
}

impl Shared {
    fn used(&self) -> MutexGuard<'_, usize> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one_of(self: &Arc<Self>, most: usize) -> Option<Slot> {
        let mut used = self.used();
        (*used < most).then(|| {
            *used += 1;
            Slot(Arc::clone(self))
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.used() -= 1;
        self.0.freed.notify_one();
    }
}
