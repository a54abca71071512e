//! Row 29: the well-known hostile cases of HTTP/1.1 and HTTP/2, byte by byte over real sockets. Each is
//! handled as it was signed, or refused, and then nothing is used up.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::{
    common::{self, code_or_body, parse_answer},
    subject::{ALL, BODY, OK, Subject, Target, accepted, to_wire},
};

/// The outcome that a case must have.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// The handler saw what was signed, once.
    Handled,
    /// No effect, and no claim.
    Refused,
    /// Refused, if the scheme covers the place. Otherwise it is another place, for which it counts alone.
    Elsewhere,
}

use Outcome::{Elsewhere, Handled, Refused};

/// Sends bytes, and reads all that comes back. `is_cut` says that the client closes behind them.
async fn send(addr: SocketAddr, bytes: &[u8], is_cut: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let mut answer = Vec::new();
    let exchange = async {
        // The server may answer and close before all was sent.
        let _ = stream.write_all(bytes).await;
        if is_cut {
            let _ = stream.shutdown().await;
        }
        let _ = stream.read_to_end(&mut answer).await;
    };
    timeout(Duration::from_secs(30), exchange).await.unwrap();
    answer
}

/// A target whose connections wait for the rest of a body for a moment only.
async fn target(subject: &Subject) -> Target {
    let soon = Duration::from_millis(300);
    Target::with(subject, |layer| layer.body_deadline(soon))
        .on_a_socket()
        .await
}

/// Returns what became of it, or what was wrong.
async fn judge(
    target: &Target,
    genuine: &http::Request<String>,
    expected: Outcome,
) -> Result<(), String> {
    let counts = (target.effects.count(), target.claims.count());
    let covers_place = target.subject.is_some_and(|subject| subject.covers_place);
    match (expected, counts) {
        (Handled, (1, 1)) => return Ok(()),
        (Refused, (0, 0)) => {}
        (Elsewhere, (0, 0)) if covers_place => {}
        (Elsewhere, _) if !covers_place => {}
        _ => return Err(format!("{counts:?} effects and claims")),
    }
    let genuine = accepted(target, genuine.clone()).await;
    genuine.map_err(|breach| format!("{breach:?}"))
}

/// The genuine request as bytes of HTTP/1.1: its parts can be replaced.
struct Wire(String);

impl Wire {
    fn of(genuine: &http::Request<String>) -> Self {
        Self(String::from_utf8(to_wire(genuine)).unwrap())
    }

    fn replaced(&self, what: &str, by: &str) -> Vec<u8> {
        assert!(self.0.contains(what), "{what:?} in {}", self.0);
        self.0.replacen(what, by, 1).into_bytes()
    }

    fn line(&self, line: &str) -> Vec<u8> {
        self.replaced("POST /transfer HTTP/1.1", line)
    }

    /// With this line more.
    fn with(&self, line: &str) -> Vec<u8> {
        self.replaced(
            "\r\nconnection: close",
            &format!("\r\n{line}\r\nconnection: close"),
        )
    }

    /// With these chunks in place of the body.
    fn chunked(&self, chunks: &str) -> Vec<u8> {
        let length = format!("content-length: {}\r\n", BODY.len());
        let head = self
            .0
            .replacen(&length, "transfer-encoding: chunked\r\n", 1);
        let head = head.strip_suffix(BODY).unwrap();
        format!("{head}{chunks}").into_bytes()
    }

    /// Twice over one connection, or this behind it.
    fn followed_by(&self, next: &str) -> Vec<u8> {
        let keeping = self.0.replacen("connection: close\r\n", "", 1);
        format!("{keeping}{next}").into_bytes()
    }
}

