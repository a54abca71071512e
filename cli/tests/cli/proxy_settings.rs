//! Settings of `countersign proxy`, each with a request that it lets pass and one that it refuses.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    certified::{authority, certify},
    listening::Listening,
    proxied::{
        Answer, DONE, KEYS, ORDER, Proxied, Signed, add, configure, configure_with, edit, get,
        one_request, transfer,
    },
    session::Session,
    upstream::Upstream,
};

/// A webhook that is signed and sent as often as there are expected statuses.
fn webhook(session: &Session, proxied: &Proxied<'_>, expected: &[u16]) {
    let raw = Signed::by(session, "github", "POST", "/", "{}").raw();
    let statuses: Vec<u16> = expected
        .iter()
        .map(|_| proxied.send(&raw).status())
        .collect();
    assert_eq!(statuses, expected);
}

#[test]
fn a_scheme_file_is_found_beside_the_configuration() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let folder = session.path().join("conf");
    std::fs::create_dir(&folder).unwrap();
    let dots = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemes/dots.toml");
    for file in ["house.toml", "conf/house.toml"] {
        std::fs::copy(dots, session.path().join(file)).unwrap();
    }
    let route = "scheme = \"house.toml\"\nkeys = [{ file = \"secret\" }]\n";
    configure(&session, &upstream.url, route);
    let file = session.path().join("proxy.toml");
    std::fs::copy(&file, folder.join("proxy.toml")).unwrap();
    std::fs::copy(session.path().join("secret"), folder.join("secret")).unwrap();
    // Whatever folder the command runs in.
    std::fs::remove_file(session.path().join("house.toml")).unwrap();
    session.stdout("countersign proxy --config conf/proxy.toml --check");
    edit(&session, "house.toml", "conf/house.toml");
    let proxied = Proxied::of(&session);
    let signed = Signed::by(&session, "conf/house.toml", "POST", "/", "{}");
    for (raw, status) in [
        (signed.raw(), 200),
        (signed.raw(), 409),
        (signed.raw().replace("{}", "[]"), 401),
    ] {
        assert_eq!(proxied.send(raw).status(), status);
    }
    one_request(&upstream.seen(), "{}");
}

#[test]
fn a_key_is_taken_from_the_environment() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let route = "scheme = \"github\"\nkeys = [{ env = \"GITHUB_SECRET\" }]\n";
    configure(&session, &upstream.url, route);
    let listening = Listening::proxy_in(&session, "GITHUB_SECRET=\"$(cat secret)\"");
    let proxied = Proxied { listening };
    webhook(&session, &proxied, &[200, 200]);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_duplicate_is_answered_as_the_route_says() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let route = "scheme = \"github\"\nkeys = [{ file = \"secret\" }]\n";
    for (more, expected) in [("", 200), ("on-duplicate = \"reject\"\n", 409)] {
        let before = upstream.seen().len();
        let proxied = Proxied::start(&session, &upstream, &format!("{route}{more}"));
        let body = format!("[{before}]");
        let raw = Signed::by(&session, "github", "POST", "/", &body).raw();
        let statuses = [(); 3].map(|()| proxied.send(&raw).status());
        assert_eq!(statuses, [200, expected, expected]);
        assert_eq!(upstream.seen().len(), before + 1);
    }
}

#[test]
fn a_request_for_another_origin_is_refused() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let any = "danger-any-authority = true";
    for (origin, expected) in [
        ("http://api.example.com", 200),
        ("https://other.example.com", 421),
    ] {
        let route = KEYS.replace(any, &format!("public-origin = \"{origin}\""));
        let proxied = Proxied::start(&session, &upstream, &route);
        let answer = proxied.send(transfer(&session));
        assert_eq!(answer.status(), expected, "{answer:?}");
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn the_window_of_a_route_is_as_the_file_says() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    for (more, ago, expected) in [
        ("", 120, (200, "")),
        ("max-age = 60\n", 120, (401, "signature_expired")),
        ("", -60, (401, "signature_not_yet_valid")),
        ("max-skew = 120\n", -60, (200, "")),
    ] {
        let proxied = Proxied::start(&session, &upstream, &format!("{KEYS}{more}"));
        let at = i64::try_from(now.as_secs()).unwrap() - ago;
        let scheme = format!("http-message-signatures --key-id partner-1 --at {at}");
        let signed = Signed::by(&session, &scheme, "POST", "/", ORDER);
        let answer = proxied.send(signed.raw());
        assert_eq!(
            (answer.status(), answer.code()),
            expected,
            "{more}: {answer:?}"
        );
        // A store keeps one window for a namespace.
        for file in ["used.db", "used.db-wal", "used.db-shm", "used.db-mark"] {
            let _ = std::fs::remove_file(session.path().join(file));
        }
    }
}

