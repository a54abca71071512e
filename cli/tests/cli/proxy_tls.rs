//! TLS of `countersign proxy`: towards clients, and towards the server behind it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    certified::{Client, authority, begin, certify, connect, expired, serve},
    proxied::{DONE, KEYS, ORDER, Proxied, Signed, add, configure, edit, one_request},
    session::Session,
    upstream::Upstream,
};

const TLS: &str = "[[tls]]\nlisten = \"127.0.0.1:0\"\ncertificate = \"a.pem\"\nkey = \"a.key\"\n";

/// A proxy whose one address has TLS, with a certificate for `api.example.com`.
pub(crate) fn configure_tls(session: &Session, upstream: &str) {
    authority(session, "ca");
    certify(session, "ca", "a", "api.example.com");
    configure(session, upstream, KEYS);
    edit(session, "listen = [\"127.0.0.1:0\"]\n", "");
    add(session, TLS);
}

/// The subject of the certificate that a client is shown.
fn shown(session: &Session, address: &str, name: &str) -> String {
    let subject = session.stdout(&format!(
        "openssl s_client -connect {address} {name} </dev/null 2>/dev/null \
         | openssl x509 -noout -subject"
    ));
    subject.trim().rsplit("CN = ").next().unwrap().to_owned()
}

#[test]
fn clients_of_tls_are_verified_in_both_versions_of_http() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure_tls(&session, &upstream.url);
    let proxied = Proxied::of(&session);
    assert!(proxied.listening.url.starts_with("https://"));
    let address = proxied.listening.address();
    session.file("body", ORDER);
    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let curl = session.stdout(
            "countersign sign http-message-signatures --key-id partner-1 --secret-file secret \
             --curl -H 'content-type: application/json' --data-file body POST \
             https://api.example.com/transfer",
        );
        let options = format!(
            "curl -sS {option} --cacert ca.pem --connect-to ::{address} \
             -w ' %{{http_code}} %{{http_version}}' "
        );
        let curl = curl.trim_end().replacen("curl ", &options, 1);
        assert_eq!(session.stdout(&curl), format!("done 200 {version}"));
        let again = session.stdout(&curl);
        assert!(again.ends_with(&format!(" 409 {version}")), "{again}");
    }
    assert_eq!(upstream.seen().len(), 2);
    // An unknown version of HTTP is offered by no server.
    let refused = session.output(&format!(
        "openssl s_client -connect {address} -alpn spdy/3 </dev/null 2>&1"
    ));
    let refused = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(refused.contains("no application protocol"), "{refused}");
}

#[test]
fn the_certificate_is_the_one_for_the_name_that_a_client_asks_for() {
    let session = Session::new();
    configure_tls(&session, "http://127.0.0.1:1");
    certify(&session, "ca", "b", "b.example.com");
    let second = TLS.replace("a.pem", "b.pem").replace("a.key", "b.key");
    add(&session, &second);
    let proxied = Proxied::of(&session);
    let address = proxied.listening.address();
    for (name, file) in [
        ("-servername api.example.com", "a"),
        ("-servername b.example.com", "b"),
        ("-servername B.example.com", "b"),
        // The first, for names that no certificate has.
        ("-servername c.example.com", "a"),
        ("-noservername", "a"),
    ] {
        assert_eq!(shown(&session, address, name), file, "{name}");
    }
}

/// Returns until when a connection is closed by the proxy.
fn closed(mut stream: TcpStream) -> Duration {
    let started = Instant::now();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut read = Vec::new();
    if let Err(error) = stream.read_to_end(&mut read) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    started.elapsed()
}

