//! Attacks on `countersign proxy` by frames of HTTP/2 that no library sends, each by its name.

use std::{
    io::{Read, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    certified::begin,
    proxied::{DONE, KEYS, Proxied, add, configure, configure_with, get, send, transfer},
    proxy_tls::configure_tls,
    session::Session,
    upstream::Upstream,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The status comes first, and 200 has this place in the table of every connection.
const STATUS_200: u8 = 0x88;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [
        length[1], length[2], length[3], kind, flags, 0, 0, 0, stream,
    ];
    [&head, payload].concat()
}

/// A block of fields, each as it is: literal, and without a code.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

const FINE: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "a"),
    (":path", "/fine"),
];

/// Sends one request; whether it was answered with 200, and not otherwise, reset or closed.
fn passes(proxied: &Proxied<'_>, fields: &[(&str, &str)], body: &[u8]) -> bool {
    let mut stream = TcpStream::connect(proxied.listening.address()).unwrap();
    let limit = Some(Duration::from_secs(30));
    stream.set_read_timeout(limit).unwrap();
    let request = [
        PREFACE,
        &frame(SETTINGS, 0, 0, b""),
        &frame(HEADERS, END_HEADERS, 1, &block(fields)),
        &frame(DATA, END_STREAM, 1, body),
    ]
    .concat();
    // The proxy may close the connection before all of this is written.
    let _ = stream.write_all(&request);
    while let Some((kind, payload)) = read_frame(&mut stream) {
        match kind {
            HEADERS => return payload.first() == Some(&STATUS_200),
            RST_STREAM | GOAWAY => return false,
            _ => {}
        }
    }
    false
}

/// The kind of the next frame, and what it holds.
fn read_frame(stream: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).ok()?;
    Some((head[3], payload))
}

/// Refusals that nobody takes hold no seat: a stranger shuts nobody out with them.
#[test]
fn strangers_who_take_nothing_of_their_refusals_hold_no_seat() {
    const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure(&session, &upstream.url, KEYS);
    add(&session, "[limits]\nrequests = 1\n");
    let proxied = Proxied::of(&session);
    let mut stream = TcpStream::connect(proxied.listening.address()).unwrap();
    let limit = Some(Duration::from_secs(30));
    stream.set_read_timeout(limit).unwrap();
    let mut requests = [PREFACE, &frame(SETTINGS, 0, 0, &NO_WINDOW)].concat();
    for number in [1, 3, 5] {
        let flags = END_HEADERS | END_STREAM;
        requests.extend(frame(HEADERS, flags, number, &block(&FINE)));
    }
    stream.write_all(&requests).unwrap();
    let mut refused = 0;
    while refused < 3 {
        let (kind, payload) = read_frame(&mut stream).unwrap();
        if kind == HEADERS {
            assert_ne!(payload.first(), Some(&STATUS_200));
            refused += 1;
        }
    }
    // The bodies of these answers are still to be taken.
    assert_eq!(proxied.send(transfer(&session)).status(), 200);
    drop(stream);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn heads_of_http2_that_two_servers_read_in_two_ways_are_refused() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let route = "danger-open = true\nforward = \"all\"\n";
    let proxied = Proxied::start(&session, &upstream, route);
    let replaced = |name: &str, value: &'static str| {
        FINE.map(|(known, old)| match known == name {
            true => (known, value),
            false => (known, old),
        })
    };
    let mut heads: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
    for (attack, more) in [
        ("a second path", (":path", "/second")),
        ("a second method", (":method", "GET")),
        ("a second authority", (":authority", "b")),
        ("an unknown pseudo-header", (":admin", "1")),
        ("a status in a request", (":status", "200")),
        ("another host", ("host", "b")),
        ("a name in capitals", ("X-Admin", "1")),
        ("a name with a line end", ("x-a\r\nx-admin", "1")),
        ("a value with a line end", ("x-a", "1\r\nx-admin: 1")),
        ("a value with a line feed", ("x-a", "1\nx-admin: 1")),
        ("a value with NUL", ("x-a", "1\0")),
        ("an empty name", ("", "1")),
        ("a connection", ("connection", "x-a")),
        ("chunks", ("transfer-encoding", "chunked")),
        ("an upgrade", ("upgrade", "websocket")),
        (
            "a length that is not that of the body",
            ("content-length", "9"),
        ),
    ] {
        heads.push((attack, [&FINE[..], &[more]].concat()));
    }
    for (attack, name, value) in [
        ("two targets in a path", ":path", "/a b"),
        ("a line end in a path", ":path", "/a\r\nx-admin: 1"),
        ("an empty path", ":path", ""),
        ("a path that goes up", ":path", "/a/../b"),
        ("a URL in a path", ":path", "http://b/"),
        ("a user in an authority", ":authority", "u@a"),
        (
            "a line end in an authority",
            ":authority",
            "a\r\nx-admin: 1",
        ),
        ("a method with a line end", ":method", "POST / HTTP/1.1\r\n"),
        ("a tunnel", ":method", "CONNECT"),
    ] {
        heads.push((attack, replaced(name, value).to_vec()));
    }
    let [method, scheme, authority, path] = FINE;
    heads.push(("no path", vec![method, scheme, authority]));
    heads.push(("no method", vec![scheme, authority, path]));
    let behind = vec![method, scheme, ("x-a", "1"), authority, path];
    heads.push(("a pseudo-header behind a header", behind));
    for (attack, fields) in &heads {
        assert!(!passes(&proxied, fields, b"body"), "{attack}");
        let seen = upstream.seen();
        assert!(seen.is_empty(), "{attack}: {seen:?}");
    }
    // The twin: the same frames around a head that all read in one way.
    let fine = [&FINE[..], &[("content-length", "4")]].concat();
    assert!(passes(&proxied, &fine, b"body"));
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn cookies_that_http2_splits_are_one_again() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let route = "danger-open = true\nforward = \"all\"\n";
    let proxied = Proxied::start(&session, &upstream, route);
    let crumbs = [
        ("cookie", "a=1"),
        ("x-a", "1"),
        ("cookie", "b=2"),
        ("countersign-key-id", "admin"),
        ("cookie", "c=3"),
    ];
    assert!(passes(&proxied, &[&FINE[..], &crumbs].concat(), b""));
    let seen = upstream.seen().pop().unwrap();
    assert!(seen.has("cookie: a=1; b=2; c=3"), "{}", seen.head);
    assert_eq!(seen.head.matches("cookie").count(), 1, "{}", seen.head);
    assert!(!seen.head.contains("admin"), "{}", seen.head);
}

