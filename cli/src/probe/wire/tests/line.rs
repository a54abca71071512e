//! A line between a sender and a server: because of its bandwidth, large bodies arrive one after
//! another.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

/// 100 Mbit/s: 256 KiB take 21 ms.
const BYTES_PER_SECOND: f64 = 12_500_000.0;

/// The most that a connection sends at once: not a whole part of 256 KiB, so that the last part of
/// a body has a length of its own.
const BURST: usize = 48 * 1024;

/// How far the line may run ahead of its rate: the system does not sleep for a shorter time.
const SLACK: Duration = Duration::from_micros(200);

/// Bytes, and the connection that they go to.
type Burst = (Arc<TcpStream>, Vec<u8>);

/// Lays a line to a server on this machine: the port at which it begins. The bytes of all
/// connections go over it in the order in which they were sent. Answers take no time.
pub(super) fn to(server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (line, bursts) = mpsc::channel();
    thread::spawn(move || carry(&bursts));
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
            server.set_nodelay(true).unwrap();
            let (there, back) = (Arc::new(server), line.clone());
            let (to, from) = (client.try_clone().unwrap(), Arc::clone(&there));
            thread::spawn(move || send(client, &there, &back));
            thread::spawn(move || {
                let _ = io::copy(&mut &*from, &mut &to);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    });
    port
}

/// Puts what one connection sends on the line.
fn send(mut from: TcpStream, to: &Arc<TcpStream>, line: &mpsc::Sender<Burst>) {
    let mut burst = vec![0; BURST];
    while let Ok(len @ 1..) = from.read(&mut burst) {
        line.send((Arc::clone(to), burst[..len].to_vec())).unwrap();
    }
}

fn carry(bursts: &mpsc::Receiver<Burst>) {
    let mut free_at = Instant::now();
    for (to, bytes) in bursts {
        #[expect(clippy::cast_precision_loss, reason = "a burst is short")]
        let takes = Duration::from_secs_f64(bytes.len() as f64 / BYTES_PER_SECOND);
        free_at = free_at.max(Instant::now()) + takes;
        let ahead = free_at.saturating_duration_since(Instant::now());
        if ahead > SLACK {
            thread::sleep(ahead);
        }
        // A client that was answered early has hung up.
        let _ = (&*to).write_all(&bytes);
    }
}

/// A way to a server on this machine that tells what each reading of a connection's requests got.
pub(super) fn tapped(server: u16) -> (u16, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tap, readings) = mpsc::channel();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
        server.set_nodelay(true).unwrap();
        let (mut to, mut from) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || io::copy(&mut from, &mut to));
        let mut buffer = vec![0; BURST];
        while let Ok(len @ 1..) = client.read(&mut buffer) {
            tap.send(buffer[..len].to_vec()).unwrap();
            if (&server).write_all(&buffer[..len]).is_err() {
                break;
            }
        }
    });
    (port, readings)
}