#[test]
fn handshakes_have_a_deadline_and_take_up_connections() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure_tls(&session, &upstream.url);
    let limits = "[limits]\nhead-deadline = 3\nconnections = 4\n";
    add(&session, limits);
    let proxied = Proxied::of(&session);
    let address = proxied.listening.address();
    let signed = Signed::new(&session, "POST", "/transfer", ORDER);
    let begun = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let started = Instant::now();
    // Silent, half of a record, and HTTP in place of TLS.
    let slow = [
        begun(b""),
        begun(b"\x16\x03\x01\x02\0\x01"),
        begun(b""),
        begun(b""),
    ];
    // There is no room for a fifth until they are closed.
    let mut client = connect(&session, "ca", "api.example.com", address);
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(2500), "{waited:?}");
    client.write_all(signed.raw().as_bytes()).unwrap();
    assert!(answer(&mut client).starts_with("HTTP/1.1 200 OK\r\n"));
    for stream in slow {
        assert!(closed(stream) < Duration::from_secs(20));
    }
    let plain = begun(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(closed(plain) < Duration::from_secs(20));
    one_request(&upstream.seen(), ORDER);
}

/// Reads an answer to its end, which is `done`.
fn answer(client: &mut Client) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"done") {
        let mut bytes = [0; 1024];
        match client.read(&mut bytes).unwrap() {
            0 => break,
            n => read.extend_from_slice(&bytes[..n]),
        }
    }
    String::from_utf8(read).unwrap()
}

#[test]
fn a_certificate_is_reloaded_without_dropping_a_connection_and_a_bad_one_keeps_the_old() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure_tls(&session, &upstream.url);
    let mut proxied = Proxied::of(&session);
    let address = proxied.listening.address().to_owned();
    let mut client = connect(&session, "ca", "api.example.com", &address);
    let mut ask = || {
        let signed = Signed::new(&session, "POST", "/transfer", ORDER);
        let raw = signed.raw().replace("connection: close\r\n", "");
        client.write_all(raw.as_bytes()).unwrap();
        answer(&mut client)
    };
    let is_done = |answer: &str| answer.starts_with("HTTP/1.1 200 OK\r\n");
    assert!(is_done(&ask()));
    assert_eq!(shown(&session, &address, ""), "a");
    certify(&session, "ca", "b", "api.example.com");
    let to = |name: &str| session.path().join(name);
    let mut reload = |pem: &str, key: &str| {
        std::fs::copy(to(pem), to("a.pem")).unwrap();
        std::fs::copy(to(key), to("a.key")).unwrap();
        proxied.listening.signal("-HUP");
        proxied.listening.object()["reloaded"].clone()
    };
    assert_eq!(reload("b.pem", "b.key"), true);
    assert_eq!(shown(&session, &address, ""), "b");
    assert!(is_done(&ask()), "the connection was dropped");
    // The key of another certificate, and no certificate at all.
    certify(&session, "ca", "c", "api.example.com");
    assert_eq!(reload("c.pem", "b.key"), false);
    assert_eq!(reload("body", "c.key"), false);
    assert_eq!(shown(&session, &address, ""), "b");
    assert!(is_done(&ask()));
    assert_eq!(reload("c.pem", "c.key"), true);
    assert_eq!(shown(&session, &address, ""), "c");
    assert!(is_done(&ask()));
    assert_eq!(upstream.seen().len(), 4);
    let (said, _) = proxied.listening.stop();
    assert!(said.contains("KeyMismatch"), "{said}");
    assert!(said.contains("it holds no certificate"), "{said}");
}

/// The client of a handshake has not asked for anything yet.
#[test]
fn a_handshake_that_the_end_meets_is_finished_and_its_request_answered() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure_tls(&session, &upstream.url);
    let proxied = Proxied::of(&session);
    let address = proxied.listening.address().to_owned();
    let mut client = begin(&session, "ca", "api.example.com", &address);
    client.conn.write_tls(&mut client.sock).unwrap();
    // The proxy is in the handshake: it has answered.
    assert!(client.sock.peek(&mut [0]).unwrap() > 0);
    proxied.listening.signal("-TERM");
    while TcpStream::connect(&address).is_ok() {
        std::thread::yield_now();
    }
    let raw = Signed::new(&session, "POST", "/transfer", ORDER).raw();
    let raw = raw.replace("connection: close\r\n", "");
    client.write_all(raw.as_bytes()).unwrap();
    let answer = answer(&mut client);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    let (said, code) = proxied.listening.end();
    assert_eq!(code, Some(0), "{said}");
    one_request(&upstream.seen(), ORDER);
}

