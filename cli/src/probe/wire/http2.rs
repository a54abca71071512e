//! HTTP/2: a stream for each copy, and the last frames of all at once.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{
    Request, Response, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    WARM_UP,
    answer::{Answer, Sent},
    timed::{Moments, Timed},
};
use crate::probe::site::Site;

/// A stream on which everything but the last byte was sent.
struct Held {
    answer: ResponseFuture,
    stream: SendStream<Bytes>,
    last: Bytes,
}

pub(super) async fn together(site: &Site, requests: &[Request<Bytes>]) -> (Vec<Sent>, Duration) {
    let all_failed = |why: String| {
        let sent = requests.iter().map(|_| Sent::failed(&why)).collect();
        (sent, Duration::ZERO)
    };
    let moments = Moments::default();
    let io = match site.connect(true).await {
        Ok(io) => io,
        Err(why) => return all_failed(why),
    };
    let timed = Timed {
        io,
        moments: moments.clone(),
    };
    let shaken = timeout(site.timeout, h2::client::handshake(timed)).await;
    let (mut sender, connection) = match shaken {
        Ok(Ok(shaken)) => shaken,
        Ok(Err(error)) => return all_failed(error.to_string()),
        Err(_) => return all_failed("the server does not speak HTTP/2".to_owned()),
    };
    // The connection is polled on this thread, and only when this function waits.
    let connection = tokio::spawn(connection);
    let mut held = Vec::with_capacity(requests.len());
    for request in requests {
        let holding = timeout(site.timeout, hold(&mut sender, request)).await;
        held.push(match holding {
            Ok(held) => held,
            Err(_) => Err("the server does not take that much at once".to_owned()),
        });
    }
    let is_race = requests.len() > 1;
    if is_race {
        sleep(WARM_UP).await;
    }
    let mut context = Context::from_waker(Waker::noop());
    let is_early = |held: &mut Result<Held, String>, context: &mut Context<'_>| {
        is_race
            && held
                .as_mut()
                .is_ok_and(|held| pin!(&mut held.answer).poll(context).is_ready())
    };
    let early: Vec<bool> = held
        .iter_mut()
        .map(|held| is_early(held, &mut context))
        .collect();
    moments.forget();
    // Nothing is awaited here: the connection sends the last frames of all when it is next polled.
    for (held, _) in held.iter_mut().zip(&early).filter(|(_, early)| !**early) {
        if let Ok(one) = held
            && let Err(error) = one.stream.send_data(one.last.clone(), true)
        {
            *held = Err(error.to_string());
        }
    }
    let left = Instant::now();
    let mut reading = JoinSet::new();
    for (at, (held, is_early)) in held.into_iter().zip(early).enumerate() {
        let (deadline, max) = (site.timeout, site.max_answer);
        reading.spawn(async move { (at, answer(held, is_early, left, deadline, max).await) });
    }
    // Its own frames of windows and pings come later.
    tokio::task::yield_now().await;
    let spread = moments
        .get()
        .map_or(Duration::ZERO, |(first, last)| last - first);
    let mut sent = reading.join_all().await;
    connection.abort();
    sent.sort_by_key(|(at, _)| *at);
    (sent.into_iter().map(|(_, sent)| sent).collect(), spread)
}

async fn hold(sender: &mut SendRequest<Bytes>, request: &Request<Bytes>) -> Result<Held, String> {
    let said = |error: h2::Error| error.to_string();
    poll_fn(|cx| sender.poll_ready(cx)).await.map_err(said)?;
    let (answer, mut stream) = sender.send_request(head(request)?, false).map_err(said)?;
    let mut body = request.body().clone();
    let last = body.split_off(body.len().saturating_sub(1));
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await;
        let room = room.ok_or("the stream was closed")?.map_err(said)?;
        let part = body.split_to(room.min(body.len()));
        stream.send_data(part, false).map_err(said)?;
    }
    if !last.is_empty() {
        stream.reserve_capacity(last.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await;
        room.ok_or("the stream was closed")?.map_err(said)?;
    }
    Ok(Held {
        answer,
        stream,
        last,
    })
}

/// The head as HTTP/2 has it.
fn head(request: &Request<Bytes>) -> Result<Request<()>, String> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.version_mut() = Version::HTTP_2;
    let mut headers = request.headers().clone();
    let mut uri = request.uri().clone().into_parts();
    if let Some(host) = headers.remove(HOST) {
        let authority = host.as_bytes().try_into();
        uri.authority = Some(authority.map_err(|_| "`Host` is not an authority")?);
    }
    for name in [CONNECTION, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(request.body().len()));
    *head.uri_mut() = Uri::from_parts(uri).map_err(|error| error.to_string())?;
    *head.headers_mut() = headers;
    Ok(head)
}

async fn answer(
    held: Result<Held, String>,
    is_early: bool,
    left: Instant,
    deadline: Duration,
    max: usize,
) -> Sent {
    let held = match held {
        Ok(_) if is_early => Err("it was answered before its last byte was sent".to_owned()),
        held => held,
    };
    let held = match held {
        Ok(held) => held,
        Err(why) => {
            return Sent {
                is_early,
                ..Sent::failed(why)
            };
        }
    };
    // It stays open until the answer is there.
    let _stream = held.stream;
    let (answer, answered) = match timeout(deadline, read(held.answer, max)).await {
        Ok(Ok((answer, at))) => (Ok(answer), at),
        Ok(Err(why)) => (Err(why), Instant::now()),
        Err(_) => (
            Err(format!("no whole answer within {} s", deadline.as_secs())),
            Instant::now(),
        ),
    };
    Sent {
        answer,
        left: Some(left),
        answered: Some(answered),
        is_early,
    }
}

async fn read(answer: ResponseFuture, max: usize) -> Result<(Answer, Instant), String> {
    let response: Response<RecvStream> = answer.await.map_err(|error| error.to_string())?;
    let at = Instant::now();
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(part) = stream.data().await {
        let part = part.map_err(|error| error.to_string())?;
        if body.len() + part.len() > max {
            return Err(format!("its answer is longer than {max} bytes"));
        }
        let _ = stream.flow_control().release_capacity(part.len());
        body.extend_from_slice(&part);
    }
    Ok((
        Answer {
            status: head.status,
            headers: head.headers,
            body: body.into(),
        },
        at,
    ))
}
