//! A connection to a server on which the head of a request is spelled as its sender did.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::spelling::Spelling;

/// The spelling of the request, which is known after the connection.
pub(super) type Wanted = Arc<OnceLock<Spelling>>;

pub(super) struct Respelled<S> {
    stream: S,
    wanted: Wanted,
    /// The head as it was written, and then the rest of it to send; `None` behind it.
    head: Option<Head>,
}

enum Head {
    Open(Vec<u8>),
    Sending(Vec<u8>, usize),
}

impl<S: Write + Unpin> Respelled<S> {
    pub(super) fn new(stream: S, wanted: Wanted) -> Self {
        Self {
            stream,
            wanted,
            head: Some(Head::Open(Vec::new())),
        }
    }

    /// Sends what is left of a head that is complete.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(Head::Sending(head, sent)) = &mut self.head {
            let rest = head.get(*sent..).unwrap_or_default();
            if rest.is_empty() {
                self.head = None;
                break;
            }
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => *sent += more,
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn spelled(head: &[u8], spelling: Option<&Spelling>) -> Vec<u8> {
    let first = head.iter().position(|byte| *byte == b'\n');
    let parts = first.and_then(|at| head.split_at_checked(at + 1));
    match (spelling, parts) {
        (Some(spelling), Some((first, lines))) => {
            [first, &spelling.applied(lines), b"\r\n"].concat()
        }
        _ => head.to_vec(),
    }
}

impl<S: Read + Unpin> Read for Respelled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: Write + Unpin> Write for Respelled<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_head(context))?;
        let this = &mut *self;
        let Some(Head::Open(head)) = &mut this.head else {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        };
        for (taken, byte) in (1..).zip(bytes) {
            head.push(*byte);
            if head.ends_with(b"\r\n\r\n") {
                this.head = Some(Head::Sending(spelled(head, this.wanted.get()), 0));
                return Poll::Ready(Ok(taken));
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_head(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_head(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