/// Asks for answers, and allows no byte of their bodies. The connection goes on meanwhile.
#[test]
fn answers_that_a_client_of_http2_does_not_take_hold_no_turn_of_the_server() {
    const NO_WINDOW: &[u8] = b"\0\x04\0\0\0\0";
    const TURNS: u8 = 4;

    let session = Session::new();
    let upstream = Upstream::start(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n0\r\n\r\n",
    );
    let bound = "requests = 4\nopen-requests = 4\nconnect-timeout = 2";
    let address = format!("address = \"{}\"\n{bound}", upstream.url);
    configure_with(&session, &address, "danger-open = true\n");
    add(&session, "[limits]\nidle-deadline = 2\n");
    let proxied = Proxied::of(&session);
    let address = proxied.listening.address();
    let mut greedy = TcpStream::connect(address).unwrap();
    let limit = Some(Duration::from_secs(30));
    greedy.set_read_timeout(limit).unwrap();
    let mut asked = [PREFACE, &frame(SETTINGS, 0, 0, NO_WINDOW)].concat();
    for number in 0..TURNS {
        let ends = END_HEADERS | END_STREAM;
        asked.extend(frame(HEADERS, ends, 2 * number + 1, &block(&FINE)));
    }
    greedy.write_all(&asked).unwrap();
    upstream.wait_for(usize::from(TURNS));
    let started = Instant::now();
    while send(address, get("/").as_bytes()).status() != 200 {
        let waited = started.elapsed();
        // Later the connection ends, because its client answers no ping.
        assert!(waited < Duration::from_secs(12), "the turns are held");
    }
}

#[test]
fn requests_of_one_client_are_counted_over_http2_too() {
    let session = Session::new();
    let (upstream, release) = Upstream::held(DONE);
    let address = format!("address = \"{}\"", upstream.url);
    configure_with(&session, &address, "danger-open = true\n");
    add(&session, "[limits]\nper-client = 2\n");
    let proxied = Proxied::of(&session);
    let address = proxied.listening.address();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut ask = || {
            let request = http::Request::get("http://a/").body(()).unwrap();
            client.send_request(request, true).unwrap().0
        };
        let held = [ask(), ask()];
        upstream.wait_for(2);
        assert_eq!(ask().await.unwrap().status(), 429);
        drop(release);
        for one in held {
            let (head, mut body) = one.await.unwrap().into_parts();
            assert_eq!(head.status, 200);
            assert_eq!(body.data().await.unwrap().unwrap(), "done");
            assert!(body.data().await.is_none());
        }
        // Once they are answered, there is room again.
        let mut answered = 0;
        for _ in 0..1000 {
            answered += u32::from(ask().await.unwrap().status() == 200);
        }
        assert!(answered > 0);
    });
}

/// A connection that finishes its handshake during the end takes no request. Otherwise a client
/// could hold up the end.
#[test]
fn a_handshake_that_the_end_meets_is_told_to_go_away() {
    const PING: u8 = 6;
    const ACK: u8 = 1;

    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure_tls(&session, &upstream.url);
    add(&session, "[limits]\ndrain = 60\n");
    let proxied = Proxied::of(&session);
    let address = proxied.listening.address().to_owned();
    let clients = [true, false].map(|asks| {
        let mut client = begin(&session, "ca", "api.example.com", &address);
        client.conn.write_tls(&mut client.sock).unwrap();
        // The proxy is in the handshake: it has answered.
        assert!(client.sock.peek(&mut [0]).unwrap() > 0);
        (client, asks)
    });
    proxied.listening.signal("-TERM");
    while TcpStream::connect(&address).is_ok() {
        std::thread::yield_now();
    }
    let started = Instant::now();
    for (mut client, asks) in clients {
        let mut first = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
        if asks {
            let flags = END_HEADERS | END_STREAM;
            first.extend(frame(HEADERS, flags, 1, &block(&FINE)));
        }
        client.write_all(&first).unwrap();
        let (mut is_answered, mut goes_away) = (false, false);
        while let Some((kind, payload)) = read_frame(&mut client) {
            match kind {
                HEADERS => is_answered = true,
                GOAWAY => goes_away = true,
                PING => {
                    // The proxy may have closed the connection by now.
                    let _ = client.write_all(&frame(PING, ACK, 0, &payload));
                }
                _ => {}
            }
        }
        assert!(goes_away, "it is not told");
        assert_eq!(is_answered, asks);
    }
    let (said, code) = proxied.listening.end();
    assert_eq!(code, Some(0), "{said}");
    let took = started.elapsed();
    assert!(took < Duration::from_secs(20), "the end takes {took:?}");
}