/// Name, bytes, what happens to them, and whether the client closes behind them.
type Http1 = (&'static str, Vec<u8>, Outcome, bool);

fn http1(wire: &Wire, signature: &str) -> Vec<Http1> {
    let (len, length) = (BODY.len(), format!("content-length: {}", BODY.len()));
    let chunk = format!("{len:x}\r\n{BODY}\r\n");
    let chunked = |rest: &str| wire.chunked(&format!("{chunk}{rest}"));
    let sized = |size: &str| wire.chunked(&format!("{size}\r\n{BODY}\r\n0\r\n\r\n"));
    let signature = format!("\r\n{signature}: ");
    let moved = |by: &str| wire.replaced(&signature, &signature.replacen(": ", by, 1));
    let host = "host: api.example.com";
    let second = "POST /transfer HTTP/1.1\r\nhost: api.example.com\r\nconnection: close\r\n\r\n";
    let body = &format!("\r\n\r\n{BODY}");
    let cut = |left: usize| wire.0.as_bytes()[..wire.0.len() - left].to_vec();
    let case = |name, wire, outcome| (name, wire, outcome, false);
    vec![
        case("as it is", wire.0.clone().into_bytes(), Handled),
        case("two hosts", wire.with("host: other.example.com"), Refused),
        case("the same host twice", wire.with(host), Refused),
        case("no host", wire.replaced(&format!("{host}\r\n"), ""), Refused),
        case("an empty host", wire.replaced(host, "host:"), Refused),
        case("a host with user", wire.replaced(host, "host: u@api.example.com"), Refused),
        case("two lengths", wire.with("content-length: 1"), Refused),
        case("a list of lengths", wire.replaced(&length, &format!("{length}, {len}")), Refused),
        case("a length and chunks", wire.with("transfer-encoding: chunked"), Refused),
        case("a coding of chunks twice", wire.with("transfer-encoding: chunked, chunked"), Refused),
        case("an unknown transfer coding", wire.with("transfer-encoding: identity"), Refused),
        case("a folded signature", moved(":\r\n "), Refused),
        case("a folded line", wire.with("x-other: a\r\n b"), Refused),
        case("a folded first line", wire.line("POST /transfer HTTP/1.1\r\n x: y"), Refused),
        case("a space before the colon", moved(" : "), Refused),
        case("a tab before the colon", moved("\t: "), Refused),
        case("no space behind the colon", moved(":"), Handled),
        case("no colon", wire.with("x-other"), Refused),
        case("no name", wire.with(": x"), Refused),
        case("a name with a NUL", wire.with("x-\0other: a"), Refused),
        case("a name with a bracket", wire.with("x(other: a"), Refused),
        case("a value with a NUL", wire.with("x-other: a\0b"), Refused),
        case("a value with a bare CR", wire.with("x-other: a\rb"), Refused),
        case("a bare CR ends a line", wire.with("x-other: a\rhost: other.example.com"), Refused),
        case("bare LFs end lines", wire.0.replace("\r\n", "\n").into_bytes(), Handled),
        case("empty lines first", format!("\r\n\r\n{}", wire.0).into_bytes(), Handled),
        case("a space first", format!(" {}", wire.0).into_bytes(), Refused),
        case("a chunk", chunked("0\r\n\r\n"), Handled),
        case("a size in capitals and zeros", sized(&format!("000{len:X}")), Handled),
        case("an extension", sized(&format!("{len:x};a=b")), Handled),
        case("a long extension", sized(&format!("{len:x};{}", "a".repeat(40_000))), Refused),
        case("an extension over lines", sized(&format!("{len:x};a\nb")), Refused),
        case("a size with sign", sized(&format!("+{len:x}")), Refused),
        case("a size with prefix", sized(&format!("0x{len:x}")), Refused),
        case("a size beyond 64 bits", sized(&format!("1{:016x}", len)), Refused),
        case("a size of 2^63", sized("8000000000000000"), Refused),
        case("a chunk too long", wire.chunked(&format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", len - 1)), Refused),
        case("no last chunk", chunked(""), Refused),
        case("trailers", chunked("0\r\nx-other: a\r\n\r\n"), Handled),
        case("trailers of another host", chunked("0\r\nhost: other.example.com\r\n\r\n"), Handled),
        case("a trailer that is none", chunked("0\r\nx other\r\n\r\n"), Refused),
        case("long trailers", chunked(&format!("0\r\nx: {}\r\n\r\n", "a".repeat(70_000))), Refused),
        case("absolute form", wire.line("POST http://api.example.com/transfer HTTP/1.1"), Handled),
        case("absolute form of another", wire.line("POST http://other.example.com/transfer HTTP/1.1"), Refused),
        case("absolute form with user", wire.line("POST http://u@api.example.com/transfer HTTP/1.1"), Refused),
        case("asterisk form", wire.line("OPTIONS * HTTP/1.1"), Refused),
        case("asterisk form of POST", wire.line("POST * HTTP/1.1"), Elsewhere),
        case("authority form of POST", wire.line("POST api.example.com:443 HTTP/1.1"), Elsewhere),
        case("CONNECT", wire.line("CONNECT api.example.com:443 HTTP/1.1"), Refused),
        case("a method in small letters", wire.line("post /transfer HTTP/1.1"), Refused),
        case("a method with brackets", wire.line("PO(ST /transfer HTTP/1.1"), Refused),
        case("two spaces", wire.line("POST  /transfer HTTP/1.1"), Refused),
        case("a target with a tab", wire.line("POST /tran\tsfer HTTP/1.1"), Refused),
        case("a target of high bytes", wire.line("POST /tr\u{e4}nsfer HTTP/1.1"), Elsewhere),
        case("HTTP/0.9", wire.line("POST /transfer"), Refused),
        case("HTTP/1.0", wire.line("POST /transfer HTTP/1.0"), Handled),
        case("HTTP/1.2", wire.line("POST /transfer HTTP/1.2"), Refused),
        case("HTTP/2.0", wire.line("POST /transfer HTTP/2.0"), Refused),
        case("HTTP/1.0 with chunks", String::from_utf8(chunked("0\r\n\r\n")).unwrap()
            .replacen("HTTP/1.1", "HTTP/1.0", 1).into_bytes(), Refused),
        case("h2c", wire.replaced("connection: close",
            "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\nconnection: close"), Handled),
        case("websocket", wire.replaced("connection: close",
            "connection: upgrade\r\nupgrade: websocket\r\nconnection: close"), Refused),
        case("a long head", wire.with(&format!("x-other: {}", "a".repeat(900_000))), Refused),
        case("two hundred lines", wire.with(&["x-other: a"; 200].join("\r\n")), Refused),
        case("an unknown expectation", wire.with("expect: 200-ok"), Handled),
        case("pipelined, unsigned", wire.followed_by(second), Handled),
        ("cut off in its body", cut(1), Refused, true),
        ("cut off before its body", cut(len), Refused, true),
        ("cut off in its head", cut(len + 3), Refused, true),
        ("cut off in a chunk", wire.chunked(&chunk[..10]), Refused, true),
        ("cut off behind a chunk", chunked(""), Refused, true),
        ("cut off in its trailers", chunked("0\r\nx-other"), Refused, true),
        case("no length", wire.replaced(&format!("{length}\r\n"), ""), Refused),
        case("a body that is late", wire.replaced(body, "\r\n\r\n"), Refused),
    ]
}

#[tokio::test]
async fn a29_http1_as_no_client_should_send_it() {
    let mut wrong = Vec::new();
    for subject in ALL {
        let genuine = subject.signed(&common::clock());
        let cases = http1(&Wire::of(&genuine), subject.signature);
        wrong.extend(
            each(cases, |(name, wire, expected, is_cut)| {
                let genuine = genuine.clone();
                async move {
                    let target = target(subject).await;
                    let answer = send(target.addr.unwrap(), &wire, is_cut).await;
                    let (status, text) = parse_answer(&answer);
                    let judged = judge(&target, &genuine, expected).await;
                    let is_answered = match expected {
                        Handled => status == OK && text.starts_with(BODY),
                        Refused => status == 0 || (400..506).contains(&status),
                        Elsewhere => true,
                    };
                    let judged =
                        judged.and_then(|()| is_answered.then_some(()).ok_or("answer".into()));
                    judged.map_err(|what| {
                        format!("{}, {name}: {what} ({status} {text})", subject.name)
                    })
                }
            })
            .await,
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Tries all cases at once, each with a target of its own, for most of them wait. Returns the faults.
async fn each<C, F>(cases: Vec<C>, check: impl Fn(C) -> F) -> Vec<String>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let checks: JoinSet<_> = cases.into_iter().map(check).collect();
    checks
        .join_all()
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect()
}

/// Frames of HTTP/2, as anybody can write them.
mod frame {
    pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const PRIORITY: u8 = 2;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PUSH_PROMISE: u8 = 5;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;

    pub(super) const END_STREAM: u8 = 1;
    pub(super) const END_HEADERS: u8 = 4;
    pub(super) const PADDED: u8 = 8;

    pub(super) fn of(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let stream = stream.to_be_bytes();
        [&len[1..], &[kind, flags], &stream, payload].concat()
    }

    /// A field as HPACK writes it without index and without Huffman's code.
    pub(super) fn field(name: &str, value: &str) -> Vec<u8> {
        let text = |text: &str| {
            let mut bytes = Vec::new();
            if text.len() < 127 {
                bytes.push(u8::try_from(text.len()).unwrap());
            } else {
                bytes.push(127);
                let mut rest = text.len() - 127;
                while rest > 127 {
                    bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                bytes.push(u8::try_from(rest).unwrap());
            }
            bytes.extend_from_slice(text.as_bytes());
            bytes
        };
        [vec![0], text(name), text(value)].concat()
    }

    /// The frames in what a server sent: kind, flags and payload.
    pub(super) fn all(mut bytes: &[u8]) -> Vec<(u8, u8, &[u8])> {
        let mut frames = Vec::new();
        while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let len = usize::try_from(len).unwrap().min(rest.len());
            frames.push((head[3], head[4], &rest[..len]));
            bytes = &rest[len..];
        }
        frames
    }
}

/// The fields of the genuine request, in the order in which they are sent.
#[derive(Clone)]
struct Fields(Vec<(String, String)>);

impl Fields {
    fn of(genuine: &http::Request<String>) -> Self {
        let pseudo = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", common::HOST),
            (":path", "/transfer"),
        ];
        let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let others = genuine.headers().iter().filter(|(name, _)| *name != "host");
        let others =
            others.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        Self(pseudo.into_iter().chain(others).collect())
    }

    /// With this field more, at the end.
    fn and(&self, name: &str, value: &str) -> Self {
        let mut fields = self.clone();
        fields.0.push((name.into(), value.into()));
        fields
    }

    /// With this field more, at the beginning.
    fn first(&self, name: &str, value: &str) -> Self {
        let mut fields = self.clone();
        fields.0.insert(0, (name.into(), value.into()));
        fields
    }

    fn set(&self, name: &str, value: &str) -> Self {
        let mut fields = self.clone();
        let field = fields.0.iter_mut().find(|(other, _)| other == name);
        field.unwrap().1 = value.into();
        fields
    }

    fn without(&self, name: &str) -> Self {
        let mut fields = self.clone();
        fields.0.retain(|(other, _)| other != name);
        fields
    }

    fn written(&self) -> Vec<u8> {
        let written = self.0.iter().map(|(name, value)| frame::field(name, value));
        written.collect::<Vec<_>>().concat()
    }

    fn headers(&self, flags: u8) -> Vec<u8> {
        frame::of(frame::HEADERS, flags, 1, &self.written())
    }

    /// As a whole request.
    fn sent(&self) -> Vec<u8> {
        [
            self.headers(frame::END_HEADERS),
            data(BODY, frame::END_STREAM),
        ]
        .concat()
    }
}

fn data(text: &str, flags: u8) -> Vec<u8> {
    frame::of(frame::DATA, flags, 1, text.as_bytes())
}

/// Name, the frames behind the preface, what happens to them, and whether the client closes.
type Http2 = (&'static str, Vec<u8>, Outcome, bool);

fn http2(fields: &Fields, signature: &str) -> Vec<Http2> {
    use frame::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITY,
        PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    };
    let all = fields.written();
    let head = fields.headers(END_HEADERS);
    let body = data(BODY, END_STREAM);
    let (one, other) = BODY.split_at(10);
    let halves = [data(one, 0), data(other, END_STREAM)].concat();
    let with_body = |head: Vec<u8>| [head, body.clone()].concat();
    let behind = |rest: &[Vec<u8>]| [head.clone(), rest.concat()].concat();
    let trailers = |name, value, flags| frame::of(HEADERS, flags, 1, &frame::field(name, value));
    let with_trailers = |trailers| behind(&[data(BODY, 0), trailers]);
    let ended = END_HEADERS | END_STREAM;
    let (a, b) = all.split_at(all.len() / 2);
    let continued = |between: Vec<u8>| {
        let first = frame::of(HEADERS, 0, 1, a);
        with_body([first, between, frame::of(CONTINUATION, END_HEADERS, 1, b)].concat())
    };
    let len = BODY.len();
    let padded = |padding: u8, zeros: usize| {
        let payload = [&[padding], BODY.as_bytes(), &vec![0; zeros]].concat();
        behind(&[frame::of(DATA, PADDED | END_STREAM, 1, &payload)])
    };
    let block =
        |block: &[u8]| with_body(frame::of(HEADERS, END_HEADERS, 1, &[&all, block].concat()));
    let resets = (0..400_u32).flat_map(|n| {
        let stream = 2 * n + 1;
        let head = frame::of(HEADERS, END_HEADERS, stream, &all);
        [head, frame::of(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    });
    let long = "a".repeat(16_000);
    let flood = |count, payload: &[u8]| {
        let mut flood = frame::of(HEADERS, 0, 1, &all);
        for _ in 0..count {
            flood.extend(frame::of(CONTINUATION, 0, 1, payload));
        }
        flood
    };
    let case = |name, frames, outcome| (name, frames, outcome, false);
    let cut = |name, frames| (name, frames, Refused, true);
    vec![
        case("as it is", fields.sent(), Handled),
        case(
            "a name with capitals",
            fields.and("X-Other", "a").sent(),
            Refused,
        ),
        case(
            "the signature's name with capitals",
            fields
                .without(signature)
                .and(&signature.to_uppercase(), "a")
                .sent(),
            Refused,
        ),
        case(
            "connection",
            fields.and("connection", "close").sent(),
            Refused,
        ),
        case(
            "keep-alive",
            fields.and("keep-alive", "timeout=5").sent(),
            Refused,
        ),
        case(
            "proxy-connection",
            fields.and("proxy-connection", "close").sent(),
            Refused,
        ),
        case(
            "transfer-encoding",
            fields.and("transfer-encoding", "chunked").sent(),
            Refused,
        ),
        case("upgrade", fields.and("upgrade", "h2c").sent(), Refused),
        case("te of something", fields.and("te", "gzip").sent(), Refused),
        case(
            "te of trailers",
            fields.and("te", "trailers").sent(),
            Handled,
        ),
        case(
            "another host",
            fields.and("host", "other.example.com").sent(),
            Refused,
        ),
        case(
            "the same host",
            fields.and("host", common::HOST).sent(),
            Handled,
        ),
        case(
            "two hosts",
            fields.and("host", common::HOST).and("host", "b").sent(),
            Refused,
        ),
        case(
            "a host in place of :authority",
            fields
                .without(":authority")
                .and("host", common::HOST)
                .sent(),
            Handled,
        ),
        case("no authority", fields.without(":authority").sent(), Refused),
        case(
            "an empty authority",
            fields.set(":authority", "").sent(),
            Refused,
        ),
        case(
            "another authority",
            fields.set(":authority", "other.example.com").sent(),
            Refused,
        ),
        case(
            "an authority with user",
            fields.set(":authority", "u@api.example.com").sent(),
            Refused,
        ),
        case("no method", fields.without(":method").sent(), Refused),
        case("no scheme", fields.without(":scheme").sent(), Refused),
        case("no path", fields.without(":path").sent(), Refused),
        case("an empty path", fields.set(":path", "").sent(), Refused),
        case(
            "a path without a slash",
            fields.set(":path", "transfer").sent(),
            Refused,
        ),
        case(
            "a path with a fragment",
            fields.set(":path", "/transfer#x").sent(),
            Handled,
        ),
        case(
            "a path with a space",
            fields.set(":path", "/transfer x").sent(),
            Refused,
        ),
        case("an asterisk", fields.set(":path", "*").sent(), Elsewhere),
        case(
            "two methods",
            fields.first(":method", "POST").sent(),
            Refused,
        ),
        case("two paths", fields.first(":path", "/admin").sent(), Refused),
        case(
            "two authorities",
            fields.first(":authority", "other.example.com").sent(),
            Refused,
        ),
        case(
            "two schemes",
            fields.first(":scheme", "http").sent(),
            Refused,
        ),
        case(
            "an unknown pseudo-header",
            fields.first(":other", "a").sent(),
            Refused,
        ),
        case(":status", fields.first(":status", "200").sent(), Refused),
        case(
            "a pseudo-header behind others",
            fields.without(":path").and(":path", "/transfer").sent(),
            Refused,
        ),
        case(
            "CONNECT",
            fields
                .set(":method", "CONNECT")
                .without(":path")
                .without(":scheme")
                .sent(),
            Refused,
        ),
        case(
            "extended CONNECT",
            fields
                .set(":method", "CONNECT")
                .first(":protocol", "websocket")
                .sent(),
            Refused,
        ),
        case(
            "a method in small letters",
            fields.set(":method", "post").sent(),
            Refused,
        ),
        case(
            "a value with a line feed",
            fields.and("x-other", "a\nhost: b").sent(),
            Refused,
        ),
        case(
            "a value with a CR",
            fields.and("x-other", "a\rb").sent(),
            Refused,
        ),
        case(
            "a value with a NUL",
            fields.and("x-other", "a\0b").sent(),
            Refused,
        ),
        case(
            "a name with a colon",
            fields.and("x-other: a", "b").sent(),
            Refused,
        ),
        case("an empty name", fields.and("", "b").sent(), Refused),
        case(
            "a length that is true",
            fields.and("content-length", &len.to_string()).sent(),
            Handled,
        ),
        case(
            "a length too small",
            fields.and("content-length", "1").sent(),
            Refused,
        ),
        case(
            "a length too large",
            fields.and("content-length", "1000").sent(),
            Refused,
        ),
        case(
            "two lengths",
            fields
                .and("content-length", &len.to_string())
                .and("content-length", "1")
                .sent(),
            Refused,
        ),
        case(
            "a length with sign",
            fields.and("content-length", &format!("+{len}")).sent(),
            Refused,
        ),
        case(
            "an expectation",
            fields.and("expect", "100-continue").sent(),
            Handled,
        ),
        case(
            "a body in two",
            behind(std::slice::from_ref(&halves)),
            Handled,
        ),
        case(
            "frames of no length",
            behind(&[vec![data("", 0); 50].concat(), halves.clone()]),
            Handled,
        ),
        case(
            "an end of no length",
            behind(&[data(BODY, 0), data("", END_STREAM)]),
            Handled,
        ),
        case("no body", fields.headers(ended), Refused),
        case("padding", padded(5, 5), Handled),
        case("padding beyond its frame", padded(200, 5), Refused),
        case(
            "trailers",
            with_trailers(trailers("x-other", "a", ended)),
            Handled,
        ),
        case(
            "trailers of another host",
            with_trailers(trailers("host", "b", ended)),
            Handled,
        ),
        case(
            "trailers with a pseudo-header",
            with_trailers(trailers(":path", "/admin", ended)),
            Handled,
        ),
        case(
            "trailers that end nothing",
            with_trailers(trailers("x-other", "a", END_HEADERS)),
            Refused,
        ),
        case(
            "a second head",
            behind(&[head.clone(), body.clone()]),
            Refused,
        ),
        cut(
            "reset in its body",
            behind(&[data(one, 0), frame::of(RST_STREAM, 0, 1, &[0, 0, 0, 8])]),
        ),
        cut("many resets", resets.collect()),
        case(
            "GOAWAY in flight",
            behind(&[
                data(one, 0),
                frame::of(GOAWAY, 0, 0, &[0; 8]),
                data(other, END_STREAM),
            ]),
            Handled,
        ),
        case("continued", continued(Vec::new()), Handled),
        case(
            "interrupted while it is continued",
            continued(frame::of(PING, 0, 0, &[0; 8])),
            Refused,
        ),
        case(
            "continued without a beginning",
            with_body(frame::of(CONTINUATION, END_HEADERS, 1, &all)),
            Refused,
        ),
        cut(
            "a flood of continuations",
            flood(5_000, &frame::field("x-other", &long)),
        ),
        cut("a flood of empty continuations", flood(50_000, &[])),
        cut("a long list", flood(6, &frame::field("x-other", &long))),
        case("data without a head", body.clone(), Refused),
        case(
            "data on no stream",
            behind(&[frame::of(DATA, END_STREAM, 0, BODY.as_bytes())]),
            Refused,
        ),
        case(
            "a stream with an even number",
            [
                frame::of(HEADERS, END_HEADERS, 2, &all),
                frame::of(DATA, END_STREAM, 2, BODY.as_bytes()),
            ]
            .concat(),
            Refused,
        ),
        case(
            "an index that is none",
            block(&[0xff, 0xff, 0xff, 0x7f]),
            Refused,
        ),
        case("a field that breaks off", block(&[0, 9, b'x']), Refused),
        case(
            "a table too large",
            block(&[0x3f, 0xff, 0xff, 0xff, 0x7f]),
            Refused,
        ),
        case(
            "a window of 2^31",
            behind(&[
                frame::of(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
                body.clone(),
            ]),
            Refused,
        ),
        case(
            "an increment of zero",
            behind(&[frame::of(WINDOW_UPDATE, 0, 1, &[0; 4]), body.clone()]),
            Refused,
        ),
        case(
            "settings of half a length",
            [frame::of(SETTINGS, 0, 0, &[0; 5]), fields.sent()].concat(),
            Refused,
        ),
        case(
            "a promise",
            [
                frame::of(PUSH_PROMISE, END_HEADERS, 1, &[0; 4]),
                fields.sent(),
            ]
            .concat(),
            Refused,
        ),
        case(
            "a frame too long",
            [frame::of(DATA, END_STREAM, 1, &[b'a'; 20_000])].concat(),
            Refused,
        ),
        case(
            "an unknown frame",
            behind(&[frame::of(0x77, 0, 1, b"a"), body.clone()]),
            Handled,
        ),
        case(
            "a priority",
            behind(&[frame::of(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]), body.clone()]),
            Handled,
        ),
        case(
            "a priority on itself",
            behind(&[frame::of(PRIORITY, 0, 1, &[0, 0, 0, 1, 9]), body.clone()]),
            Refused,
        ),
        case(
            "a preface twice",
            [frame::PREFACE, &fields.sent()].concat(),
            Refused,
        ),
        case("a body that is late", behind(&[data(one, 0)]), Refused),
        cut("cut off in its head", head[..head.len() - 5].to_vec()),
        cut("cut off before its body", head.clone()),
        cut("cut off in its body", behind(&[data(one, 0)])),
        cut("cut off in a frame", behind(&[body[..20].to_vec()])),
    ]
}

/// Sends frames, and collects what the server sends until it has closed, answered or reset, or for as
/// long as this. The body of the answer, or how the server said no.
async fn send_frames(
    addr: SocketAddr,
    frames: &[u8],
    is_cut: bool,
    patience: Duration,
) -> Result<String, String> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let mut sent = [frame::PREFACE, &frame::of(frame::SETTINGS, 0, 0, &[])].concat();
    sent.extend_from_slice(frames);
    let mut answer = Vec::new();
    let is_over = |answer: &[u8]| {
        let ends = |&(kind, flags, _): &(u8, u8, &[u8])| match kind {
            frame::DATA | frame::HEADERS => flags & frame::END_STREAM != 0,
            frame::RST_STREAM | frame::GOAWAY => true,
            _ => false,
        };
        frame::all(answer).iter().any(ends)
    };
    let exchange = async {
        let (mut read, mut write) = stream.split();
        let writing = async {
            // The server may close before all was sent.
            let _ = write.write_all(&sent).await;
            if is_cut {
                let _ = write.shutdown().await;
            }
        };
        let reading = async {
            while !is_over(&answer) {
                match read.read_buf(&mut answer).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
        };
        tokio::join!(writing, reading);
    };
    // A server that waits for the rest says nothing.
    let _ = timeout(patience, exchange).await;
    let frames = frame::all(&answer);
    let body: Vec<u8> = frames
        .iter()
        .filter(|(kind, ..)| *kind == frame::DATA)
        .flat_map(|(_, _, payload)| payload.to_vec())
        .collect();
    let is_answered = frames.iter().any(|(kind, ..)| *kind == frame::HEADERS);
    if is_answered {
        return Ok(code_or_body(&body));
    }
    let kinds: Vec<_> = frames
        .iter()
        .map(|(kind, _, payload)| (*kind, payload.len()))
        .collect();
    Err(format!("{kinds:?}"))
}

#[tokio::test]
async fn a29_http2_as_no_client_should_send_it() {
    let mut wrong = Vec::new();
    for subject in ALL {
        let genuine = subject.signed(&common::clock());
        let cases = http2(&Fields::of(&genuine), subject.signature);
        wrong.extend(
            each(cases, |(name, frames, expected, is_cut)| {
                let genuine = genuine.clone();
                async move {
                    let target = target(subject).await;
                    let patience = Duration::from_secs(if expected == Handled { 30 } else { 2 });
                    let addr = target.addr.unwrap();
                    let answer = send_frames(addr, &frames, is_cut, patience).await;
                    let judged = judge(&target, &genuine, expected).await;
                    let is_echoed = answer.as_deref() == Ok(BODY);
                    let is_right = expected == Elsewhere || is_echoed == (expected == Handled);
                    let judged =
                        judged.and_then(|()| is_right.then_some(()).ok_or("answer".into()));
                    judged.map_err(|what| format!("{}, {name}: {what} ({answer:?})", subject.name))
                }
            })
            .await,
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
