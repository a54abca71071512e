//! Running `countersign proxy`: its state, a configuration that is read again, and its end.

use std::{
    io::Write as _,
    os::unix::net::UnixListener,
    sync::{Mutex, mpsc::channel},
    thread,
};

use crate::{
    proxied::{DONE, KEYS, Proxied, Signed, configure, send},
    session::Session,
    upstream::Upstream,
};

const ORDER: &str = r#"{"amount": 10}"#;

fn edit(session: &Session, from: &str, to: &str) {
    let file = session.path().join("proxy.toml");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{text}");
    session.file("proxy.toml", text.replacen(from, to, 1));
}

#[test]
fn readiness_asks_the_store_and_the_upstream() {
    let session = Session::new();
    let socket = session.path().join("app.sock");
    let upstream = UnixListener::bind(&socket).unwrap();
    configure(&session, "unix:app.sock", KEYS);
    edit(&session, "listen =", "admin = \"127.0.0.1:0\"\nlisten =");
    let mut proxied = Proxied::of(&session);
    let admin = proxied.listening.object()["admin"]
        .as_str()
        .unwrap()
        .to_owned();
    let admin = admin.strip_prefix("http://").unwrap();
    let ask = |path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        send(admin, head.as_bytes())
    };
    assert_eq!(ask("/healthz").status(), 200);
    let ready = ask("/readyz");
    assert_eq!(ready.status(), 200, "{ready:?}");
    assert_eq!(ask("/other").status(), 404);
    // Clients cannot ask it.
    assert_eq!(
        proxied
            .send("GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .status(),
        401
    );
    std::fs::remove_file(session.path().join("used.db")).unwrap();
    let ready = ask("/readyz");
    assert_eq!(ready.status(), 503, "{ready:?}");
    assert!(ready.0.contains("store: "), "{ready:?}");
    drop(upstream);
    let ready = ask("/readyz");
    assert!(ready.0.contains("upstream: "), "{ready:?}");
}

#[test]
fn a_reload_takes_other_routes_and_keys_and_a_bad_file_keeps_the_old_ones() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let mut proxied = Proxied::start(&session, &upstream, KEYS);
    let signed = Signed::new(&session, "POST", "/transfer", ORDER).raw();
    assert_eq!(proxied.send(&signed).status(), 200);
    // A file that is refused.
    edit(&session, "path = \"/\"", "pathh = \"/\"");
    proxied.listening.signal("-HUP");
    assert_eq!(proxied.listening.object()["reloaded"], false);
    // Another key, another upstream, and one more route: the first is refused by then.
    edit(&session, "pathh = \"/\"", "path = \"/\"");
    let other = Upstream::start(DONE);
    edit(&session, &upstream.url, &other.url);
    session.file("secret", "another secret of this test, long enough\n");
    let more =
        "[[routes]]\nname = \"open\"\nupstream = \"app\"\npath = \"/open\"\ndanger-open = true\n";
    edit(&session, "[[routes]]", &format!("{more}\n[[routes]]"));
    let open = "GET /open HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert_eq!(proxied.send(open).status(), 401);
    proxied.listening.signal("-HUP");
    assert_eq!(proxied.listening.object()["reloaded"], true);
    assert_eq!(proxied.send(open).status(), 200);
    let old_key = proxied.send(&signed);
    assert_eq!(
        (old_key.status(), old_key.code()),
        (401, "signature_invalid")
    );
    let with_new_key = Signed::new(&session, "POST", "/transfer", ORDER).raw();
    assert_eq!(proxied.send(&with_new_key).status(), 200);
    assert_eq!(proxied.send(&with_new_key).status(), 409);
    assert_eq!((upstream.seen().len(), other.seen().len()), (1, 2));
}