#[test]
fn a_certificate_that_has_expired_or_will_soon_is_warned_of() {
    let session = Session::new();
    configure_tls(&session, "http://127.0.0.1:1");
    let check = "countersign proxy --config proxy.toml --check";
    // The certificate is valid for two days.
    let soon = session.run(check);
    assert!(soon.contains("a.pem` expires at 20"), "{soon}");
    assert!(soon.contains("the configuration is valid"), "{soon}");
    let mut proxied = Proxied::of(&session);
    expired(&session, "old");
    let old = TLS.replace("a.pem", "old.pem").replace("a.key", "old.key");
    edit(&session, TLS, &old);
    proxied.listening.signal("-HUP");
    assert_eq!(proxied.listening.object()["reloaded"], true);
    let (said, _) = proxied.listening.stop();
    assert!(said.contains("a.pem` expires at 20"), "{said}");
    assert!(
        said.contains("old.pem` expired at 2020-01-02T00:00:00"),
        "{said}"
    );
    // The twin.
    session.stdout(
        "openssl x509 -req -days 60 -in old.csr -signkey old.key -extfile ca.cnf -extensions e \
         -out old.pem 2>&1",
    );
    let valid = session.run(check);
    assert!(!valid.contains("expire"), "{valid}");
}

#[test]
fn a_reload_says_which_addresses_keep_their_old_certificates() {
    let session = Session::new();
    configure_tls(&session, "http://127.0.0.1:1");
    let mut proxied = Proxied::of(&session);
    let address = proxied.listening.address().to_owned();
    certify(&session, "ca", "b", "api.example.com");
    let renewed = TLS.replace("a.pem", "b.pem").replace("a.key", "b.key");
    edit(&session, TLS, &renewed.replace("127.0.0.1", "127.0.0.2"));
    proxied.listening.signal("-HUP");
    assert_eq!(proxied.listening.object()["reloaded"], true);
    assert_eq!(shown(&session, &address, ""), "a");
    let (said, _) = proxied.listening.stop();
    for left in [
        "127.0.0.1:0 stays open, with its old certificates",
        "127.0.0.2:0 is not listened on yet",
    ] {
        assert!(said.contains(left), "{said}");
    }
}

#[test]
fn a_named_pipe_in_place_of_a_certificate_or_the_configuration_stops_nothing() {
    let session = Session::new();
    configure_tls(&session, "http://127.0.0.1:1");
    let mut proxied = Proxied::of(&session);
    for file in ["a.pem", "a.key", "proxy.toml"] {
        session.stdout(&format!("mv {file} kept && mkfifo {file}"));
        proxied.listening.signal("-HUP");
        assert_eq!(proxied.listening.object()["reloaded"], false, "{file}");
        session.stdout(&format!("mv kept {file}"));
    }
    // The twin.
    proxied.listening.signal("-HUP");
    assert_eq!(proxied.listening.object()["reloaded"], true);
    let (said, code) = proxied.listening.stop();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("not a regular file").count(), 3, "{said}");
}

#[test]
fn a_server_of_https_is_believed_by_the_authority_that_the_file_names_and_no_other() {
    let session = Session::new();
    authority(&session, "ca");
    authority(&session, "other");
    certify(&session, "ca", "server", "app.internal");
    let (server, _requests) = serve(&session, "server", DONE);
    let signed = Signed::new(&session, "POST", "/transfer", ORDER).raw();
    configure(&session, &format!("https://{server}"), KEYS);
    let address = format!("address = \"https://{server}\"");
    let ask = |authority: &str| {
        edit(&session, &address, &format!("{address}{authority}"));
        let answer = Proxied::of(&session).send(&signed);
        edit(&session, &format!("{address}{authority}"), &address);
        (answer.status(), answer.code().to_owned())
    };
    let unavailable = (502, "upstream_unavailable".to_owned());
    assert_eq!(ask(""), unavailable);
    assert_eq!(ask("\nca = \"other.pem\""), unavailable);
    // The refusal claimed nothing: the same request passes once the proxy believes the server.
    assert_eq!(ask("\nca = \"ca.pem\""), (200, String::new()));
}
