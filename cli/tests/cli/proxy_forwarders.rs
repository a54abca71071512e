//! The address of a client of `countersign proxy`, and how much one client may take up.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use tokio::net::TcpSocket;

use crate::{
    proxied::{DONE, KEYS, ORDER, Proxied, Signed, add, configure, edit, get, send},
    session::Session,
    upstream::Upstream,
};

const TRUSTED: &str = "[forwarders]\nnetworks = [\"127.0.0.1\"]\nclient = \"x-forwarded-for\"\n\
                       scheme = \"x-forwarded-proto\"\nhost = \"x-forwarded-host\"\n";

#[test]
fn a_trusted_forwarder_alone_says_who_the_client_is_and_how_it_came() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let host = "host = \"api.example.com\"\n";
    let said = "x-forwarded-for: 10.9.9.9, 192.0.2.1\r\nx-forwarded-proto: https\r\n\
                x-forwarded-host: evil.example, api.example.com\r\nforwarded: for=203.0.113.1\r\n\
                x-real-ip: 203.0.113.2\r\n";
    let forwarded = ["192.0.2.1", "https"];
    let direct = ["127.0.0.1", "http"];
    for (table, networks, expected) in [
        (TRUSTED, "127.0.0.1", Some(forwarded)),
        (TRUSTED, "10.0.0.0/8", None),
        ("", "", None),
    ] {
        configure(&session, &upstream.url, &format!("{KEYS}{host}"));
        add(&session, &table.replace("127.0.0.1", networks));
        edit(&session, "access-log = false", "access-log = true");
        let mut proxied = Proxied::of(&session);
        let signed = Signed::new(&session, "POST", "/transfer", ORDER);
        // The forwarder calls the proxy by a name of its own.
        let inner = signed
            .with(said)
            .replace("host: api.example.com", "host: inner");
        let answer = proxied.send(inner);
        let logged = proxied.listening.object()["request"].clone();
        let [client, scheme] = match expected {
            Some(expected) => expected,
            None => {
                let refused = (answer.status(), answer.code());
                assert_eq!(refused, (404, "route_unknown"), "{table}");
                assert_eq!(logged["client"], "127.0.0.1");
                assert_eq!(proxied.send(signed.with(said)).status(), 200, "{table}");
                direct
            }
        };
        let seen = upstream.seen().pop().unwrap();
        for line in [
            "host: api.example.com".to_owned(),
            format!("x-forwarded-for: {client}"),
            format!("x-forwarded-proto: {scheme}"),
        ] {
            assert!(seen.has(&line), "{line}: {}", seen.head);
        }
        assert!(!seen.head.contains("203.0.113"), "{}", seen.head);
        if expected.is_some() {
            assert_eq!(answer.status(), 200, "{answer:?}");
            assert_eq!(logged["client"], client);
        }
    }
}

#[test]
fn a_client_behind_a_forwarder_has_so_many_requests_at_one_time() {
    let session = Session::new();
    let (upstream, release) = Upstream::held(DONE);
    configure(&session, &upstream.url, "danger-open = true\n");
    add(&session, TRUSTED);
    add(&session, "[limits]\nper-client = 2\n");
    let proxied = Proxied::of(&session);
    let address = proxied.listening.address();
    let ask = |path: &str, client: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {client}\r\nconnection: close\r\n\r\n"
        );
        send(address, request.as_bytes())
    };
    thread::scope(|scope| {
        let waiting = [(); 2].map(|()| scope.spawn(|| ask("/held", "192.0.2.1").status()));
        upstream.wait_for(2);
        let third = ask("/free", "192.0.2.1");
        assert_eq!((third.status(), third.code()), (429, "client_over_limit"));
        // The twin: another client of the same forwarder.
        assert_eq!(ask("/free", "192.0.2.2").status(), 200);
        drop(release);
        for one in waiting {
            assert_eq!(one.join().unwrap(), 200);
        }
    });
    // Once they are answered, there is room again.
    assert!((0..1000).any(|_| ask("/free", "192.0.2.1").status() == 200));
}

#[test]
fn a_peer_has_so_many_connections_and_others_do_not_wait_for_it() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure(&session, &upstream.url, "danger-open = true\n");
    add(&session, "[limits]\nper-client = 4\nconnections = 5\n");
    let proxied = Proxied::of(&session);
    let address = proxied.listening.address();
    let slow: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nx-slow: ").unwrap();
            stream
        })
        .collect();
    let ask = |mut stream: TcpStream| {
        let limit = Some(Duration::from_secs(30));
        stream.set_read_timeout(limit).unwrap();
        let _ = stream.write_all(get("/").as_bytes());
        let mut read = String::new();
        let _ = stream.read_to_string(&mut read);
        read
    };
    // More than it may have are closed at once.
    for _ in 0..8 {
        assert_eq!(ask(TcpStream::connect(address).unwrap()), "");
    }
    // The twin: another peer.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let other = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
        socket.connect(address.parse().unwrap()).await.unwrap()
    });
    let other = other.into_std().unwrap();
    other.set_nonblocking(false).unwrap();
    assert!(ask(other).starts_with("HTTP/1.1 200 "));
    drop(slow);
    // Once they are closed, there is room again.
    let answered = |_| ask(TcpStream::connect(address).unwrap()).starts_with("HTTP/1.1 200 ");
    assert!((0..1000).any(answered));
}