#[test]
fn a_reload_under_load_loses_no_request_and_doubles_none() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let mut proxied = Proxied::start(&session, &upstream, KEYS);
    let signed: Vec<String> = (0..48)
        .map(|_| Signed::new(&session, "POST", "/transfer", ORDER).raw())
        .collect();
    let address = proxied.listening.address().to_owned();
    thread::scope(|scope| {
        let sending: Vec<_> = signed
            .chunks(12)
            .map(|part| {
                let address = &address;
                scope.spawn(move || {
                    let statuses = part.iter().map(|raw| {
                        let once = send(address, raw.as_bytes()).status();
                        (once, send(address, raw.as_bytes()).status())
                    });
                    statuses.collect::<Vec<_>>()
                })
            })
            .collect();
        for _ in 0..4 {
            proxied.listening.signal("-HUP");
            assert_eq!(proxied.listening.object()["reloaded"], true);
        }
        for statuses in sending {
            for pair in statuses.join().unwrap() {
                assert_eq!(pair, (200, 409));
            }
        }
    });
    assert_eq!(upstream.seen().len(), signed.len());
}

#[test]
fn the_end_waits_for_requests_that_are_being_answered() {
    let session = Session::new();
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let upstream = Upstream::answering(move |stream, _| {
        let _ = held.lock().unwrap().recv();
        stream.write_all(DONE.as_bytes()).is_ok()
    });
    let proxied = Proxied::start(&session, &upstream, KEYS);
    let signed = Signed::new(&session, "POST", "/transfer", ORDER).raw();
    let address = proxied.listening.address().to_owned();
    let answering = thread::spawn(move || send(&address, signed.as_bytes()));
    upstream.wait_for(1);
    proxied.listening.signal("-TERM");
    // No more connections are taken, and the one that is being answered stays.
    let address = proxied.listening.address().to_owned();
    while std::net::TcpStream::connect(&address).is_ok() {
        thread::yield_now();
    }
    release.send(()).unwrap();
    assert_eq!(answering.join().unwrap().status(), 200);
    let (said, code) = proxied.listening.end();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn the_access_log_says_which_key_and_nothing_that_may_be_secret() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure(&session, &upstream.url, KEYS);
    edit(&session, "access-log = false", "access-log = true");
    let mut proxied = Proxied::of(&session);
    let signed = Signed::new(&session, "POST", "/transfer?token=hidden", ORDER);
    let raw = signed.with("authorization: Bearer hidden\r\n");
    for (status, code, key) in [
        (200, None, Some("partner-1")),
        (409, Some("request_replayed"), None),
    ] {
        assert_eq!(proxied.send(&raw).status(), status);
        let line = proxied.listening.object();
        assert!(!line.to_string().contains("hidden"), "{line}");
        let logged = &line["request"];
        assert_eq!(logged["status"], status, "{line}");
        assert_eq!(logged["code"].as_str(), code, "{line}");
        assert_eq!(logged["key_id"].as_str(), key, "{line}");
        assert_eq!(
            (&logged["route"], &logged["path"]),
            (&"all".into(), &"/transfer".into())
        );
    }
}

/// Rapid reset (CVE-2023-44487) and connections that send nothing: the proxy closes or bounds them,
/// and goes on serving.
#[test]
fn slow_connections_and_rapid_resets_do_not_stop_the_proxy() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure(&session, &upstream.url, KEYS);
    edit(
        &session,
        "[upstreams.app]",
        "[limits]\nhead-deadline = 1\nconnections = 64\n\n[upstreams.app]",
    );
    let proxied = Proxied::of(&session);
    let address = proxied.listening.address().to_owned();
    // More than may be open: each has a second for its head.
    let slow: Vec<_> = (0..256)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(&address).unwrap();
            stream
                .write_all(b"POST /transfer HTTP/1.1\r\nx-slow: ")
                .unwrap();
            stream
        })
        .collect();
    let signed = Signed::new(&session, "POST", "/transfer", ORDER);
    assert_eq!(proxied.send(signed.raw()).status(), 200);
    drop(slow);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ended = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        let ended = tokio::spawn(connection);
        for _ in 0..20_000 {
            let request = http::Request::post("http://a/").body(()).unwrap();
            let Ok(mut ready) = client.clone().ready().await else {
                break;
            };
            let Ok((_, mut stream)) = ready.send_request(request, false) else {
                break;
            };
            stream.send_reset(h2::Reason::CANCEL);
            client = ready;
        }
        drop(client);
        ended.await.unwrap()
    });
    // The server calls it an attack and closes the connection.
    assert!(ended.is_err(), "the resets are not bounded");
    let signed = Signed::new(&session, "POST", "/transfer", ORDER);
    assert_eq!(proxied.send(signed.raw()).status(), 200);
    assert_eq!(upstream.seen().len(), 2);
}
