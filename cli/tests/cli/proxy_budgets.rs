//! The budgets that all requests of `countersign proxy` share.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use crate::{
    http2_upstream::Http2Upstream,
    proxied::{
        Answer, DONE, KEYS, ORDER, Proxied, Signed, add, add_open_route, configure, configure_with,
        edit, get, transfer,
    },
    session::Session,
    upstream::Upstream,
};

#[test]
fn beyond_the_requests_in_flight_nothing_is_claimed() {
    let session = Session::new();
    let (upstream, release) = Upstream::held(DONE);
    configure(&session, &upstream.url, KEYS);
    add(&session, "[limits]\nrequests = 1\n");
    let proxied = Proxied::of(&session);
    let [first, second] = [transfer(&session), transfer(&session)];
    let answering = proxied.sending(&first);
    upstream.wait_for(1);
    let answer = proxied.send(&second);
    assert_eq!(
        (answer.status(), answer.code()),
        (503, "requests_exhausted"),
        "{answer:?}"
    );
    assert!(answer.0.contains("retry-after: 1\r\n"), "{answer:?}");
    release.send(()).unwrap();
    assert_eq!(answering.join().unwrap().status(), 200);
    release.send(()).unwrap();
    assert_eq!(proxied.send(&second).status(), 200);
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn strangers_on_an_open_route_take_no_seat_of_verified_requests() {
    let session = Session::new();
    let (upstream, release) = Upstream::held_if(DONE, |seen| seen.head.starts_with("GET /open"));
    configure(&session, &upstream.url, KEYS);
    add(&session, "[limits]\nrequests = 1\n");
    add_open_route(&session);
    let proxied = Proxied::of(&session);
    let answering = proxied.sending(&get("/open"));
    upstream.wait_for(1);
    let refused = proxied.send(get("/open"));
    assert_eq!(
        (refused.status(), refused.code()),
        (503, "requests_exhausted")
    );
    assert_eq!(proxied.send(transfer(&session)).status(), 200);
    release.send(()).unwrap();
    assert_eq!(answering.join().unwrap().status(), 200);
    drop(release);
}

#[test]
fn an_upstream_that_stalls_in_its_answer_gives_its_turn_back() {
    let session = Session::new();
    let upstream = Upstream::answering(|stream, seen| {
        if seen.head.contains("/transfer") {
            let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
            stream.write_all(half.as_bytes()).unwrap();
            thread::sleep(Duration::from_secs(60));
            return false;
        }
        // Slow, and never for so long.
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        for byte in b"done" {
            thread::sleep(Duration::from_secs(1));
            stream.write_all(&[*byte]).unwrap();
        }
        true
    });
    let settings = format!(
        "address = \"{}\"\nrequests = 1\nstall-timeout = 3\nconnect-timeout = 20",
        upstream.url
    );
    configure_with(&session, &settings, KEYS);
    let proxied = Proxied::of(&session);
    let stalled = proxied.send(transfer(&session));
    assert!(stalled.0.ends_with("\r\n\r\nhalf"), "{stalled:?}");
    let slow = proxied.send(Signed::new(&session, "POST", "/slow", ORDER).raw());
    assert!(slow.0.ends_with("\r\n\r\ndone"), "{slow:?}");
}

#[test]
fn strangers_on_an_open_route_leave_turns_for_verified_requests() {
    let session = Session::new();
    let (upstream, release) = Upstream::held_if(DONE, |seen| seen.head.starts_with("GET /open"));
    let settings = format!(
        "address = \"{}\"\nrequests = 2\nconnect-timeout = 3",
        upstream.url
    );
    configure_with(&session, &settings, KEYS);
    add_open_route(&session);
    let proxied = Proxied::of(&session);
    let answering = proxied.sending(&get("/open"));
    upstream.wait_for(1);
    // The share of open routes is one of the two.
    let refused = proxied.send(get("/open"));
    assert_eq!(
        (refused.status(), refused.code()),
        (502, "upstream_unavailable")
    );
    assert_eq!(proxied.send(transfer(&session)).status(), 200);
    release.send(()).unwrap();
    assert_eq!(answering.join().unwrap().status(), 200);
    drop(release);
}

#[test]
fn bodies_of_strangers_give_way_to_others_and_leave_the_room_of_verified_bodies() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure(&session, &upstream.url, KEYS);
    add(&session, "[limits]\nbody-bytes = 4194304\n");
    add_open_route(&session);
    let other = "[[routes]]\nname = \"other\"\nupstream = \"app\"\npath = \"/other\"\n\
                 danger-open = true\n";
    let signs = "[[sign]]\nname = \"signs\"\nlisten = \"unix:sign.sock\"\nupstream = \"app\"\n\
                 scheme = \"http-message-signatures\"\n\
                 key = { id = \"partner-1\", file = \"secret\" }\ndanger-shared-secret = true\n";
    edit(
        &session,
        "[[routes]]",
        &format!("{signs}\n{other}\n[[routes]]"),
    );
    let proxied = Proxied::of(&session);
    let mut signing = UnixStream::connect(session.path().join("sign.sock")).unwrap();
    signing
        .write_all(b"POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 4\r\n\r\nsi")
        .unwrap();
    let begin = |path: &str| {
        let mut stream = TcpStream::connect(proxied.listening.address()).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 1048576\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // The whole body except its last byte.
        stream.write_all(&vec![b'a'; 1_048_575]).unwrap();
        stream
    };
    // The quarter of 4 MiB that is for them has no room for three, on whatever routes.
    let mut streams = [begin("/open"), begin("/other"), begin("/open")].map(Some);
    let moment = Some(Duration::from_millis(50));
    let started = Instant::now();
    let mut refused = 0;
    while refused == 0 {
        assert!(
            started.elapsed().as_secs() < 9,
            "bodies have room without end"
        );
        for place in &mut streams {
            let Some(stream) = place else {
                continue;
            };
            stream.set_read_timeout(moment).unwrap();
            let mut status = [0; 12];
            if stream.read_exact(&mut status).is_ok() {
                assert_eq!(&status, b"HTTP/1.1 503");
                refused += 1;
                *place = None;
            }
        }
    }
    // The room is full of bodies that never end. The next one is taken in all the same.
    let whole =
        "POST /open HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nconnection: close\r\n\r\ndone";
    assert_eq!(proxied.send(whole).status(), 200);
    // The application does not give way to strangers either.
    signing.write_all(b"gn").unwrap();
    let mut signed = String::new();
    signing.read_to_string(&mut signed).unwrap();
    assert!(signed.starts_with("HTTP/1.1 200"), "{signed}");
    let body = format!("{{\"a\":\"{}\"}}", "b".repeat(500_000));
    let signed = Signed::new(&session, "POST", "/transfer", &body).raw();
    assert_eq!(proxied.send(signed).status(), 200);
}

