//! Interim answers of the server behind the proxy, and answers without a body.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    proxied::{DONE, KEYS, ORDER, Proxied, Signed, configure_with, get, one_request, transfer},
    session::Session,
    upstream::Upstream,
};

#[test]
fn interim_answers_are_taken_by_the_proxy_and_the_final_one_is_passed_on() {
    let session = Session::new();
    let upstream = Upstream::start(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\
         Link: </a>; rel=preload\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\
         Content-Length: 4\r\n\r\ndone",
    );
    let proxied = Proxied::start(&session, &upstream, KEYS);
    let signed = transfer(&session);
    let answer = proxied.send(&signed);
    assert_eq!(answer.statuses(), [200], "{answer:?}");
    assert!(!answer.0.contains("preload"), "{answer:?}");
    assert!(answer.0.ends_with("\r\n\r\ndone"), "{answer:?}");
    assert_eq!(proxied.send(&signed).status(), 409);
    one_request(&upstream.seen(), ORDER);
}

#[test]
fn interim_answers_without_an_end_are_cut_off_in_time() {
    let session = Session::new();
    let upstream = Upstream::answering(|stream, _| {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(100);
        while stream.write_all(hints.as_bytes()).is_ok() {}
        false
    });
    configure_with(
        &session,
        &format!("address = \"{}\"\nanswer-timeout = 1", upstream.url),
        KEYS,
    );
    let proxied = Proxied::of(&session);
    let signed = transfer(&session);
    let started = Instant::now();
    let answer = proxied.send(&signed);
    assert_eq!(
        (answer.status(), answer.code()),
        (504, "upstream_timeout"),
        "{answer:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on_once_its_head_may_pass() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let proxied = Proxied::start(&session, &upstream, KEYS);
    let signed = Signed::new(&session, "POST", "/transfer", ORDER);
    let mut client = TcpStream::connect(proxied.listening.address()).unwrap();
    let limit = Some(Duration::from_secs(30));
    client.set_read_timeout(limit).unwrap();
    let length = format!("content-length: {}\r\nconnection: close\r\n", ORDER.len());
    let head = signed.head(&format!("expect: 100-continue\r\n{length}\r\n"));
    client.write_all(head.as_bytes()).unwrap();
    let mut told = [0; 25];
    client.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(upstream.seen().len(), 0);
    client.write_all(ORDER.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    // The proxy has the body by then, and waits for nobody.
    let seen = one_request(&upstream.seen(), ORDER);
    assert!(
        !seen.head.to_lowercase().contains("expect"),
        "{}",
        seen.head
    );
}

#[test]
fn answers_without_a_body_end_with_their_heads() {
    let session = Session::new();
    let upstream = Upstream::answering(|stream, seen| {
        let target = seen.head.split(' ').nth(1).unwrap();
        let answer = match target {
            "/204" => "HTTP/1.1 204 No Content\r\nX-Answer: 1\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 1234\r\n\r\n",
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
            "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            _ => DONE,
        };
        stream.write_all(answer.as_bytes()).is_ok()
    });
    let proxied = Proxied::start(&session, &upstream, "danger-open = true\n");
    // All requests use one connection, where bytes behind an answer would come before the next one.
    let mut all = String::new();
    for target in ["GET /204", "GET /304", "HEAD /head", "HEAD /chunked"] {
        all.push_str(&format!("{target} HTTP/1.1\r\nhost: a\r\n\r\n"));
    }
    let answer = proxied.send(all + &get("/last"));
    assert_eq!(answer.statuses(), [204, 304, 200, 200, 200], "{answer:?}");
    let heads: Vec<_> = answer.0.split("HTTP/1.1 ").skip(1).collect();
    // 304 need not say how long the body would be (RFC 9110, 8.6), and hyper leaves it out.
    for (head, length) in heads.iter().zip([None, None, Some(1234), None]) {
        let said = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        assert_eq!(said.map(|said| said.parse().unwrap()), length, "{head}");
        assert!(head.ends_with("\r\n\r\n"), "{head}");
    }
    assert!(heads[4].ends_with("\r\n\r\ndone"), "{answer:?}");
}

/// Bytes that an upstream sends behind an answer are not the answer to another request.
#[test]
fn bytes_behind_an_answer_are_not_taken_for_the_next() {
    let session = Session::new();
    let behind = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for begin in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 45\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n0\r\n\r\n",
    ] {
        let answer: &'static str = Box::leak(format!("{begin}{behind}").into_boxed_str());
        let upstream = Upstream::start(answer);
        let proxied = Proxied::start(&session, &upstream, "danger-open = true\n");
        for count in 1..=20 {
            let answer = proxied.send(get("/"));
            // A broken connection may be seen before the request is sent on another.
            assert!(!answer.0.contains("evil"), "{begin:?}, {count}: {answer:?}");
        }
        assert!(upstream.seen().len() > 1);
    }
}
