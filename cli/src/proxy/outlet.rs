//! The output for the operator of the proxy. Threads of their own print it: an output that nobody
//! reads holds up no request, and takes no more memory than some lines.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{logged::Logged, measures};
use crate::{
    exit::Failure,
    printer::{Printer, one_line},
};

/// Lines that wait to be printed, for each output.
const MAX_LINES: usize = 1024;

/// How long the end waits for an output.
const LAST: Duration = Duration::from_secs(1);

/// Standard output and standard error.
#[derive(Clone, Debug)]
pub(crate) struct Outlet {
    out: Queue,
    errors: Queue,
}

/// The threads that print.
#[derive(Debug)]
pub(crate) struct Printing([(Queue, oneshot::Receiver<()>); 2]);

#[derive(Clone, Debug)]
struct Queue {
    said: mpsc::Sender<(u64, Said)>,
    /// Lines that could not be printed in time, since the last one that says so.
    left_out: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Said {
    /// A JSON object, and its line for people.
    Event(Value, String),
    Request(Logged),
    Notice(String),
    Failure(Failure),
    End,
}

impl Outlet {
    /// Starts the threads.
    ///
    /// # Errors
    /// Returns an error if there are no more threads.
    pub(crate) fn open(is_json: bool) -> io::Result<(Self, Printing)> {
        let (out, printed) = Queue::open(is_json)?;
        let (errors, complained) = Queue::open(is_json)?;
        let printing = Printing([(out.clone(), printed), (errors.clone(), complained)]);
        Ok((Self { out, errors }, printing))
    }

    pub(crate) fn event(&self, object: Value, line: impl Into<String>) {
        self.out.say(Said::Event(object, line.into()));
    }

    pub(super) fn request(&self, logged: Logged) {
        self.out.say(Said::Request(logged));
    }

    pub(crate) fn notice(&self, text: impl Into<String>) {
        self.errors.say(Said::Notice(text.into()));
    }

    pub(crate) fn failure(&self, failure: Failure) {
        self.errors.say(Said::Failure(failure));
    }
}

impl Printing {
    /// Waits for a moment until everything is printed that was said before.
    pub(crate) async fn end(self) {
        for (queue, printed) in self.0 {
            let ending = async {
                let _ = queue.said.send((0, Said::End)).await;
                let _ = printed.await;
            };
            let _ = timeout(LAST, ending).await;
        }
    }
}

impl Queue {
    fn open(is_json: bool) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (said, mut heard) = mpsc::channel::<(u64, Said)>(MAX_LINES);
        let (ended, printed) = oneshot::channel();
        thread::Builder::new().spawn(move || {
            let printer = Printer::new(is_json);
            while let Some((left_out, said)) = heard.blocking_recv() {
                if matches!(said, Said::End) {
                    break;
                }
                said.print(left_out, &printer);
            }
            drop(ended);
        })?;
        let left_out = Arc::default();
        Ok((Self { said, left_out }, printed))
    }

    fn say(&self, said: Said) {
        let left_out = match said.says_left_out() {
            true => self.left_out.swap(0, Ordering::Relaxed),
            false => 0,
        };
        if self.said.try_send((left_out, said)).is_err() {
            self.left_out.fetch_add(left_out + 1, Ordering::Relaxed);
            measures::line_dropped();
        }
    }
}

impl Said {
    /// Returns whether its line says how many were left out before it.
    fn says_left_out(&self) -> bool {
        matches!(self, Self::Request(_) | Self::Notice(_))
    }

    fn print(&self, left_out: u64, printer: &Printer) {
        match self {
            Self::Request(logged) if printer.is_json() => printer.object(&logged.object(left_out)),
            Self::Request(logged) => printer.text(&one_line(&logged.line(left_out))),
            Self::Event(object, _) if printer.is_json() => printer.object(object),
            Self::Event(_, line) => printer.text(line),
            Self::Notice(text) if left_out > 0 => {
                printer.warn(&format!("{text} ({left_out} messages left out)"));
            }
            Self::Notice(text) => printer.warn(text),
            Self::Failure(failure) => printer.failure(failure),
            Self::End => {}
        }
    }
}
