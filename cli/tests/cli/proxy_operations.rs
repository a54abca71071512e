//! Running `countersign proxy`: its state, a configuration that is read again, and its end.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    sync::{Mutex, mpsc::channel},
    thread,
    time::{Duration, Instant},
};

use crate::{
    proxied::{
        DONE, KEYS, ORDER, Proxied, Signed, add, add_open_route, configure, configure_with, edit,
        get, send, transfer, with_admin,
    },
    session::Session,
    upstream::Upstream,
};

#[test]
fn readiness_asks_the_store_and_the_upstream() {
    let session = Session::new();
    let socket = session.path().join("app.sock");
    let upstream = UnixListener::bind(&socket).unwrap();
    configure(&session, "unix:app.sock", KEYS);
    let (proxied, admin) = with_admin(&session);
    let ask = |path: &str| send(&admin, get(path).as_bytes());
    assert_eq!(ask("/healthz").status(), 200);
    let ready = ask("/readyz");
    assert_eq!(ready.status(), 200, "{ready:?}");
    assert_eq!(ask("/other").status(), 404);
    // Clients cannot ask it.
    assert_eq!(proxied.send(get("/healthz")).status(), 401);
    std::fs::remove_file(session.path().join("used.db")).unwrap();
    let ready = ask("/readyz");
    assert_eq!(ready.status(), 503, "{ready:?}");
    assert!(ready.0.contains("store: "), "{ready:?}");
    drop(upstream);
    // A process that another test starts at this moment has the socket too, until it runs its program.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let ready = ask("/readyz");
        if ready.0.contains("upstream: ") {
            break;
        }
        assert!(Instant::now() < deadline, "{ready:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Servers that never answer, so that each client waits.
#[test]
fn readiness_asks_each_server_once_and_all_at_the_same_time() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let silent = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    configure(&session, &upstream.url, KEYS);
    let routes = [("one", 0), ("two", 0), ("three", 0), ("four", 1)];
    for (number, listener) in silent.iter().enumerate() {
        let address = listener.local_addr().unwrap();
        let table = format!(
            "[upstreams.silent-{number}]\naddress = \"https://{address}\"\nconnect-timeout = 60\n"
        );
        add(&session, &table);
    }
    for (name, number) in routes {
        let route = format!(
            "[[routes]]\nname = \"{name}\"\nupstream = \"silent-{number}\"\n\
             path = \"/{name}\"\ndanger-open = true\n\n[[routes]]"
        );
        edit(&session, "[[routes]]", &route);
    }
    let (_proxied, admin) = with_admin(&session);
    let started = Instant::now();
    let ready = send(&admin, get("/readyz").as_bytes());
    let took = started.elapsed();
    assert_eq!(ready.status(), 503, "{ready:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    for (name, _) in routes {
        let said = format!("\"route\":\"{name}\",\"why\":\"upstream: it gave no answer");
        assert!(ready.0.contains(&said), "{name}: {ready:?}");
    }
    // The twin: a server that answers is not held up by the others.
    assert!(!ready.0.contains("\"all\""), "{ready:?}");
    for listener in silent {
        listener.set_nonblocking(true).unwrap();
        assert_eq!(std::iter::from_fn(|| listener.accept().ok()).count(), 1);
    }
}

#[test]
fn a_reload_takes_other_routes_and_keys_and_a_bad_file_keeps_the_old_ones() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let mut proxied = Proxied::start(&session, &upstream, KEYS);
    let signed = transfer(&session);
    assert_eq!(proxied.send(&signed).status(), 200);
    // A file that is refused.
    edit(&session, "path = \"/\"", "pathh = \"/\"");
    proxied.listening.signal("-HUP");
    assert_eq!(proxied.listening.object()["reloaded"], false);
    // The new file has another key, another upstream and one more route. The first key is refused
    // then.
    edit(&session, "pathh = \"/\"", "path = \"/\"");
    let other = Upstream::start(DONE);
    edit(&session, &upstream.url, &other.url);
    session.file("secret", "another secret of this test, long enough\n");
    add_open_route(&session);
    assert_eq!(proxied.send(get("/open")).status(), 401);
    proxied.listening.signal("-HUP");
    assert_eq!(proxied.listening.object()["reloaded"], true);
    assert_eq!(proxied.send(get("/open")).status(), 200);
    let old_key = proxied.send(&signed);
    assert_eq!(
        (old_key.status(), old_key.code()),
        (401, "signature_invalid")
    );
    let with_new_key = transfer(&session);
    assert_eq!(proxied.send(&with_new_key).status(), 200);
    assert_eq!(proxied.send(&with_new_key).status(), 409);
    assert_eq!((upstream.seen().len(), other.seen().len()), (1, 2));
}

