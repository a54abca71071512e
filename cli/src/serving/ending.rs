//! Ctrl-C, and the signal that asks a process to end.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for Ctrl-C, from when it is made.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Ending {
    interrupt: Signal,
    terminate: Signal,
}

#[cfg(unix)]
impl Ending {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits until somebody asks the command to end.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits for Ctrl-C, from when it is made.
#[cfg(windows)]
#[derive(Debug)]
pub(crate) struct Ending(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Ending {
    pub(crate) fn new() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    /// Waits until somebody asks the command to end.
    pub(crate) async fn asked(&mut self) {
        let _ = self.0.recv().await;
    }
}