/// Anybody can begin a webhook: its MAC is over its body.
#[test]
fn bodies_of_webhooks_that_nobody_signed_displace_none_whose_signature_was_accepted() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let patient = format!("{KEYS}body-deadline = 60\n");
    configure(&session, &upstream.url, &patient);
    add(&session, "[limits]\nbody-bytes = 4194304\n");
    // Each route has a share of its own.
    let paths = ["/one", "/two", "/three"];
    for path in paths {
        let name = &path[1..];
        session.secret(name, &format!("{name}, a secret of this test alone"));
        let route = format!(
            "[[routes]]\nname = \"{name}\"\nupstream = \"app\"\npath = \"{path}\"\n\
             scheme = \"github\"\nkeys = [{{ file = \"{name}\" }}]\n\
             body-deadline = 60\n\n[[routes]]"
        );
        edit(&session, "[[routes]]", &route);
    }
    let proxied = Proxied::of(&session);
    let address = proxied.listening.address();
    let body = format!("{{\"a\":\"{}\"}}", "b".repeat(300_000));
    let signed = Signed::new(&session, "POST", "/transfer", &body);
    let (first, last) = signed.body.split_at(200_000);
    let mut genuine = TcpStream::connect(address).unwrap();
    let length = format!("content-length: {}\r\nconnection: close\r\n", body.len());
    let head = signed.head(&format!("{length}expect: 100-continue\r\n\r\n"));
    genuine.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    genuine.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    genuine.write_all(first.as_bytes()).unwrap();
    let mut strangers: Vec<_> = [0; 4]
        .iter()
        .flat_map(|_| paths)
        .map(|path| {
            let mut stream = TcpStream::connect(address).unwrap();
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\
                 content-type: application/json\r\nx-github-delivery: 1\r\n\
                 x-hub-signature-256: sha256={}\r\nexpect: 100-continue\r\n\r\n",
                "0".repeat(64)
            );
            stream.write_all(head.as_bytes()).unwrap();
            // Each is waited for before the next comes, so that the first is the oldest.
            stream.read_exact(&mut go_on).unwrap();
            assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
            // A refusal may have closed it already.
            let _ = stream.write_all(&vec![b'a'; 299_999]);
            stream
        })
        .collect();
    // They have to give way to each other.
    let mut status = [0; 12];
    strangers[0].read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 503");
    genuine.write_all(last.as_bytes()).unwrap();
    let mut answer = String::new();
    genuine.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// A server that takes one stream at a time: the second request waits for it before its claim.
