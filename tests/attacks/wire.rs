//! Row 29: bodies and heads as no client should send them.

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{Next, from_fn},
    response::IntoResponse as _,
};
use bytes::Bytes;
use countersign::{VerifyLayer, request::VerifierBuilder, testing::ManualClock};
use http::{HeaderName, HeaderValue};

use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::{
    collection::vec, option, prelude::*, sample::select, strategy::ValueTree as _,
    test_runner::TestRunner,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, Sleep, sleep, timeout},
};

use crate::{
    common::{self, Effects, exchange, parse_answer},
    naive::guard,
    subject::{
        ALL, Answer, BODY, Breach, Finding, Frames, HOUSE, INVALID, MALFORMED, MISSING, OK, PLACED,
        Subject, Target, accepted, app, refused, to_wire, with, without,
    },
};

const TOO_LARGE: Answer = (413, "body_too_large");
const TIMEOUT: Answer = (408, "body_timeout");
const UNREADABLE: Answer = (400, "body_unreadable");
/// A limit that is soon reached.
const MAX: usize = 64 * 1024;

fn limited(layer: VerifierBuilder<VerifyLayer>) -> VerifierBuilder<VerifyLayer> {
    layer.max_body_bytes(MAX)
}

/// The head of a request with these lines instead of a length, and whatever follows.
fn framed(request: &http::Request<String>, lines: &str, rest: &str) -> Vec<u8> {
    let mut head = request.clone();
    head.body_mut().clear();
    let head = String::from_utf8(to_wire(&head)).unwrap();
    let lines = format!("{lines}connection: close\r\n\r\n");
    [
        head.replace("connection: close\r\n\r\n", &lines).as_bytes(),
        rest.as_bytes(),
    ]
    .concat()
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

/// Behind the signed body there is what some server might take for the next request.
const SMUGGLED: &str = "POST /admin HTTP/1.1\r\nhost: api.example.com\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn a29_content_length_with_transfer_encoding() {
    let chunks = chunked(BODY) + SMUGGLED;
    let (len, all) = (BODY.len(), chunks.len());
    let lines = [
        format!("content-length: {len}\r\ntransfer-encoding: chunked\r\n"),
        format!("transfer-encoding: chunked\r\ncontent-length: {len}\r\n"),
        format!("content-length: {all}\r\ntransfer-encoding: chunked\r\n"),
        format!("transfer-encoding: chunked\r\ncontent-length: {all}\r\n"),
        "content-length: 0\r\ntransfer-encoding: chunked\r\n".into(),
        "transfer-encoding: chunked\r\ncontent-length: 5\r\ncontent-length: 6\r\n".into(),
        format!("transfer-encoding: gzip, chunked\r\ncontent-length: {len}\r\n"),
        format!("transfer-encoding: xchunked\r\ncontent-length: {len}\r\n"),
        format!("transfer-encoding: chunked, identity\r\ncontent-length: {len}\r\n"),
        format!("transfer-encoding:\u{b}chunked\r\ncontent-length: {len}\r\n"),
        format!("transfer-encoding : chunked\r\ncontent-length: {len}\r\n"),
    ];
    for subject in ALL {
        for lines in &lines {
            let target = Target::new(subject).on_a_socket().await;
            let genuine = subject.signed(&target.clock);
            for rest in [&chunks, BODY] {
                let wire = framed(&genuine, lines, rest);
                let (status, answer) = exchange(target.addr.unwrap(), &wire).await;
                // Whichever of the two counts: a handler sees what was signed, or nothing, and
                // what follows is no request that passes.
                let seen = (status, answer.as_str()) == (OK, BODY);
                assert_eq!(
                    target.effects.count(),
                    usize::from(seen),
                    "{lines:?}: {status} {answer}"
                );
                assert!(
                    seen || (400..500).contains(&status) || status == 501,
                    "{lines:?}: {status}"
                );
                if seen {
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn a29_a_server_that_shows_both_is_not_believed() {
    for subject in ALL {
        let target = Target::new(subject);
        let genuine = subject.signed(&target.clock);
        let both = with(
            &with(&genuine, "content-length", "26"),
            "transfer-encoding",
            "chunked",
        );
        refused(&target, both.clone(), MALFORMED).await.unwrap();
        accepted(&target, genuine).await.unwrap();

        let unguarded = Target::of(&target.clock, |effects| guard(effects, |_, _| true));
        let found = refused(&unguarded, both, MALFORMED).await;
        assert!(
            matches!(found, Err(Breach::Effect(_))),
            "the twin takes it: {found:?}"
        );
    }
}

#[tokio::test]
async fn a29_a_length_that_cannot_be_read_or_is_not_true() {
    for subject in ALL {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        let addr = target.addr.unwrap();
        for length in [
            "",
            "+26",
            "-1",
            "0x1a",
            "26 26",
            "26, 26",
            "26,27",
            "2 6",
            "1e1",
            "99999999999999999999999",
            "26\r\ncontent-length: 27",
        ] {
            let wire = framed(&genuine, &format!("content-length: {length}\r\n"), BODY);
            let (status, code) = exchange(addr, &wire).await;
            assert!((400..500).contains(&status), "`{length}`: {status} {code}");
            assert_eq!(target.effects.count(), 0, "`{length}`");
        }
        // Too short: the rest is another request, and none that passes. Too long: it breaks off.
        let short = framed(&genuine, "content-length: 10\r\n", BODY);
        let (status, code) = exchange(addr, &short).await;
        assert_eq!((status, code.as_str()), INVALID);
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream
            .write_all(&framed(&genuine, "content-length: 1000\r\n", BODY))
            .await
            .unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || parse_answer(&answer).0 == UNREADABLE.0);
        assert_eq!((target.effects.count(), target.claims.count()), (0, 0));
        accepted(&target, genuine).await.unwrap();
    }
}

#[tokio::test]
async fn a29_chunks_that_cannot_be_read() {
    for subject in ALL {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        let len = format!("{:x}", BODY.len());
        for chunks in [
            format!("zz\r\n{BODY}\r\n0\r\n\r\n"),
            format!("-1\r\n{BODY}\r\n0\r\n\r\n"),
            format!("FFFFFFFFFFFFFFFFF\r\n{BODY}\r\n0\r\n\r\n"),
            format!("{len}\r\n{BODY}0\r\n\r\n"),
            format!("{len}\r\n{BODY}x\r\n0\r\n\r\n"),
            format!("\r\n{BODY}\r\n0\r\n\r\n"),
        ] {
            let wire = framed(&genuine, "transfer-encoding: chunked\r\n", &chunks);
            let (status, code) = exchange(target.addr.unwrap(), &wire).await;
            assert_eq!((status, code.as_str()), UNREADABLE, "{chunks:?}");
            assert_eq!(
                (target.effects.count(), target.claims.count()),
                (0, 0),
                "{chunks:?}"
            );
        }
        let wire = framed(&genuine, "transfer-encoding: chunked\r\n", &chunked(BODY));
        assert_eq!(
            exchange(target.addr.unwrap(), &wire).await,
            (OK, BODY.into())
        );
    }
}

#[tokio::test]
async fn a29_a_body_without_a_length() {
    for subject in ALL {
        // HTTP/1.1 knows no body without a length, so that there is none.
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            let wire = String::from_utf8(framed(&genuine, "", "")).unwrap();
            let wire = wire.replacen("HTTP/1.1", version, 1);
            let (status, code) = exchange(target.addr.unwrap(), wire.as_bytes()).await;
            assert_eq!((status, code.as_str()), INVALID, "{version}");
        }
        assert_eq!(target.effects.count(), 0);
        let empty = subject.sign(&target.clock, common::request("POST", "/transfer", ""));
        accepted(&target, empty).await.unwrap();
        accepted(&target, genuine).await.unwrap();
    }
}

/// One frame, and a hint that says something else about it.
struct Hinting(Option<Bytes>, SizeHint);

impl http_body::Body for Hinting {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        self.1
    }
}

#[tokio::test]
async fn a29_a_body_of_unknown_or_wrongly_stated_length() {
    let at_least = |lower| {
        let mut hint = SizeHint::new();
        hint.set_lower(lower);
        hint
    };
    for subject in ALL {
        for (hint, passes) in [
            (SizeHint::new(), true),
            (SizeHint::with_exact(0), true),
            (SizeHint::with_exact(MAX as u64), true),
            (at_least(7), true),
            (SizeHint::with_exact(MAX as u64 + 1), false),
            (SizeHint::with_exact(u64::MAX), false),
            (at_least(u64::MAX), false),
        ] {
            let target = Target::with(subject, limited);
            let genuine = subject.signed(&target.clock);
            let body = Body::new(Hinting(Some(BODY.into()), hint));
            let (status, answer) = target.call(genuine.clone().map(|_| body)).await;
            if passes {
                assert_eq!((status, answer.as_str()), (OK, BODY), "{hint:?}");
            } else {
                assert_eq!((status, answer.as_str()), TOO_LARGE, "{hint:?}");
                accepted(&target, genuine).await.unwrap();
            }
        }
        let target = Target::with(subject, limited);
        let genuine = subject.signed(&target.clock);
        let bytewise = Frames::new(BODY.split("").map(str::to_owned), |_| {});
        assert_eq!(
            target.call(genuine.map(|_| Body::new(bytewise))).await,
            (OK, BODY.into())
        );
    }
}

/// A body that is too large is refused, and by its stated length alone where it has one.
async fn oversized(target: &Target, subject: &Subject) -> Finding {
    let addr = target.addr.unwrap();
    let too_much = "x".repeat(MAX + 1);
    let large = subject.sign(
        &target.clock,
        common::request("POST", "/transfer", &too_much),
    );
    for wire in [
        framed(
            &large,
            "transfer-encoding: chunked\r\n",
            &chunked(&too_much),
        ),
        framed(&large, &format!("content-length: {}\r\n", MAX + 1), ""),
        framed(
            &large,
            &format!("content-length: {}\r\n", u64::MAX - 2),
            "x",
        ),
    ] {
        let (status, code) = exchange(addr, &wire).await;
        if target.effects.count() > 0 {
            return Err(Breach::Effect(format!("{status}")));
        }
        // Where the server closes while we still send, the answer may be lost.
        if status != 0 && (status, code.as_str()) != TOO_LARGE {
            return Err(Breach::Answer(format!("{status} {code}")));
        }
    }
    Ok(())
}

#[tokio::test]
async fn a29_an_oversized_body_stated_or_not() {
    // A client is waited for that says it will send more.
    let soon = Duration::from_millis(300);
    for subject in ALL {
        let target = Target::with(subject, |layer| limited(layer).body_deadline(soon));
        let target = target.on_a_socket().await;
        oversized(&target, subject).await.unwrap();
        assert_eq!(target.claims.count(), 0);

        let target = Target::with(subject, limited);
        let sign = |len| {
            let request = common::request("POST", "/transfer", &"x".repeat(len));
            subject.sign(&target.clock, request)
        };
        refused(&target, sign(MAX + 1), TOO_LARGE).await.unwrap();
        let halves = Frames::new(
            ["x".repeat(MAX / 2), "x".repeat(MAX / 2), "x".into()],
            |_| {},
        );
        let (status, code) = target.call(sign(MAX + 1).map(|_| Body::new(halves))).await;
        assert_eq!((status, code.as_str()), TOO_LARGE);
        accepted(&target, sign(MAX)).await.unwrap();
    }
}

#[tokio::test]
async fn a29_twin_a_server_without_a_limit_is_found() {
    let unlimited = |effects: &Effects| {
        guard(effects, |_, _| true).layer(axum::extract::DefaultBodyLimit::disable())
    };
    let target = Target::of(&common::clock(), unlimited);
    let target = target.on_a_socket().await;
    let found = oversized(&target, &HOUSE).await;
    assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
}

#[tokio::test]
async fn a29_what_the_head_decides_is_answered_before_the_body_is_asked_for() {
    for subject in ALL {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        let expect = format!("content-length: {}\r\nexpect: 100-continue\r\n", BODY.len());
        let first_line = async |request: &http::Request<String>| {
            let mut stream = TcpStream::connect(target.addr.unwrap()).await.unwrap();
            stream
                .write_all(&framed(request, &expect, ""))
                .await
                .unwrap();
            let mut line = [0; 12];
            stream.read_exact(&mut line).await.unwrap();
            String::from_utf8(line.to_vec()).unwrap()
        };
        for (refused, status) in [
            (
                without(&genuine, subject.signature),
                &*subject.answers.unsigned.0.to_string(),
            ),
            (with(&genuine, subject.signature, "x"), "400"),
            (with(&genuine, subject.time, "1600000000"), "401"),
            (with(&genuine, "host", "other.example"), "421"),
            (with(&genuine, "content-encoding", "gzip"), "401"),
        ] {
            assert_eq!(first_line(&refused).await, format!("HTTP/1.1 {status}"));
        }
        assert_eq!(
            first_line(&genuine).await,
            "HTTP/1.1 100",
            "the genuine one's body is"
        );
        if let Some(key_id) = subject.key_id {
            assert_eq!(
                first_line(&with(&genuine, key_id, "nobody")).await,
                "HTTP/1.1 401"
            );
        }
    }
}

/// One byte each second, and never done before the body is.
struct Dripping {
    bytes: std::vec::IntoIter<u8>,
    pause: Pin<Box<Sleep>>,
}

impl Dripping {
    fn new(body: &str) -> Self {
        Self {
            bytes: body.as_bytes().to_vec().into_iter(),
            pause: Box::pin(sleep(Duration::from_secs(1))),
        }
    }
}

impl http_body::Body for Dripping {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.pause.as_mut().poll(cx));
        let next = Instant::now() + Duration::from_secs(1);
        self.pause.as_mut().reset(next);
        Poll::Ready(
            self.bytes
                .next()
                .map(|byte| Ok(Frame::data(vec![byte].into()))),
        )
    }
}

