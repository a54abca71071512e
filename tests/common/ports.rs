//! Ports for servers that cannot be asked which one they have.

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

const FIRST: u32 = 10_000;
const COUNT: u32 = 10_000;

/// Returns a port that is free. The system gives higher ports to those who ask for any port, so that
/// nobody has this one before its server starts, or while its server starts again. The port of a cluster's
/// bus, which is 10,000 higher, is free too.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Another process begins elsewhere.
    let begin = process::id().wrapping_mul(61);
    loop {
        let next = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + next % COUNT;
        let [port, bus] = [port, port + 10_000].map(|port| u16::try_from(port).unwrap());
        let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(bus) {
            return port;
        }
    }
}