#[test]
fn a_stream_of_http2_is_had_before_the_claim() {
    let session = Session::new();
    let upstream = Http2Upstream::start(1);
    let settings = format!(
        "address = \"{}\"\nhttp2 = true\nconnect-timeout = 4",
        upstream.url
    );
    configure_with(&session, &settings, KEYS);
    let proxied = Proxied::of(&session);
    let [first, second] = [transfer(&session), transfer(&session)];
    let answering = proxied.sending(&first);
    upstream.wait();
    let waited = proxied.send(&second);
    assert_eq!(
        (waited.status(), waited.code()),
        (502, "upstream_unavailable"),
        "{waited:?}"
    );
    upstream.release(1);
    assert_eq!(answering.join().unwrap().status(), 200);
    // The refusal claimed nothing: the same request is served.
    upstream.release(1);
    assert_eq!(proxied.send(&second).status(), 200);
    assert_eq!(proxied.send(&second).status(), 409);
}

/// A signed request may be repeated by anybody who has overheard it, and nothing claims it while
/// there is no connection to its upstream.
#[test]
fn an_upstream_that_never_accepts_takes_no_seat_of_the_routes_of_another() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    // This server takes connections and says nothing, so that no handshake of TLS is finished.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    configure(&session, &upstream.url, KEYS);
    let hangs = format!(
        "[limits]\nrequests = 2\n\n[upstreams.hangs]\naddress = \"https://{}\"\n\
         connect-timeout = 60\n",
        silent.local_addr().unwrap()
    );
    add(&session, &hangs);
    let route = format!(
        "[[routes]]\nname = \"hangs\"\nupstream = \"hangs\"\npath = \"/hangs\"\n{KEYS}\n[[routes]]"
    );
    edit(&session, "[[routes]]", &route);
    let proxied = Proxied::of(&session);
    let overheard = Signed::new(&session, "POST", "/hangs", ORDER).raw();
    let mut waiting = [(); 3].map(|()| {
        let mut stream = TcpStream::connect(proxied.listening.address()).unwrap();
        stream.write_all(overheard.as_bytes()).unwrap();
        stream
    });
    // Two of them have the seats, and the other is refused.
    let moment = Some(Duration::from_millis(50));
    let started = Instant::now();
    let refused = loop {
        assert!(started.elapsed().as_secs() < 50, "all of them wait");
        let answered = waiting.iter_mut().find(|stream| {
            stream.set_read_timeout(moment).unwrap();
            stream.peek(&mut [0]).is_ok()
        });
        if let Some(stream) = answered {
            stream.set_read_timeout(None).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            break Answer(answer);
        }
    };
    assert_eq!(
        (refused.status(), refused.code()),
        (503, "requests_exhausted")
    );
    let answer = proxied.send(transfer(&session));
    assert_eq!(answer.status(), 200, "{answer:?}");
}

