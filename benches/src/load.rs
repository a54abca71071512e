//! A load over real sockets: requests that are written beforehand, sent over many connections at
//! once by one thread. Signing and writing cost nothing while it runs.

use std::{
    future::Future,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes, BytesMut};
use http::Request;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::{Builder, Runtime},
    task::LocalSet,
};

/// The longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// A request as it goes over the wire.
#[derive(Clone)]
pub struct Written {
    start: Bytes,
    rest: Bytes,
}

impl Written {
    /// Writes a request. If the end of the body is that of `shared`, it is not stored twice.
    pub fn new(request: &Request<Bytes>, shared: &Bytes) -> Self {
        let mut start = Vec::new();
        start.extend_from_slice(
            format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).as_bytes(),
        );
        for (name, value) in request.headers() {
            start.extend_from_slice(name.as_str().as_bytes());
            start.extend_from_slice(b": ");
            start.extend_from_slice(value.as_bytes());
            start.extend_from_slice(b"\r\n");
        }
        let body = request.body();
        start.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        // Short bodies go out with their head.
        let own = body.len().min(1024);
        let (own, rest) = body.split_at(own);
        start.extend_from_slice(own);
        let common = shared.len().checked_sub(rest.len());
        let rest = match common {
            Some(at) if shared[at..] == *rest => shared.slice(at..),
            _ => Bytes::copy_from_slice(rest),
        };
        Self {
            start: start.into(),
            rest,
        }
    }
}

/// How requests are spread over connections.
#[derive(Clone, Copy)]
pub enum Connections {
    /// This many are opened once, and each carries its share.
    Kept(usize),
    /// This many at a time, each for one request.
    ForOne(usize),
}

/// The time that a load took.
pub struct Outcome {
    requests: usize,
    elapsed: Duration,
    /// How long each request waited for its answer, in order.
    waits: Vec<Duration>,
}

impl Outcome {
    pub fn requests_a_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// Returns how long so many percent of the requests waited at most.
    pub fn wait(&self, percent: usize) -> Duration {
        self.waits[(self.waits.len() - 1) * percent / 100]
    }
}

/// Sends requests from the calling thread alone.
pub struct Load {
    runtime: Runtime,
}

impl Load {
    pub fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_io().build();
        Self {
            runtime: runtime.expect("a runtime"),
        }
    }

    /// Sends all requests, and waits for all answers, each of which must be a success.
    pub fn run(&self, to: SocketAddr, connections: Connections, requests: &[Written]) -> Outcome {
        self.runtime.block_on(LocalSet::new().run_until(async {
            match connections {
                Connections::Kept(count) => {
                    let mut open = Vec::with_capacity(count);
                    for _ in 0..count {
                        open.push(Connection::open(to).await);
                    }
                    let mut open = open.into_iter();
                    in_turns(count, requests, |share| {
                        let mut connection = open.next().expect("one for each");
                        async move {
                            let mut waits = Vec::with_capacity(share.len());
                            for request in share {
                                let start = Instant::now();
                                connection.send(request).await;
                                waits.push(start.elapsed());
                            }
                            waits
                        }
                    })
                    .await
                }
                Connections::ForOne(count) => {
                    in_turns(count, requests, |share| async move {
                        let mut waits = Vec::with_capacity(share.len());
                        for request in share {
                            let start = Instant::now();
                            Connection::open(to).await.send(request).await;
                            waits.push(start.elapsed());
                        }
                        waits
                    })
                    .await
                }
            }
        }))
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::new()
    }
}

async fn in_turns<F: Future<Output = Vec<Duration>> + 'static>(
    count: usize,
    requests: &[Written],
    mut send: impl FnMut(Vec<Written>) -> F,
) -> Outcome {
    let shares: Vec<_> = (0..count)
        .map(|at| send(requests.iter().skip(at).step_by(count).cloned().collect()))
        .collect();
    let start = Instant::now();
    let tasks: Vec<_> = shares.into_iter().map(tokio::task::spawn_local).collect();
    let mut waits = Vec::with_capacity(requests.len());
    for task in tasks {
        waits.extend(task.await.expect("a load without a failure"));
    }
    let elapsed = start.elapsed();
    waits.sort_unstable();
    Outcome {
        requests: requests.len(),
        elapsed,
        waits,
    }
}

struct Connection {
    stream: TcpStream,
    answer: BytesMut,
}

impl Connection {
    async fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.expect("a server that listens");
        stream.set_nodelay(true).expect("an option of TCP");
        Self {
            stream,
            answer: BytesMut::with_capacity(4096),
        }
    }

    /// Sends one request, and reads its answer whole.
    async fn send(&mut self, request: Written) {
        let mut bytes = request.start.chain(request.rest);
        let sent = self.stream.write_all_buf(&mut bytes).await;
        sent.expect("a server that reads");
        loop {
            let read = self.stream.read_buf(&mut self.answer).await;
            assert!(read.expect("an answer") > 0, "the server hung up");
            if let Some(len) = answer_len(&self.answer) {
                self.answer.advance(len);
                return;
            }
            assert!(self.answer.len() < MAX_ANSWER, "an answer that is too long");
        }
    }
}

/// The length of the answer that these bytes begin with, once it is whole.
fn answer_len(bytes: &[u8]) -> Option<usize> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut headers);
    let head = match answer.parse(bytes).expect("an answer of HTTP/1.1") {
        httparse::Status::Complete(len) => len,
        httparse::Status::Partial => return None,
    };
    let status = answer.code.unwrap_or_default();
    let text = || String::from_utf8_lossy(&bytes[head..]);
    assert!((200..300).contains(&status), "{status}: {}", text());
    let mut headers = answer.headers.iter();
    let len = headers.find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let len = len.and_then(|len| str::from_utf8(len.value).ok()?.parse::<usize>().ok());
    let len = head + len.expect("a `content-length`");
    (bytes.len() >= len).then_some(len)
}
