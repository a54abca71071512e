//! The server behind the proxy is missing, breaks off or misbehaves.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixListener,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
    time::Duration,
};

use tokio::io::Interest;

use crate::{
    http2_upstream::Http2Upstream,
    proxied::{
        DONE, KEYS, ORDER, Proxied, Signed, configure, configure_with, get, one_request, send,
        transfer, with_admin,
    },
    session::Session,
    upstream::Upstream,
};

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

#[test]
fn without_a_connection_nothing_is_claimed() {
    let session = Session::new();
    // A port that nobody listens on until later.
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    configure(&session, &format!("http://{address}"), KEYS);
    let proxied = Proxied::of(&session);
    let signed = transfer(&session);
    let answer = proxied.send(&signed);
    assert_eq!(
        (answer.status(), answer.code()),
        (502, "upstream_unavailable"),
        "{answer:?}"
    );
    // The very same request passes once there is a server.
    let upstream = Upstream::on(TcpListener::bind(address).unwrap(), |stream, _| {
        stream.write_all(DONE.as_bytes()).is_ok()
    });
    assert_eq!(proxied.send(&signed).status(), 200);
    assert_eq!(proxied.send(&signed).status(), 409);
    one_request(&upstream.seen(), ORDER);
}

#[test]
fn a_request_is_not_sent_again_once_bytes_have_reached_the_upstream() {
    let session = Session::new();
    let faults: [(&str, &str, (u16, &str)); 5] = [
        ("closes", "", (502, "upstream_failed")),
        (
            "breaks off in the head",
            "HTTP/1.1 200 OK\r\nContent-",
            (502, "upstream_failed"),
        ),
        (
            "sends garbage",
            "not HTTP at all\r\n\r\n",
            (502, "upstream_failed"),
        ),
        (
            "switches protocols",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
            (502, "upstream_failed"),
        ),
        (
            "answers in HTTP/0.9",
            "<html></html>",
            (502, "upstream_failed"),
        ),
    ];
    let told: &'static Mutex<&str> = Box::leak(Box::new(Mutex::new("")));
    let upstream = Upstream::answering(move |stream, _| {
        let bytes = *told.lock().unwrap();
        let _ = stream.write_all(bytes.as_bytes());
        false
    });
    let proxied = Proxied::start(&session, &upstream, KEYS);
    for (count, (fault, bytes, expected)) in (1..).zip(faults) {
        *told.lock().unwrap() = bytes;
        let signed = transfer(&session);
        let answer = proxied.send(&signed);
        assert_eq!(
            (answer.status(), answer.code()),
            expected,
            "{fault}: {answer:?}"
        );
        // The outcome of the request is unknown, so it stays used.
        assert_eq!(proxied.send(&signed).status(), 409, "{fault}");
        assert_eq!(upstream.seen().len(), count, "{fault}");
    }
}

#[test]
fn an_upstream_that_hangs_ends_in_a_time_out() {
    let session = Session::new();
    let (upstream, release) = Upstream::held(DONE);
    configure_with(
        &session,
        &format!("address = \"{}\"\nanswer-timeout = 1", upstream.url),
        KEYS,
    );
    let proxied = Proxied::of(&session);
    let signed = transfer(&session);
    let answer = proxied.send(&signed);
    assert_eq!(
        (answer.status(), answer.code()),
        (504, "upstream_timeout"),
        "{answer:?}"
    );
    assert_eq!(proxied.send(&signed).status(), 409);
    assert_eq!(upstream.seen().len(), 1);
    drop(release);
}

#[test]
fn a_connection_that_the_upstream_has_closed_costs_no_request() {
    let session = Session::new();
    // This server closes behind each answer, without `Connection: close`.
    let upstream = Upstream::answering(|stream, _| {
        stream.write_all(DONE.as_bytes()).unwrap();
        false
    });
    let proxied = Proxied::start(&session, &upstream, KEYS);
    for count in 1..=20 {
        assert_eq!(
            proxied.send(transfer(&session)).status(),
            200,
            "request {count}"
        );
        assert_eq!(upstream.seen().len(), count);
    }
}

