//! A connection whose first bytes have a deadline, and whose heads are followed.
//!
//! Which version of HTTP a client speaks is known by the bytes in which the preface of HTTP/2 and its
//! own differ. Until then, no other deadline runs.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use super::spelling::Heads;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) struct FirstBytes {
    stream: TcpStream,
    heads: Heads,
    /// What is left of the preface, and until when; `None` once the version is known.
    waiting: Option<(&'static [u8], Pin<Box<Sleep>>)>,
}

impl FirstBytes {
    pub(super) fn within(deadline: Duration, stream: TcpStream, heads: Heads) -> Self {
        Self {
            stream,
            heads,
            waiting: Some((PREFACE, Box::pin(sleep(deadline)))),
        }
    }
}

impl AsyncRead for FirstBytes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().get(before..).unwrap_or_default();
        self.heads.follow(read);
        let Some((rest, deadline)) = &mut self.waiting else {
            return polled;
        };
        if polled.is_pending() {
            return match deadline.as_mut().poll(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => Poll::Ready(Err(ErrorKind::TimedOut.into())),
            };
        }
        match rest.strip_prefix(read) {
            Some(left) if !left.is_empty() => *rest = left,
            _ => self.waiting = None,
        }
        polled
    }
}

impl AsyncWrite for FirstBytes {
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