/// No single pause is long; all together are.
async fn drip(target: &Target) -> Finding {
    let genuine = HOUSE.signed(&target.clock);
    let began = Instant::now();
    let dripping = genuine.clone().map(|body| Body::new(Dripping::new(&body)));
    let (status, code) = target.call(dripping).await;
    if target.effects.count() > 0 {
        return Err(Breach::Effect(format!("after {:?}", began.elapsed())));
    }
    if (status, code.as_str()) != TIMEOUT || began.elapsed().as_secs() != 10 {
        return Err(Breach::Answer(format!(
            "{status} {code} after {:?}",
            began.elapsed()
        )));
    }
    accepted(target, genuine).await
}

#[tokio::test(start_paused = true)]
async fn a29_slowloris_the_deadline_is_one_for_the_whole_body() {
    drip(&Target::new(&HOUSE)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a29_twin_a_deadline_for_each_frame_is_found() {
    let by_frame = |effects: &Effects| -> Router {
        app(effects).layer(from_fn(async |request: Request, next: Next| {
            let (parts, mut body) = request.into_parts();
            let mut bytes = Vec::new();
            loop {
                match timeout(Duration::from_secs(10), body.frame()).await {
                    Err(_) => return http::StatusCode::REQUEST_TIMEOUT.into_response(),
                    Ok(None) => break,
                    Ok(Some(frame)) => {
                        bytes.extend_from_slice(&frame.unwrap().into_data().unwrap());
                    }
                }
            }
            assert!(body.is_end_stream() || !bytes.is_empty());
            next.run(Request::from_parts(parts, Body::from(bytes)))
                .await
        }))
    };
    let found = drip(&Target::of(&common::clock(), by_frame)).await;
    assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
}

#[tokio::test]
async fn a29_slowloris_over_a_socket() {
    let deadline = Duration::from_millis(200);
    for subject in ALL {
        let target = Target::with(subject, |layer| layer.body_deadline(deadline));
        let target = target.on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        let length = format!("content-length: {}\r\n", BODY.len());
        for wire in [
            framed(&genuine, &length, &BODY[..10]),
            framed(&genuine, &length, ""),
            framed(&genuine, "transfer-encoding: chunked\r\n", "a\r\nab"),
        ] {
            let (status, code) = exchange(target.addr.unwrap(), &wire).await;
            assert_eq!((status, code.as_str()), TIMEOUT);
        }
        assert_eq!((target.effects.count(), target.claims.count()), (0, 0));
        accepted(&target, genuine).await.unwrap();
    }
}

#[tokio::test]
async fn a29_headers_that_are_not_utf_8() {
    let bytes = [
        &b"\xff"[..],
        b"\xc3\x28",
        b"a\x80b",
        b"\xed\xa0\x80",
        &[0xfe; 300],
    ];
    for subject in ALL {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        for value in bytes {
            let value = HeaderValue::from_bytes(value).unwrap();
            for name in subject.headers.iter().copied().chain(["host"]) {
                let mut request = genuine.clone();
                request.headers_mut().insert(name, value.clone());
                refused(&target, request, MALFORMED).await.unwrap();
            }
            if subject.covers_bytes {
                let mut request = genuine.clone();
                request.headers_mut().insert("content-type", value.clone());
                refused(&target, request, INVALID).await.unwrap();
            }
        }
        // Elsewhere they are nobody's business; and a covered header may hold them.
        for (round, value) in bytes.into_iter().enumerate() {
            let value = HeaderValue::from_bytes(value).unwrap();
            let request = common::request("POST", "/transfer", &round.to_string());
            let mut signed = subject.sign(&target.clock, request);
            for name in ["x-other", "cookie", "user-agent", "x-forwarded-host"] {
                signed.headers_mut().insert(name, value.clone());
            }
            if subject.covers_bytes {
                signed.headers_mut().insert("content-type", value);
                subject.resign(&mut signed);
            }
            accepted(&target, signed).await.unwrap();
        }
        accepted(&target, genuine).await.unwrap();
    }
}

#[tokio::test]
async fn a29_targets_and_methods_out_of_the_ordinary() {
    for subject in ALL {
        let target = Target::new(subject).on_a_socket().await;
        let wire = String::from_utf8(to_wire(&subject.signed(&target.clock))).unwrap();
        let unsigned =
            String::from_utf8(to_wire(&common::request("POST", "/transfer", BODY))).unwrap();
        let long = format!("POST /{} HTTP", "a".repeat(70_000));
        for line in [
            long.as_str(),
            "POST  /transfer HTTP",
            "POST /tran\0sfer HTTP",
            "P\u{f6}ST / HTTP",
            "POST /a b HTTP",
        ] {
            for wire in [&wire, &unsigned] {
                let wire = wire.replacen("POST /transfer HTTP", line, 1);
                let (status, code) = exchange(target.addr.unwrap(), wire.as_bytes()).await;
                assert!(
                    (400..500).contains(&status) || status == 0,
                    "{status} {code}"
                );
            }
        }
        let unsigned = unsigned.replacen("POST", "BREW", 1);
        let (status, code) = exchange(target.addr.unwrap(), unsigned.as_bytes()).await;
        assert_eq!((status, code.as_str()), MISSING);
        assert_eq!((target.effects.count(), target.claims.count()), (0, 0));
    }
}

/// A change to a request on its way.
#[derive(Clone, Debug)]
enum Damage {
    /// This many bytes at this place are replaced by this.
    Edit(prop::sample::Index, usize, &'static str),
    /// The line, or its counterpart in HTTP/2, is sent twice.
    Line(prop::sample::Index),
    /// All after this is lost.
    CutOff(prop::sample::Index),
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let pieces = vec![
        "",
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        ":",
        ";",
        "0",
        "5",
        "\r\n\r\n",
        "0\r\n\r\n",
        "1a\r\n",
        "content-length: 5\r\n",
        "\r\ncontent-length: 0",
        "\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\n",
        "\r\nexpect: 100-continue",
        "\r\nte: trailers",
        "\r\nhost: other.example.com",
        "\r\nupgrade: h2c",
        "\r\ntrailer: host",
        "\0",
        "\u{ff}",
        "//",
        "%2f",
        "HTTP/1.0",
        "HTTP/2.0",
        "http://other.example.com",
        "?x=1",
        "#",
        "amount",
    ];
    let at = any::<prop::sample::Index>;
    let damage = prop_oneof![
        8 => (at(), 0..4_usize, select(pieces)).prop_map(|(at, n, piece)| Damage::Edit(at, n, piece)),
        2 => at().prop_map(Damage::Line),
        1 => at().prop_map(Damage::CutOff),
    ];
    vec(damage, 0..4)
}

fn damaged(mut wire: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        match damage {
            Damage::Edit(at, len, piece) => {
                let at = at.index(wire.len() + 1);
                let end = (at + len).min(wire.len());
                wire.splice(at..end, piece.bytes());
            }
            Damage::Line(which) => {
                let lines: Vec<_> = wire.split_inclusive(|byte| *byte == b'\n').collect();
                if !lines.is_empty() {
                    let which = which.index(lines.len());
                    wire = [&lines[..which], &lines[which..=which], &lines[which..]]
                        .concat()
                        .concat();
                }
            }
            Damage::CutOff(at) => wire.truncate(at.index(wire.len() + 1)),
        }
    }
    wire
}

/// All that came back, once the server has closed.
async fn all_answers(addr: SocketAddr, pieces: Vec<Vec<u8>>) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        // It may answer, and close, before all was sent.
        let _ = stream.write_all(&piece).await;
        tokio::task::yield_now().await;
    }
    let _ = stream.shutdown().await;
    let mut answers = Vec::new();
    let read = stream.read_to_end(&mut answers);
    let _ = timeout(Duration::from_secs(30), read)
        .await
        .expect("it ends");
    answers
}