/// A connection is had before the claim, so that each duplicate has one that it does not use.
#[test]
fn a_connection_that_a_duplicate_did_not_use_serves_the_next_request() {
    let session = Session::new();
    let (peer, peers) = channel();
    let upstream = Upstream::answering(move |stream, _| {
        peer.send(stream.peer_addr().unwrap()).unwrap();
        stream.write_all(DONE.as_bytes()).is_ok()
    });
    let settings = format!("address = \"{}\"\nidle-timeout = 60", upstream.url);
    configure_with(&session, &settings, KEYS);
    let proxied = Proxied::of(&session);
    let [one, other] = [transfer(&session), transfer(&session)];
    for (raw, status) in [(&one, 200), (&one, 409), (&one, 409), (&other, 200)] {
        assert_eq!(proxied.send(raw).status(), status);
    }
    let peers: Vec<_> = peers.try_iter().collect();
    assert_eq!(peers.len(), 2);
    assert_eq!(peers[0], peers[1]);
}

#[test]
fn an_answer_before_the_body_is_passed_on() {
    let session = Session::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // The head is read to its end, and nothing of the body before the answer.
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                head.extend(byte);
            }
            let early = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 5\r\n\
                         Connection: close\r\n\r\nearly";
            let _ = stream.write_all(early.as_bytes());
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    configure(&session, &url, KEYS);
    let proxied = Proxied::of(&session);
    // More than the buffers of a connection hold.
    for body in [ORDER.to_owned(), format!("\"{}\"", "a".repeat(1_000_000))] {
        let signed = Signed::new(&session, "POST", "/transfer", &body).raw();
        let answer = proxied.send(&signed);
        assert_eq!(answer.status(), 413, "{answer:?}");
        assert!(answer.0.ends_with("early"), "{answer:?}");
        assert_eq!(proxied.send(&signed).status(), 409);
    }
}

/// Otherwise each request that a server answers and does not read would stay in memory, beyond all
/// limits.
#[test]
fn a_connection_whose_request_is_left_unread_is_closed_after_its_answer() {
    let session = Session::new();
    let listener = UnixListener::bind(session.path().join("app.sock")).unwrap();
    let (answered, unread) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            stream.read_exact(&mut [0; 100]).unwrap();
            stream.write_all(DONE.as_bytes()).unwrap();
            answered.send(stream).unwrap();
        }
    });
    configure(&session, "unix:app.sock", KEYS);
    let proxied = Proxied::of(&session);
    // More than the buffers of a connection hold.
    let body = format!("\"{}\"", "a".repeat(1_000_000));
    let signed = Signed::new(&session, "POST", "/transfer", &body).raw();
    assert_eq!(proxied.send(signed).status(), 200);

    let stream = unread.recv().unwrap();
    stream.set_nonblocking(true).unwrap();
    let closed = async {
        let stream = tokio::net::UnixStream::from_std(stream).unwrap();
        let is_open = async || {
            !stream
                .ready(Interest::READABLE)
                .await
                .unwrap()
                .is_read_closed()
        };
        while is_open().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let closed = async { tokio::time::timeout(Duration::from_secs(20), closed).await };
    runtime.block_on(closed).expect("the connection is closed");
}

/// The next request waits for the only turn until nothing of the first is in memory.
#[test]
fn a_connection_of_http2_whose_request_is_left_unread_is_replaced() {
    let session = Session::new();
    let upstream = Http2Upstream::start(8);
    let url = &upstream.url;
    let settings = format!("address = \"{url}\"\nhttp2 = true\nrequests = 1\nconnect-timeout = 20");
    configure_with(&session, &settings, KEYS);
    let proxied = Proxied::of(&session);
    upstream.release(3);
    assert_eq!(proxied.send(transfer(&session)).status(), 200);
    // More than the buffers of a connection hold.
    let body = format!("\"{}\"", "a".repeat(1_000_000));
    let unread = Signed::new(&session, "POST", "/transfer", &body).raw();
    assert_eq!(proxied.send(unread).status(), 200);
    assert_eq!(proxied.send(transfer(&session)).status(), 200);
    assert_eq!([(); 3].map(|()| upstream.wait()), [0, 0, 1]);
}