/// A file is read with a store in memory that nobody uses: warnings of it would be false.
#[test]
fn a_reload_warns_only_of_the_store_that_the_file_names() {
    let upstream = Upstream::start(DONE);
    let hook = "scheme = \"github\"\nkeys = [{ file = \"secret\" }]\nmethods = [\"POST\"]";
    for (store, forgets) in [("sqlite:used.db", false), ("memory", true)] {
        let session = Session::new();
        configure(&session, &upstream.url, hook);
        edit(&session, "sqlite:used.db", store);
        let mut proxied = Proxied::of(&session);
        proxied.listening.signal("-HUP");
        assert_eq!(proxied.listening.object()["reloaded"], true);
        proxied.listening.signal("-TERM");
        let (said, code) = proxied.listening.end();
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(said.contains("forgets on restart"), forgets, "{said}");
    }
}

/// The requests of such an upstream still count, and its connections stay open. Otherwise more
/// requests than allowed would reach the server at one time.
#[test]
fn an_upstream_that_did_not_change_keeps_its_turns_and_connections_over_a_reload() {
    let session = Session::new();
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let (peer, peers) = channel();
    let upstream = Upstream::answering(move |stream, _| {
        peer.send(stream.peer_addr().unwrap()).unwrap();
        let _ = held.lock().unwrap().recv();
        stream.write_all(DONE.as_bytes()).is_ok()
    });
    let settings =
        |requests: u8| format!("requests = {requests}\nconnect-timeout = 3\nidle-timeout = 60\n");
    let address = format!("address = \"{}\"\n{}", upstream.url, settings(1));
    configure_with(&session, &address, KEYS);
    let mut proxied = Proxied::of(&session);
    let address = proxied.listening.address().to_owned();
    let first = proxied.sending(&transfer(&session));
    upstream.wait_for(1);
    let mut reload = |from: &str, to: &str| {
        edit(&session, from, to);
        proxied.listening.signal("-HUP");
        assert_eq!(proxied.listening.object()["reloaded"], true);
    };
    reload("path = \"/\"", "path = \"/transfer\"");
    let second = transfer(&session);
    let waited = send(&address, second.as_bytes());
    assert_eq!(
        (waited.status(), waited.code()),
        (502, "upstream_unavailable"),
        "{waited:?}"
    );
    release.send(()).unwrap();
    assert_eq!(first.join().unwrap().status(), 200);
    reload("path = \"/transfer\"", "path = \"/\"");
    release.send(()).unwrap();
    assert_eq!(send(&address, second.as_bytes()).status(), 200);
    let connections: Vec<_> = peers.try_iter().collect();
    assert_eq!(connections.len(), 2);
    assert_eq!(connections[0], connections[1]);
    // The twin: with other settings, it is another upstream.
    reload(&settings(1), &settings(2));
    release.send(()).unwrap();
    assert_eq!(send(&address, transfer(&session).as_bytes()).status(), 200);
    assert_ne!(peers.try_iter().next(), Some(connections[0]));
}

#[test]
fn a_reload_that_waits_for_a_store_does_not_hold_up_the_end() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let proxied = Proxied::start(&session, &upstream, KEYS);
    // This store takes connections, and says nothing.
    let store = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://a@{}/a", store.local_addr().unwrap());
    edit(&session, "sqlite:used.db", &url);
    proxied.listening.signal("-HUP");
    let _waiting = store.accept().unwrap();
    proxied.listening.signal("-TERM");
    let (said, code) = proxied.listening.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("reloaded"), "{said}");
}

