//! Requests that wait are taken many at once, so that they share one round trip.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

/// How many wait at most; who comes later waits for a place.
const PLACES: usize = 4096;

/// Something that is asked for, and whose answer somebody waits for.
pub(in crate::store) trait Asked {
    /// Returns whether nobody waits for the answer any more.
    fn is_given_up(&self) -> bool;
}

/// The end of a queue at which what waits is taken, many at once.
#[derive(Debug)]
pub(in crate::store) struct Taken<T> {
    waiting: mpsc::Receiver<T>,
    most: usize,
}

impl<T: Asked> Taken<T> {
    /// Makes a queue from which at most `most` are taken together.
    pub(in crate::store) fn new(most: usize) -> (mpsc::Sender<T>, Self) {
        let (asking, waiting) = mpsc::channel(PLACES);
        (asking, Self { waiting, most })
    }

    /// Waits until there is something, and takes it with all that wait beside it. Returns `false`
    /// once nobody can ask any more.
    ///
    /// If it is dropped, nothing is taken.
    pub(in crate::store) async fn take(&mut self, batch: &mut Vec<T>) -> bool {
        self.waiting.recv_many(batch, self.most).await > 0
    }

    /// Takes what has come in meanwhile: who was answered last asks again by now, and belongs to
    /// the same round trip. Tells whether there was anything.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(in crate::store) async fn take_more(&mut self, batch: &mut Vec<T>) -> bool {
        tokio::task::yield_now().await;
        let before = batch.len();
        while batch.len() < self.most
            && let Ok(asked) = self.waiting.try_recv()
        {
            batch.push(asked);
        }
        batch.len() > before
    }
}

/// A task that answers what is asked, many at once.
pub(in crate::store) trait Work: Send {
    type Asked: Asked + Send;

    /// Waits until there is something, and takes it. Returns `false` once nobody can ask any more.
    ///
    /// It is dropped when the time of [`gather`] is up: until then it has taken nothing.
    fn take(&mut self, batch: &mut Vec<Self::Asked>) -> impl Future<Output = bool> + Send;

    /// Answers everybody in the batch, and leaves it empty.
    fn answer(&mut self, batch: &mut Vec<Self::Asked>) -> impl Future<Output = ()> + Send;
}

/// Has what is asked answered, for so long. Returns `false` once nobody can ask any more.
pub(in crate::store) async fn gather(work: &mut impl Work, time: Duration) -> bool {
    let end = Instant::now().checked_add(time);
    let mut batch = Vec::new();
    loop {
        let some = match end {
            Some(end) => timeout_at(end, work.take(&mut batch)).await,
            None => Ok(work.take(&mut batch).await),
        };
        match some {
            Ok(true) => {}
            Ok(false) => return false,
            Err(_) => return true,
        }
        leave_out_given_up(&mut batch);
        if !batch.is_empty() {
            work.answer(&mut batch).await;
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            return true;
        }
    }
}

/// Leaves out what nobody waits for any more.
pub(in crate::store) fn leave_out_given_up(batch: &mut Vec<impl Asked>) {
    batch.retain(|asked| !asked.is_given_up());
}