/// The limits of bodies in a file come into force together.
#[test]
fn a_reload_takes_bodies_by_the_limits_that_it_names() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure(&session, &upstream.url, KEYS);
    add(&session, "[limits]\nbody-bytes = 4194304\n");
    add_open_route(&session);
    let mut proxied = Proxied::of(&session);
    let long = "a".repeat(2_500_000);
    let open = format!(
        "POST /open HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{long}",
        long.len()
    );
    let signed = || Signed::new(&session, "POST", "/transfer", &format!("\"{long}\"")).raw();
    assert_eq!(proxied.send(signed()).status(), 413);
    assert_eq!(proxied.send(&open).status(), 413);
    for (from, to) in [
        (
            "body-bytes = 4194304",
            "body-bytes = 16777216\nconnections = 7",
        ),
        ("danger-open", "max-body-bytes = 3000000\ndanger-open"),
        ("danger-any", "max-body-bytes = 3000000\ndanger-any"),
    ] {
        edit(&session, from, to);
    }
    proxied.listening.signal("-HUP");
    assert_eq!(proxied.listening.object()["reloaded"], true);
    let answers = [signed(), open.clone()].map(|raw| proxied.send(raw).status());
    assert_eq!(answers, [200, 200]);
    // The twin: less is in force at once too, and what a file asks for is compared with its own limits.
    edit(&session, "body-bytes = 16777216", "body-bytes = 8388608");
    proxied.listening.signal("-HUP");
    assert_eq!(proxied.listening.object()["reloaded"], false);
    assert_eq!(proxied.send(&open).status(), 200);
    for _ in 0..2 {
        edit(&session, "max-body-bytes = 3000000\n", "");
    }
    proxied.listening.signal("-HUP");
    assert_eq!(proxied.listening.object()["reloaded"], true);
    assert_eq!(proxied.send(&open).status(), 413);
    let (said, _) = proxied.listening.stop();
    assert!(said.contains("limits of connections"), "{said}");
}

/// An attacker who has overheard the head of a signed request can begin it any number of times, and
/// never end it.
#[test]
fn an_overheard_head_with_endless_bodies_displaces_no_genuine_body_of_its_key() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let patient = format!("{KEYS}body-deadline = 60\n");
    configure(&session, &upstream.url, &patient);
    add(&session, "[limits]\nbody-bytes = 4194304\n");
    let proxied = Proxied::of(&session);
    let address = proxied.listening.address();
    let body = |letter: &str| format!("{{\"a\":\"{}\"}}", letter.repeat(300_000));
    let [genuine, overheard] =
        ["b", "c"].map(|letter| Signed::new(&session, "POST", "/transfer", &body(letter)));
    let begin = |signed: &Signed| {
        let mut stream = TcpStream::connect(address).unwrap();
        let length = format!(
            "content-length: {}\r\nconnection: close\r\n",
            signed.body.len()
        );
        let head = signed.head(&format!("{length}expect: 100-continue\r\n\r\n"));
        stream.write_all(head.as_bytes()).unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        // A refusal may have closed it already.
        let _ = stream.write_all(&signed.body.as_bytes()[..299_999]);
        stream
    };
    let mut waits = begin(&genuine);
    let mut endless: Vec<_> = (0..12).map(|_| begin(&overheard)).collect();
    // They have to give way to each other.
    let mut status = [0; 12];
    endless[1].read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 503");
    waits
        .write_all(&genuine.body.as_bytes()[299_999..])
        .unwrap();
    let mut answer = String::new();
    waits.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
