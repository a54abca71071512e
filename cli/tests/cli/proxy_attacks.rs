//! Attacks on `countersign proxy` over raw sockets, each by its name.

use crate::{
    proxied::{
        DONE, KEYS, ORDER, Proxied, Signed, configure, edit, get, one_request, send, transfer,
    },
    session::Session,
    upstream::Upstream,
};

const ALL: &str = "forward = \"all\"\n";

#[test]
fn a_request_is_forwarded_once_as_it_was_signed_with_what_is_known_of_it() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let proxied = Proxied::start(&session, &upstream, KEYS);
    let signed = Signed::new(&session, "POST", "/transfer?to=7", ORDER);
    let answer = proxied.send(signed.with("x-uncovered: 1\r\nuser-agent: mine\r\n"));
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert!(answer.0.ends_with("done"), "{answer:?}");
    let seen = one_request(&upstream.seen(), ORDER);
    assert!(
        seen.head.starts_with("POST /transfer?to=7 HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    for line in [
        "host: api.example.com",
        "content-type: application/json",
        "user-agent: mine",
        "countersign-key-id: \"partner-1\"",
    ] {
        assert!(seen.has(line), "{line}: {}", seen.head);
    }
    assert!(
        seen.head.contains("countersign-signed-at: @1"),
        "{}",
        seen.head
    );
    assert!(seen.head.contains("countersign-nonce: \""), "{}", seen.head);
    let covered = seen
        .head
        .lines()
        .find(|line| line.starts_with("countersign-covered: "));
    let covered = covered.unwrap();
    for part in [
        "@method",
        "@authority",
        "@path",
        "@query",
        "@body",
        "content-type",
    ] {
        assert!(covered.contains(&format!("\"{part}\"")), "{covered}");
    }
    assert!(!seen.head.contains("x-uncovered"), "{}", seen.head);
    // Again, altered, and unsigned.
    let again = proxied.send(signed.raw());
    assert_eq!((again.status(), again.code()), (409, "request_replayed"));
    let altered = proxied.send(signed.raw().replace("10}", "99}"));
    assert_eq!(
        (altered.status(), altered.code()),
        (401, "signature_invalid")
    );
    let unsigned =
        "POST /transfer HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    let unsigned = proxied.send(unsigned);
    assert_eq!(unsigned.code(), "signature_missing");
    // A refusal is there at once, as a whole.
    assert!(unsigned.0.contains("content-length: "), "{unsigned:?}");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn duplicates_at_the_same_moment_reach_the_upstream_once() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let proxied = Proxied::start(&session, &upstream, KEYS);
    let raw = transfer(&session);
    let address = proxied.listening.address();
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let sending: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| send(address, raw.as_bytes()).status()))
            .collect();
        sending.into_iter().map(|one| one.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200], vec![409; 15]].concat());
    one_request(&upstream.seen(), ORDER);
}

#[test]
fn identity_fields_of_a_client_are_dropped_in_every_spelling() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let route = format!("{KEYS}{ALL}");
    let proxied = Proxied::start(&session, &upstream, &route);
    let signed = Signed::new(&session, "POST", "/transfer", ORDER);
    let forged = "Countersign-Key-Id: \"admin\"\r\ncountersign_key_id: \"admin\"\r\n\
                  COUNTERSIGN_NONCE: \"admin\"\r\ncountersign-covered: \"admin\"\r\n\
                  CONTENT_TYPE: admin\r\nSCRIPT_NAME: /admin\r\nX-Original-URL: /admin\r\n\
                  X-Rewrite-URL: /admin\r\nX-Forwarded-Prefix: /admin\r\nProxy: admin\r\n\
                  X-Forwarded-For: admin\r\nX-Uncovered: kept\r\n";
    assert_eq!(proxied.send(signed.with(forged)).status(), 200);
    let seen = one_request(&upstream.seen(), ORDER);
    assert!(!seen.head.contains("admin"), "{}", seen.head);
    assert!(
        seen.has("countersign-key-id: \"partner-1\""),
        "{}",
        seen.head
    );
    // The twin: an ordinary field passes, so that the others were dropped by their names.
    assert!(seen.has("x-uncovered: kept"), "{}", seen.head);
}