/// A server on a socket, and what it handled.
struct Watched {
    subject: &'static Subject,
    clock: ManualClock,
    addr: SocketAddr,
    handled: Arc<Mutex<Vec<(String, Bytes)>>>,
    counts: [u32; 2],
}

impl Watched {
    async fn new(
        subject: &'static Subject,
        serve: impl FnOnce(&ManualClock, Router) -> Router,
    ) -> Self {
        let handled = Arc::new(Mutex::new(Vec::new()));
        let handler = {
            let handled = Arc::clone(&handled);
            async move |request: Request| {
                let (head, body) = request.into_parts();
                let place = head.uri.path_and_query().unwrap();
                let place = format!("{} {place}", head.method);
                let body = body.collect().await.unwrap().to_bytes();
                handled.lock().unwrap().push((place, body));
            }
        };
        let clock = common::clock();
        let app = serve(&clock, Router::new().fallback(handler));
        Self {
            subject,
            addr: common::serve(app).await,
            clock,
            handled,
            counts: [0, 0],
        }
    }

    async fn verifying(subject: &'static Subject) -> Self {
        let serve = |clock: &ManualClock, inner: Router| {
            let layer = subject.layer(clock).store(common::store(clock));
            inner.layer(layer.build().unwrap())
        };
        Self::new(subject, serve).await
    }

