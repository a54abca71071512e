//! HTTP/1.1: a connection for each copy, and the last byte of all at once.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    Request,
    header::{CONNECTION, CONTENT_LENGTH, HOST},
};
use tokio::{
    io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf},
    task::JoinSet,
    time::{sleep, timeout, timeout_at},
};

use super::{WARM_UP, answer::Sent, read, spread};
use crate::probe::site::{Io, Site};

/// How long a request is left alone before its client hangs up.
const BEFORE_HANGING_UP: Duration = Duration::from_millis(15);

/// A request as bytes.
fn written(request: &Request<Bytes>) -> Vec<u8> {
    let path = request.uri().path_and_query();
    let path = path.map_or("/", |path| path.as_str());
    let mut bytes = format!("{} {path} HTTP/1.1\r\n", request.method()).into_bytes();
    let headers = request.headers();
    let mut line = |name: &str, value: &[u8]| {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    };
    if let (false, Some(authority)) = (headers.contains_key(HOST), request.uri().authority()) {
        line("host", authority.as_str().as_bytes());
    }
    let own = [CONNECTION, CONTENT_LENGTH];
    for (name, value) in headers.iter().filter(|(name, _)| !own.contains(name)) {
        line(name.as_str(), value.as_bytes());
    }
    let has_body = !request.body().is_empty() || *request.method() != http::Method::GET;
    if has_body {
        line(
            "content-length",
            request.body().len().to_string().as_bytes(),
        );
    }
    line("connection", b"close");
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(request.body());
    bytes
}

/// A connection on which everything but the last bytes was sent.
struct Held {
    io: Io,
    last: Vec<u8>,
    /// Why not all could be sent. An answer may be there even so.
    broken: Option<String>,
}

impl Held {
    /// Sends the last bytes; whether they were taken before the deadline.
    async fn finish(&mut self, deadline: Instant) -> bool {
        let sending = async {
            self.io.write_all(&self.last).await?;
            self.io.flush().await
        };
        matches!(timeout_at(deadline.into(), sending).await, Ok(Ok(())))
    }
}

async fn hold(site: &Site, request: &Request<Bytes>, keep: usize) -> Result<Held, String> {
    let mut io = site.connect(false).await?;
    let mut bytes = written(request);
    let last = bytes.split_off(bytes.len().saturating_sub(keep));
    let sending = async {
        io.write_all(&bytes).await?;
        io.flush().await
    };
    let sent = timeout(site.timeout, sending).await;
    let broken = match sent {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("the server does not read".to_owned()),
    };
    Ok(Held { io, last, broken })
}

pub(super) async fn together(site: &Site, requests: &[Request<Bytes>]) -> (Vec<Sent>, Duration) {
    // One request alone races with nobody, and may be answered by its head.
    let is_race = requests.len() > 1;
    let keep = usize::from(is_race);
    let mut holding = JoinSet::new();
    for (at, request) in requests.iter().enumerate() {
        let (site, request) = (site.clone(), request.clone());
        holding.spawn(async move { (at, hold(&site, &request, keep).await) });
    }
    let mut held = holding.join_all().await;
    held.sort_by_key(|(at, _)| *at);
    if is_race {
        sleep(WARM_UP).await;
    }
    let mut held: Vec<_> = held.into_iter().map(|(_, held)| held).collect();
    let early: Vec<bool> = held
        .iter_mut()
        .map(|held| is_race && held.as_mut().is_ok_and(|held| is_answered(&mut held.io)))
        .collect();
    // Nothing is awaited here but writes for which the system has room: if it has none, because a
    // server does not read, all of them have one deadline.
    let deadline = Instant::now() + site.timeout;
    let mut left = Vec::with_capacity(held.len());
    for (held, early) in held.iter_mut().zip(&early) {
        let is_sent = match held {
            Ok(held) if held.last.is_empty() => held.broken.is_none(),
            Ok(held) if !early => held.finish(deadline).await,
            _ => false,
        };
        left.push(is_sent.then(Instant::now));
    }
    let spread = spread(left.iter().flatten().copied());
    let mut reading = JoinSet::new();
    for (at, held) in held.into_iter().enumerate() {
        let method = requests
            .get(at)
            .map(|r| r.method().clone())
            .unwrap_or_default();
        let (deadline, max) = (site.timeout, site.max_answer);
        let is_early = early.get(at).copied().unwrap_or_default();
        let left = left.get(at).copied().flatten();
        reading.spawn(async move {
            let sent = match held {
                Err(why) => Sent::failed(why),
                Ok(_) if is_early => Sent {
                    is_early,
                    ..Sent::failed("it was answered before its last byte was sent")
                },
                Ok(Held { io, broken, .. }) => {
                    let (answer, answered) = read::answer(io, &method, deadline, max).await;
                    let answer = answer.map_err(|why| broken.unwrap_or(why));
                    Sent {
                        answer,
                        left,
                        answered: Some(answered),
                        is_early,
                    }
                }
            };
            (at, sent)
        });
    }
    let mut sent = reading.join_all().await;
    sent.sort_by_key(|(at, _)| *at);
    (sent.into_iter().map(|(_, sent)| sent).collect(), spread)
}