#[test]
fn connection_cannot_name_away_our_fields_or_a_covered_one() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let route = format!("{KEYS}{ALL}");
    let proxied = Proxied::start(&session, &upstream, &route);
    let signed = Signed::new(&session, "POST", "/transfer", ORDER);
    // A covered header is named by `Connection`: the request is refused, because a hop before may
    // have taken the header out.
    let answer = proxied.send(signed.with("connection: content-type\r\n"));
    assert_eq!(
        (answer.status(), upstream.seen().len()),
        (400, 0),
        "{answer:?}"
    );
    let named = "connection: countersign-key-id, content-length, x-named\r\n\
                 x-named: 1\r\nx-other: 2\r\n";
    let answer = proxied.send(signed.with(named));
    assert_eq!(answer.status(), 200, "{answer:?}");
    let seen = one_request(&upstream.seen(), ORDER);
    for line in [
        "countersign-key-id: \"partner-1\"",
        "content-type: application/json",
        "host: api.example.com",
        "x-other: 2",
    ] {
        assert!(seen.has(line), "{line}: {}", seen.head);
    }
    assert!(!seen.head.contains("x-named"), "{}", seen.head);
    assert!(
        !seen.head.to_lowercase().contains("connection:"),
        "{}",
        seen.head
    );
}

#[test]
fn lengths_and_chunks_that_two_servers_read_in_two_ways_reach_nobody_twice() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let proxied = Proxied::start(&session, &upstream, KEYS);
    let second = "GET /second HTTP/1.1\r\nhost: a\r\n\r\n";
    let refused = |lines: &str, body: &str| {
        let signed = Signed::new(&session, "POST", "/transfer", ORDER);
        let answer = proxied.send(format!("{}{lines}\r\n{body}", signed.head("")));
        assert!(
            (400..500).contains(&answer.status()),
            "{lines:?}: {answer:?}"
        );
        assert_eq!(upstream.seen().len(), 0, "{lines:?}");
    };
    let twice = "content-length: 14\r\ncontent-length: 0\r\n";
    refused(twice, &format!("{ORDER}{second}"));
    refused("content-length: +14\r\n", ORDER);
    refused("content-length: 14, 15\r\n", ORDER);
    refused("transfer-encoding: gzip, identity\r\n", ORDER);
    refused("transfer-encoding: xchunked\r\n", ORDER);
    refused("content-length : 14\r\n", ORDER);
    refused("x-a: 1\r\n folded: 2\r\ncontent-length: 14\r\n", ORDER);
    refused("x-a: a\0b\r\ncontent-length: 14\r\n", ORDER);
    refused("x-a: a\rb\r\ncontent-length: 14\r\n", ORDER);
}

#[test]
fn a_line_feed_alone_in_a_header_forges_no_field() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let route = format!("{KEYS}{ALL}");
    let proxied = Proxied::start(&session, &upstream, &route);
    let forged = [
        "x-a: 1\ncountersign-key-id: \"admin\"\r\n",
        "x-a: 1\nX_Original_URL: /admin\nx-b: 2\r\n",
        "x-a: 1\ncontent-length: 0\r\n",
        "x-a: 1\ntransfer-encoding: chunked\r\n",
        "x-a: 1\n\nGET /admin HTTP/1.1\nhost: a\r\n",
    ];
    for lines in forged {
        let before = upstream.seen().len();
        let signed = Signed::new(&session, "POST", "/transfer", ORDER);
        let answer = proxied.send(signed.with(lines));
        let seen = upstream.seen();
        // A line feed may end a line (RFC 9112, 2.2): the line behind it is one as any other.
        match answer.status() {
            200 => drop(one_request(&seen[before..], ORDER)),
            status => assert!(status >= 400 && seen.len() == before, "{answer:?}"),
        }
        let is_forged = seen.iter().any(|seen| seen.head.contains("admin"));
        assert!(!is_forged, "{lines:?}: {seen:?}");
    }
}