/// It is none of HTTP: nobody has asked yet.
#[test]
fn an_answer_before_the_request_is_the_answer_to_no_request() {
    let session = Session::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let early = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 5\r\n\r\nearly";
            let _ = stream.write_all(early.as_bytes());
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    configure(&session, &url, KEYS);
    let proxied = Proxied::of(&session);
    let signed = transfer(&session);
    let answer = proxied.send(&signed);
    // By then the answer may have come behind the first bytes of the request.
    assert!([413, 502].contains(&answer.status()), "{answer:?}");
    assert!([409, 502].contains(&proxied.send(&signed).status()));
}

#[test]
fn retryable_completes_a_success_and_releases_everything_else() {
    let session = Session::new();
    let count = AtomicUsize::new(0);
    let upstream = Upstream::answering(move |stream, _| {
        let bytes = match count.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => UNAVAILABLE,
            _ => DONE,
        };
        stream.write_all(bytes.as_bytes()).is_ok()
    });
    let route = format!("{KEYS}processing = \"retryable\"\non-duplicate = \"acknowledge\"\n");
    let proxied = Proxied::start(&session, &upstream, &route);
    let signed = transfer(&session);
    let statuses: Vec<u16> = (0..5).map(|_| proxied.send(&signed).status()).collect();
    assert_eq!(statuses, [503, 503, 200, 200, 200]);
    assert_eq!(upstream.seen().len(), 3);
}

#[test]
fn a_client_that_hangs_up_does_not_cut_a_retryable_request() {
    let session = Session::new();
    let (upstream, release) = Upstream::held(DONE);
    let route = format!("{KEYS}processing = \"retryable\"\n");
    let proxied = Proxied::start(&session, &upstream, &route);
    let signed = transfer(&session);
    let mut client = TcpStream::connect(proxied.listening.address()).unwrap();
    client.write_all(signed.as_bytes()).unwrap();
    upstream.wait_for(1);
    drop(client);
    // While it runs, its duplicate is told to come again.
    let during = proxied.send(&signed);
    assert_eq!(
        (during.status(), during.code()),
        (409, "request_in_flight"),
        "{during:?}"
    );
    release.send(()).unwrap();
    let ended = loop {
        let answer = proxied.send(&signed);
        if answer.code() != "request_in_flight" {
            break answer;
        }
    };
    assert_eq!(
        (ended.status(), ended.code()),
        (409, "request_replayed"),
        "{ended:?}"
    );
    one_request(&upstream.seen(), ORDER);
}

#[test]
fn answers_are_passed_on_as_they_come() {
    let session = Session::new();
    let (more, told) = channel::<()>();
    let told = Mutex::new(told);
    let upstream = Upstream::answering(move |stream, seen| {
        if seen.head.starts_with("HEAD") {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX-Answer: 1\r\n\r\n";
            return stream.write_all(head.as_bytes()).is_ok();
        }
        let begin = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
                     Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: X-Hop\r\n\
                     X-Hop: 1\r\nKeep-Alive: timeout=5\r\n\r\n5\r\nfirst\r\n";
        stream.write_all(begin.as_bytes()).unwrap();
        told.lock().unwrap().recv().unwrap();
        stream
            .write_all(b"4\r\nlast\r\n0\r\nX-Sum: 9\r\n\r\n")
            .is_ok()
    });
    let proxied = Proxied::start(&session, &upstream, KEYS);
    let signed = Signed::new(&session, "GET", "/stream", "");
    let mut client = TcpStream::connect(proxied.listening.address()).unwrap();
    client
        .write_all(signed.with("te: trailers\r\n").as_bytes())
        .unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"first\r\n") {
        let mut byte = [0];
        assert_eq!(
            client.read(&mut byte).unwrap(),
            1,
            "{}",
            String::from_utf8_lossy(&read)
        );
        read.extend(byte);
    }
    // The first half is here before the second is written.
    more.send(()).unwrap();
    client.read_to_end(&mut read).unwrap();
    let answer = String::from_utf8(read).unwrap().to_lowercase();
    assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
    assert!(
        answer.ends_with("4\r\nlast\r\n0\r\nx-sum: 9\r\n\r\n"),
        "{answer}"
    );
    assert!(
        !answer.contains("x-hop") && !answer.contains("keep-alive"),
        "{answer}"
    );
    let head = Signed::new(&session, "HEAD", "/stream", "");
    let answer = proxied.send(head.raw());
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert!(answer.0.contains("content-length: 1234\r\n"), "{answer:?}");
    assert!(answer.0.ends_with("\r\n\r\n"), "{answer:?}");
}

