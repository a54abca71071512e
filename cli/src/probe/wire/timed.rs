//! A connection that notes when it was written to.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::probe::site::Io;

/// When the connection was written to: the first time and the last.
#[derive(Clone, Debug, Default)]
pub(super) struct Moments(Arc<Mutex<Option<(Instant, Instant)>>>);

impl Moments {
    pub(super) fn forget(&self) {
        if let Ok(mut moments) = self.0.lock() {
            *moments = None;
        }
    }

    pub(super) fn get(&self) -> Option<(Instant, Instant)> {
        self.0.lock().ok().and_then(|moments| *moments)
    }

    fn note(&self) {
        if let Ok(mut moments) = self.0.lock() {
            let now = Instant::now();
            *moments = Some((moments.map_or(now, |(first, _)| first), now));
        }
    }
}

pub(super) struct Timed {
    pub(super) io: Io,
    pub(super) moments: Moments,
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        if written.is_ready() {
            self.moments.note();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