#[test]
fn a_chunked_body_arrives_under_a_length_of_its_own_without_extensions_and_trailers() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let proxied = Proxied::start(&session, &upstream, KEYS);
    let signed = Signed::new(&session, "POST", "/transfer", ORDER);
    let (first, rest) = ORDER.split_at(4);
    let chunks = format!(
        "4;ext=\"a\"\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\ncountersign-key-id: \"admin\"\r\n\
         x-trailer: admin\r\n\r\n",
        rest.len()
    );
    // With a length beside: the chunks count, as RFC 9112 says, and the upstream gets no chunk.
    let head = signed.head("transfer-encoding: chunked\r\nconnection: close\r\n");
    let answer = proxied.send(format!("{head}\r\n{chunks}"));
    assert_eq!(answer.status(), 200, "{answer:?}");
    let seen = one_request(&upstream.seen(), ORDER);
    assert!(!seen.head.contains("admin"), "{}", seen.head);
    let signed = Signed::new(&session, "POST", "/transfer", ORDER);
    let both = "content-length: 3\r\ntransfer-encoding: chunked\r\nconnection: close\r\n";
    let answer = proxied.send(format!("{}\r\n{chunks}", signed.head(both)));
    let seen = upstream.seen();
    match answer.status() {
        200 => drop(one_request(&seen[1..], ORDER)),
        status => assert_eq!((status, seen.len()), (400, 1), "{answer:?}"),
    }
}

#[test]
fn a_target_that_two_servers_read_in_two_ways_is_refused() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    // Even where nothing is verified.
    let proxied = Proxied::start(&session, &upstream, "danger-open = true\n");
    let ask = |target: &str| proxied.send(get(target));
    for target in [
        "//transfer",
        "/a//b",
        "/a/../transfer",
        "/a/%2e%2e/transfer",
        "/a/.%2E/transfer",
        "/a%2ftransfer",
        "/a%5c..%5ctransfer",
        "/%252e%252e/transfer",
        "/a%0d%0ax:%201",
        "/a%00",
        "/..;/transfer",
        "/a\\..\\transfer",
        "/;a/transfer",
        "/%3ba/transfer",
        "/x/;a/transfer",
        "/health/..%252ftransfer%25",
        "/transfer%3fa",
        "/transfer%23a",
        "/transfer%ff",
        "http://b/transfer",
        "b:80",
        "*",
    ] {
        let answer = ask(target);
        assert_eq!(answer.status(), 400, "{target}: {answer:?}");
    }
    let connect = proxied.send("CONNECT b:80 HTTP/1.1\r\nhost: b:80\r\nconnection: close\r\n\r\n");
    assert_eq!(connect.status(), 400, "{connect:?}");
    let hosts = proxied.send("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n");
    assert_eq!(hosts.status(), 400, "{hosts:?}");
    assert_eq!(upstream.seen().len(), 0);
    // The twin: one that all read in one way, also in absolute form.
    assert_eq!(ask("/transfer?a=//b").status(), 200);
    assert_eq!(ask("http://a/transfer").status(), 200);
    let seen = upstream.seen();
    assert!(
        seen[0].head.starts_with("GET /transfer?a=//b HTTP/1.1\r\n"),
        "{seen:?}"
    );
    assert!(
        seen[1].head.starts_with("GET /transfer HTTP/1.1\r\n"),
        "{seen:?}"
    );
}

#[test]
fn a_body_of_an_open_route_arrives_whole_or_not_at_all() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let route = "danger-open = true\nmax-body-bytes = 16\n";
    let proxied = Proxied::start(&session, &upstream, route);
    let chunked = |method: &str, chunks: &str| {
        proxied.send(format!(
            "{method} /health HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\
             connection: close\r\n\r\n{chunks}"
        ))
    };
    let eight = "8\r\n12345678\r\n";
    let too_long = chunked("POST", &format!("{eight}{eight}1\r\n9\r\n0\r\n\r\n"));
    let declared = proxied
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 17\r\nconnection: close\r\n\r\n");
    for answer in [too_long, declared] {
        assert_eq!(
            (answer.status(), answer.code()),
            (413, "body_too_large"),
            "{answer:?}"
        );
    }
    let broken = proxied.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc");
    assert_ne!(broken.status(), 200, "{broken:?}");
    assert_eq!(upstream.seen().len(), 0);
    // The twin: as long as it may be, with whatever method, and without its trailers.
    let trailers = format!("{eight}{eight}0\r\ncountersign-key-id: \"admin\"\r\n\r\n");
    assert_eq!(chunked("GET", &trailers).status(), 200);
    let seen = one_request(&upstream.seen(), "1234567812345678");
    assert!(!seen.head.contains("admin"), "{}", seen.head);
}