#[test]
fn a_body_has_a_deadline_and_a_head_has_a_length() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure(
        &session,
        &upstream.url,
        &format!("{KEYS}body-deadline = 1\n"),
    );
    add(&session, "[limits]\nhead-bytes = 16384\n");
    let proxied = Proxied::of(&session);
    let signed = Signed::new(&session, "POST", "/transfer", ORDER);
    let begun = signed.raw();
    let late = proxied.send(&begun[..begun.len() - 1]);
    assert_eq!((late.status(), late.code()), (408, "body_timeout"));
    let filler = format!("x-filler: {}\r\n", "a".repeat(16384));
    assert_eq!(proxied.send(signed.with(&filler)).status(), 431);
    let mut many = String::new();
    for number in 0..1000 {
        many.push_str(&format!("x-{number}: a\r\n"));
    }
    assert_eq!(proxied.send(signed.with(&many)).status(), 431);
    let address = proxied.listening.address();
    session.file("head", format!("x-filler: {}", "a".repeat(20_000)));
    let curl = format!(
        "curl -s --http2-prior-knowledge -H @head -o /dev/null -w '%{{http_code}}' http://{address}/"
    );
    let status = String::from_utf8(session.output(&curl).stdout).unwrap();
    assert!(["431", "000"].contains(&&*status), "{status}");
    assert_eq!(upstream.seen().len(), 0);
    // The twin: none of it used the request up.
    assert_eq!(proxied.send(begun).status(), 200);
}

#[test]
fn a_socket_is_for_its_owner_and_group_and_serves_as_a_port_does() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure(&session, &upstream.url, KEYS);
    edit(
        &session,
        "\"127.0.0.1:0\"",
        "\"127.0.0.1:0\", \"unix:proxy.sock\"",
    );
    let _proxied = Proxied::of(&session);
    let socket = session.path().join("proxy.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let ask = |raw: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(raw.as_bytes()).unwrap();
        let mut read = String::new();
        stream.read_to_string(&mut read).unwrap();
        Answer(read).status()
    };
    let signed = transfer(&session);
    assert_eq!(
        [ask(&signed), ask(&signed), ask(&get("/"))],
        [200, 409, 401]
    );
    one_request(&upstream.seen(), ORDER);
}

/// Another proxy is the server that speaks HTTP/2, by TLS and on a socket.
#[test]
fn an_upstream_of_http2_is_reached_by_tls_and_on_a_socket() {
    let inner = Session::new();
    let upstream = Upstream::start(DONE);
    authority(&inner, "ca");
    certify(&inner, "ca", "a", "api.example.com");
    configure(
        &inner,
        &upstream.url,
        "danger-open = true\nforward = \"all\"\n",
    );
    edit(&inner, "\"127.0.0.1:0\"", "\"unix:inner.sock\"");
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let tls =
        format!("[[tls]]\nlisten = \"{address}\"\ncertificate = \"a.pem\"\nkey = \"a.key\"\n");
    add(&inner, &tls);
    let _inner = Proxied::of(&inner);
    let in_folder = |name: &str| inner.path().join(name).display().to_string();
    for settings in [
        format!(
            "address = \"https://{address}\"\nca = \"{}\"",
            in_folder("ca.pem")
        ),
        format!("address = \"unix:{}\"", in_folder("inner.sock")),
    ] {
        let session = Session::new();
        let before = upstream.seen().len();
        configure_with(&session, &format!("{settings}\nhttp2 = true"), KEYS);
        let proxied = Proxied::of(&session);
        let signed = transfer(&session);
        assert_eq!(proxied.send(&signed).status(), 200, "{settings}");
        assert_eq!(proxied.send(&signed).status(), 409, "{settings}");
        one_request(&upstream.seen()[before..], ORDER);
    }
}

/// A folder that nobody but the test looks into: nothing is made by a check.
#[test]
fn a_check_makes_nothing_and_listens_on_nothing() {
    let session = Session::new();
    configure(&session, "http://127.0.0.1:1", KEYS);
    edit(&session, "sqlite:used.db", "sqlite:other.db");
    edit(
        &session,
        "\"127.0.0.1:0\"",
        "\"127.0.0.1:0\", \"unix:proxy.sock\"",
    );
    let names = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names(session.path());
    let said = session.stdout("countersign proxy --config proxy.toml --check");
    assert_eq!(said, "the configuration is valid\n");
    assert_eq!(names(session.path()), before);
}

/// A person reads the log: one line for each request, with the same that is in the JSON.
#[test]
fn the_access_log_for_people_names_route_and_key_and_no_secret() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure(&session, &upstream.url, KEYS);
    edit(&session, "access-log = false", "access-log = true");
    let mut listening = Listening::proxy_for_people(&session);
    let address = listening.address().to_owned();
    let signed = Signed::new(&session, "POST", "/transfer?token=hidden", ORDER);
    let raw = signed.with("authorization: Bearer hidden\r\n");
    for (status, more) in [("200", ""), ("409", " code=request_replayed")] {
        crate::proxied::send(&address, raw.as_bytes());
        let line = listening.line();
        let said =
            format!(" {status} POST /transfer client=127.0.0.1 route=all key=partner-1{more} ");
        assert!(line.contains(&said), "{line}");
        assert!(!line.contains("hidden"), "{line}");
    }
    // A reason names what the file can say.
    let socket = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: AAAA\r\n";
    let socket = Signed::new(&session, "GET", "/socket", "").with(socket);
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(socket.as_bytes()).unwrap();
    let line = listening.line();
    assert!(line.contains("the proxy lets none pass"), "{line}");
    assert!(!line.contains("danger_"), "{line}");
}
