//! The streams of a connection of HTTP/2: as many as its server allows, had before a request is
//! claimed. Beyond that number, requests would wait after it.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hyper::{
    client::conn::http2::Connection,
    rt::{Read, Write},
};
use hyper_util::rt::TokioExecutor;
use tokio::{
    pin, select,
    sync::{Notify, mpsc, oneshot},
    time::timeout,
};

use crate::proxy::answer::AnswerBody;

/// How soon the server is asked again: it may allow more by then.
const AGAIN: Duration = Duration::from_millis(20);

/// The streams of one connection.
#[derive(Debug)]
pub(super) struct Slots {
    used: Mutex<usize>,
    freed: Notify,
    /// Asks the connection how many there may be.
    asks: mpsc::Sender<oneshot::Sender<usize>>,
}

/// One stream, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<Slots>);

impl Slots {
    /// Runs a connection.
    pub(super) fn of<T>(connection: Connection<T, AnswerBody, TokioExecutor>) -> Arc<Self>
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let (asks, mut asked) = mpsc::channel::<oneshot::Sender<usize>>(64);
        tokio::spawn(async move {
            pin!(connection);
            loop {
                select! {
                    // Its requests say what went wrong.
                    _ = &mut connection => return,
                    Some(ask) = asked.recv() => {
                        let _ = ask.send(connection.current_max_send_streams());
                    }
                }
            }
        });
        Arc::new(Self {
            used: Mutex::default(),
            freed: Notify::new(),
            asks,
        })
    }

    fn used(&self) -> MutexGuard<'_, usize> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a stream.
    ///
    /// # Errors
    /// Returns an error if the connection has ended.
    pub(super) async fn take(self: &Arc<Self>) -> io::Result<Slot> {
        loop {
            let freed = self.freed.notified();
            let (answer, told) = oneshot::channel();
            let asked = self.asks.send(answer).await;
            asked.map_err(|_| io::ErrorKind::NotConnected)?;
            let most = told.await.map_err(|_| io::ErrorKind::NotConnected)?;
            if let Some(slot) = self.one_of(most) {
                return Ok(slot);
            }
            let _ = timeout(AGAIN, freed).await;
        }
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
