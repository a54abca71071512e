//! Routes of `countersign proxy` that sign requests for an application.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    certified::{authority, certify, serve},
    listening::Listening,
    proxied::{Answer, DONE, Proxied, edit, send},
    round_trip::{keygen, schemes},
    session::Session,
    upstream::Upstream,
};

/// Sends bytes to a socket, and reads until the proxy closes the connection.
fn send_to(socket: &Path, bytes: &str) -> Answer {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut read = Vec::new();
    stream.read_to_end(&mut read).unwrap();
    Answer(String::from_utf8_lossy(&read).into_owned())
}

/// A request as an application writes it.
fn plain(path: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\n{lines}content-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
}

/// Starts a proxy with one route that signs by Standard Webhooks. Returns it and its address.
fn signing<'s>(session: &'s Session, upstream: &Upstream, more: &str) -> (Proxied<'s>, String) {
    let url = &upstream.url;
    session.file(
        "proxy.toml",
        format!(
            "access-log = false\n\n[upstreams.partner]\naddress = \"{url}\"\n\n[[sign]]\n\
             name = \"events\"\nlisten = \"127.0.0.1:0\"\nupstream = \"partner\"\n\
             scheme = \"standard-webhooks\"\nkey = {{ file = \"standard-webhooks.secret\" }}\n\
             origin = \"https://hooks.example.com\"\n{more}"
        ),
    );
    let proxied = Proxied::of(session);
    let address = proxied.listening.address().to_owned();
    (proxied, address)
}

fn session() -> Session {
    let session = Session::new();
    keygen(&session, "standard-webhooks");
    session
}

