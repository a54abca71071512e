//! Copies that are held back find a small race, also with large bodies.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use super::*;
use crate::{probe::site::Sites, runtime::block_on};

/// How long the server takes between its look and its note.
const WINDOW: Duration = Duration::from_micros(60);

/// A server that acts once, unless two requests come within the window; and what it has done.
#[derive(Clone, Default)]
struct Server {
    is_used: Arc<AtomicBool>,
    effects: Arc<AtomicUsize>,
}

impl Server {
    /// Starts it on a thread of its own, as servers of Node and Python have one.
    fn start(self) -> u16 {
        let (sender, port) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap().port()).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let server = self.clone();
                    tokio::spawn(async move {
                        let service = service_fn(move |request: Request<Incoming>| {
                            let server = server.clone();
                            async move {
                                let mut body = request.into_body();
                                let mut digest = Sha256::new();
                                while let Some(frame) = body.frame().await {
                                    digest.update(frame?.data_ref().unwrap_or(&Bytes::new()));
                                    // As much as a language takes that interprets its code.
                                    std::thread::sleep(Duration::from_micros(50));
                                }
                                std::hint::black_box(digest.finalize());
                                server.act().await;
                                let answer = http_body_util::Empty::<Bytes>::new();
                                Ok::<_, hyper::Error>(http::Response::new(answer))
                            }
                        });
                        let builder = auto::Builder::new(TokioExecutor::new());
                        let serving = builder.serve_connection(TokioIo::new(stream), service);
                        let _ = serving.await;
                    });
                }
            });
        });
        port.recv().unwrap()
    }

    async fn act(&self) {
        if !self.is_used.load(Ordering::SeqCst) {
            let began = Instant::now();
            while began.elapsed() < WINDOW {
                tokio::task::yield_now().await;
            }
            self.is_used.store(true, Ordering::SeqCst);
            self.effects.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Plain,
    Http1,
    Http2,
}

/// In how many rounds the race was found, and the largest spread.
async fn found(how: How, body: usize, rounds: usize) -> (usize, Duration) {
    let server = Server::default();
    let port = server.clone().start();
    let url = format!("http://127.0.0.1:{port}/");
    let site = Sites::new(&[])
        .site(&url.parse().unwrap(), Duration::from_secs(10))
        .await
        .unwrap();
    let wire = Wire {
        site,
        is_http2: how == How::Http2,
    };
    let request = Request::post(url)
        .body(Bytes::from(vec![b'x'; body]))
        .unwrap();
    let copies = vec![request; 8];
    let (mut found, mut widest) = (0, Duration::ZERO);
    for _ in 0..rounds {
        server.is_used.store(false, Ordering::SeqCst);
        server.effects.store(0, Ordering::SeqCst);
        let (sent, spread) = match how {
            How::Plain => wire.plain(&copies).await,
            _ => wire.together(&copies).await,
        };
        for sent in &sent {
            assert!(
                sent.answer.as_ref().is_ok_and(|a| a.status == 200),
                "{how:?}: {sent:?}"
            );
        }
        widest = widest.max(spread);
        found += usize::from(server.effects.load(Ordering::SeqCst) > 1);
    }
    (found, widest)
}

#[test]
fn copies_that_are_held_back_find_a_race_more_often_than_plain_ones() {
    let rounds = env::var("COUNTERSIGN_CASES").map_or(10, |cases| cases.parse().unwrap());
    block_on(async {
        let (plain, plain_spread) = found(How::Plain, 256 * 1024, rounds).await;
        let (held, spread) = found(How::Http1, 256 * 1024, rounds).await;
        eprintln!(
            "of {rounds} rounds: plain {plain} (within {plain_spread:?}), held back {held} ({spread:?})"
        );
        // A few rounds say that it works; many say how much better.
        assert!(held > 0, "{held}");
        let is_wide = plain_spread > Duration::from_millis(1);
        assert!(rounds < 50 || is_wide && held >= 2 * plain, "{held}, {plain}, {plain_spread:?}");
    })
    .unwrap();
}

#[test]
fn streams_of_one_connection_find_a_race() {
    block_on(async {
        for body in [0, 1, 4096] {
            let (found, spread) = found(How::Http2, body, 3).await;
            assert!(found > 0, "{body}: {spread:?}");
        }
    })
    .unwrap();
}
