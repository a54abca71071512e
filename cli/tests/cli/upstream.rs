//! A server that keeps every byte that it is sent, and counts.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
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

/// Answers every request with the same bytes.
pub(crate) struct Upstream {
    pub(crate) url: String,
    seen: Arc<(Mutex<Vec<Seen>>, Condvar)>,
}

impl Upstream {
    pub(crate) fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<(Mutex<Vec<Seen>>, Condvar)> = Arc::default();
        let of_thread = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&of_thread);
                thread::spawn(move || {
                    let mut stream = stream;
                    while let Some(one) = read(&mut stream) {
                        seen.0.lock().unwrap().push(one);
                        seen.1.notify_all();
                        if stream.write_all(answer.as_bytes()).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { url, seen }
    }

    /// All requests so far.
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