/// The application sends to a route that signs, which sends to a route that verifies.
#[test]
fn a_request_is_signed_by_every_scheme_as_the_proxy_verifies_it() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let mut file = format!(
        "listen = [\"unix:verify.sock\"]\naccess-log = false\nstore = \"sqlite:used.db\"\n\n\
         [upstreams.app]\naddress = \"{}\"\n\n[upstreams.verify]\n\
         address = \"unix:verify.sock\"\n\n",
        upstream.url
    );
    let schemes = schemes(&session);
    for scheme in &schemes {
        keygen(&session, scheme);
        let id = match scheme.as_str() {
            "http-message-signatures" => "id = \"partner-1\", ",
            _ => "",
        };
        let key = format!("{{ {id}file = \"{scheme}.secret\" }}");
        file.push_str(&format!(
            "[[routes]]\nname = \"{scheme}\"\nupstream = \"app\"\npath = \"/{scheme}\"\n\
             methods = [\"POST\"]\nscheme = \"{scheme}\"\nkeys = [{key}]\n\
             public-origin = \"https://api.example.com\"\n\n\
             [[sign]]\nname = \"sign-{scheme}\"\nlisten = \"unix:{scheme}.sock\"\n\
             upstream = \"verify\"\norigin = \"https://api.example.com\"\n\
             scheme = \"{scheme}\"\nkey = {key}\ndanger-shared-secret = true\n\n"
        ));
    }
    session.file("proxy.toml", file);
    session.stdout("countersign store migrate sqlite:used.db --danger-assume-no-history");
    let proxied = Proxied::of(&session);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    for (count, scheme) in (1..).zip(&schemes) {
        let (content_type, body) = match scheme.as_str() {
            "twilio" => (
                "application/x-www-form-urlencoded",
                "AccountSid=AC1&Body=hi".to_owned(),
            ),
            "linear" => (
                "application/json",
                format!("{{\"webhookTimestamp\":{}}}", now.as_millis()),
            ),
            "hubspot" => ("application/json", r#"[{"eventId":1}]"#.to_owned()),
            _ => ("application/json", r#"{"id":"evt_1"}"#.to_owned()),
        };
        let lines = format!("content-type: {content_type}\r\n");
        let socket = session.path().join(format!("{scheme}.sock"));
        let answer = send_to(&socket, &plain(&format!("/{scheme}"), &lines, &body));
        assert_eq!(answer.status(), 200, "{scheme}: {answer:?}");
        let seen = upstream.seen();
        assert_eq!(seen.len(), count, "{scheme}");
        let seen = &seen[count - 1];
        assert!(
            seen.head.contains("countersign-key-id: "),
            "{scheme}: {}",
            seen.head
        );
        assert!(seen.has("host: api.example.com"), "{scheme}: {}", seen.head);
        if scheme != "mailgun" {
            assert_eq!(String::from_utf8_lossy(&seen.body), body, "{scheme}");
        }
    }
    drop(proxied);
}

/// The receiver is reached by TLS, and the signature names it as it is reached.
#[test]
fn a_request_is_signed_for_a_receiver_behind_https() {
    let session = Session::new();
    authority(&session, "ca");
    certify(&session, "ca", "server", "partner.example");
    let (server, requests) = serve(&session, "server", DONE);
    session.file(
        "proxy.toml",
        format!(
            "access-log = false\n\n[upstreams.partner]\naddress = \"https://{server}\"\n\
             ca = \"ca.pem\"\n\n[[sign]]\nname = \"events\"\nlisten = \"127.0.0.1:0\"\n\
             upstream = \"partner\"\nscheme = \"http-message-signatures\"\n\
             key = {{ id = \"shop\", file = \"secret\" }}\n"
        ),
    );
    let proxied = Proxied::of(&session);
    let answer = proxied.send(plain("/hooks", "content-type: text/plain\r\n", ""));
    assert_eq!(answer.status(), 200, "{answer:?}");
    let received = requests.recv().unwrap();
    assert!(
        received.starts_with("POST /hooks HTTP/1.1\r\n")
            && received.contains(&format!("host: {server}\r\n")),
        "{received}"
    );
    session.file("received", &received);
    let verify = format!(
        "countersign verify http-message-signatures --key-id shop --secret-file secret \
         --origin https://{server} received"
    );
    session.stdout(&verify);
}

#[test]
fn the_secret_of_a_route_that_signs_is_replaced_by_a_reload() {
    let session = session();
    let upstream = Upstream::start(DONE);
    let (mut proxied, address) = signing(&session, &upstream, "");
    let ask = || send(&address, plain("/hooks", "", "{}").as_bytes()).status();
    let verify = |count: usize| {
        let seen = upstream.seen()[count - 1].clone();
        let body = String::from_utf8(seen.body).unwrap();
        session.file("request", format!("{}{body}", seen.head));
        session
            .output("countersign verify standard-webhooks --secret-file standard-webhooks.secret request")
            .status
            .code()
    };
    assert_eq!(ask(), 200);
    assert_eq!(verify(1), Some(0));
    keygen(&session, "standard-webhooks");
    assert_eq!(ask(), 200);
    assert_eq!(verify(2), Some(1), "it signs with the old secret");
    proxied.listening.signal("-HUP");
    assert_eq!(proxied.listening.object()["reloaded"], true);
    assert_eq!(ask(), 200);
    assert_eq!(verify(3), Some(0));
    // A file that is refused keeps the old secret.
    edit(&session, "standard-webhooks.secret", "missing");
    proxied.listening.signal("-HUP");
    assert_eq!(proxied.listening.object()["reloaded"], false);
    assert_eq!(ask(), 200);
    assert_eq!(verify(4), Some(0));
}

/// A page in a browser reaches loopback too: by its address, or under a name of its own that was made
/// to lead there.
#[test]
fn nothing_is_signed_for_a_page_in_a_browser() {
    let session = session();
    let upstream = Upstream::start(DONE);
    let (_proxied, address) = signing(&session, &upstream, "");
    let of_page = [
        "origin: https://evil.example\r\n",
        "origin: null\r\n",
        "sec-fetch-site: cross-site\r\n",
    ];
    let mut requests: Vec<_> = of_page.map(|line| plain("/", line, "{}")).into();
    for host in ["evil.example", "evil.example:80", "localhost.evil.example"] {
        requests.push(plain("/", "", "{}").replace("localhost", host));
    }
    requests.push("CONNECT a.example:443 HTTP/1.1\r\nhost: a.example:443\r\n\r\n".to_owned());
    for request in requests {
        let answer = send(&address, request.as_bytes());
        assert_eq!(answer.status(), 403, "{request}: {answer:?}");
        assert_eq!(answer.code(), "client_not_allowed", "{request}");
    }
    assert!(upstream.seen().is_empty());
    // The twins: names of this host, and that of the partner.
    for host in ["localhost:1", "127.0.0.1", "[::1]:8", "hooks.example.com"] {
        let request = plain("/", "", "{}").replace("localhost", host);
        assert_eq!(send(&address, request.as_bytes()).status(), 200, "{host}");
    }
    assert_eq!(upstream.seen().len(), 4);
}

#[test]
fn the_request_of_an_application_keeps_its_fields_and_loses_those_of_its_connection() {
    let session = session();
    let upstream = Upstream::start(DONE);
    let (_proxied, address) = signing(&session, &upstream, "id-header = \"x-event\"\n");
    let lines = "x-event: evt_7\r\nauthorization: Bearer a\r\nwebhook-signature: v1,forged\r\n\
                 connection: x-hop\r\nx-hop: 1\r\nproxy-authorization: Basic a\r\n";
    let request = plain("/hooks?a=%20b", lines, r#"{"a":1}"#);
    for _ in 0..2 {
        assert_eq!(send(&address, request.as_bytes()).status(), 200);
    }
    for seen in upstream.seen() {
        let head = seen.head;
        assert!(
            head.starts_with("POST /hooks?a=%20b HTTP/1.1\r\n"),
            "{head}"
        );
        for line in [
            "host: hooks.example.com",
            "authorization: Bearer a",
            "webhook-id: evt_7",
            "content-length: 7",
        ] {
            assert_eq!(
                head.lines().filter(|known| *known == line).count(),
                1,
                "{line}: {head}"
            );
        }
        for name in ["forged", "x-hop", "proxy-authorization", "connection"] {
            assert!(!head.contains(name), "{name}: {head}");
        }
    }
}

#[test]
fn a_request_that_cannot_be_signed_is_not_sent() {
    let session = session();
    let upstream = Upstream::start(DONE);
    let more = "id-header = \"x-event\"\nmax-body-bytes = 8\nbody-deadline = 1\n";
    let (_proxied, address) = signing(&session, &upstream, more);
    let begun = plain("/", "", "{}").replace("content-length: 2", "content-length: 3");
    for (request, expected) in [
        (plain("/", "", "123456789"), (413, "body_too_large")),
        (begun, (408, "body_timeout")),
        (
            plain("/", "x-event: a\r\nx-event: b\r\n", "{}"),
            (400, "request_unsignable"),
        ),
        (
            plain("/", &format!("x-event: {}\r\n", "a".repeat(300)), "{}"),
            (400, "request_unsignable"),
        ),
    ] {
        let answer = send(&address, request.as_bytes());
        assert_eq!((answer.status(), answer.code()), expected, "{request}");
    }
    assert!(upstream.seen().is_empty());
}

#[test]
fn without_the_upstream_an_application_is_told_so() {
    let session = session();
    let upstream = Upstream::start(DONE);
    let (mut proxied, address) = signing(&session, &upstream, "");
    edit(&session, &upstream.url, "http://127.0.0.1:1");
    proxied.listening.signal("-HUP");
    assert_eq!(proxied.listening.object()["reloaded"], true);
    let answer = send(&address, plain("/", "", "{}").as_bytes());
    assert_eq!(
        (answer.status(), answer.code()),
        (502, "upstream_unavailable")
    );
}

/// The bound addresses stay as they are until the next start, and so do those who can
/// reach them.
#[test]
fn a_reload_says_which_addresses_of_operators_and_applications_stay_and_lets_no_page_in() {
    let session = session();
    let upstream = Upstream::start(DONE);
    let (proxied, _) = signing(&session, &upstream, "");
    drop(proxied);
    edit(
        &session,
        "access-log",
        "admin = \"127.0.0.1:0\"\naccess-log",
    );
    let mut proxied = Listening::proxy_announcing(&session, "signing");
    let address = proxied.address().to_owned();
    let of_page = plain("/", "", "{}").replace("localhost", "evil.example");
    let ask = || {
        let answer = send(&address, of_page.as_bytes());
        (answer.status(), answer.code().to_owned())
    };
    let refused = (403, "client_not_allowed".to_owned());
    assert_eq!(ask(), refused);
    let moved = [("admin = \"127.0.0.1:0\"", "admin = \"127.0.0.2:0\"")];
    let moved = moved
        .into_iter()
        .chain([("listen = \"127.0.0.1:0\"", "listen = \"unix:sign.sock\"")]);
    for (from, to) in moved {
        edit(&session, from, to);
    }
    proxied.signal("-HUP");
    assert_eq!(proxied.object()["reloaded"], true);
    assert_eq!(ask(), refused);
    assert!(!session.path().join("sign.sock").exists());
    let (said, _) = proxied.stop();
    for left in [
        "127.0.0.1:0 of `admin` stays open",
        "127.0.0.2:0 of `admin` is not listened on yet",
        "127.0.0.1:0 of `events` stays open",
        "sign.sock of `events` is not listened on yet",
    ] {
        assert!(said.contains(left), "{left}: {said}");
    }
}