#[test]
fn a_pipelined_request_behind_a_refused_one_is_verified_by_itself() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let proxied = Proxied::start(&session, &upstream, KEYS);
    let refused = "POST /transfer HTTP/1.1\r\nhost: api.example.com\r\ncontent-length: 2\r\n\r\n{}";
    let answer = proxied.send(format!("{refused}{}", get("/second")));
    assert!(
        answer.statuses().iter().all(|status| *status == 401),
        "{answer:?}"
    );
    assert_eq!(upstream.seen().len(), 0);
    let signed = transfer(&session);
    let answer = proxied.send(format!("{refused}{signed}"));
    assert_eq!(answer.statuses(), [401, 200], "{answer:?}");
    one_request(&upstream.seen(), ORDER);
}

#[test]
fn a_line_end_in_an_event_id_writes_no_header() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let route = "scheme = \"stripe\"\nkeys = [{ file = \"secret\" }]\nforward-also = [\"content-type\"]\n\
         processing = \"at-most-once\"\n";
    let proxied = Proxied::start(&session, &upstream, route);
    let event = r#"{"id":"evt_1\r\nx-admin: 1"}"#;
    let signed = Signed::by(&session, "stripe", "POST", "/", event).raw();
    // The refusal does not use up the request.
    for _ in 0..2 {
        let answer = proxied.send(&signed);
        assert_eq!(
            (answer.status(), answer.code()),
            (400, "identity_unwritable"),
            "{answer:?}"
        );
    }
    assert_eq!(upstream.seen().len(), 0);
    // The twin: an id without a line end is written.
    let event = r#"{"id":"evt_2"}"#;
    let signed = Signed::by(&session, "stripe", "POST", "/", event);
    assert_eq!(proxied.send(signed.raw()).status(), 200);
    let seen = one_request(&upstream.seen(), event);
    assert!(seen.has("countersign-nonce: \"evt_2\""), "{}", seen.head);
    assert!(seen.has("content-type: application/json"), "{}", seen.head);
}

/// A route for a webhook, which signs its body alone.
fn hook(session: &Session, upstream: &Upstream, more: &str) {
    let route = format!("scheme = \"github\"\nkeys = [{{ file = \"secret\" }}]\n{more}");
    configure(session, &upstream.url, &route);
    edit(session, "path = \"/\"", "path = \"/hooks/github\"");
}

/// Other methods and spellings of the target of a captured webhook.
const SPELLINGS: [(&str, &str); 9] = [
    ("POST", "/hooks/github/"),
    ("POST", "/hooks/%67ithub"),
    ("POST", "/HOOKS/github"),
    ("POST", "/hooks/github;a"),
    ("POST", "/hooks/github/admin"),
    ("POST", "/hooks/github?force=1"),
    ("POST", "/hooks/github?"),
    ("PUT", "/hooks/github"),
    ("DELETE", "/hooks/github/admin?force=1"),
];

#[test]
fn a_captured_webhook_has_no_effect_at_a_target_that_nobody_signed() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    hook(&session, &upstream, "");
    let proxied = Proxied::of(&session);
    let genuine = Signed::by(&session, "github", "POST", "/hooks/github", "{}");
    for (method, path) in SPELLINGS {
        let mut spelled = genuine.clone();
        (spelled.method, spelled.path) = (method.to_owned(), path.to_owned());
        let answer = proxied.send(spelled.raw());
        assert_eq!(
            (answer.status(), answer.code()),
            (400, "target_unsigned"),
            "{method} {path}: {answer:?}"
        );
    }
    // A host that cannot be forwarded uses nothing up either.
    let bad_host = genuine.raw().replacen("api.example.com", "a\"b", 1);
    assert_eq!(proxied.send(bad_host).code(), "target_unclear");
    assert_eq!(upstream.seen().len(), 0);
    // The twin: the genuine request, and none of its duplicates.
    for _ in 0..3 {
        assert_eq!(proxied.send(genuine.raw()).status(), 200);
    }
    one_request(&upstream.seen(), "{}");
}

