//! A connection whose first bytes have a deadline.
//!
//! The first bytes of a client tell its version of HTTP, once they differ from the preface of
//! HTTP/2 or complete it. Until then, no other deadline runs.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
    time::{Sleep, sleep},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose first bytes have a deadline. All bytes that are read are shown to `F` too.
pub(crate) struct FirstBytes<S, F> {
    stream: S,
    on_read: F,
    /// `None` once the version is known.
    waiting: Option<Waiting>,
}

struct Waiting {
    /// The rest of the preface.
    rest: &'static [u8],
    deadline: Pin<Box<Sleep>>,
    /// Dropped in order to tell that the version is known.
    _known: oneshot::Sender<()>,
}

impl<S, F: FnMut(&[u8])> FirstBytes<S, F> {
    /// The connection, and what ends when its version of HTTP is known.
    pub(crate) fn within(
        deadline: Duration,
        stream: S,
        on_read: F,
    ) -> (Self, oneshot::Receiver<()>) {
        let (sender, known) = oneshot::channel();
        let waiting = Waiting {
            rest: PREFACE,
            deadline: Box::pin(sleep(deadline)),
            _known: sender,
        };
        let first_bytes = Self {
            stream,
            on_read,
            waiting: Some(waiting),
        };
        (first_bytes, known)
    }
}

impl<S: AsyncRead + Unpin, F: FnMut(&[u8]) + Unpin> AsyncRead for FirstBytes<S, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().get(before..).unwrap_or_default();
        (self.on_read)(read);
        let Some(waiting) = &mut self.waiting else {
            return polled;
        };
        if polled.is_pending() {
            return match waiting.deadline.as_mut().poll(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => Poll::Ready(Err(ErrorKind::TimedOut.into())),
            };
        }
        match waiting.rest.strip_prefix(read) {
            Some(left) if !left.is_empty() => waiting.rest = left,
            _ => self.waiting = None,
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin, F: Unpin> AsyncWrite for FirstBytes<S, F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