#[test]
fn an_answer_that_breaks_off_is_not_passed_on_as_whole() {
    let session = Session::new();
    let upstream = Upstream::answering(|stream, _| {
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
        stream.write_all(half.as_bytes()).unwrap();
        false
    });
    let proxied = Proxied::start(&session, &upstream, KEYS);
    let answer = proxied.send(transfer(&session));
    assert!(answer.0.contains("content-length: 100"), "{answer:?}");
    assert!(answer.0.ends_with("half"), "{answer:?}");
}

#[test]
fn a_server_on_a_unix_socket_gets_what_it_would_get_on_a_port() {
    let session = Session::new();
    let socket = session.path().join("app.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut read = Vec::new();
            let mut byte = [0];
            while !read.ends_with(ORDER.as_bytes()) && stream.read(&mut byte).unwrap() == 1 {
                read.extend(byte);
            }
            assert!(read.starts_with(b"POST /transfer HTTP/1.1\r\n"));
            stream.write_all(DONE.as_bytes()).unwrap();
        }
    });
    configure(&session, "unix:app.sock", KEYS);
    let proxied = Proxied::of(&session);
    assert_eq!(proxied.send(transfer(&session)).status(), 200);
}

#[test]
fn what_was_used_before_the_proxy_was_killed_stays_used() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let mut proxied = Proxied::start(&session, &upstream, KEYS);
    let signed: Vec<String> = (0..64).map(|_| transfer(&session)).collect();
    let mut sent = 0;
    for quarter in signed.chunks(16) {
        let address = proxied.listening.address().to_owned();
        std::thread::scope(|scope| {
            for raw in quarter {
                let address = &address;
                scope.spawn(move || crate::proxied::try_send(address, raw.as_bytes()));
            }
            // Killed while they are on their way.
            upstream.wait_for(sent + 4);
            proxied.listening.kill();
        });
        proxied = Proxied::of(&session);
        for raw in quarter {
            proxied.send(raw);
            proxied.send(raw);
        }
        sent = upstream.seen().len();
    }
    // The server saw each nonce at most once.
    let mut nonces: Vec<String> = upstream
        .seen()
        .iter()
        .map(|seen| {
            let line = seen
                .head
                .lines()
                .find(|line| line.starts_with("countersign-nonce: "));
            line.unwrap().to_owned()
        })
        .collect();
    let all = nonces.len();
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), all, "a request had two effects");
    // Some requests of each quarter were answered before the proxy was killed.
    assert!(all >= 16, "{all}");
}

/// Axum answers HTTP/2 with prior knowledge, with trailers and all.
#[test]
fn an_upstream_of_http2_gets_what_one_of_http1_gets() {
    use axum::{Router, extract::Request, routing::post};

    let session = Session::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shown = async |request: Request| {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1024).await.unwrap();
        let field = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap());
        format!(
            "{:?} {} {:?} {:?} {}",
            head.version,
            head.uri,
            field("countersign-key-id"),
            field("content-length"),
            String::from_utf8_lossy(&body)
        )
    };
    let app = Router::new().route("/transfer", post(shown));
    runtime.spawn(async { axum::serve(listener, app).await });
    configure_with(
        &session,
        &format!("address = \"{url}\"\nhttp2 = true"),
        KEYS,
    );
    let proxied = Proxied::of(&session);
    for _ in 0..3 {
        let answer = proxied.send(transfer(&session));
        let expected = format!(
            "HTTP/2.0 http://api.example.com/transfer Some(\"\\\"partner-1\\\"\") Some(\"14\") {ORDER}"
        );
        assert!(answer.0.ends_with(&expected), "{answer:?}");
    }
}

