//! Copies that are held back find a small race, also with large bodies.

mod line;

use std::{
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, task::spawn_blocking};

use super::*;
use crate::{probe::site::Sites, runtime::block_on};

/// A server that acts once, unless a request comes between its look into its memory and its note
/// there. Between the two it parses the body, in another thread, as servers do with work that would
/// hold up others.
#[derive(Clone, Default)]
struct Server {
    is_used: Arc<AtomicBool>,
    effects: Arc<AtomicUsize>,
    /// When each request had arrived whole.
    arrived: Arc<Mutex<Vec<Instant>>>,
    /// The longest time between a look and its note.
    gap: Arc<Mutex<Duration>>,
}

impl Server {
    /// Starts it on a thread of its own, as servers of Node and Python have one.
    fn start(self) -> u16 {
        let (sender, port) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap().port()).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    let server = self.clone();
                    tokio::spawn(async move {
                        let service = service_fn(move |request: Request<Incoming>| {
                            let server = server.clone();
                            async move {
                                let mut incoming = request.into_body();
                                let mut body = Vec::new();
                                while let Some(frame) = incoming.frame().await {
                                    body.extend(frame?.into_data());
                                }
                                server.arrived.lock().unwrap().push(Instant::now());
                                server.act(body).await;
                                let answer = http_body_util::Empty::<Bytes>::new();
                                Ok::<_, hyper::Error>(http::Response::new(answer))
                            }
                        });
                        let builder = auto::Builder::new(TokioExecutor::new());
                        let serving = builder.serve_connection(TokioIo::new(stream), service);
                        let _ = serving.await;
                    });
                }
            })
            .unwrap();
        });
        port.recv().unwrap()
    }

    async fn act(&self, body: Vec<Bytes>) {
        if !self.is_used.load(Ordering::SeqCst) {
            let began = Instant::now();
            let parse = move || serde_json::from_slice::<serde_json::Value>(&body.concat());
            let parsed = spawn_blocking(parse).await.unwrap();
            std::hint::black_box(parsed.is_ok());
            self.is_used.store(true, Ordering::SeqCst);
            self.effects.fetch_add(1, Ordering::SeqCst);
            let mut gap = self.gap.lock().unwrap();
            *gap = began.elapsed().max(*gap);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Plain,
    Http1,
    Http2,
}

/// The outcome of the rounds.
#[derive(Debug, Default)]
struct Rounds {
    /// In how many the race was found.
    found: usize,
    /// The time between the arrival of the first copy and of the last one, in each round.
    spreads: Vec<Duration>,
}

impl Rounds {
    /// The shortest spread, the median, and the longest.
    fn spreads(&self) -> [Duration; 3] {
        let mut spreads = self.spreads.clone();
        spreads.sort();
        let last = spreads.len() - 1;
        [spreads[0], spreads[last / 2], spreads[last]]
    }
}

/// Sends eight copies in each round, over a slow line or within this machine, until the closure
/// returns true or the rounds are over.
async fn rounds(
    how: How,
    (body, is_far): (usize, bool),
    rounds: usize,
    is_enough: impl Fn(&Rounds) -> bool,
) -> (Rounds, Duration) {
    let server = Server::default();
    let mut port = server.clone().start();
    if is_far {
        port = line::to(port);
    }
    let url = format!("http://127.0.0.1:{port}/");
    let site = Sites::new(&[])
        .site(&url.parse().unwrap(), Duration::from_secs(10))
        .await
        .unwrap();
    let wire = Wire {
        site,
        is_http2: how == How::Http2,
    };
    let mut text = vec![b'x'; body];
    if let [first, .., last] = &mut text[..] {
        (*first, *last) = (b'"', b'"');
    }
    let request = Request::post(url).body(Bytes::from(text)).unwrap();
    let copies = vec![request; 8];
    let mut came = Rounds::default();
    while came.spreads.len() < rounds && !is_enough(&came) {
        server.is_used.store(false, Ordering::SeqCst);
        server.effects.store(0, Ordering::SeqCst);
        server.arrived.lock().unwrap().clear();
        let (sent, _) = match how {
            How::Plain => wire.plain(&copies).await,
            _ => wire.together(&copies).await,
        };
        for sent in &sent {
            assert!(
                sent.answer.as_ref().is_ok_and(|a| a.status == 200),
                "{how:?}: {sent:?}"
            );
        }
        let arrived = server.arrived.lock().unwrap().clone();
        assert_eq!(arrived.len(), copies.len());
        came.spreads.push(spread(arrived.iter().copied()));
        came.found += usize::from(server.effects.load(Ordering::SeqCst) > 1);
    }
    let gap = *server.gap.lock().unwrap();
    (came, gap)
}

/// Over a line, plain copies of a large body arrive one after another, because each of them takes
/// its time; and the last bytes of copies that are held back take none. A few rounds say that it
/// works; many say how much better.
#[test]
fn copies_that_are_held_back_find_a_race_more_often_than_plain_ones() {
    let many: Option<usize> = env::var("COUNTERSIGN_CASES")
        .map(|n| n.parse().unwrap())
        .ok();
    block_on(async {
        let body = (256 * 1024, true);
        let Some(many) = many else {
            let (held, _) = rounds(How::Http1, body, 50, |came| came.found > 0).await;
            assert!(held.found > 0, "{held:?}");
            return;
        };
        let (plain, gap) = rounds(How::Plain, body, many, |_| false).await;
        let (held, held_gap) = rounds(How::Http1, body, many, |_| false).await;
        for (name, came, gap) in [("plain", &plain, gap), ("held back", &held, held_gap)] {
            let [least, median, most] = came.spreads();
            eprintln!(
                "{name}: the race was found in {} of {many} rounds; the copies arrived within \
                 {least:?}, {median:?}, {most:?} (least, median, most); between look and note \
                 were at most {gap:?}",
                came.found
            );
        }
        let [narrowest, ..] = plain.spreads();
        assert!(narrowest > Duration::from_millis(1), "{narrowest:?}");
        assert!(held.found > 0 && held.found >= 2 * plain.found);
    })
    .unwrap();
}

#[test]
fn streams_of_one_connection_find_a_race() {
    block_on(async {
        for body in [0, 1, 4096] {
            let (came, _) = rounds(How::Http2, (body, false), 50, |came| came.found > 0).await;
            assert!(came.found > 0, "{body}: {came:?}");
        }
    })
    .unwrap();
}

/// The last frames of all streams are one segment: what a server reads at once, after it had read all
/// else.
#[test]
fn last_frames_of_all_streams_leave_in_one_segment() {
    let server = Server::default().start();
    let (port, last) = line::tapped(server);
    block_on(async {
        let url = format!("http://127.0.0.1:{port}/");
        let mut sites = Sites::new(&[]);
        let uri = url.parse().unwrap();
        let site = sites.site(&uri, Duration::from_secs(10)).await.unwrap();
        let wire = Wire {
            site,
            is_http2: true,
        };
        let request = Request::post(url)
            .body(Bytes::from_static(b"\"xx\""))
            .unwrap();
        let (sent, _) = wire.together(&vec![request; 8]).await;
        assert!(sent.iter().all(|sent| sent.answer.is_ok()), "{sent:?}");
    })
    .unwrap();
    // DATA of one byte that ends its stream.
    let is_last = |frame: &[u8]| frame == [0, 0, 1, 0, 1];
    let counts: Vec<usize> = last
        .try_iter()
        .map(|read| read.windows(5).filter(|frame| is_last(frame)).count())
        .filter(|count| *count > 0)
        .collect();
    assert_eq!(counts, [8]);
}