#[test]
fn a_captured_webhook_has_one_effect_on_a_route_that_takes_every_target() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let all = "danger-unsigned = [\"method\", \"path\", \"query\"]\n";
    hook(&session, &upstream, all);
    let proxied = Proxied::of(&session);
    let genuine = Signed::by(&session, "github", "POST", "/hooks/github", "{}");
    for (method, path) in SPELLINGS {
        let mut spelled = genuine.clone();
        (spelled.method, spelled.path) = (method.to_owned(), path.to_owned());
        let answer = proxied.send(spelled.raw());
        assert_eq!(answer.status(), 200, "{method} {path}: {answer:?}");
    }
    one_request(&upstream.seen(), "{}");
    // The twin: another message is forwarded, by the same spelling.
    let other = Signed::by(
        &session,
        "github",
        "PUT",
        "/hooks/github/admin",
        "{\"n\":2}",
    );
    assert_eq!(proxied.send(other.raw()).status(), 200);
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn an_offer_to_switch_protocols_is_not_passed_on() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let route = format!("{KEYS}{ALL}");
    let proxied = Proxied::start(&session, &upstream, &route);
    let signed = Signed::new(&session, "POST", "/transfer", ORDER);
    let offer = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\
                 te: trailers, deflate\r\nkeep-alive: 5\r\nproxy-connection: keep-alive\r\n";
    assert_eq!(proxied.send(signed.with(offer)).status(), 200);
    let seen = one_request(&upstream.seen(), ORDER);
    let lower = seen.head.to_lowercase();
    for name in [
        "upgrade",
        "http2-settings",
        "keep-alive",
        "deflate",
        "connection:",
    ] {
        assert!(!lower.contains(name), "{name}: {lower}");
    }
    let socket = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: AAAA\r\n";
    let socket = Signed::new(&session, "GET", "/socket", "").with(socket);
    let answer = proxied.send(socket);
    assert_eq!(
        (answer.status(), upstream.seen().len()),
        (400, 1),
        "{answer:?}"
    );
}

#[test]
fn a_body_is_asked_for_only_if_its_head_may_pass() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let proxied = Proxied::start(&session, &upstream, KEYS);
    let expect = "expect: 100-continue\r\n";
    let unsigned = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n{expect}\r\n");
    let answer = proxied.send(unsigned);
    assert_eq!(answer.statuses(), [401], "{answer:?}");
    let signed = Signed::new(&session, "POST", "/transfer", ORDER);
    let answer = proxied.send(signed.with(expect));
    assert_eq!(answer.statuses().last(), Some(&200), "{answer:?}");
    let seen = one_request(&upstream.seen(), ORDER);
    assert!(!seen.head.contains("expect"), "{}", seen.head);
}

#[test]
fn http2_is_forwarded_as_http1_with_one_cookie_and_one_host() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let route = format!("{KEYS}{ALL}");
    let proxied = Proxied::start(&session, &upstream, &route);
    session.file("body", ORDER);
    let curl = session.stdout(
        "countersign sign http-message-signatures --key-id partner-1 --secret-file secret --curl \
         -H 'content-type: application/json' --data-file body POST http://api.example.com/transfer",
    );
    let address = proxied.listening.address();
    let options = format!(
        "curl -sS --http2-prior-knowledge --connect-to ::{address} -H 'cookie: a=1; b=2' \
         -H 'countersign-key-id: admin' "
    );
    let answer = session.stdout(&curl.trim_end().replacen("curl ", &options, 1));
    assert_eq!(answer, "done");
    let seen = one_request(&upstream.seen(), ORDER);
    for line in [
        "host: api.example.com",
        "cookie: a=1; b=2",
        "countersign-key-id: \"partner-1\"",
    ] {
        assert!(seen.has(line), "{line}: {}", seen.head);
    }
    assert!(
        !seen.head.contains("admin") && !seen.head.contains("\r\n:"),
        "{}",
        seen.head
    );
}