#[test]
fn an_answer_with_a_length_beside_its_chunks_is_passed_on_whole() {
    let session = Session::new();
    let upstream = Upstream::start(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nwhole\r\n0\r\n\r\n",
    );
    let proxied = Proxied::start(&session, &upstream, KEYS);
    let answer = proxied.send(transfer(&session));
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert!(answer.0.contains("whole"), "{answer:?}");
    assert!(!answer.0.contains("content-length"), "{answer:?}");
}

/// A server, or a gate before it, has only so many connections.
#[test]
fn a_connection_that_waits_for_too_long_is_closed_though_nobody_asks_again() {
    let session = Session::new();
    let (ended, end) = channel();
    let upstream = Upstream::answering(move |stream, _| {
        stream.write_all(DONE.as_bytes()).unwrap();
        let limit = Some(Duration::from_secs(20));
        stream.set_read_timeout(limit).unwrap();
        ended.send(stream.read(&mut [0]).ok()).unwrap();
        false
    });
    let proxied = Proxied::start(&session, &upstream, KEYS);
    for _ in 0..2 {
        assert_eq!(proxied.send(transfer(&session)).status(), 200);
        assert_eq!(end.recv().unwrap(), Some(0), "the connection stays");
    }
}

/// The address of an upstream may have another server after a reload.
#[test]
fn a_reload_renews_connections_of_http2_and_a_question_for_readiness_does_not() {
    let session = Session::new();
    let upstream = Http2Upstream::start(8);
    let settings = format!("address = \"{}\"\nhttp2 = true", upstream.url);
    configure_with(&session, &settings, KEYS);
    let (mut proxied, admin) = with_admin(&session);
    let connection = |proxied: &Proxied<'_>| {
        upstream.release(1);
        assert_eq!(proxied.send(transfer(&session)).status(), 200);
        upstream.wait()
    };
    let first = connection(&proxied);
    assert_eq!(connection(&proxied), first);
    let ready = send(&admin, get("/readyz").as_bytes());
    assert_eq!(ready.status(), 200, "{ready:?}");
    assert_eq!(connection(&proxied), first);
    proxied.listening.signal("-HUP");
    assert_eq!(proxied.listening.object()["reloaded"], true);
    let renewed = connection(&proxied);
    assert_ne!(renewed, first);
    assert_eq!(connection(&proxied), renewed);
}

/// Those that come late from a connection that broke off find the one that another has opened.
#[test]
fn a_connection_of_http2_that_breaks_off_is_replaced_once() {
    const WAITING: usize = 6;

    let session = Session::new();
    let upstream = Http2Upstream::start(1);
    let settings = format!("address = \"{}\"\nhttp2 = true", upstream.url);
    configure_with(&session, &settings, KEYS);
    let proxied = Proxied::of(&session);
    let first = proxied.sending(&transfer(&session));
    assert_eq!(upstream.wait(), 0);
    // All wait for the one stream, and each asks for it again at moments of its own.
    let waiting = [(); WAITING].map(|()| proxied.sending(&transfer(&session)));
    std::thread::sleep(Duration::from_millis(300));
    upstream.break_off(0);
    // With the one that broke off.
    upstream.release(WAITING + 1);
    let broken = first.join().unwrap();
    assert_eq!((broken.status(), broken.code()), (502, "upstream_failed"));
    for one in waiting {
        assert_eq!(one.join().unwrap().status(), 200);
    }
    assert_eq!(upstream.connections(), 2);
}
