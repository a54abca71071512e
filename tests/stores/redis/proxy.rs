//! A proxy between a store and a server, which does what networks do.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, AtomicU16, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

#[derive(Default)]
pub(crate) struct Faults {
    /// The next reply to a claim is cut off, after the server has done what it was asked.
    pub(crate) cut: AtomicBool,
    pub(crate) cuts: AtomicUsize,
    /// Connections that ask for a namespace from now on never hear anything again.
    pub(crate) deaf: AtomicBool,
    /// How far the clock of the server seems to be off, in seconds.
    pub(crate) clock: AtomicI64,
    /// Where connections lead from the second one on, unless it is zero: to this port.
    pub(crate) successor: AtomicU16,
}

/// Listens on a port of its own, until the runtime ends.
pub(crate) async fn start(server: u16, faults: Arc<Faults>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut port = server;
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await;
            match faults.successor.load(Ordering::SeqCst) {
                0 => {}
                successor => port = successor,
            }
            if let Ok(server) = server {
                tokio::spawn(pass(client, server, Arc::clone(&faults)));
            }
        }
    });
    url
}

async fn pass(client: TcpStream, server: TcpStream, faults: Arc<Faults>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asks_to_claim = AtomicBool::new(false);
    let there = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let is_claim = buffer[..read].windows(3).any(|bytes| bytes == b"cs:");
            asks_to_claim.fetch_or(is_claim, Ordering::SeqCst);
            let asks_for_namespace = buffer[..read]
                .windows(10)
                .any(|bytes| bytes == b":namespace");
            if asks_for_namespace && faults.deaf.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            if to_server.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    let back = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            if asks_to_claim.swap(false, Ordering::SeqCst)
                && faults.cut.swap(false, Ordering::SeqCst)
            {
                faults.cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
            shift(&mut buffer[..read], faults.clock.load(Ordering::SeqCst));
            if to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = there => {}, () = back => {} }
}

/// The reply to `TIME` begins with the seconds, of ten digits; a script tells thirteen digits.
fn shift(reply: &mut [u8], seconds: i64) {
    if seconds == 0 {
        return;
    }
    for (head, digits, unit) in [(&b"$10\r\n"[..], 10, 1), (b":", 13, 1000)] {
        let mut at = 0;
        while at + head.len() + digits + 2 <= reply.len() {
            let (from, to) = (at + head.len(), at + head.len() + digits);
            let text = std::str::from_utf8(&reply[from..to]).unwrap_or_default();
            if reply[at..].starts_with(head)
                && reply[to..].starts_with(b"\r\n")
                && let Ok(number) = text.parse::<i64>()
            {
                let shifted = (number + seconds * unit).to_string();
                reply[from..to].copy_from_slice(shifted.as_bytes());
            }
            at += 1;
        }
    }
}