#[test]
fn the_end_waits_for_requests_that_are_being_answered() {
    let session = Session::new();
    let (upstream, release) = Upstream::held(DONE);
    let proxied = Proxied::start(&session, &upstream, KEYS);
    let answering = proxied.sending(&transfer(&session));
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
        (409, Some("request_replayed"), Some("partner-1")),
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
    add(&session, "[limits]\nhead-deadline = 1\nconnections = 64\n");
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
    assert_eq!(proxied.send(transfer(&session)).status(), 200);
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
    assert_eq!(proxied.send(transfer(&session)).status(), 200);
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn the_end_waits_for_a_retryable_request_whose_client_has_gone() {
    let session = Session::new();
    let (upstream, release) = Upstream::held(DONE);
    let route = format!("{KEYS}processing = \"retryable\"\n");
    let proxied = Proxied::start(&session, &upstream, &route);
    let signed = transfer(&session);
    let mut client = TcpStream::connect(proxied.listening.address()).unwrap();
    client.write_all(signed.as_bytes()).unwrap();
    upstream.wait_for(1);
    drop(client);
    proxied.listening.signal("-TERM");
    while TcpStream::connect(proxied.listening.address()).is_ok() {
        thread::yield_now();
    }
    release.send(()).unwrap();
    let (said, code) = proxied.listening.end();
    assert_eq!(code, Some(0), "{said}");
    // The outcome of the request is on record, so the next process does not act on a retry.
    drop(release);
    let proxied = Proxied::of(&session);
    let retried = proxied.send(&signed);
    assert_eq!(
        (retried.status(), retried.code()),
        (409, "request_replayed")
    );
    assert_eq!(upstream.seen().len(), 1);
}

/// The client goes while its answer comes, and the store is slow to learn that the request is done.
#[test]
fn the_end_waits_until_the_store_knows_what_became_of_a_request() {
    let session = Session::new();
    let upstream = Upstream::answering(|stream, _| {
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf";
        stream.write_all(half.as_bytes()).unwrap();
        // Until the proxy closes the connection, because its client has gone.
        let _ = stream.read(&mut [0]);
        false
    });
    let route = format!("{KEYS}processing = \"retryable\"\n");
    let proxied = Proxied::start(&session, &upstream, &route);
    let signed = transfer(&session);
    let mut client = TcpStream::connect(proxied.listening.address()).unwrap();
    client.write_all(signed.as_bytes()).unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"half") {
        let mut byte = [0];
        assert_eq!(client.read(&mut byte).unwrap(), 1);
        read.extend(byte);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let file = session.path().join("used.db").display().to_string();
    let mut other = runtime.block_on(async {
        use sqlx::Connection as _;
        let mut other = sqlx::SqliteConnection::connect(&file).await.unwrap();
        let lock = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await;
        lock.unwrap();
        other
    });
    drop(client);
    proxied.listening.signal("-TERM");
    let (said, code) = thread::scope(|scope| {
        let ending = scope.spawn(move || proxied.listening.end());
        // A process that does not wait has ended by then.
        thread::sleep(std::time::Duration::from_millis(1500));
        assert!(!ending.is_finished(), "the outcome is lost");
        let unlock = async { sqlx::raw_sql("ROLLBACK").execute(&mut other).await };
        runtime.block_on(unlock).unwrap();
        ending.join().unwrap()
    });
    assert_eq!(code, Some(0), "{said}");
    let proxied = Proxied::of(&session);
    let retried = proxied.send(&signed);
    assert_eq!(
        (retried.status(), retried.code()),
        (409, "request_replayed")
    );
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_connection_that_nobody_uses_is_closed_and_one_that_waits_for_an_answer_is_not() {
    let session = Session::new();
    let answer: &'static str = Box::leak(
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}",
            "a".repeat(1_000_000)
        )
        .into_boxed_str(),
    );
    let upstream = Upstream::answering(move |stream, seen| {
        if seen.head.starts_with("GET /slow") {
            thread::sleep(std::time::Duration::from_secs(3));
        }
        stream.write_all(answer.as_bytes()).is_ok()
    });
    configure(&session, &upstream.url, "danger-open = true\n");
    add(&session, "[limits]\nidle-deadline = 1\n");
    let proxied = Proxied::of(&session);
    let address = proxied.listening.address();
    let limit = Some(std::time::Duration::from_secs(30));
    // HTTP/2 without a request, which says only that it is there.
    let mut idle = TcpStream::connect(address).unwrap();
    idle.set_read_timeout(limit).unwrap();
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut read = Vec::new();
    idle.read_to_end(&mut read).unwrap();
    // HTTP/1.1 that asks again and again, and reads no answer.
    let mut greedy = TcpStream::connect(address).unwrap();
    let moment = std::time::Duration::from_millis(200);
    greedy.set_write_timeout(Some(moment)).unwrap();
    let started = std::time::Instant::now();
    loop {
        assert!(started.elapsed().as_secs() < 30, "the connection stays");
        match greedy.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n") {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    // The twin: a client that waits for longer than that.
    let slow = proxied.send(get("/slow"));
    assert_eq!(slow.status(), 200);
}

#[test]
fn the_files_of_a_store_are_for_their_owner_alone() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let proxied = Proxied::start(&session, &upstream, KEYS);
    assert_eq!(proxied.send(transfer(&session)).status(), 200);
    let mut files = 0;
    for entry in std::fs::read_dir(session.path()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with("used.db") {
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
            files += 1;
        }
    }
    // The file, and its log.
    assert!(files >= 2, "{files}");
}

#[test]
fn requests_that_the_end_cuts_off_are_logged() {
    let session = Session::new();
    let (upstream, release) = Upstream::held(DONE);
    configure(&session, &upstream.url, KEYS);
    edit(&session, "access-log = false", "access-log = true");
    add(&session, "[limits]\ndrain = 1\n");
    add_open_route(&session);
    let proxied = Proxied::of(&session);
    let address = proxied.listening.address().to_owned();
    let signed = transfer(&session);
    let mut client = TcpStream::connect(&address).unwrap();
    client.write_all(signed.as_bytes()).unwrap();
    upstream.wait_for(1);
    let curl = format!("curl -s --http2-prior-knowledge http://{address}/open");
    let mut asking = session.shell(&curl).spawn().unwrap();
    upstream.wait_for(2);
    proxied.listening.signal("-TERM");
    let (said, code) = proxied.listening.end();
    assert_eq!(code, Some(0), "{said}");
    let lines = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let cut: Vec<serde_json::Value> = lines
        .filter(|line: &serde_json::Value| line["request"]["reason"] == "cut_off")
        .collect();
    assert_eq!(cut.len(), 2, "{said}");
    let of_key = cut.iter().find(|line| line["request"]["route"] == "all");
    let of_key = &of_key.unwrap()["request"];
    assert_eq!(
        (&of_key["status"], &of_key["key_id"]),
        (&499.into(), &"partner-1".into()),
        "{said}"
    );
    asking.wait().unwrap();
    drop(release);
}