/// Returns whether there is something to read: an answer that did not wait for the last byte, or
/// the end.
fn is_answered(io: &mut Io) -> bool {
    let mut byte = [0; 1];
    let mut buffer = ReadBuf::new(&mut byte);
    let mut context = Context::from_waker(Waker::noop());
    matches!(
        Pin::new(io).poll_read(&mut context, &mut buffer),
        Poll::Ready(_)
    )
}

pub(super) async fn hang_up(site: &Site, request: &Request<Bytes>) -> Sent {
    match hold(site, request, 0).await {
        Err(why) => Sent::failed(why),
        Ok(held) => {
            let left = Some(Instant::now());
            sleep(BEFORE_HANGING_UP).await;
            drop(held);
            Sent {
                left,
                ..Sent::failed("the probe hung up")
            }
        }
    }
}

/// Sends all but the last byte, and the last byte only if there is no answer within this time.
pub(super) async fn patiently(site: &Site, request: &Request<Bytes>, patience: Duration) -> Sent {
    let mut held = match hold(site, request, 1).await {
        Ok(held) => held,
        Err(why) => return Sent::failed(why),
    };
    let started = Instant::now();
    while started.elapsed() < patience {
        if is_answered(&mut held.io) {
            return Sent {
                is_early: true,
                ..Sent::failed("it was answered before its last byte was sent")
            };
        }
        sleep(Duration::from_millis(5)).await;
    }
    let is_sent = held.finish(Instant::now() + site.timeout).await;
    let left = is_sent.then(Instant::now);
    let (answer, answered) =
        read::answer(held.io, request.method(), site.timeout, site.max_answer).await;
    Sent {
        answer,
        left,
        answered: Some(answered),
        is_early: false,
    }
}

pub(super) async fn slowly(
    site: &Site,
    request: &Request<Bytes>,
    every: Duration,
    until: Duration,
) -> Sent {
    let held = hold(site, request, request.body().len()).await;
    let Held { mut io, last, .. } = match held {
        Ok(held) => held,
        Err(why) => return Sent::failed(why),
    };
    let started = Instant::now();
    for byte in last {
        if started.elapsed() >= until {
            return Sent {
                left: Some(started),
                ..Sent::failed(format!(
                    "the server still waits after {} s",
                    until.as_secs()
                ))
            };
        }
        sleep(every).await;
        // A server that does not read still waits.
        let left = until.saturating_sub(started.elapsed());
        if is_answered(&mut io) || matches!(timeout(left, io.write_all(&[byte])).await, Ok(Err(_)))
        {
            break;
        }
    }
    Sent {
        left: Some(started),
        answered: Some(Instant::now()),
        is_early: true,
        ..Sent::failed("it was answered, or the connection was closed")
    }
}

/// Sends each request whole, all at once, on connections that are open already.
#[cfg(test)]
pub(super) async fn plain(site: &Site, requests: &[Request<Bytes>]) -> (Vec<Sent>, Duration) {
    let mut open = Vec::with_capacity(requests.len());
    for request in requests {
        open.push((
            site.connect(false).await,
            written(request),
            request.method(),
        ));
    }
    let mut sending = JoinSet::new();
    for (io, bytes, method) in open {
        let (site, method) = (site.clone(), method.clone());
        sending.spawn(async move {
            let mut io = io?;
            let writing = async {
                io.write_all(&bytes).await?;
                io.flush().await
            };
            writing.await.map_err(|error| error.to_string())?;
            let left = Some(Instant::now());
            let (answer, at) = read::answer(io, &method, site.timeout, site.max_answer).await;
            Ok(Sent {
                answer,
                left,
                answered: Some(at),
                is_early: false,
            })
        });
    }
    let sent = sending.join_all().await;
    let sent: Vec<_> = sent
        .into_iter()
        .map(|sent| sent.unwrap_or_else(|why: String| Sent::failed(why)))
        .collect();
    let spread = spread(sent.iter().filter_map(|sent| sent.left));
    (sent, spread)
}
