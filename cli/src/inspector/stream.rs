//! The live list: server-sent events with rows.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use serde_json::json;
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    log::Log,
    query::Query,
    rows::{PAGE, rows},
};
use crate::listen::Record;

/// Records that come sooner are sent together.
const GATHERING: Duration = Duration::from_millis(100);

/// A client that is gone is noticed by then.
const BEAT: Duration = Duration::from_secs(15);

/// The body of an answer that goes on.
#[derive(Debug)]
pub(super) struct Events(mpsc::Receiver<Bytes>);

/// Streams the newest records that the query finds, and then each that comes.
pub(super) fn stream(log: Arc<Log>, query: Query, permit: impl Send + 'static) -> Events {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let _permit = permit;
        // The reader is gone.
        let _ = send(&log, Arc::new(query), &sender).await;
    });
    Events(receiver)
}

async fn send(
    log: &Arc<Log>,
    query: Arc<Query>,
    sender: &mpsc::Sender<Bytes>,
) -> Result<(), mpsc::error::SendError<Bytes>> {
    let mut count = log.watch();
    let mut seen = 0;
    let mut is_first = true;
    loop {
        count.mark_unchanged();
        let (new, now) = log.after(seen);
        let query = Arc::clone(&query);
        let finding = spawn_blocking(move || find(&query, new));
        let Ok((found, has_more)) = finding.await else {
            return Ok(());
        };
        let (here, dropped) = log.counts();
        let event = json!({
            // Too many to add to what is shown: they take its place.
            "replace": is_first || has_more,
            "has_more": has_more,
            "html": rows(found.iter()).into_string(),
            "here": here,
            "dropped": dropped,
        });
        sender
            .send(Bytes::from(format!("data: {event}\n\n")))
            .await?;
        is_first = false;
        seen = now;
        while !matches!(timeout(BEAT, count.changed()).await, Ok(Ok(()))) {
            sender.send(Bytes::from_static(b":\n\n")).await?;
        }
        sleep(GATHERING).await;
    }
}

/// The newest that the query finds, the newest first, and whether there are more.
pub(super) fn find(query: &Query, records: Vec<Arc<Record>>) -> (Vec<Arc<Record>>, bool) {
    let newest_first = records.into_iter().rev();
    let mut found: Vec<_> = newest_first
        .filter(|record| query.finds(record))
        .take(PAGE + 1)
        .collect();
    let has_more = found.len() > PAGE;
    found.truncate(PAGE);
    (found, has_more)
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let polled = self.0.poll_recv(context);
        polled.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