    /// Another one each time.
    fn signed(&self) -> http::Request<String> {
        let body = format!(r#"{{"to":"alice","amount":{:?}}}"#, self.counts);
        let request = common::request("POST", "/transfer?a=b", &body);
        self.subject.sign(&self.clock, request)
    }

    /// After the genuine request came damaged, or whole: it was handled as it was signed, or not at all.
    fn judge(&mut self, genuine: &http::Request<String>, is_whole: bool) -> Result<(), String> {
        let handled = std::mem::take(&mut *self.handled.lock().unwrap());
        let is_placed = PLACED.iter().any(|placed| placed.name == self.subject.name);
        let is_right = match &handled[..] {
            [] => !is_whole,
            [(place, body)] => {
                body == genuine.body() && (!is_placed || place == "POST /transfer?a=b")
            }
            _ => false,
        };
        self.counts[usize::from(handled.is_empty())] += 1;
        is_right.then_some(()).ok_or(format!("{handled:?}"))
    }

    fn survived(&self) {
        let [handled, refused] = self.counts;
        let name = self.subject.name;
        println!("{name}: {handled} handled, {refused} refused");
        assert!(handled > 10 && refused > 10, "{handled}, {refused}");
    }
}

/// Over HTTP/1, damaged as bytes, and in several pieces.
async fn damaged_at_random(watched: &mut Watched, requests: u32) -> Result<(), String> {
    let mut runner = TestRunner::deterministic();
    let cuts = vec(any::<prop::sample::Index>(), 0..3);
    let strategy = (damages(), cuts, any::<bool>());
    for _ in 0..requests {
        let (damages, cuts, is_chunked) = strategy.new_tree(&mut runner).unwrap().current();
        let genuine = watched.signed();
        let wire = if is_chunked {
            let lines = "transfer-encoding: chunked\r\n";
            framed(&genuine, lines, &chunked(genuine.body()))
        } else {
            to_wire(&genuine)
        };
        let wire = damaged(wire, &damages);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        cuts.extend([0, wire.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| wire[cut[0]..cut[1]].to_vec());
        all_answers(watched.addr, pieces.collect()).await;
        let judged = watched.judge(&genuine, damages.is_empty());
        judged.map_err(|what| format!("{what} of {}", wire.escape_ascii()))?;
    }
    Ok(())
}

#[tokio::test]
async fn a29_whatever_is_damaged_over_http1_what_is_handled_was_signed() {
    for subject in ALL {
        let mut watched = Watched::verifying(subject).await;
        let requests = common::cases(250);
        damaged_at_random(&mut watched, requests).await.unwrap();
        watched.survived();
    }
}

#[tokio::test]
async fn a29_twin_a_server_that_handles_what_was_damaged_is_found() {
    let mut watched = Watched::new(&HOUSE, |_, inner| inner).await;
    let found = damaged_at_random(&mut watched, 250).await;
    assert!(found.is_err());
    let mut watched = Watched::new(&HOUSE, |_, inner| inner).await;
    let found = altered_at_random(&mut watched, 70).await;
    assert!(found.is_err());
}

/// A change to a request of HTTP/2.
#[derive(Clone, Debug)]
enum Alteration {
    /// `None` leaves it out.
    Header(&'static str, Option<&'static str>),
    /// Said once more, with this value or its own.
    Again(prop::sample::Index, Option<&'static str>),
    Method(&'static str),
    Target(&'static str),
    /// The content of the frames, and whether trailers follow.
    Frames(&'static [&'static str], bool),
    /// The body in several frames.
    Split(prop::sample::Index, bool),
}

fn alterations() -> impl Strategy<Value = Vec<Alteration>> {
    let names = vec![
        "content-length",
        "host",
        "te",
        "trailer",
        "expect",
        "content-type",
        "content-encoding",
        "cookie",
        "x-other",
        "content-digest",
    ];
    let values = vec![
        "0",
        "1",
        "26",
        "27",
        "9999",
        "trailers",
        "gzip",
        "other.example.com",
        "api.example.com",
        "100-continue",
        "text/plain",
        "",
    ];
    let targets = vec![
        "http://api.example.com/transfer?a=b",
        "http://api.example.com/transfer?a=c",
        "http://api.example.com/transfer",
        "http://api.example.com//transfer?a=b",
        "http://other.example.com/transfer?a=b",
        "http://API.EXAMPLE.COM:80/transfer?a=b",
        "https://api.example.com/transfer?a=b",
        "http://u@api.example.com/transfer?a=b",
    ];
    let bodies: Vec<&'static [&'static str]> =
        vec![&[], &[""], &["", "{}"], &["{\"to\":", "\"mallory\"}"]];
    let value = || option::of(select(values.clone()));
    let at = any::<prop::sample::Index>;
    let alteration = prop_oneof![
        3 => (select(names), value()).prop_map(|(n, v)| Alteration::Header(n, v)),
        1 => (at(), value()).prop_map(|(at, v)| Alteration::Again(at, v)),
        1 => select(vec!["GET", "PUT", "OPTIONS"]).prop_map(Alteration::Method),
        2 => select(targets).prop_map(Alteration::Target),
        1 => (select(bodies), any::<bool>()).prop_map(|(b, t)| Alteration::Frames(b, t)),
        4 => (at(), any::<bool>()).prop_map(|(at, t)| Alteration::Split(at, t)),
    ];
    vec(alteration, 0..3)
}

/// The frames of a body.
type Sent = VecDeque<Frame<Bytes>>;

struct Sending(Sent);

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

fn altered(genuine: &http::Request<String>, alterations: &[Alteration]) -> http::Request<Sending> {
    let (mut head, body) = genuine.clone().into_parts();
    head.uri = "http://api.example.com/transfer?a=b".parse().unwrap();
    let data = |text: &str| Frame::data(Bytes::copy_from_slice(text.as_bytes()));
    let trailers = || {
        let trailers = [
            ("content-digest", "sha-256=::"),
            ("host", "other.example.com"),
        ];
        let named = |(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        Frame::trailers(trailers.into_iter().map(named).collect())
    };
    let mut frames = Sent::from([data(&body)]);
    for alteration in alterations {
        match alteration {
            Alteration::Header(name, Some(value)) => {
                _ = head.headers.insert(*name, HeaderValue::from_static(value));
            }
            Alteration::Header(name, None) => _ = head.headers.remove(*name),
            Alteration::Again(at, value) => {
                let fields: Vec<_> = head.headers.iter().collect();
                if let Some((name, own)) = fields.get(at.index(fields.len().max(1))) {
                    let own = (*own).clone();
                    let value = value.map_or(own, HeaderValue::from_static);
                    let name = (*name).clone();
                    head.headers.append(name, value);
                }
            }
            Alteration::Method(method) => head.method = method.parse().unwrap(),
            Alteration::Target(target) => head.uri = target.parse().unwrap(),
            Alteration::Frames(texts, with_trailers) => {
                frames = texts.iter().map(|text| data(text)).collect();
                frames.extend(with_trailers.then(trailers));
            }
            Alteration::Split(at, with_trailers) => {
                let (one, other) = body.split_at(at.index(body.len() + 1));
                frames = [one, "", other].map(data).into();
                frames.extend(with_trailers.then(trailers));
            }
        }
    }
    http::Request::from_parts(head, Sending(frames))
}

/// Over HTTP/2, altered as far as a client lets it be sent.
async fn altered_at_random(watched: &mut Watched, requests: u32) -> Result<(), String> {
    let mut runner = TestRunner::deterministic();
    let strategy = alterations();
    for _ in 0..requests {
        let alterations = strategy.new_tree(&mut runner).unwrap().current();
        let genuine = watched.signed();
        let stream = TokioIo::new(TcpStream::connect(watched.addr).await.unwrap());
        let connected = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
        let (mut sender, connection) = connected.await.unwrap();
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(altered(&genuine, &alterations));
        if let Ok(answer) = timeout(Duration::from_secs(30), answer).await.unwrap() {
            let _ = answer.into_body().collect().await;
        }
        drop(sender);
        let _ = connection.await;
        let judged = watched.judge(&genuine, alterations.is_empty());
        judged.map_err(|what| format!("{what} of {alterations:?}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a29_whatever_is_altered_over_http2_what_is_handled_was_signed() {
    for subject in ALL {
        let mut watched = Watched::verifying(subject).await;
        let requests = common::cases(70);
        altered_at_random(&mut watched, requests).await.unwrap();
        watched.survived();
    }
}
