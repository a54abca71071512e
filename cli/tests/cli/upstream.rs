//! A server that keeps every byte that it is sent, and counts.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        mpsc::{Sender, channel},
    },
    thread,
};

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The head, as it came.
    pub(crate) head: String,
    /// The body, out of its chunks.
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn has(&self, line: &str) -> bool {
        self.head.lines().any(|known| known == line)
    }
}

/// Answers every request.
pub(crate) struct Upstream {
    pub(crate) url: String,
    seen: Arc<(Mutex<Vec<Seen>>, Condvar)>,
}

impl Upstream {
    /// Answers every request with the same bytes.
    pub(crate) fn start(answer: &'static str) -> Self {
        Self::answering(move |stream, _| stream.write_all(answer.as_bytes()).is_ok())
    }

    /// Answers each request once it is released: by a message, and all of them if the sender is
    /// dropped. Requests for `/free` need none.
    pub(crate) fn held(answer: &'static str) -> (Self, Sender<()>) {
        Self::held_if(answer, |seen| !seen.head.contains(" /free "))
    }

    /// The same for requests of which the closure says so.
    pub(crate) fn held_if(
        answer: &'static str,
        is_held: impl Fn(&Seen) -> bool + Send + Sync + 'static,
    ) -> (Self, Sender<()>) {
        let (release, held) = channel::<()>();
        let held = Mutex::new(held);
        let upstream = Self::answering(move |stream, seen| {
            if is_held(seen) {
                let _ = held.lock().unwrap().recv();
            }
            stream.write_all(answer.as_bytes()).is_ok()
        });
        (upstream, release)
    }

    /// Answers as the closure does, which says whether the connection goes on.
    pub(crate) fn answering(
        answer: impl Fn(&mut TcpStream, &Seen) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    /// The same on a port that is bound.
    pub(crate) fn on(
        listener: TcpListener,
        answer: impl Fn(&mut TcpStream, &Seen) -> bool + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(answer);
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<(Mutex<Vec<Seen>>, Condvar)> = Arc::default();
        let of_thread = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&of_thread);
                let answer = Arc::clone(&answer);
                thread::spawn(move || {
                    let mut stream = stream;
                    while let Some(one) = read(&mut stream) {
                        seen.0.lock().unwrap().push(one.clone());
                        seen.1.notify_all();
                        if !answer(&mut stream, &one) {
                            break;
                        }
                    }
                });
            }
        });
        Self { url, seen }
    }

    /// Waits until this many requests have come.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Seen> {
        let seen = self.seen.0.lock().unwrap();
        let limit = std::time::Duration::from_secs(30);
        let waiting = self
            .seen
            .1
            .wait_timeout_while(seen, limit, |seen| seen.len() < count);
        let (seen, late) = waiting.unwrap();
        assert!(!late.timed_out(), "{count} requests did not come");
        seen.clone()
    }

    /// Returns all requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.0.lock().unwrap().clone()
    }
}

fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut read = Vec::new();
    let byte = |read: &mut Vec<u8>, stream: &mut TcpStream| {
        let mut byte = [0];
        let n = stream.read(&mut byte).ok()?;
        (n == 1).then(|| read.extend(byte))
    };
    while !read.ends_with(b"\r\n\r\n") {
        byte(&mut read, stream)?;
    }
    let head = String::from_utf8(read).unwrap();
    let lower = head.to_ascii_lowercase();
    let mut body = Vec::new();
    if lower.contains("transfer-encoding: chunked\r\n") {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                byte(&mut line, stream)?;
            }
            let size = std::str::from_utf8(&line).unwrap().trim();
            let size = usize::from_str_radix(size, 16).unwrap();
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(length) = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
    {
        body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).ok()?;
    }
    Some(Seen { head, body })
}
