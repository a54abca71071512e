//! `countersign listen`, with real curl as the sender.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    listening::Listening,
    round_trip::{keygen, schemes},
    session::Session,
    upstream::Upstream,
};

pub(crate) const ACCEPTED: &str = "HTTP/1.1 201 Created\r\nX-Answer: of the upstream\r\n\
                        Content-Length: 5\r\n\r\ndone\n";

/// The command of curl that sends a request which is signed now.
pub(crate) fn curl(session: &Session, scheme: &str, url: &str) -> String {
    let (content_type, body) = match scheme {
        "twilio" => (
            "application/x-www-form-urlencoded",
            "AccountSid=AC1&Body=hi".to_owned(),
        ),
        "linear" => {
            let now = session.stdout("date +%s000");
            (
                "application/json",
                format!(r#"{{"webhookTimestamp":{}}}"#, now.trim()),
            )
        }
        "hubspot" => ("application/json", r#"[{"eventId":1}]"#.to_owned()),
        _ => ("application/json", r#"{"id":"evt_1"}"#.to_owned()),
    };
    session.file("body", body);
    let key = match scheme {
        "http-message-signatures" => "--key-id partner-1",
        _ => "",
    };
    session.stdout(&format!(
        "countersign sign {scheme} {key} --secret-file {scheme}.secret --curl \
         -H 'content-type: {content_type}' --data-file body POST '{url}/hooks?a=1'"
    ))
}

/// Runs curl, which prints the answer's body and its status.
pub(crate) fn run(session: &Session, curl: &str, options: &str) -> String {
    let command = curl
        .trim_end()
        .replacen("curl ", &format!("curl -sS {options} "), 1);
    session.stdout(&format!("{command} -w '%{{http_code}}'"))
}

#[test]
fn what_sign_gives_to_curl_is_verified_by_listen_for_every_scheme() {
    let session = Session::new();
    for (at, scheme) in schemes(&session).into_iter().enumerate() {
        keygen(&session, &scheme);
        // Some schemes sign the URL. Its host is a name that curl is told to find here.
        let origin = "http://hooks.example";
        let arguments = format!("{scheme} --secret-file {scheme}.secret --origin {origin}");
        let mut listening = Listening::json(&session, &arguments);
        let curl = curl(&session, &scheme, origin);
        let version = ["--http1.1", "--http2-prior-knowledge"][at % 2];
        let version = &format!("{version} --connect-to ::{}", listening.address());
        let answer = run(&session, &curl, version);
        let object = listening.object();
        assert_eq!(object["verified"], true, "{scheme}: {object}");
        assert_eq!(answer, "200", "{scheme}");
        assert_eq!(object["method"], "POST");
        assert_eq!(object["target"], "/hooks?a=1");
        let body = std::fs::read(session.path().join("body")).unwrap();
        if scheme != "mailgun" {
            assert_eq!(object["body_bytes"], body.len(), "{scheme}");
            let sha256 = session.stdout("sha256sum body | cut -c -64");
            assert_eq!(object["body_sha256"], sha256.trim(), "{scheme}");
        }
        // The same request again is a duplicate, unless requests of the scheme may be alike.
        run(&session, &curl, version);
        let again = listening.object();
        let may_be_alike = ["twilio", "dropbox"].contains(&&*scheme);
        let word = if may_be_alike {
            "verified"
        } else {
            "duplicate"
        };
        assert_eq!(again["verdict"], word, "{scheme}: {again}");
        let (said, code) = listening.stop();
        assert_eq!(code, Some(0), "{scheme}: {said}");
        assert!(said.contains(r#""summary":{"#), "{said}");
    }
}

#[test]
fn a_refused_request_is_explained_here_and_not_to_its_sender() {
    let session = Session::new();
    keygen(&session, "stripe");
    let mut listening = Listening::people(&session, "stripe --secret-file stripe.secret");
    let curl = curl(&session, "stripe", &listening.url);
    assert_eq!(run(&session, &curl, ""), "200");
    assert_eq!(run(&session, &curl, ""), "200");
    session.file("body", r#"{"id":"evt_2"}"#);
    let answer = run(&session, &curl, "");
    assert!(answer.ends_with("401"), "{answer}");
    // The search takes a moment.
    while !listening.line().contains("hypotheses were tried") {}
    let url = listening.url.clone();
    session.stdout(&format!("curl -sS -o answer -X PURGE '{url}/%1b%5b2J'"));
    let mut last = String::new();
    while !last.contains("PURGE") {
        last = listening.line();
    }
    let (said, code) = listening.stop();
    assert_eq!(code, Some(0));
    assert!(said.contains("this MAC"), "{said}");
    assert!(!answer.contains("MAC"), "{answer}");
    session.file("said", said);
    let masks = [
        r"s/127\.0\.0\.1:[0-9]+/ADDRESS/",
        r"s/[0-9]{2}:[0-9]{2}:[0-9]{2}/TIME/",
        r"s/in [0-9]+ (ms|µs)/in TOOK/",
    ];
    let masked = session.stdout(&format!("sed -E '{}' said", masks.join(";")));
    insta::assert_snapshot!(masked);
}

/// Sends bytes, and reads the answer until the server closes the connection.
pub(crate) fn send(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The headers that GitHub signs this body with.
pub(crate) fn github(session: &Session, body: &str) -> String {
    session.file("body", body);
    let sign = "countersign sign github --secret-file github.secret --data-file body \
                POST http://example.com/";
    session.stdout(sign).trim_end().to_owned()
}

#[test]
fn what_is_forwarded_is_what_was_sent_to_the_byte() {
    let session = Session::new();
    keygen(&session, "github");
    let upstream = Upstream::start(ACCEPTED);
    let arguments = format!(
        "github --secret-file github.secret --forward {}/app/",
        upstream.url
    );
    let mut listening = Listening::json(&session, &arguments);
    let body = "{\r\n  \"a\": \"caf\u{e9}\u{2028}\",\t\"b\":1.50 }\n\n";
    let signed = github(&session, body);
    let head = format!(
        "POST /a%2Fb//c/../d?x=%7e&y=+&& HTTP/1.1\r\nHost: api.example.com\r\nX-Twice: one\r\n\
         x-MiXed-Case:  spaced \r\n{signed}\r\nX-HTTP-Method-Override: DELETE\r\n\
         Connection: close, X-Hop\r\nX-Hop: 1\r\n"
    );
    let length = body.len();
    let sized = format!("{head}Content-Length: {length}\r\n\r\n{body}");
    let answer = send(listening.address(), &sized);
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert!(
        answer.contains("of the upstream") && answer.ends_with("\r\n\r\ndone\n"),
        "{answer}"
    );
    let object = listening.object();
    assert_eq!(object["upstream"]["status"], 201, "{object}");
    assert!(object["upstream"]["took_ms"].is_u64());

    let seen = upstream.seen();
    let expected = format!(
        "POST /app/a%2Fb//c/../d?x=%7e&y=+&& HTTP/1.1\r\nHost: api.example.com\r\nX-Twice: one\r\n\
         x-MiXed-Case:  spaced \r\n{signed}\r\nX-HTTP-Method-Override: DELETE\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    assert_eq!(seen[0].head, expected);
    assert_eq!(seen[0].body, body.as_bytes());

    // In chunks.
    let body = format!("{body}in chunks");
    let signed = github(&session, &body);
    let (one, two) = body.split_at(7);
    let chunked = format!(
        "POST /chunked HTTP/1.1\r\nHost: a\r\n{signed}\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n{:x}\r\n{one}\r\n{:x};ext=1\r\n{two}\r\n0\r\nX-Trailer: 1\r\n\r\n",
        one.len(),
        two.len()
    );
    assert!(send(listening.address(), &chunked).starts_with("HTTP/1.1 201"));
    assert_eq!(listening.object()["verified"], true);
    let seen = upstream.seen();
    assert!(seen[1].has("Transfer-Encoding: chunked"));
    assert!(!seen[1].head.to_ascii_lowercase().contains("content-length"));
    assert_eq!(seen[1].body, body.as_bytes());

    // Over HTTP/2, with a length and without one.
    for (n, options) in ["", "-H 'transfer-encoding: chunked'"]
        .into_iter()
        .enumerate()
    {
        let body = format!("{body}, HTTP/2, {n}");
        let signed = github(&session, &body);
        let answer = session.stdout(&format!(
            "curl -sS --http2-prior-knowledge --path-as-is -H '{signed}' {options} \
             --data-binary @body '{}/a%2Fb?x=%7e'",
            listening.url
        ));
        assert_eq!(answer, "done\n");
        let object = listening.object();
        assert_eq!(object["http"], "HTTP/2.0");
        let seen = upstream.seen();
        let last = seen.last().unwrap();
        assert!(last.has("POST /app/a%2Fb?x=%7e HTTP/1.1"), "{}", last.head);
        assert!(
            last.has(&format!("host: {}", listening.address())),
            "{}",
            last.head
        );
        assert_eq!(last.body, body.as_bytes());
    }

    // The same once more: the application acts once.
    assert!(send(listening.address(), &sized).starts_with("HTTP/1.1 200"));
    assert_eq!(listening.object()["verdict"], "duplicate");
    // A stranger's request does not arrive.
    let stranger = sized.replace("1.50", "9.50");
    assert!(send(listening.address(), &stranger).starts_with("HTTP/1.1 401"));
    assert_eq!(listening.object()["verified"], false);
    assert_eq!(upstream.seen().len(), 4);
}

#[test]
fn an_upstream_that_does_not_answer_is_said() {
    let session = Session::new();
    keygen(&session, "github");
    let arguments = "github --secret-file github.secret --forward http://127.0.0.1:1";
    let mut listening = Listening::json(&session, arguments);
    let curl = curl(&session, "github", &listening.url);
    assert_eq!(run(&session, &curl, ""), "502");
    let object = listening.object();
    assert_eq!(object["verified"], true);
    let error = object["upstream"]["error"].as_str().unwrap();
    assert!(error.contains("refused"), "{error}");
    let (said, _) = listening.stop();
    assert!(said.contains(r#""without_answer":1"#), "{said}");
}

/// A body that is longer than the layer takes, one that breaks off, and one that never comes.
#[test]
fn a_body_that_does_not_arrive_is_said() {
    let session = Session::new();
    keygen(&session, "github");
    let mut listening = Listening::json(&session, "github --secret-file github.secret");
    let url = listening.url.clone();
    let signed = github(&session, "{}");
    session.output(&format!(
        "head -c 100M /dev/zero | curl -sS -T - -H '{signed}' -X POST {url}/"
    ));
    let object = listening.object();
    assert_eq!(object["code"], "body_too_large", "{object}");
    let mut stream = TcpStream::connect(listening.address()).unwrap();
    let cut = format!("POST / HTTP/1.1\r\nHost: a\r\n{signed}\r\nContent-Length: 5\r\n\r\n{{}}");
    stream.write_all(cut.as_bytes()).unwrap();
    drop(stream);
    let object = listening.object();
    assert_eq!(object["code"], "body_unreadable", "{object}");
    assert_eq!(object["body_bytes"], 2, "{object}");
    assert!(object["body_cut"].is_string(), "{object}");
}

#[test]
fn a_port_that_is_taken_is_said_with_what_to_do() {
    let session = Session::new();
    let listening = Listening::people(&session, "github --secret-file secret");
    let address = listening.address();
    let said = session.run(&format!(
        "countersign listen github --secret-file secret --addr {address}"
    ));
    insta::assert_snapshot!(said.replace(address, "ADDRESS"));
    let wrong: Vec<String> = [
        "countersign listen github --secret-file secret --forward 127.0.0.1:3000",
        "countersign listen github --secret-file secret --forward ftp://127.0.0.1",
        "countersign listen github --secret-file secret --forward http://a.example/?x=1",
        "countersign listen github --secret-file secret --addr localhost",
        "countersign listen github --secret-file secret --origin a.example",
        "countersign listen github --secret-file secret --addr 192.0.2.1:80",
    ]
    .map(|command| session.run(command))
    .into();
    insta::assert_snapshot!(wrong.join("\n"));
}

/// The search finds what `explain` would, after the sender has its answer.
#[test]
fn a_refused_request_is_searched_for_its_cause() {
    let session = Session::new();
    keygen(&session, "github");
    let mut listening = Listening::json(&session, "github --secret-file github.secret");
    let signed = github(&session, "{\"a\":1}\n");
    let post = |body: &str| {
        let length = body.len();
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{signed}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let answer = send(listening.address(), &post("{\"a\":1}"));
    let object = listening.object();
    assert_eq!(object["explained"], true, "{object}");
    assert!(
        object["changes"][0]["what"]
            .as_str()
            .unwrap()
            .contains("line end"),
        "{object}"
    );
    assert!(!answer.contains("line end"), "{answer}");
    // A body that was never signed, and a body that is too long to be searched.
    send(listening.address(), &post("{}"));
    let object = listening.object();
    assert_eq!(object["explained"], false);
    assert!(object["tried"].as_u64().unwrap() > 10, "{object}");
    send(listening.address(), &post(&"x".repeat(1024 * 1024 + 1)));
    let object = listening.object();
    assert_eq!(object["not_searched"], "the body is longer than 1 MiB");
    // Only one request at a time is searched.
    let address = listening.address().to_owned();
    let long = post(&"[1,2]\n".repeat(100_000));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (address, long) = (address.clone(), long.clone());
            std::thread::spawn(move || send(&address, &long))
        })
        .collect();
    for thread in threads {
        assert!(thread.join().unwrap().starts_with("HTTP/1.1 401"));
    }
    let objects: Vec<_> = (0..4).map(|_| listening.object()).collect();
    let skipped = |object: &&serde_json::Value| {
        object["not_searched"] == "another request was searched at that moment"
    };
    let skipped = objects.iter().filter(skipped).count();
    assert!((1..4).contains(&skipped), "{objects:?}");
    listening.stop();

    // Strangers reach this one.
    for (option, explained) in [("", false), ("--explain", true)] {
        let arguments = format!("github --secret-file github.secret --addr 0.0.0.0:0 {option}");
        let mut listening = Listening::json(&session, &arguments);
        let address = listening.address().replace("0.0.0.0", "127.0.0.1");
        send(&address, &post("{\"a\":1}"));
        let object = listening.object();
        assert_eq!(object["explained"], explained, "{object}");
        assert_eq!(object["not_searched"].is_string(), !explained, "{object}");
    }
}

#[test]
fn what_is_not_http_is_said() {
    let session = Session::new();
    keygen(&session, "github");
    let mut listening = Listening::json(&session, "github --secret-file github.secret");
    // A client that expects TLS, and two HTTP/1.1 requests that cannot be read.
    let address = listening.address().to_owned();
    session.output(&format!("curl -sS https://{address}/"));
    send(&address, "this is not HTTP\r\n\r\n");
    send(&address, "GET / HTTP/1.1\r\nHost: a\r\nno header\r\n\r\n");
    send(
        &address,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(listening.object()["code"], "signature_missing");
    let (said, _) = listening.stop();
    assert_eq!(
        said.matches("sent something that is not HTTP").count(),
        3,
        "{said}"
    );
}

/// The upstream has sent half of its answer when Ctrl-C is pressed.
#[test]
fn an_answer_on_its_way_is_sent_to_its_end() {
    let session = Session::new();
    keygen(&session, "github");
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let (go_on, waiting) = std::sync::mpsc::channel();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = upstream.accept().unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"{}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            read.extend(byte);
        }
        let half = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf";
        stream.write_all(half).unwrap();
        waiting.recv().unwrap();
        stream.write_all(b"half").unwrap();
    });
    let arguments = format!("github --secret-file github.secret --forward http://{address}");
    let mut listening = Listening::json(&session, &arguments);
    let signed = github(&session, "{}");
    let mut stream = TcpStream::connect(listening.address()).unwrap();
    let request =
        format!("POST / HTTP/1.1\r\nHost: a\r\n{signed}\r\nContent-Length: 2\r\n\r\n{{}}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\nhalf") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(char::from(byte[0]));
    }
    assert_eq!(listening.object()["verified"], true);
    listening.interrupt();
    // Nobody is let in any more.
    while TcpStream::connect(listening.address()).is_ok() {
        std::thread::yield_now();
    }
    go_on.send(()).unwrap();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nhalfhalf"), "{answer}");
    answering.join().unwrap();
    let (said, code) = listening.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("summary"), "{said}");
}

/// A server that may take 1 GiB of addresses alone.
#[test]
fn a_body_of_nested_lists_does_not_fill_the_memory() {
    let session = Session::new();
    keygen(&session, "github");
    session.file("small", "ulimit -v 1048576 && exec \"$@\"");
    session.stdout(
        r#"python3 -c "
import gzip
deep = ['{\"b\": 1.50, \"a\": \"\u00e9\"}'] + ['[' * 90 + ']' * 90] * 5700
text = '[' + ','.join(deep) + ']'
open('plain', 'wb').write(text.encode())
gzip.open('gzip', 'wb').write((text[:-1] + ',' + text[1:]).encode())
""#,
    );
    let arguments = "github --secret-file github.secret";
    let mut listening = Listening::json_in(&session, "bash small", arguments);
    let curl = format!(
        "curl -s --data-binary @BODY -H 'x-hub-signature-256: sha256={}' {}",
        "0".repeat(64),
        listening.url
    );
    for body in ["plain", "gzip"] {
        session.stdout(&curl.replace("BODY", body));
        let object = listening.object();
        assert_eq!(object["code"], "signature_invalid", "{object}");
        assert!(object["tried"].as_u64() > Some(0), "{object}");
    }
    let (said, code) = listening.stop();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_body_of_a_get_and_cookies_of_http_2_reach_the_upstream() {
    let session = Session::new();
    keygen(&session, "github");
    let upstream = Upstream::start(ACCEPTED);
    let arguments = format!(
        "github --secret-file github.secret --forward {}",
        upstream.url
    );
    let mut listening = Listening::json(&session, &arguments);
    let signed = github(&session, "{}");
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{signed}\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
    );
    send(listening.address(), &request);
    assert_eq!(listening.object()["verdict"], "verified");
    let seen = upstream.seen().pop().unwrap();
    assert_eq!(seen.body, b"{}", "{}", seen.head);
    // Two lines over HTTP/2 are one line over HTTP/1.1, and over HTTP/1.1 they stay two.
    for (n, (version, lines)) in [("--http2-prior-knowledge", 1), ("--http1.1", 2)]
        .into_iter()
        .enumerate()
    {
        let body = format!("{{{n}}}");
        let signed = github(&session, &body);
        session.stdout(&format!(
            "curl -sS -o answer {version} -H '{signed}' -H 'cookie: a=1' -H 'cookie: b=2' \
             --data '{body}' {}",
            listening.url
        ));
        assert_eq!(listening.object()["verdict"], "verified");
        let seen = upstream.seen().pop().unwrap();
        let head = seen.head.to_ascii_lowercase();
        assert_eq!(head.matches("cookie: ").count(), lines, "{head}");
        assert_eq!(head.contains("cookie: a=1; b=2\r\n"), lines == 1, "{head}");
    }
}

/// Silent connections: without a byte, with the beginning of HTTP/2, and with HTTP/2 that does not
/// answer.
#[test]
fn connections_that_say_nothing_are_closed() {
    let session = Session::new();
    keygen(&session, "github");
    let mut listening = Listening::json(&session, "github --secret-file github.secret");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let whole = [&preface[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    let silent = [&b""[..], b"P", &preface[..20], &whole];
    let mut streams = silent.map(|bytes| {
        let mut stream = TcpStream::connect(listening.address()).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    });
    for stream in &mut streams {
        let deadline = std::time::Duration::from_secs(60);
        stream.set_read_timeout(Some(deadline)).unwrap();
        // The connection ends or is reset. A deadline that passes is an error.
        if let Err(error) = stream.read_to_end(&mut Vec::new()) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
    // A request that is refused by its head does not wait for its body.
    let mut stream = TcpStream::connect(listening.address()).unwrap();
    let started = std::time::Instant::now();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{";
    stream.write_all(head.as_bytes()).unwrap();
    let object = listening.object();
    assert_eq!(object["code"], "signature_missing", "{object}");
    assert_eq!(object["body_bytes"], 1, "{object}");
    assert!(started.elapsed().as_secs() < 8, "{:?}", started.elapsed());
}
